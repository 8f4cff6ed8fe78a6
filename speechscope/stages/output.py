"""What a command prints: data on standard output, notes on standard error."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SHOWN = 20  # skipped items named on the terminal; the artifact lists all


def wrote(path: Path, kind: str, *, as_json: bool, facts: Mapping[str, Any]) -> None:
    """Print the path written, or one JSON object with the path and what is known of it."""
    if as_json:
        sys.stdout.write(json.dumps({"path": str(path), "kind": kind, **facts}) + "\n")
    else:
        sys.stdout.write(f"{path}\n")


def data(text: str) -> None:
    """Print data, such as a table, on standard output."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def note(text: str, *, quiet: bool = False) -> None:
    """Print a line for people on standard error, or several."""
    if not quiet:
        lines = [printable(line) for line in text.split("\n")]
        sys.stderr.write("\n".join(lines) + "\n")


def printable(line: str) -> str:
    """Return a line that cannot steer a terminal: what names and labels hold may be anything."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def shortened(lines: Sequence[str], where: str) -> list[str]:
    """Return the first lines of a long list, and where the rest can be found."""
    if len(lines) <= SHOWN:
        return list(lines)
    return [*lines[:SHOWN], f"… and {len(lines) - SHOWN} more, all listed in {where}"]
