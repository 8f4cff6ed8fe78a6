"""What of an unfinished artifact is written already, so that long work can go on from there.

A line a block in ``.finished``, inside the folder in which the artifact is built: the files of the
block's chunks, their sizes and digests. A block counts if all of its files are there as they were
written, so that neither a torn line nor a chunk that never reached the disk can be taken for work
that is done. The first line says what the work is: settings and parents.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.errors import ArtifactError
from speechscope.store import chunks
from speechscope.store.record import Record

LOG = ".finished"
Chunks = Mapping[str, Mapping[str, Any]]


def is_unfinished(folder: Path) -> bool:
    """Say whether some of an artifact is written, and worth keeping."""
    return (folder / LOG).is_file()


class Finished:
    """The blocks of an artifact that are written.

    Parameters
    ----------
    folder
        Where the artifact is being built.
    record
        Of the artifact.

    Raises
    ------
    ArtifactError
        The folder holds blocks of other settings, or from another parent.
    """

    def __init__(self, folder: Path, record: Record) -> None:
        self._folder = folder
        self._work = {
            "kind": record["kind"],
            "format": record["format_version"],
            "software": record["software"],
            "seed": record["seed"],
            "device": record["device"],
            "parents": [parent["digest"] for parent in record["parents"]],
            "config": dict(record["config"]),
        }
        self._blocks: dict[str, dict[str, Any]] = {}
        lines = _lines(folder / LOG)
        self._begun = bool(lines)
        if lines:
            self._compare(lines[0])
            self._blocks = {line["block"]: line for line in lines[1:]}
            remove_scraps(folder)
            _write(folder / LOG, "w", lines)  # without what was torn

    def block(self, name: str) -> tuple[Chunks, dict[str, NDArray[Any]]] | None:
        """Return a block's chunks and its small arrays, if it is written, every byte of it."""
        line = self._blocks.get(name)
        if line is None:
            return None
        for array, written in line["chunks"].items():
            for chunk, told in written.items():
                if _described(self._folder / array / chunk) != told:
                    return None
        small = {key: np.array(v, dtype=kind) for key, (kind, v) in line["small"].items()}
        return line["chunks"], small

    def add(self, name: str, written: Chunks, small: Mapping[str, NDArray[Any]]) -> None:
        """Note that a block is written.

        Parameters
        ----------
        written
            Its chunks by array and name, as `speechscope.store.chunks.describe` describes them.
        small
            Arrays of one dimension that the caller needs again.
        """
        values = {key: [str(array.dtype), array.tolist()] for key, array in small.items()}
        line = {"block": name, "chunks": written, "small": values}
        _write(self._folder / LOG, "a", [line] if self._begun else [self._work, line])
        self._begun = True

    def end(self) -> None:
        """Remove the notes: the artifact is complete."""
        (self._folder / LOG).unlink(missing_ok=True)

    def _compare(self, found: Mapping[str, Any]) -> None:
        mine = json.loads(json.dumps(self._work))
        for name in mine["config"]:
            if found["config"].get(name) != mine["config"][name]:
                raise ArtifactError(
                    f"{self._folder} was begun with {name} {found['config'].get(name)}, now "
                    f"{mine['config'][name]}; give the same settings, or run without --resume"
                )
        for name, value in mine.items():
            if found.get(name) != value:
                raise ArtifactError(
                    f"{self._folder} was begun with another {name.removesuffix('s')}; "
                    "run without --resume"
                )


def remove_scraps(folder: Path) -> None:
    """Remove what processes that died while they wrote may have left among the chunks."""
    for path in folder.rglob(".*"):
        if path.name != LOG:
            path.unlink(missing_ok=True)


def _described(path: Path) -> dict[str, Any] | None:
    try:
        return chunks.describe(path.read_bytes())
    except OSError:
        return None


def _lines(path: Path) -> list[dict[str, Any]]:
    """Read the lines that are whole."""
    found = []
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            break  # the process died while it wrote this one
    return found


def _write(path: Path, mode: str, lines: list[dict[str, Any]]) -> None:
    with path.open(mode) as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
