"""Speech and clusters that are made, so that what a measure ought to find is known."""

from collections.abc import Sequence

import numpy as np
import scipy.signal
from numpy.typing import NDArray

RATE = 16000


def blobs(size: int, seed: int, count: int = 7, dimensions: int = 20) -> NDArray[np.float32]:
    """Clouds of `size` points, ten times as far from each other as a point is from its centre."""
    rng = np.random.default_rng(seed)
    centres = 10 / np.sqrt(2) * rng.standard_normal((count, dimensions))
    points = centres[np.repeat(np.arange(count), size)]
    points += rng.standard_normal(points.shape)
    return np.asarray(points, dtype=np.float32)


def vowel(f0: float, formants: Sequence[float], begin: int = 0) -> NDArray[np.float64]:
    """Pulses that fall by 6 dB an octave, as voices do, through resonances of 80 Hz; 250 ms."""
    signal = np.zeros(4000)
    signal[begin + np.arange(0, 4000 - begin, RATE / f0).astype(int)] = 1.0
    signal = scipy.signal.lfilter([1], [1, -0.98], signal)
    for formant in (*formants, 3400.0, 4300.0, 5300.0, 6400.0):
        radius = np.exp(-np.pi * 80 / RATE)
        angle = 2 * np.pi * formant / RATE
        signal = scipy.signal.lfilter([1], [1, -2 * radius * np.cos(angle), radius**2], signal)
    return np.asarray(signal)


def bursts(jitter: float, step: float, count: int = 400, seed: int = 0) -> NDArray[np.float32]:
    """The mean of `count` spectrograms (40, 206) of noise with a burst of 10 ms about the middle.

    Parameters
    ----------
    jitter
        Standard deviation of the burst's place [s].
    step
        From one frame to the next [s].
    """
    rng = np.random.default_rng(seed)
    total = np.zeros((40, 206))
    for _ in range(count):
        item = rng.standard_normal(total.shape)
        place = 103 + round(rng.standard_normal() * jitter / step)
        item[:, place - 6 : place - 1] -= 1.0  # the closure
        item[:, place] += 3.0
        total += item
    return (total / count).astype(np.float32)
