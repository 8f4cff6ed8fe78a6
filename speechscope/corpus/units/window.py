"""Windows of the raw waveform: samples are stored once (Muckenhirn 2019, sec. 4.1).

An item is the `length` samples around a point every `hop` samples. Beyond the ends of a recording
they are zeros (chosen: the paper does not say).
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
    item_columns,
    item_rows,
    joined,
    lengths,
    waveform_columns,
)
from speechscope.corpus.units.frame import covered


@dataclass(frozen=True)
class WindowUnit:
    """Windows as items.

    Parameters
    ----------
    length
        Of a window [samples].
    hop
        From the middle of one to the next [samples].
    rate
        Sampling rate [Hz].
    normalize
        ``utterance`` gives every recording mean 0 and variance 1, ``item`` every window when it is
        read; else the samples stay.
    """

    length: int
    hop: int
    rate: int
    normalize: str

    def columns(self) -> list[Column]:
        """Return the waveform; ``start`` and ``stop`` of an item are the ends of its window."""
        return [*waveform_columns(self.rate, "utterance_edge"), *item_columns(self.rate)]

    def coordinates(self) -> list[Coordinate]:
        """Return the time of every sample of a window from its middle [s]."""
        away = (np.arange(self.length) - self.length // 2) / self.rate
        return [Coordinate("time", away, ("time",), {"units": "s"})]

    def mean(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Return (1, 1, length): a waveform has one channel and no frequency axis."""
        return (1, 1, self.length), ("channel", "frequency", "time")

    def cut(self, recordings: Sequence[Recording]) -> Cut:
        """Find the windows whose middle a piece covers."""
        total, summed = np.zeros(self.length), 0
        waveforms, pieces, counts = [], [], []
        left = self.length // 2
        for recording in recordings:
            samples = recording.samples
            if self.normalize == "utterance":
                samples = (samples - samples.mean()) / samples.std()
            middle = np.arange(self.hop // 2, len(samples), self.hop, dtype=np.int64)
            chosen, labels = covered(middle, recording.pieces)
            starts = middle[chosen] - left
            pieces += [
                Piece(int(label), int(start), int(start) + self.length)
                for label, start in zip(labels, starts, strict=True)
            ]
            if recording.training:
                padded = np.pad(samples, (left, self.length))
                for start in starts + left:
                    found = padded[start : start + self.length]
                    total += standardised(found) if self.normalize == "item" else found
                summed += len(starts)
            waveforms.append(samples)
            counts.append(len(starts))
        rows: dict[str, NDArray[Any]] = {
            "waveform": joined(waveforms),
            "waveform_offset": lengths(waveforms),
            **item_rows(pieces),
        }
        return Cut(rows, counts, total[None, None], summed)


def standardised(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return windows (…, samples) with mean 0 and variance 1 each; silence stays silent."""
    centred = windows - windows.mean(-1, keepdims=True)
    spread = centred.std(-1, keepdims=True)
    found: NDArray[np.float32] = centred / np.where(spread > 0, spread, 1)
    return found
