"""Scores: how well a network classifies, and how well an input was reconstructed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Array = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]


def max_cross_correlation(first: Array, second: Array) -> NDArray[np.float64]:
    """Return the largest normalised cross-correlation over all lags.

        max_m Σ_n x[n] y[n + m] / (‖x‖ ‖y‖)

    1 for signals that differ by a delay and a positive gain; 0 where one of them is silent.

    Parameters
    ----------
    first, second : (N, samples)

    Returns
    -------
    (N,), at most 1 up to rounding.

    Notes
    -----
    Churchman 2015, sec. 7: mxcorr on waveforms, and mxcorr2 on spectrograms written as vectors.
    """
    first, second = _rows(first), _rows(second)
    length = fft.next_fast_len(first.shape[1] + second.shape[1] - 1, real=True)
    spectrum = fft.rfft(first, length, axis=1)
    np.conjugate(spectrum, out=spectrum)
    spectrum *= fft.rfft(second, length, axis=1)
    peak = fft.irfft(spectrum, length, axis=1).max(axis=1)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    correlation: NDArray[np.float64] = np.zeros(len(peak))
    np.divide(peak, norms, out=correlation, where=norms > 0)
    return correlation


def euclidean(first: Array, second: Array) -> NDArray[np.float64]:
    """Return the Euclidean distance of every pair of items, (N,) (Churchman 2015, sec. 6.2)."""
    distance: NDArray[np.float64] = np.linalg.norm(_rows(first) - _rows(second), axis=1)
    return distance


def threshold(average: Array, waveforms: Array) -> float:
    """Return the waveform mxcorr that says nothing about an item.

    The mean, over items, of the mxcorr between each waveform and the one average waveform: below
    it the average is a better reconstruction (Churchman 2015, sec. 7.1.1).

    Parameters
    ----------
    average : (samples,), the inverse of the average spectrogram.
    waveforms : (N, samples)
    """
    repeated = np.broadcast_to(average, waveforms.shape)
    return float(max_cross_correlation(waveforms, repeated).mean())


def accuracy(labels: Labels, predicted: Labels) -> float:
    """Return the share of items whose prediction is their label."""
    return float(np.mean(labels == predicted))


def balanced_accuracy(labels: Labels, predicted: Labels) -> float:
    """Return the mean over the classes that occur of the share of their items found (recall)."""
    hits = np.bincount(labels[labels == predicted], minlength=int(labels.max()) + 1)
    counts = np.bincount(labels)
    occurring = counts > 0
    return float(np.mean(hits[: len(counts)][occurring] / counts[occurring]))


def _rows(values: Array) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64).reshape(len(values), -1)
