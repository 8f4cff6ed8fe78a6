"""Phone segments: cut out by their time marks and padded to one length (Churchman 2015, sec. 3)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.units import (
    DIMS,
    Column,
    Cut,
    Indices,
    Piece,
    Recording,
    Rows,
    Unit,
    View,
    joined,
)
from speechscope.features.representations import SCOPES, Scaling
from speechscope.features.stft import Float, centred
from speechscope.registry import UNITS

AT_ONCE = 64
"""Segments padded and transformed at a time: near 1 MB, which stays in the cache."""
LENGTH_UNIT = 0.1
"""Seconds that count as 0 in the channel of lengths: about the mean length of a phone."""
SUMMED = 64
"""Items added up in single precision, before the sums are in double: four times as fast."""


class SegmentView(View):
    """Segments: rows of ``input``."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """See `View`."""
        channels, bins, frames = self._artifact.array("input").shape[1:]
        return int(channels), int(bins), int(frames)

    def read(self, items: Indices) -> Float:
        """See `View`."""
        return self._artifact.read_items("input", items)


@UNITS.register("segment")
class SegmentUnit(Unit):
    """Segments, each transformed on its own, padded with zeros on both sides (sec. 3.2).

    The settings `padding`: ``speech`` leaves what was said around a segment in its place; and
    `duration`: a last channel holds the segment's length everywhere, ln(seconds / `LENGTH_UNIT`):
    padded to one length, segments do not show it plainly.
    """

    edge = "item_edge"
    view = SegmentView

    @property
    def channels(self) -> tuple[str, ...]:
        """See `Unit`."""
        return (*super().channels, *["duration"] * self.settings.duration)

    @property
    def shape(self) -> tuple[int, ...]:
        """See `Unit`: an item."""
        return len(self.channels), *self.representation.shape[1:]

    def columns(self) -> list[Column]:
        """See `Unit`: ``input [item, channel, frequency, time]``."""
        attributes = {"long_name": self.settings.features, "units": "1"}
        dims = ("item", *DIMS)
        return [Column("input", np.float32, dims, attributes, row=self.shape), *super().columns()]

    def times(self) -> NDArray[np.float64]:
        """See `Unit`: the centre of each frame in the padded segment."""
        return self.representation.times

    def cut(self, recordings: Sequence[Recording | None]) -> Cut:
        """See `Unit`; the segments of all recordings are transformed together."""
        read = [recording for recording in recordings if recording is not None]
        waveforms = [self._waveform(r.samples, piece) for r in read for piece in r.pieces]
        pieces = [piece for r in read for piece in r.pieces]
        training = np.array([r.training for r in read for _ in r.pieces], dtype=bool)
        representation, scaling = self.representation, self._scaling(read)
        spectra = np.empty((len(pieces), *self.shape), dtype=np.float32)
        for first in range(0, len(pieces), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            padded = centred(waveforms[part], self.settings.length)
            own = scaling and Scaling(scaling.mean[part], scaling.deviation[part])
            if self.settings.duration:
                spectra[part, :-1] = representation.segments(padded, own)
                spectra[part, -1] = self._lengths(pieces[part])
            else:
                representation.segments(padded, own, spectra[part])
        nothing = np.empty(0, dtype=np.float32)
        rows = {
            "input": spectra,
            "waveform": np.concatenate([nothing, *waveforms]),
            "waveform_offset": np.array([len(waveform) for waveform in waveforms], dtype=np.int64),
            "label": np.array([piece.label for piece in pieces], dtype=np.int32),
            "start": np.array([piece.start for piece in pieces], dtype=np.int64),
            "stop": np.array([piece.stop for piece in pieces], dtype=np.int64),
        }
        counts = [0 if recording is None else len(recording.pieces) for recording in recordings]
        return Cut(rows, counts, _sum(spectra, training), int(training.sum()))

    def divides(self, recording: Recording, most: int) -> bool:
        """See `Unit`; each segment is cut by itself."""
        return len(recording.pieces) > most

    def together(self, parts: Sequence[Rows | None], training: Sequence[bool]) -> Cut:
        """See `Unit`; the sum is that of all segments together, as `cut` makes it."""
        counts = [0 if rows is None else len(rows["label"]) for rows in parts]
        rows = {column.name: joined(column, parts) for column in self.columns()}
        trained = np.repeat(np.array(training, dtype=bool), counts)
        return Cut(rows, counts, _sum(rows["input"], trained), int(trained.sum()))

    def _waveform(self, samples: Float, piece: Piece) -> Float:
        """Return the samples of a piece, with those around it where they are wanted."""
        if self.settings.padding != "speech":
            return samples[piece.start : piece.stop]
        size = self.settings.length
        start = piece.start - (size - (piece.stop - piece.start)) // 2
        out = np.zeros(size, dtype=np.float32)
        low, high = max(start, 0), min(start + size, len(samples))
        out[low - start : high - start] = samples[low:high]
        return out

    def _lengths(self, pieces: Sequence[Piece]) -> NDArray[np.float64]:
        """Return the channel of lengths, (N, 1, 1)."""
        samples = np.array([piece.stop - piece.start for piece in pieces])
        return np.log(samples / self.settings.sample_rate / LENGTH_UNIT)[:, None, None]

    def _scaling(self, recordings: Sequence[Recording]) -> Scaling | None:
        """Return the z-normalisation of every piece, measured on its whole recording."""
        used = [recording for recording in recordings if recording.pieces]
        if self.settings.normalize not in SCOPES or not used:
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
