"""The papers' spectrogram: the real part of the short-time Fourier transform, and its inverse.

Churchman 2015 (sec. 3.2) omits "the imaginary values", Riemens 2015 (sec. 2.3) includes "simply
the real parts"; both read as the same array. A frame starts at the first point of its transform
and zeros follow it, so that with x[n] one windowed frame of W samples and N points

    S[k] = Re Σ_n x[n] exp(-2πi kn/N) = Σ_n x[n] cos(2πkn/N)

keeps the even part of the frame, (x[n] + x[N - n]) / 2. Where N ≥ 2W - 1 the two halves do not
meet and nothing is lost; with 400 points and 267 samples the later half of each frame is folded
onto itself, which is what limits the papers' round trip.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import fft

if TYPE_CHECKING:
    from torch import Tensor

Float = NDArray[np.float32]
Complex = NDArray[np.complex64]
Scalar = TypeVar("Scalar", np.float32, np.complex64)


@dataclass(frozen=True)
class Stft:
    """The settings of a short-time Fourier transform.

    Parameters
    ----------
    samples
        Length of the padded segment [samples].
    window
        Length of the Hamming window [samples].
    overlap
        Samples that neighbouring frames share.
    points
        Length of the Fourier transform; ``points // 2 + 1`` frequency bins result.
    rate
        Sampling rate [Hz].
    """

    samples: int
    window: int
    overlap: int
    points: int
    rate: int

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return self.window - self.overlap

    @property
    def bins(self) -> int:
        """Frequency bins, from 0 Hz to half the sampling rate."""
        return self.points // 2 + 1

    @property
    def frames(self) -> int:
        """Whole frames that fit into a segment."""
        return (self.samples - self.overlap) // self.hop

    @property
    def frequencies(self) -> NDArray[np.float64]:
        """Frequency of each bin [Hz]."""
        return np.arange(self.bins, dtype=np.float64) * (self.rate / self.points)

    @property
    def times(self) -> NDArray[np.float64]:
        """Centre of each frame [s]."""
        return (np.arange(self.frames) * self.hop + self.window / 2) / self.rate

    def frame(self, segments: Float) -> Float:
        """Cut segments (N, samples) into a view of frames (N, frames, window)."""
        all_starts = np.lib.stride_tricks.sliding_window_view(segments, self.window, axis=-1)
        framed: Float = all_starts[:, :: self.hop][:, : self.frames]
        return framed

    def magnitude(self, segments: Float) -> Float:
        """Return the modulus of the transform, (N, bins, frames) (Riemens 2015, sec. 2.3)."""
        return self._columns(np.abs(spectrum_rows(self, self._rows(segments))))

    def spectrum(self, segments: Float) -> Complex:
        """Return the transform itself, (N, bins, frames) complex64 (Riemens 2015, sec. 2.2)."""
        return self._columns(spectrum_rows(self, self._rows(segments)))

    def inverse(self, spectra: NDArray[np.inexact[Any]]) -> Float:
        """Turn spectra back into waveforms by weighted overlap-add.

            x[n] = Σ_t w[n - th] y_t[n - th] / Σ_t w[n - th]²

        with y_t the inverse transform of frame t, periodic in the transform's length, w the
        window and h the hop. It undoes `spectrum` where the transform is at least as long as the
        window. Samples that no frame covers are zero.

        Parameters
        ----------
        spectra : (N, bins, frames), complex or real

        Returns
        -------
        (N, samples) float32
        """
        rows = np.ascontiguousarray(spectra.transpose(0, 2, 1), dtype=np.complex64)
        frames = fft.irfft(rows.reshape(-1, self.bins), self.points, axis=1)
        if self.points < self.window:
            frames = np.take(frames, np.arange(self.window) % self.points, axis=1)
        windowed = frames[:, : self.window] * _hamming(self.window)
        frames = windowed.reshape(-1, self.frames, self.window)
        out = np.zeros((len(frames), self.samples), dtype=np.float32)
        for index in range(self.frames):
            start = index * self.hop
            out[:, start : start + self.window] += frames[:, index]
        return out / _weight(self)

    def _rows(self, segments: Float) -> Float:
        return np.ascontiguousarray(self.frame(segments)).reshape(-1, self.window)

    def _columns(self, rows: NDArray[Scalar]) -> NDArray[Scalar]:
        spectra = rows.reshape(-1, self.frames, self.bins)
        return np.ascontiguousarray(spectra.transpose(0, 2, 1))


def spectrum_rows(stft: Stft, frames: Float) -> Complex:
    """Return the transform of frames (R, window), as (R, bins) complex64.

    A transform shorter than the window is sampled from the same sum: exp(-2πi kn/N) repeats after
    N samples, so the windowed frame is folded onto N of them first.
    """
    padded = np.empty((len(frames), stft.points), dtype=np.float32)
    window, first = _hamming(stft.window), min(stft.window, stft.points)
    np.multiply(frames[:, :first], window[:first], out=padded[:, :first])
    padded[:, first:] = 0
    for start in range(first, stft.window, stft.points):
        stop = min(start + stft.points, stft.window)
        padded[:, : stop - start] += frames[:, start:stop] * window[start:stop]
    transformed: Complex = fft.rfft(padded, axis=1)
    return transformed


def spectra_on_device(stft: Stft, frames: "Tensor") -> "Tensor":
    """Return what `spectrum_rows` does of a tensor of frames (…, window), on its device.

    It can be differentiated.
    """
    windowed = frames * like(_hamming(stft.window), frames)
    if stft.window > stft.points:
        folds, rows = -(-stft.window // stft.points), frames.shape[:-1]
        room = windowed.new_zeros(*rows, folds * stft.points)
        room[..., : stft.window] = windowed
        windowed = room.view(*rows, folds, stft.points).sum(-2)
    spectra: Tensor = xp(frames).fft.rfft(windowed, stft.points)
    return spectra


def xp(x: Any) -> Any:
    """Return what has the functions for an array: NumPy, or PyTorch."""
    return np if isinstance(x, np.ndarray) else sys.modules["torch"]


def like(array: NDArray[Any], x: Any) -> Any:
    """Return an array as one that can be multiplied with x: NumPy's, or a tensor as x is."""
    return array if isinstance(x, np.ndarray) else xp(x).from_numpy(array).to(x)


