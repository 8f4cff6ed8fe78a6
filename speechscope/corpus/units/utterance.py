"""Whole utterances, frames of all of them one after the other (Krug 2018, sec. 3.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.alphabet import LETTERS
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
from speechscope.store.writer import flag_attributes


@dataclass(frozen=True)
class UtteranceUnit:
    """Utterances as items.

    Parameters
    ----------
    representation
        What becomes of a whole recording.
    rate
        Sampling rate [Hz].
    letters
        Whether the items are labelled with letters; else each has one class.
    """

    representation: Representation
    rate: int
    letters: bool

    def columns(self) -> list[Column]:
        """Return ``input [frame, frequency]``, a channel axis between where there are several."""
        shape, dims = self.mean()
        if self.representation.channels == 1:
            shape, dims = shape[1:], dims[1:]
        attributes = {"long_name": self.representation.name, "units": "1"}
        edge = ("item_edge",)
        columns = [
            Column("input", np.float32, ("frame", *dims), attributes, row=shape),
            Column("input_offset", np.int64, edge, {"units": "1"}, role="edges"),
            Column("frame_time", np.float32, ("frame",), {"units": "s"}),
            *waveform_columns(self.rate, "item_edge"),
            *item_columns(self.rate, labelled=not self.letters),
        ]
        if self.letters:
            columns += [
                Column("letter", np.int16, ("character",), flag_attributes(LETTERS)),
                Column("letter_offset", np.int64, edge, {"units": "1"}, role="edges"),
            ]
        return columns

    def coordinates(self) -> list[Coordinate]:
        """Return the frequency axis."""
        return [frequency(self.representation.axis)]

    def mean(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Return the shape and dimensions of one frame; the mean is over all frames."""
        axis = self.representation.axis
        return (self.representation.channels, len(axis.values)), ("channel", "frequency")

    def cut(self, recordings: Sequence[Recording]) -> Cut:
        """Transform recordings."""
        shape, _ = self.mean()
        total, summed = np.zeros(shape), 0
        inputs, times, letters = [], [], []
        pieces: list[Piece] = []
        for recording in recordings:
            frames, middle = self.representation.utterance(recording.samples)
            if recording.training:
                total += frames.sum(axis=0, dtype=np.float64)
                summed += len(frames)
            inputs.append(frames)
            times.append(middle.astype(np.float32))
            pieces += recording.pieces
            if recording.letters is not None:
                letters.append(recording.letters)
        stored = joined(inputs, shape)
        rows: dict[str, NDArray[Any]] = {
            "input": stored[:, 0] if shape[0] == 1 else stored,
            "input_offset": lengths(inputs),
            "frame_time": joined(times),
            "waveform": joined([recording.samples for recording in recordings]),
            "waveform_offset": lengths([recording.samples for recording in recordings]),
            **item_rows(pieces),
        }
        if self.letters:
            rows["letter"] = np.concatenate([np.empty(0, dtype=np.int16), *letters])
            rows["letter_offset"] = lengths(letters)
            del rows["label"]
        return Cut(rows, [1] * len(recordings), total, summed)
