"""Reading ``corpus.zarr``: what training, inversion and scoring ask of a corpus."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.artifact import Artifact
from speechscope.corpus.arrays import SPLIT_NAMES
from speechscope.errors import UsageProblem
from speechscope.features.stft import Stft, centre

Indices = NDArray[np.integer[Any]]

SPAN = 1_000_000
"""Samples of waveform read at once; about a minute of segments, one chunk."""


class Corpus:
    """A prepared corpus; only labels are held in memory.

    Raises
    ------
    ArtifactError
        See `speechscope.artifact.Artifact`.
    """

    def __init__(self, path: Path) -> None:
        self.artifact = Artifact(path, "corpus")
        self.path = path

    @property
    def config(self) -> dict[str, Any]:
        """The settings it was prepared with."""
        return self.artifact.record["config"]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Class of every item, (item,)."""
        return self.artifact.read("label").astype(np.int64)

    @cached_property
    def labels_folded(self) -> NDArray[np.int64]:
        """Folded class of every item, (item,)."""
        return self.artifact.read("label_folded").astype(np.int64)

    @cached_property
    def splits(self) -> NDArray[np.int8]:
        """0 train, 1 dev, 2 test, (item,)."""
        return self.artifact.read("split")

    @cached_property
    def mean(self) -> NDArray[np.float32]:
        """Mean over the training split, (channel, frequency, time)."""
        return self.artifact.read("mean")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.artifact.flags("label")

    @property
    def classes_folded(self) -> tuple[str, ...]:
        """Names of the folded classes."""
        return self.artifact.flags("label_folded")

    @cached_property
    def fold(self) -> NDArray[np.int64]:
        """Folded class of each class, (class,); of a class without items, its own name's."""
        from speechscope.corpus.phones import TO_39

        names = self.classes_folded
        return np.array([names.index(TO_39[c]) for c in self.classes], dtype=np.int64)

    @property
    def stft(self) -> Stft:
        """The transform its input was computed with."""
        values = self.config["stft"]
        return Stft(
            samples=int(self.config["samples"]),
            window=int(values["window"]),
            overlap=int(values["overlap"]),
            points=int(values["points"]),
            rate=int(values["rate"]),
        )

    @property
    def features(self) -> str:
        """Name of the representation."""
        return str(self.config["features"])

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channel, frequency, time) of one item."""
        channels, bins, frames = self.artifact.array("input").shape[1:]
        return int(channels), int(bins), int(frames)

    def items(self, split: str) -> NDArray[np.int64]:
        """Return the indices of a split's items.

        Raises
        ------
        UsageProblem
            The split is empty.
        """
        found = np.flatnonzero(self.splits == SPLIT_NAMES.index(split))
        if len(found) == 0:
            raise UsageProblem(f"{self.path} has no {split} items")
        return found

    def centred(self, items: Indices) -> NDArray[np.float32]:
        """Read inputs with the training mean removed, (N, channel, frequency, time)."""
        values: NDArray[np.float32] = self.artifact.read_items("input", items)
        values -= self.mean
        return values

    def waveforms(self, items: Indices) -> NDArray[np.float32]:
        """Read segments, zero-padded as for the transform, (N, samples)."""
        samples = self.stft.samples
        edges = self.artifact.read("waveform_offset")
        out = np.zeros((len(items), samples), dtype=np.float32)
        order = np.argsort(items, kind="stable")
        first = last = 0
        held = np.empty(0, dtype=np.float32)
        for row in order:
            start, stop = int(edges[items[row]]), int(edges[items[row] + 1])
            if stop > last or start < first:
                # Items are mostly neighbours: one read serves many.
                first, last = start, max(stop, min(start + SPAN, int(edges[-1])))
                held = self.artifact.read("waveform", slice(first, last))
            out[row] = centre(held[start - first : stop - first], samples)
        return out
