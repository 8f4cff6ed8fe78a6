"""A table as text for people, as CSV or as JSON."""

import csv
import io
import json
from collections.abc import Mapping, Sequence

Cell = str | int | float | None
Row = Mapping[str, Cell]


def as_text(rows: Sequence[Row]) -> str:
    """Align columns under their names; numbers to the right, absent values as a dash."""
    names = list(rows[0]) if rows else []
    cells = [[_shown(row[name]) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in [names, *cells]) for i in range(len(names))]
    numeric = [all(not isinstance(row[name], str) for row in rows) for name in names]
    lines = []
    for line in [names, *cells]:
        padded = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines) + "\n"


def as_csv(rows: Sequence[Row]) -> str:
    """Write comma-separated values with a header line; numbers in full."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_json(rows: Sequence[Row]) -> str:
    """Write a JSON list of objects, one a row."""
    return json.dumps([dict(row) for row in rows]) + "\n"


def _shown(value: Cell) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