def centred(waveforms: Sequence[Float], samples: int) -> Float:
    """Pad segments, each (n,), with zeros on both sides to (N, samples) (Churchman 2015, sec. 3.2).

    The odd zero goes to the end; the paper says only "zero-padded".
    """
    out = np.zeros((len(waveforms), samples), dtype=np.float32)
    for row, waveform in zip(out, waveforms, strict=True):
        left = (samples - len(waveform)) // 2
        row[left : left + len(waveform)] = waveform
    return out


@lru_cache(maxsize=8)
def _hamming(window: int) -> Float:
    taper: Float = np.hamming(window).astype(np.float32)  # scipy.signal takes a second to import
    return taper


@lru_cache(maxsize=8)
def _weight(stft: Stft) -> Float:
    """Sum of the squared windows over every sample, 1 where there is none."""
    total = np.zeros(stft.samples)
    for index in range(stft.frames):
        total[index * stft.hop : index * stft.hop + stft.window] += _hamming(stft.window) ** 2
    return np.where(total > 0, total, 1.0).astype(np.float32)


@dataclass(frozen=True)
class Transform:
    """The sizes of a representation.

    Parameters
    ----------
    samples
        Length of a padded segment [samples]. Whole utterances may have any.
    window
        Length of the Hamming window [samples].
    overlap
        Samples that neighbouring frames share.
    bins
        Values along the frequency axis: frequency bins of an STFT, bands of mel, log-mel and
        gammatone, coefficients of MFCC.
    rate
        Sampling rate [Hz].
    """

    samples: int
    window: int
    overlap: int
    bins: int
    rate: int

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return self.window - self.overlap

    def stft(self, points: int) -> Stft:
        """Return the short-time Fourier transform of these sizes with `points` points."""
        return Stft(self.samples, self.window, self.overlap, points, self.rate)


@dataclass(frozen=True)
class Axis:
    """The frequency axis of a representation.

    Parameters
    ----------
    name
        ``frequency`` or ``cepstrum``.
    values : (F,)
        Frequency of every bin, or centre of every band, in Hz; number of every coefficient.
    units
        ``Hz`` or ``1``.
    """

    name: str
    values: NDArray[np.float64]
    units: str
