"""Sounds that are not speech, to be reconstructed beside it (Churchman 2015, sec. 7)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.registry import STIMULI

Waveform = NDArray[np.float32]

LOW, HIGH = 100.0, 6000.0
"""Range of the frequencies drawn [Hz]: that of speech, roughly (chosen)."""

LEVEL = 0.05
"""Root mean square while it sounds, about that of read speech (chosen)."""


@STIMULI.register("chirps")
def chirps(rng: np.random.Generator, time: NDArray[Any]) -> NDArray[Any]:
    """Return a sine that sweeps evenly between two random frequencies (sec. 7, fig. 8)."""
    first, last = np.exp(rng.uniform(np.log(LOW), np.log(HIGH), 2))
    phase = first * time + (last - first) * time**2 / (2 * time[-1])
    wave: NDArray[Any] = np.sin(2 * np.pi * (phase + rng.uniform()))
    return wave


@STIMULI.register("noise")
def noise(rng: np.random.Generator, time: NDArray[Any]) -> NDArray[Any]:
    """Return white noise."""
    return rng.normal(size=len(time))


@STIMULI.register("tones")
def tones(rng: np.random.Generator, time: NDArray[Any]) -> NDArray[Any]:
    """Return a sine of one random frequency."""
    frequency = np.exp(rng.uniform(np.log(LOW), np.log(HIGH)))
    wave: NDArray[Any] = np.sin(2 * np.pi * (frequency * time + rng.uniform()))
    return wave


@STIMULI.register("music-like")
def music_like(rng: np.random.Generator, time: NDArray[Any]) -> NDArray[Any]:
    """Return a major triad of decaying harmonic notes on a random semitone."""
    root = 110.0 * 2 ** (rng.integers(0, 25) / 12)
    wave = np.zeros(len(time))
    for interval in (0, 4, 7):
        for harmonic in range(1, 9):
            frequency = root * 2 ** (interval / 12) * harmonic
            decay = np.exp(-time * 6 * harmonic**0.5) / harmonic
            if frequency < HIGH:
                wave += decay * np.sin(2 * np.pi * (frequency * time + rng.uniform()))
    return wave


def make_stimuli(kind: str, count: int, samples: int, rate: int, seed: int) -> Waveform:
    """Return `count` sounds (count, samples) of a kind, each from a seed of its own.

    They last a random third to all of the segment, in its middle as the phones are, and are faded
    over 5 ms at both ends.

    Parameters
    ----------
    kind
        A key of `STIMULI`.
    samples
        Length of a segment [samples].
    rate
        Sampling rate [Hz].
    """
    out = np.zeros((count, samples), dtype=np.float32)
    for number, row in enumerate(out):
        rng = np.random.default_rng([seed, number])
        length = int(samples * rng.uniform(1 / 3, 1))
        wave = STIMULI[kind](rng, np.arange(length) / rate)
        wave *= LEVEL / np.sqrt(np.mean(np.square(wave)))
        fade = min(length // 2, int(0.005 * rate))
        ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / max(1, fade))
        wave[:fade] *= ramp
        wave[length - fade :] *= ramp[::-1]
        start = (samples - length) // 2
        row[start : start + length] = wave
    return out
