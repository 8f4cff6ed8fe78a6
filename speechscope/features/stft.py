"""The papers' spectrogram: the real part of the short-time Fourier transform, and its inverse.

Churchman 2015 (sec. 3.2) omits "the imaginary values", Riemens 2015 (sec. 2.3) includes "simply
the real parts"; both read as the same array. A frame starts at the first point of its transform
and zeros follow it, so that with x[n] one windowed frame of W samples and N points

    S[k] = Re Σ_n x[n] exp(-2πi kn/N) = Σ_n x[n] cos(2πkn/N)

keeps the even part of the frame, (x[n] + x[N - n]) / 2. Where N ≥ 2W - 1 the two halves do not
meet and nothing is lost; with 400 points and 267 samples the later half of each frame is folded
onto itself, which is what limits the papers' round trip.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import get_window

Float = NDArray[np.float32]


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

    def real(self, segments: Float) -> Float:
        """Return the real part of the transform.

        Parameters
        ----------
        segments : (N, samples), amplitude in [-1, 1].

        Returns
        -------
        (N, bins, frames), in the unit of the samples.

        Notes
        -----
        Riemens 2015, sec. 2.3; Churchman 2015, sec. 3.2. Written as one matrix product with the
        windowed cosines: only the real part is wanted, and a product runs at the machine's peak.
        """
        return self._project(segments, _basis(self)[0])

    def magnitude(self, segments: Float) -> Float:
        """Return the modulus of the transform, (N, bins, frames) (Riemens 2015, sec. 2.3)."""
        cosine, sine = _basis(self)
        return np.hypot(self._project(segments, cosine), self._project(segments, sine))

    def _project(self, segments: Float, basis: Float) -> Float:
        frames = np.ascontiguousarray(self.frame(segments)).reshape(-1, self.window)
        spectra = (frames @ basis).reshape(len(segments), self.frames, self.bins)
        return np.ascontiguousarray(spectra.transpose(0, 2, 1))

    def inverse_real(self, spectrograms: NDArray[np.floating[Any]]) -> Float:
        """Turn real parts back into waveforms by weighted overlap-add.

            x[n] = Σ_t w[n - th] y_t[n - th] / Σ_t w[n - th]²

        with y_t the inverse transform of frame t, w the window and h the hop. Samples that no
        frame covers are zero.

        Parameters
        ----------
        spectrograms : (N, bins, frames)

        Returns
        -------
        (N, samples) float32
        """
        count = len(spectrograms)
        rows = np.ascontiguousarray(spectrograms.transpose(0, 2, 1), dtype=np.float32)
        frames = rows.reshape(-1, self.bins) @ _inverse_basis(self)
        frames = frames.reshape(count, self.frames, self.window)
        out = np.zeros((count, self.samples), dtype=np.float32)
        for index in range(self.frames):
            start = index * self.hop
            out[:, start : start + self.window] += frames[:, index]
        return out / _weight(self)


def centre(waveform: Float, samples: int) -> Float:
    """Pad a segment (n,) with zeros on both sides to `samples` (Churchman 2015, sec. 3.2).

    The odd zero goes to the end; the paper says only "zero-padded".
    """
    out = np.zeros(samples, dtype=np.float32)
    left = (samples - len(waveform)) // 2
    out[left : left + len(waveform)] = waveform
    return out


def _hamming(stft: Stft) -> NDArray[np.float64]:
    window: NDArray[np.float64] = get_window("hamming", stft.window, fftbins=False)
    return window


def _angles(stft: Stft) -> NDArray[np.float64]:
    # Reduced modulo the period in integers: cos(2π·large) would lose digits.
    turns = np.outer(np.arange(stft.window), np.arange(stft.bins)) % stft.points
    angles = np.asarray(turns * (2 * np.pi / stft.points), dtype=np.float64)
    return angles


@lru_cache(maxsize=8)
def _basis(stft: Stft) -> tuple[Float, Float]:
    """Windowed cosines and sines, each (window, bins)."""
    window, angles = _hamming(stft)[:, None], _angles(stft)
    cosine = (window * np.cos(angles)).astype(np.float32)
    return cosine, (window * np.sin(angles)).astype(np.float32)


@lru_cache(maxsize=8)
def _inverse_basis(stft: Stft) -> Float:
    """Return the inverse transform of a real spectrum times the window, (bins, window)."""
    # Bins other than 0 and the highest of an even transform stand for two conjugate ones.
    weights = np.full(stft.bins, 2.0)
    weights[0] = 1.0
    if stft.points % 2 == 0:
        weights[-1] = 1.0
    basis = (_hamming(stft)[:, None] * np.cos(_angles(stft)) * weights / stft.points).T
    return np.ascontiguousarray(basis, dtype=np.float32)


@lru_cache(maxsize=8)
def _weight(stft: Stft) -> Float:
    """Sum of the squared windows over every sample, 1 where there is none."""
    total = np.zeros(stft.samples)
    for index in range(stft.frames):
        total[index * stft.hop : index * stft.hop + stft.window] += _hamming(stft) ** 2
    return np.where(total > 0, total, 1.0).astype(np.float32)
