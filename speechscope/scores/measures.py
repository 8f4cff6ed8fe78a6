"""What scores of several kinds share: intervals of means, and the threshold of reconstructions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.features.distances import max_cross_correlation

Array = NDArray[np.floating[Any]]


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


def bootstrap(
    values: Array, seed: int = 0, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean over items.

    Items are drawn with replacement `resamples` times; the interval holds the middle `level` of the
    means. Source: Efron & Tibshirani 1993, sec. 13.3.

    Parameters
    ----------
    values : (N,)
    """
    rng = np.random.default_rng(seed)
    means = [
        float(values[rng.integers(0, len(values), len(values))].mean()) for _ in range(resamples)
    ]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def interval(values: Array) -> tuple[float, float, float]:
    """Return the mean over items and its 95 % interval (`bootstrap`); NaN items are left out."""
    kept = values[np.isfinite(values)]
    if len(kept) == 0:
        return np.nan, np.nan, np.nan
    return float(kept.mean()), *bootstrap(kept, resamples=1000)
