"""How far a reconstruction is from its original: spectrograms and waveforms, item by item."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from speechscope.errors import SpeechscopeError

Array = NDArray[np.floating[Any]]


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
    return np.asarray(cross_correlations(first, second, [slice(None)])[0])


def cross_correlations(
    first: Array, second: Array, orders: Sequence[slice | NDArray[np.int64]]
) -> NDArray[np.float64]:
    """Return `max_cross_correlation` of the first with the second in several orders, (orders, N).

    Parameters
    ----------
    orders
        Which of the second each of the first is held against.
    """
    first, second = _rows(first), _rows(second)
    length = fft.next_fast_len(first.shape[1] + second.shape[1] - 1, real=True)
    conjugate = np.conjugate(fft.rfft(first, length, axis=1))
    spectrum = fft.rfft(second, length, axis=1)
    norms = [np.linalg.norm(values, axis=1) for values in (first, second)]
    out = np.zeros((len(orders), len(first)))
    for row, order in zip(out, orders, strict=True):
        peak = fft.irfft(conjugate * spectrum[order], length, axis=1).max(axis=1)
        size = norms[0] * norms[1][order]
        np.divide(peak, size, out=row, where=size > 0)
    return out


def euclidean(first: Array, second: Array) -> NDArray[np.float64]:
    """Return the Euclidean distance of every pair of items, (N,) (Churchman 2015, sec. 6.2)."""
    distance: NDArray[np.float64] = np.linalg.norm(_rows(first) - _rows(second), axis=1)
    return distance


def correlation(first: Array, second: Array) -> NDArray[np.float64]:
    """Return the correlation of every pair after the best gain, (N,).

        Σ x y / (‖x‖ ‖y‖) = √(1 − min_g ‖x − g y‖² / ‖x‖²), with the sign of the best gain g

    0 where one of them is silent. No delay is allowed for.

    Parameters
    ----------
    first, second : (N, …)
    """
    first, second = _rows(first), _rows(second)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    product = np.einsum("ij,ij->i", first, second)
    out: NDArray[np.float64] = np.zeros(len(first))
    np.divide(product, norms, out=out, where=norms > 0)
    return out


def intensity(original: Array, restored: Array) -> NDArray[np.float64]:
    """Return ‖restored‖ / ‖original‖ of every item, (N,); 0 where the original is silent.

    Churchman 2015, sec. 7.1.1: "the reconstructed spectrogram intensities are greatly reduced".
    """
    sizes = np.linalg.norm(_rows(original), axis=1)
    ratio: NDArray[np.float64] = np.zeros(len(sizes))
    np.divide(np.linalg.norm(_rows(restored), axis=1), sizes, out=ratio, where=sizes > 0)
    return ratio


LSD_FRAME, LSD_HOP, LSD_RANGE = 400, 160, 60.0
"""Frames of 25 ms every 10 ms at 16 kHz, and the range below the loudest point [dB] (chosen)."""


def log_spectral_distance(first: Array, second: Array) -> NDArray[np.float64]:
    """Return the log-spectral distance of every pair of waveforms after the best level, (N,) [dB].

        mean over frames t of √( mean over bins k of (L1[k, t] − L2[k, t])² )

    with L the power spectrum in dB, no lower than `LSD_RANGE` below its loudest point, and L2
    brought to the mean level of L1: levels are scored by `intensity`. Only frames in which the
    first sounds count. Source: Gray & Markel 1976, "Distance measures for speech processing".

    Parameters
    ----------
    first, second : (N, samples)
    """
    return level_distance(*(levels(powers(_rows(waveforms))) for waveforms in (first, second)))


def powers(waveforms: Array) -> Array:
    """Return short-time power spectra (N, frames, bins) of waveforms (N, samples)."""
    if waveforms.shape[1] < LSD_FRAME:
        waveforms = np.pad(waveforms, ((0, 0), (0, LSD_FRAME - waveforms.shape[1])))
    frames = np.lib.stride_tricks.sliding_window_view(waveforms, LSD_FRAME, axis=1)[:, ::LSD_HOP]
    spectra = fft.rfft(frames * np.hanning(LSD_FRAME).astype(waveforms.dtype), axis=2)
    return np.asarray(np.square(spectra.real) + np.square(spectra.imag))


def levels(power: Array) -> NDArray[np.float64]:
    """Return power (N, frames, bins) in dB of its loudest point, with a floor at `LSD_RANGE`."""
    loudest = power.max(axis=(1, 2), keepdims=True)
    scaled = power / np.where(loudest > 0, loudest, 1.0)
    level: NDArray[np.float64] = 10 * np.log10(np.maximum(scaled, 10 ** (-LSD_RANGE / 10)))
    return level


def level_distance(first: Array, second: Array) -> NDArray[np.float64]:
    """Return the distance of `levels` (N, frames, bins) after the best level, (N,) [dB].

    Only frames in which the first sounds count; see `log_spectral_distance`.
    """
    sounding = (first > first.min(axis=(1, 2), keepdims=True) + 1e-9).any(axis=2)
    weight = sounding / np.maximum(1, sounding.sum(axis=1, keepdims=True))
    means = [np.einsum("nt,ntk->n", weight, level) / level.shape[2] for level in (first, second)]
    apart = (first - means[0][:, None, None]) - (second - means[1][:, None, None])
    distance: NDArray[np.float64] = np.sum(
        weight * np.sqrt(np.mean(np.square(apart), axis=2)), axis=1
    )
    return distance


STOI_SECONDS = 0.4
"""STOI compares stretches of 384 ms and needs speech of at least that length."""


def stoi(original: Array, restored: Array, rate: int) -> float | None:
    """Return the short-time objective intelligibility of one recording, about 0 to 1.

    None for less than `STOI_SECONDS`, and where nothing sounds: phones by themselves are too short.
    Source: Taal et al. 2011; computed by the library pystoi.

    Parameters
    ----------
    original, restored : (samples,)
    rate
        Sampling rate [Hz].

    Raises
    ------
    SpeechscopeError
        pystoi is not installed.
    """
    try:
        from pystoi import stoi as measure
    except ModuleNotFoundError as error:
        raise SpeechscopeError("STOI needs pystoi; pip install 'speechscope[speech]'") from error
    if len(original) < STOI_SECONDS * rate or not np.any(original) or not np.any(restored):
        return None
    with warnings.catch_warnings():
        # pystoi warns, and answers 1e-5, when too little of it is louder than its floor.
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(measure(original, restored, rate, extended=False))
        except RuntimeWarning:
            return None


def _rows(values: Array) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64).reshape(len(values), -1)


PAIRINGS = 4
"""Other items that every item is held against (chosen)."""


def partners(count: int, seed: int = 0) -> NDArray[np.int64]:
    """Return other items of each item, (pairings, count); each is as often one as it has some.

    What belongs together, were pairs lost: a random order, moved along by several distances, each
    with its opposite.
    """
    order = np.random.default_rng(seed).permutation(count)
    steps = np.unique(np.round(count * np.arange(1, PAIRINGS + 1) / (PAIRINGS + 1)).astype(int))
    steps = np.unique([step for step in (*steps, *(count - steps)) if 0 < step < count])
    out = np.empty((len(steps), count), dtype=np.int64)
    for row, step in zip(out, steps, strict=True):
        row[order] = np.roll(order, -int(step))
    return out


def with_others(
    score: Callable[[NDArray[np.int64]], Array], pairs: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return what every item gets by chance when pairs are `lost`, (N,).

    Parameters
    ----------
    score
        Scores each item's original with the reconstructions of others, given which, (N,).
    pairs
        From `partners`.
    """
    return lost(np.array([score(pair) for pair in pairs]), pairs)


def lost(others: Array, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what every item gets by chance when pairs are lost, (N,).

    The mean over its partners, plus that of those whose partner it is, less the mean of all: what
    is particular to an original or to a reconstruction, as being loud, is not its resemblance.

    Parameters
    ----------
    others
        The score of each item's original with its partners' reconstructions, (pairings, N).
    pairs
        From `partners`.
    """
    if not len(pairs):
        return np.full(pairs.shape[1], np.nan)
    theirs = np.empty_like(others, dtype=np.float64)
    for row, values, pair in zip(theirs, others, pairs, strict=True):
        row[pair] = values
    return np.asarray(others.mean(0) + theirs.mean(0) - others.mean())
