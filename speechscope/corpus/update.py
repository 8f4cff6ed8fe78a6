"""What a corpus that was prepared before holds of recordings that have not changed since.

An array ``state [utterance_index]`` keeps a digest of the paths, sizes and times of an utterance's
files. Where it is the same, and the settings and classes are, the rows of the utterance are taken
from there, and nothing is read anew but its labels.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.arrays import STATE, names_of
from speechscope.corpus.phones import PhoneSet
from speechscope.corpus.units import PER_UTTERANCE, Column, Rows, Unit
from speechscope.corpus.utterances import Utterance
from speechscope.store.artifact import Artifact

EDGES = {
    "sample": ("waveform_offset",),
    "frame": ("input_offset", "frame_offset"),
    "character": ("letter_offset",),
}
"""The array that says where the stretches of a dimension begin."""
PASSED = ("skip_bad", "split", "dev", "seed", "overview", "dropped", "skipped", "seconds", "recipe")
"""Settings that no row depends on."""


def state_of(utterance: Utterance) -> int:
    """Return a digest of what the system says of an utterance's files, and of given labels."""
    known = [repr((utterance.voice, utterance.marks, utterance.transcript))]
    for path in (utterance.audio, utterance.labels, utterance.text):
        try:
            status = path.stat() if path is not None else None
        except OSError:
            status = None
        known.append(f"{path}\0{status and (status.st_size, status.st_mtime_ns)}")
    digest = hashlib.blake2b("\0".join(known).encode("utf-8", "surrogateescape"), digest_size=8)
    return int.from_bytes(digest.digest(), "little", signed=True)


@dataclass(frozen=True)
class Before:
    """A corpus as it was prepared before; shared by threads.

    Parameters
    ----------
    path
        Where it is.
    place
        Where an utterance stood among all, by its name and state.
    first
        The first item of every utterance, and the end of the last's.
    """

    path: Path
    place: Mapping[tuple[str, int], int]
    first: NDArray[np.int64]
    columns: Sequence[Column] = field(repr=False)

    @classmethod
    def of(
        cls, path: Path, config: Mapping[str, Any], classes: PhoneSet, unit: Unit
    ) -> "Before | None":
        """Open a corpus; None where it was prepared with other settings, or does not say."""
        artifact = Artifact(path, "corpus")
        old = artifact.record["config"]
        names = {*config, *old} - set(PASSED)
        if STATE not in artifact or any(old.get(name) != config.get(name) for name in names):
            return None
        if "label" in artifact and names_of(artifact, "label") != classes.classes:
            return None
        states, keys = artifact.read(STATE), names_of(artifact, "utterance")
        place = {
            (key, int(state)): number
            for number, (key, state) in enumerate(zip(keys, states, strict=True))
        }
        items = artifact.read("utterance")
        first = np.searchsorted(items, np.arange(len(keys) + 1))
        return cls(path, place, first, unit.columns())

    def rows(self, utterance: Utterance) -> Rows | None:
        """Return the rows of an utterance; None where it changed, is new, or had no item."""
        number = self.place.get((utterance.key, state_of(utterance)))
        if number is None:
            return None
        low, high = int(self.first[number]), int(self.first[number + 1])
        if low == high:  # whatever was wrong with it may be so no more
            return None
        artifact = Artifact(self.path, "corpus")
        return {
            column.name: self._part(artifact, column, number, low, high) for column in self.columns
        }

    def _part(
        self, artifact: Artifact, column: Column, number: int, low: int, high: int
    ) -> NDArray[Any]:
        """Return what an array grew by for an utterance, as a unit gives it."""
        dim = column.dims[0]
        if column.role == "edges":
            at = slice(number, number + 2) if dim == PER_UTTERANCE else slice(low, high + 1)
            return np.diff(artifact.read(column.name, at))
        if dim == "item":
            values = artifact.read(column.name, slice(low, high))
            return values if column.role == "rows" else values - self._span(artifact, number)[0]
        start, stop = self._span(artifact, number, dim)
        return artifact.read(column.name, slice(start, stop))

    def _span(self, artifact: Artifact, number: int, dim: str = "frame") -> tuple[int, int]:
        """Return where the rows of an utterance along a dimension begin and end."""
        name = next(name for name in EDGES[dim] if name in artifact)
        column = next(column for column in self.columns if column.name == name)
        per_utterance = column.dims[0] == PER_UTTERANCE
        ends = (number, number + 1) if per_utterance else self.first[number : number + 2]
        start, stop = (int(artifact.read(name, slice(int(e), int(e) + 1))[0]) for e in ends)
        return start, stop
