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
from speechscope.features.stft import centred

AT_ONCE = 64
"""Segments padded and transformed at a time: near 1 MB, which stays in the cache."""
LENGTH_UNIT = 0.1
"""Seconds that count as 0 in the channel of lengths: about the mean length of a phone."""
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
    speech
        Whether the room around a segment holds what was said there, rather than zeros.
    duration
        Whether a last channel holds the segment's length everywhere, ln(seconds / `LENGTH_UNIT`):
        padded to one length, segments do not show it plainly.
    """

    representation: Representation
    rate: int
    speech: bool = False
    duration: bool = False

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
        channels, bins, frames = self.representation.shape
        return (channels + self.duration, bins, frames), ("channel", "frequency", "time")

    def cut(self, recordings: Sequence[Recording]) -> Cut:
        """Cut out and transform the pieces of recordings."""
        waveforms: list[Float] = []
        pieces: list[Piece] = []
        training: list[bool] = []
        for recording in recordings:
            waveforms += [self._waveform(recording.samples, p) for p in recording.pieces]
            pieces += recording.pieces
            training += [recording.training] * len(recording.pieces)
        (shape, _), samples = self.mean(), self.representation.transform.samples
        scaling = self._scaling(recordings)
        spectra = np.empty((len(pieces), *shape), dtype=np.float32)
        for first in range(0, len(pieces), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            padded = centred(waveforms[part], samples)
            own = scaling and Scaling(scaling.mean[part], scaling.deviation[part])
            if self.duration:
                spectra[part, :-1] = self.representation.segments(padded, own)
                spectra[part, -1] = self._lengths(pieces[part])
            else:
                self.representation.segments(padded, own, spectra[part])
        rows: dict[str, NDArray[Any]] = {
            "input": spectra,
            "waveform": joined(waveforms),
            "waveform_offset": lengths(waveforms),
            **item_rows(pieces),
        }
        counts = [len(recording.pieces) for recording in recordings]
        return Cut(rows, counts, _sum(spectra, np.array(training, dtype=bool)), sum(training))

    def _waveform(self, samples: Float, piece: Piece) -> Float:
        """Return the samples of a piece, with those around it where they are wanted."""
        if not self.speech:
            return samples[piece.start : piece.stop]
        size = self.representation.transform.samples
        start = piece.start - (size - (piece.stop - piece.start)) // 2
        out = np.zeros(size, dtype=np.float32)
        low, high = max(start, 0), min(start + size, len(samples))
        out[low - start : high - start] = samples[low:high]
        return out

    def _lengths(self, pieces: Sequence[Piece]) -> NDArray[np.float64]:
        """Return the channel of lengths, (N, 1, 1)."""
        lasted = np.array([piece.stop - piece.start for piece in pieces]) / self.rate
        return np.log(lasted / LENGTH_UNIT)[:, None, None]

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
