"""What a phonetician measures of a sound: level, length, spectrum, voicing, pitch, formants."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Waveforms = NDArray[np.floating[Any]]
Values = NDArray[np.float64]

FRAME = 0.01
"""Of the energies that tell the duration [s] (chosen)."""
DIVIDE = 1000.0
"""Tilt is the level above it over that below [Hz]; Praat's "Get slope", which leaves it open."""
TOP = 4000.0
FLOOR, CEILING = 75.0, 600.0
"""Praat's range of pitch [Hz]."""
VOICED = 0.45
"""Praat's threshold of voicing, on the autocorrelation."""
FORMANTS, HIGHEST, WINDOW = 5.0, 5500.0, 0.025
"""Praat's standard: five formants below 5500 Hz (of men often 5000), frames of 25 ms."""
MIDDLE = 0.12
"""Of the middle from which formants are taken [s]; they are those of its middle 30 ms (chosen)."""


def loudness(waveforms: Waveforms, rate: int) -> Values:
    """Return the level of each waveform [dB]; NaN of silence."""
    return _decibels(np.square(waveforms, dtype=np.float64).mean(1))


def duration(waveforms: Waveforms, rate: int) -> Values:
    """Return for how long each sounds, (Σ e)² / Σ e² frames of energy e [s]; NaN of silence.

    The length of a sound of even energy with the same spread; no threshold is needed.
    """
    size = max(1, round(FRAME * rate))
    count = waveforms.shape[1] // size
    energy = np.square(waveforms[:, : count * size], dtype=np.float64)
    energy = energy.reshape(len(waveforms), count, size).sum(2)
    return _over(energy.sum(1) ** 2, (energy**2).sum(1)) * FRAME


def centre_of_gravity(waveforms: Waveforms, rate: int) -> Values:
    """Return the mean frequency of each power spectrum [Hz], as Praat's with power 2."""
    power, frequency = _spectrum(waveforms, rate)
    return _over(power @ frequency, power.sum(1))


def tilt(waveforms: Waveforms, rate: int) -> Values:
    """Return the mean power from 1 to 4 kHz over that below [dB]."""
    power, frequency = _spectrum(waveforms, rate)
    low, high = frequency < DIVIDE, (frequency >= DIVIDE) & (frequency < TOP)
    return _decibels(_over(power[:, high].mean(1), power[:, low].mean(1)))


def pitch(waveforms: Waveforms, rate: int) -> tuple[Values, Values]:
    """Return how periodic each waveform is, 0 to 1, and its F0 [Hz]; NaN where it is not voiced.

    Praat's autocorrelation method (Boersma 1993): the strongest candidate of all frames, and the
    median F0 of those above its threshold of voicing.
    """
    import parselmouth

    out = np.full((2, len(waveforms)), np.nan)
    for column, samples in enumerate(_scaled(waveforms)):
        if not samples.any():
            continue
        found = parselmouth.Sound(samples, rate).to_pitch_ac(
            time_step=FRAME,
            pitch_floor=FLOOR,
            pitch_ceiling=CEILING,
            silence_threshold=0.0,
            voicing_threshold=0.0,
        )
        frames = found.selected_array
        strength, hertz = frames["strength"], frames["frequency"]
        voiced = (strength > VOICED) & (hertz > 0)
        out[0, column] = strength.max(initial=0.0)
        if voiced.any():
            out[1, column] = np.median(hertz[voiced])
    return out[0], out[1]


def formants(waveforms: Waveforms, rate: int) -> tuple[Values, Values]:
    """Return F1 and F2 [Hz] in the middle of each waveform; NaN where there are none.

    Praat's "To Formant (burg)" of the middle alone.
    """
    import parselmouth

    out = np.full((2, len(waveforms)), np.nan)
    samples = waveforms.shape[1]
    half = min(samples, round(MIDDLE * rate)) // 2
    for column, row in enumerate(_scaled(waveforms[:, samples // 2 - half : samples // 2 + half])):
        if not row.any():
            continue
        found = parselmouth.Sound(row, rate).to_formant_burg(
            time_step=FRAME,
            max_number_of_formants=FORMANTS,
            maximum_formant=min(HIGHEST, rate / 2),
            window_length=WINDOW,
        )
        times = half / rate + FRAME * np.arange(-1, 2)
        for number in (0, 1):
            values = np.array([found.get_value_at_time(number + 1, time) for time in times])
            if np.isfinite(values).any():
                out[number, column] = np.nanmean(values)
    return out[0], out[1]


PLAIN: Mapping[str, Callable[[Waveforms, int], Values]] = {
    "intensity": loudness,
    "duration": duration,
    "centre of gravity": centre_of_gravity,
    "spectral tilt": tilt,
}
PRAAT = ("voicing", "F0", "F1", "F2")
OCTAVES = ("F0", "F1", "F2")
"""Attributes that are compared by octaves."""


def in_octaves(name: str, values: Waveforms) -> Values:
    """Return values of an attribute as they are compared: those in `OCTAVES` by octaves."""
    return np.asarray(np.log2(values) if name in OCTAVES else values, dtype=np.float64)


def available() -> bool:
    """Say whether Praat is installed."""
    return find_spec("parselmouth") is not None


def attributes(
    waveforms: Waveforms, rate: int, vowels: NDArray[np.bool_], *, praat: bool
) -> dict[str, Values]:
    """Return what is measured of waveforms (N, samples), (N,) each.

    Parameters
    ----------
    vowels
        Which of them are to have formants, (N,).
    praat
        Whether to measure with Praat, too.
    """
    found = {name: measure(waveforms, rate) for name, measure in PLAIN.items()}
    if praat:
        found["voicing"], found["F0"] = pitch(waveforms, rate)
        for name, values in zip(PRAAT[2:], formants(waveforms[vowels], rate), strict=True):
            found[name] = np.full(len(waveforms), np.nan)
            found[name][vowels] = values
    return found


def _scaled(waveforms: Waveforms) -> Waveforms:
    largest = np.abs(waveforms).max(axis=1, keepdims=True)
    return np.asarray(waveforms, dtype=np.float64) / np.where(largest > 0, largest, 1)


def _spectrum(waveforms: Waveforms, rate: int) -> tuple[Values, Values]:
    spectra = fft.rfft(np.asarray(waveforms, dtype=np.float32), axis=1)
    power = np.square(spectra.real, dtype=np.float64) + np.square(spectra.imag, dtype=np.float64)
    return power, np.arange(power.shape[1]) * (rate / waveforms.shape[1])


def _over(first: Values, second: Values) -> Values:
    out: Values = np.full(len(first), np.nan)
    np.divide(first, second, out=out, where=second > 0)
    return out


def _decibels(power: Values) -> Values:
    level: Values = np.full(len(power), np.nan)
    np.log10(power, out=level, where=power > 0)
    return 10 * level
