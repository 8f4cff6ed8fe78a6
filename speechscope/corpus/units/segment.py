"""Phone segments: cut out by their time marks and padded to one length (Churchman 2015, sec. 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.units.cut import (
    Column,
    Coordinate,
    Cut,
    Float,
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
from speechscope.features.scaling import SCOPES, Scaling
from speechscope.features.stft import centre

AT_ONCE = 2048
"""Segments transformed at a time: 25 MB of spectrograms; more than a task has, as a rule."""
SUMMED = 64
"""Items added up in single precision, before the sums are in double: four times as fast."""


@dataclass(frozen=True)
class SegmentUnit:
    """Segments as items, each transformed on its own.

    Parameters
    ----------
    representation
        What becomes of the padded samples.
        Segments are padded to its length with zeros on both sides (sec. 3.2).
    rate
        Sampling rate [Hz].
    """

    representation: Representation
    rate: int

    def columns(self) -> list[Column]:
        """Return ``input [item, channel, frequency, time]``, the waveforms, and where they lay."""
        shape, dims = self.mean()
        attributes = {"long_name": self.representation.name, "units": "1"}
        return [
            Column("input", np.float32, ("item", *dims), attributes, row=shape),
            *waveform_columns(self.rate, "item_edge"),
            *item_columns(self.rate),
        ]

    def coordinates(self) -> list[Coordinate]:
        """Return the frequency axis [Hz] and the centre of each frame [s] in the segment."""
        return [
            frequency(self.representation.axis),
            Coordinate("time", self.representation.times, ("time",), {"units": "s"}),
        ]

    def mean(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Return the shape and dimensions of one item."""
        return self.representation.shape, ("channel", "frequency", "time")

    def cut(self, recordings: Sequence[Recording]) -> Cut:
        """Cut out and transform the pieces of recordings."""
        waveforms: list[Float] = []
        pieces: list[Piece] = []
        training: list[bool] = []
        for recording in recordings:
            waveforms += [recording.samples[p.start : p.stop] for p in recording.pieces]
            pieces += recording.pieces
            training += [recording.training] * len(recording.pieces)
        shape, samples = self.representation.shape, self.representation.transform.samples
        scaling = self._scaling(recordings)
        inputs = []
        for first in range(0, len(pieces), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            padded = np.stack([centre(waveform, samples) for waveform in waveforms[part]])
            own = scaling and Scaling(scaling.mean[part], scaling.deviation[part])
            inputs.append(self.representation.segments(padded, own))
        spectra = inputs[0] if len(inputs) == 1 else joined(inputs, shape)
        rows: dict[str, NDArray[Any]] = {
            "input": spectra,
            "waveform": joined(waveforms),
            "waveform_offset": lengths(waveforms),
            **item_rows(pieces),
        }
        counts = [len(recording.pieces) for recording in recordings]
        return Cut(rows, counts, _sum(spectra, np.array(training, dtype=bool)), sum(training))

    def _scaling(self, recordings: Sequence[Recording]) -> Scaling | None:
        """Return the z-normalisation of every piece, measured on its whole recording."""
        used = [recording for recording in recordings if recording.pieces]
        if self.representation.normalize not in SCOPES or not used:
            return None
        scalings = [self.representation.scaling(recording.samples) for recording in used]
        return Scaling.join(scalings, [len(recording.pieces) for recording in used])


def _sum(inputs: Float, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the sum of the chosen inputs (N, C, F, T) in float64."""
    total = np.zeros(inputs.shape[1:])
    used = inputs if chosen.all() else inputs[chosen]
    for first in range(0, len(used), SUMMED):
        total += used[first : first + SUMMED].sum(axis=0)
    return total
