"""What a corpus that was prepared before holds of recordings that have not changed since.

A recording has not where the system says that its files were last changed before the corpus was
begun, and where its labels, or its length, are what the corpus has. With the same settings and
classes the rows of such a recording are taken from there, and its sound is not read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.arrays import names_of
from speechscope.corpus.phones import PhoneSet
from speechscope.corpus.units import PER_UTTERANCE, Column, Piece, Rows, Unit
from speechscope.corpus.utterances import Utterance
from speechscope.store.artifact import Artifact

EDGES = {
    "sample": ("waveform_offset",),
    "frame": ("input_offset", "frame_offset"),
    "character": ("letter_offset",),
    "phone_index": ("phone_offset",),
}
"""The array that says where the stretches of a dimension begin."""
PASSED = ("skip_bad", "split", "dev", "seed", "dropped", "skipped", "seconds", "recipe")
"""Settings that no row depends on."""


@dataclass(frozen=True)
class Before:
    """A corpus as it was prepared before; shared by threads.

    Parameters
    ----------
    path
        Where it is.
    began
        When it was begun [s since 1970].
    place
        Where an utterance stood among all, by its name.
    first
        The first item of every utterance, and the end of the last's.
    """

    path: Path
    began: float
    place: Mapping[str, int]
    first: NDArray[np.int64]
    columns: Sequence[Column] = field(repr=False)

    @classmethod
    def of(
        cls, path: Path, config: Mapping[str, Any], classes: PhoneSet, unit: Unit
    ) -> "Before | None":
        """Open a corpus; None where it was prepared with other settings, or has other classes."""
        artifact = Artifact(path, "corpus")
        old = artifact.record["config"]
        names = {*config, *old} - set(PASSED)
        if any(old.get(name) != config.get(name) for name in names):
            return None
        for name, wanted in (("label", classes.classes), ("phone", unit.phones)):
            if name in artifact and names_of(artifact, name) != wanted:
                return None
        keys = names_of(artifact, "utterance")
        place = {key: number for number, key in enumerate(keys)}
        items = artifact.read("utterance")
        first = np.searchsorted(items, np.arange(len(keys) + 1))
        began = datetime.fromisoformat(artifact.record["created"]).timestamp()
        return cls(path, began, place, first, unit.columns())

    def changed(self, utterance: Utterance) -> bool:
        """Whether an utterance is new, or one of its files was changed since."""
        files = filter(None, (utterance.audio, utterance.labels, utterance.text))
        try:
            stats = [path.stat() for path in files]
        except OSError:
            return True
        # A file that is put in the place of another keeps its own time of writing, but not ctime.
        last = max(max(s.st_mtime, s.st_ctime) for s in stats)
        return last >= self.began or utterance.key not in self.place

    def rows(self, utterance: Utterance, length: int, pieces: Sequence[Piece]) -> Rows | None:
        """Return the rows of an utterance so long; None where it had no item, or others."""
        number = self.place[utterance.key]
        low, high = int(self.first[number]), int(self.first[number + 1])
        if low == high:  # whatever was wrong with it may be so no more
            return None
        artifact = Artifact(self.path, "corpus")
        rows = {
            column.name: self._part(artifact, column, number, low, high) for column in self.columns
        }
        given = utterance.marks is not None or utterance.transcript is not None
        if self._per_utterance or "label" not in rows:
            # What a table says of it has no file of its own that could have changed.
            return rows if len(rows["waveform"]) == length and not given else None
        same = [(p.label, p.start, p.stop) for p in pieces]
        held = zip(*(rows[name].tolist() for name in ("label", "start", "stop")), strict=True)
        return rows if same == list(held) else None

    @property
    def _per_utterance(self) -> bool:
        return any(c.name == "waveform_offset" and c.dims[0] == PER_UTTERANCE for c in self.columns)

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
