"""Frames with context: every frame is stored once, an item is its index (Pellegrini 2016, sec. 2).

An item's input is the frame at ``centre`` and the `context` // 2 on each side of it. Beyond the
ends of a recording the outermost frame is repeated (chosen: the paper does not say).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.units.cut import (
    Column,
    Coordinate,
    Cut,
    Piece,
    Recording,
    frequency,
    item_columns,
    item_rows,
    joined,
    lengths,
    waveform_columns,
)
from speechscope.features.representations import Representation


def neighbours(
    centres: NDArray[np.integer], first: NDArray[np.integer], last: NDArray[np.integer], width: int
) -> NDArray[np.int64]:
    """Return the frames of each item's context, (N, width).

    Parameters
    ----------
    centres, first, last
        The middle frame of each item, and the outermost frames of its recording, (N,).
    width
        Frames of the context.
    """
    around = centres[:, None] + np.arange(width)[None] - width // 2
    clipped = np.clip(around, first[:, None], last[:, None])
    return np.asarray(clipped, dtype=np.int64)


@dataclass(frozen=True)
class FrameUnit:
    """Frames as items.

    Parameters
    ----------
    representation
        What becomes of a whole recording.
    context
        Frames an item is made of, an odd number.
    window, hop
        Length of a frame, and from one to the next [samples].
    rate
        Sampling rate [Hz].
    """

    representation: Representation
    context: int
    window: int
    hop: int
    rate: int

    def columns(self) -> list[Column]:
        """Return ``input [frame, channel, frequency]`` and the index ``centre [item]``."""
        axis = self.representation.axis
        row = (self.representation.channels, len(axis.values))
        attributes = {"long_name": self.representation.name, "units": "1"}
        return [
            Column("input", np.float32, ("frame", "channel", "frequency"), attributes, row=row),
            Column("frame_time", np.float32, ("frame",), {"units": "s"}),
            Column("frame_offset", np.int64, ("utterance_edge",), {"units": "1"}, role="edges"),
            Column("centre", np.int64, ("item",), {"units": "1"}, role="input"),
            *waveform_columns(self.rate, "utterance_edge"),
            *item_columns(self.rate),
        ]

    def coordinates(self) -> list[Coordinate]:
        """Return the frequency axis and the distance of each frame of the context [s]."""
        away = (np.arange(self.context) - self.context // 2) * (self.hop / self.rate)
        return [
            frequency(self.representation.axis),
            Coordinate("time", away, ("time",), {"units": "s"}),
        ]

    def mean(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Return the shape and dimensions of one item, its context put together."""
        axis = self.representation.axis
        shape = (self.representation.channels, len(axis.values), self.context)
        return shape, ("channel", "frequency", "time")

    def cut(self, recordings: Sequence[Recording]) -> Cut:
        """Transform recordings; a frame is an item where a piece covers its middle."""
        shape, _ = self.mean()
        total, summed = np.zeros(shape), 0
        inputs, times, centres, pieces, counts = [], [], [], [], []
        before = 0
        for recording in recordings:
            frames, middle = self.representation.utterance(recording.samples)
            at = np.round(middle * self.rate).astype(np.int64)
            chosen, labels = covered(at, recording.pieces)
            starts = np.clip(at[chosen] - self.window // 2, 0, None)
            stops = np.clip(at[chosen] - self.window // 2 + self.window, 0, len(recording.samples))
            pieces += [Piece(*row) for row in zip(labels, starts, stops, strict=True)]
            if recording.training and len(chosen):
                total += self._sum(frames, chosen)
                summed += len(chosen)
            inputs.append(frames)
            times.append(middle.astype(np.float32))
            centres.append(before + chosen)
            counts.append(len(chosen))
            before += len(frames)
        rows: dict[str, NDArray[Any]] = {
            "input": joined(inputs, shape[:2]),
            "frame_time": joined(times),
            "frame_offset": lengths(inputs),
            "centre": np.concatenate([np.empty(0, dtype=np.int64), *centres]),
            "waveform": joined([recording.samples for recording in recordings]),
            "waveform_offset": lengths([recording.samples for recording in recordings]),
            **item_rows(pieces),
        }
        return Cut(rows, counts, total, summed)

    def _sum(self, frames: NDArray[np.float32], centres: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the sum of the items' inputs, (channel, frequency, time)."""
        count = len(frames)
        edges = np.zeros(len(centres), dtype=np.int64)
        used = neighbours(centres, edges, edges + count - 1, self.context)
        # How often a frame stands at each place of a context: no item has to be put together.
        weights = np.stack([np.bincount(column, minlength=count) for column in used.T])
        sums = weights.astype(np.float64) @ frames.reshape(count, -1).astype(np.float64)
        return sums.reshape(self.context, *frames.shape[1:]).transpose(1, 2, 0)


def covered(
    at: NDArray[np.int64], pieces: Sequence[Piece]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the points that lie in a piece, and its class: the last one's where pieces overlap."""
    found = np.full(len(at), -1, dtype=np.int64)
    for piece in pieces:
        low, high = np.searchsorted(at, (piece.start, piece.stop))
        found[low:high] = piece.label
    chosen = np.flatnonzero(found >= 0)
    return chosen, found[chosen]
