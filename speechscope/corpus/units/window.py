"""Windows of the raw waveform: samples are stored once (Muckenhirn 2019, sec. 4.1).

An item is the `length` samples around a point every `window` - `overlap` samples. Beyond the ends
of a recording they are zeros (chosen: the paper does not say).
"""

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.phones import PhoneSet
from speechscope.corpus.units import (
    PER_UTTERANCE,
    Indices,
    Piece,
    Recording,
    Rows,
    Unit,
    View,
    covered,
    stretches,
)
from speechscope.features.stft import Float
from speechscope.registry import UNITS
from speechscope.store.artifact import Artifact

UNLABELLED = "?"
"""The class of what nobody gave one."""


def named(phones: PhoneSet | None) -> tuple[str, ...]:
    """Return the names of phones; none where nobody marked any."""
    return () if phones is None or phones.classes == (UNLABELLED,) else phones.classes


def standardised(windows: Float) -> Float:
    """Return windows (…, samples) with mean 0 and variance 1 each; silence stays silent."""
    centred = windows - windows.mean(-1, keepdims=True)
    spread = centred.std(-1, keepdims=True)
    scaled: Float = centred / np.where(spread > 0, spread, 1)
    return scaled


class WindowView(View):
    """Windows of the waveform; zeros beyond the ends of its recording."""

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact)
        edges, utterance = artifact.read("waveform_offset"), artifact.read("utterance")
        self._first, self._last = edges[utterance], edges[utterance + 1]
        self._start = self._first + artifact.read("start")
        self._last = np.minimum(self._last, self._first + artifact.read("stop"))

    @property
    def shape(self) -> tuple[int, int, int]:
        """See `View`: (1, 1, samples)."""
        return 1, 1, int(self._config["samples"])

    def read(self, items: Indices) -> Float:
        """See `View`."""
        length = self.shape[-1]
        start, first, last = self._start[items], self._first[items], self._last[items]
        low, high = np.maximum(start, first), np.minimum(start + length, last)
        out = np.zeros((len(items), length), dtype=np.float32)
        for row, samples in stretches(self._artifact, low, high):
            left = int(low[row] - start[row])
            out[row, left : left + len(samples)] = samples
        if self._config["normalize"] == "item":
            out = standardised(out)
        return out[:, None, None]


@UNITS.register("window")
class WindowUnit(Unit):
    """Windows whose middle a labelled stretch covers; ``start`` and ``stop`` are their ends.

    The setting `normalize`: ``utterance`` gives every recording mean 0 and variance 1, ``item``
    every window when it is read; else the samples stay.
    """

    view = WindowView
    channels = ("samples",)

    @property
    def shape(self) -> tuple[int, ...]:
        """See `Unit`: a waveform has one channel and no frequency axis."""
        return 1, 1, self.settings.length

    def times(self) -> NDArray[np.float64]:
        """See `Unit`: the time of every sample of a window from its middle."""
        length = self.settings.length
        return np.asarray((np.arange(length) - length // 2) / self.settings.sample_rate)

    def items(self, recording: Recording) -> Rows:
        """See `Unit`."""
        samples, chosen = recording.samples, self.settings
        if chosen.normalize == "utterance":
            samples = (samples - samples.mean()) / samples.std()
        hop = chosen.window - chosen.overlap
        middle = np.arange(hop // 2, len(samples), hop, dtype=np.int64)
        inside, labels = covered(middle, recording.pieces)
        starts = middle[inside] - chosen.length // 2
        return {
            "waveform": samples,
            "waveform_offset": np.array([len(samples)]),
            "label": labels,
            "start": starts,
            "stop": starts + chosen.length,
        }

    def add(self, rows: Rows, total: NDArray[np.float64]) -> int:
        """See `Unit`."""
        length = self.settings.length
        padded = np.pad(rows["waveform"], (length // 2, length))
        for start in rows["start"] + length // 2:
            window = padded[start : start + length]
            total[0, 0] += standardised(window) if self.settings.normalize == "item" else window
        return len(rows["start"])


class WholeWaveforms(WindowUnit):
    """Whole recordings as windows that begin with them, and the times of their phones.

    Of recordings that nobody marked (`UNLABELLED`), each stretch of their manifest is an item.
    Their class is `UNLABELLED`; behind the end of shorter ones than the longest, whose length is
    the setting `length`, are zeros.
    """

    @property
    def edge(self) -> str:  # type: ignore[override]
        """See `Unit`."""
        return "item_edge" if self.phones else PER_UTTERANCE

    def times(self) -> NDArray[np.float64]:
        """See `Unit`: from the first sample of an item."""
        return np.arange(self.settings.length) / self.settings.sample_rate

    def items(self, recording: Recording) -> Rows:
        """See `Unit`."""
        samples = recording.samples
        if self.settings.normalize == "utterance":
            samples = (samples - samples.mean()) / samples.std()
        whole = Piece(0, 0, len(samples))
        pieces = [whole] if self.phones else recording.pieces
        return {
            "waveform": samples,
            "waveform_offset": np.array([len(samples)]),
            "label": np.zeros(len(pieces), dtype=np.int64),
            "start": np.array([piece.start for piece in pieces]),
            "stop": np.array([piece.stop for piece in pieces]),
            **self.phone_rows(recording.pieces),
        }

    def add(self, rows: Rows, total: NDArray[np.float64]) -> int:
        """See `Unit`."""
        for start, stop in zip(rows["start"], rows["stop"], strict=True):
            total[0, 0, : stop - start] += rows["waveform"][start:stop]
        return len(rows["start"])
