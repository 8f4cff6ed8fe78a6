"""Reading the items of ``corpus.zarr``, whatever an item is, as a network is given them."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.units.frame import neighbours
from speechscope.corpus.units.window import standardised
from speechscope.store.artifact import Artifact

Indices = NDArray[np.integer[Any]]

SPAN = 1_000_000
"""Samples of waveform read at once; about a minute, one chunk."""


class View(Protocol):
    """Items of one shape."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channel, frequency, time) of one item."""
        ...

    def read(self, items: Indices) -> NDArray[np.float32]:
        """Return inputs as stored, (N, channel, frequency, time)."""
        ...


class SegmentView:
    """Segments: rows of ``input``."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channel, frequency, time) of one item."""
        channels, bins, frames = self._artifact.array("input").shape[1:]
        return int(channels), int(bins), int(frames)

    def read(self, items: Indices) -> NDArray[np.float32]:
        """Return inputs as stored, (N, channel, frequency, time)."""
        return self._artifact.read_items("input", items)


class FrameView:
    """Frames with context, put together from the frames around ``centre``."""

    def __init__(self, artifact: Artifact, context: int) -> None:
        self._artifact = artifact
        self._context = context
        self._centre = artifact.read("centre")
        edges, utterance = artifact.read("frame_offset"), artifact.read("utterance")
        self._first, self._last = edges[utterance], edges[utterance + 1] - 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channel, frequency, time) of one item, time being the context."""
        channels, bins = self._artifact.array("input").shape[1:]
        return int(channels), int(bins), self._context

    def read(self, items: Indices) -> NDArray[np.float32]:
        """Return inputs as stored, (N, channel, frequency, time)."""
        used = neighbours(self._centre[items], self._first[items], self._last[items], self._context)
        frames = self._artifact.read_items("input", used.ravel())
        context = frames.reshape(*used.shape, *frames.shape[1:])
        return np.ascontiguousarray(context.transpose(0, 2, 3, 1))


class WindowView:
    """Windows of the waveform; zeros beyond the ends of its recording.

    With `standardise`, each has mean 0 and variance 1.
    """

    def __init__(self, artifact: Artifact, length: int, standardise: bool) -> None:
        self._artifact = artifact
        self._length = length
        self._standardise = standardise
        edges, utterance = artifact.read("waveform_offset"), artifact.read("utterance")
        self._first, self._last = edges[utterance], edges[utterance + 1]
        self._start = self._first + artifact.read("start")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(1, 1, samples)."""
        return 1, 1, self._length

    def read(self, items: Indices) -> NDArray[np.float32]:
        """Return inputs as stored, (N, 1, 1, samples)."""
        start, first, last = self._start[items], self._first[items], self._last[items]
        low, high = np.maximum(start, first), np.minimum(start + self._length, last)
        out = np.zeros((len(items), self._length), dtype=np.float32)
        for row, samples in stretches(self._artifact, low, high):
            left = int(low[row] - start[row])
            out[row, left : left + len(samples)] = samples
        if self._standardise:
            out = standardised(out)
        return out[:, None, None]


def view_of(
    artifact: Artifact, unit: str, *, context: int, length: int, standardise: bool = False
) -> View:
    """Return the view of a unit whose items have one shape."""
    if unit == "frame":
        return FrameView(artifact, context)
    if unit == "window":
        return WindowView(artifact, length, standardise)
    return SegmentView(artifact)


def stretches(artifact: Artifact, starts: Indices, stops: Indices) -> Any:
    """Yield (row, samples) for stretches [start, stop) of ``waveform``, in the order they lie in.

    Stretches are mostly neighbours: one read of `SPAN` samples serves many.
    """
    total = int(artifact.array("waveform").shape[0])
    first = last = 0
    held = np.empty(0, dtype=np.float32)
    for row in np.argsort(starts, kind="stable"):
        start, stop = int(starts[row]), int(stops[row])
        if stop > last or start < first:
            first, last = start, max(stop, min(start + SPAN, total))
            held = artifact.read("waveform", slice(first, last))
        yield row, held[start - first : stop - first]
