"""Slow formulas, written independently of the library, that its results are held against."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def stft(segments: Array, window: int, hop: int, points: int) -> Array:
    """Fourier transform of every frame by definition, one sum at a time over exp(-2πi kn/N)."""
    n = np.arange(window)
    taper = 0.54 - 0.46 * np.cos(2 * np.pi * n / (window - 1))
    bins = np.arange(points // 2 + 1)
    kernel = np.exp(-2j * np.pi * np.outer(bins, n) / points)
    frames = (segments.shape[1] - window) // hop + 1
    out = np.zeros((len(segments), len(bins), frames), dtype=complex)
    for item, segment in enumerate(segments.astype(float)):
        for frame in range(frames):
            out[item, :, frame] = kernel @ (taper * segment[frame * hop : frame * hop + window])
    return out


def overlap_add(spectra: Array, window: int, hop: int, points: int, samples: int) -> Array:
    """Inverse of real spectra: irfft of each frame, windowed, summed, over the squared windows."""
    n = np.arange(window)
    taper = 0.54 - 0.46 * np.cos(2 * np.pi * n / (window - 1))
    out = np.zeros((len(spectra), samples))
    for item, spectrum in enumerate(spectra.astype(float)):
        total = np.zeros(samples)
        for frame in range(spectrum.shape[1]):
            piece = np.fft.irfft(spectrum[:, frame], points)[:window]
            start = frame * hop
            out[item, start : start + window] += taper * piece
            total[start : start + window] += taper**2
        out[item] /= np.where(total > 0, total, 1)
    return out


def cross_correlation_peak(first: Array, second: Array) -> float:
    """Largest normalised cross-correlation over every lag, one dot product a lag."""
    best = -np.inf
    for lag in range(-len(first) + 1, len(second)):
        total = 0.0
        for n in range(len(first)):
            if 0 <= n + lag < len(second):
                total += first[n] * second[n + lag]
        best = max(best, total)
    return float(best) / float(np.sqrt(np.sum(first**2)) * np.sqrt(np.sum(second**2)))
