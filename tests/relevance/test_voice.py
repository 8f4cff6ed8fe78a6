"""F0 and formants of synthetic vowels, and their agreement."""

import numpy as np
import pytest
import scipy.signal
from numpy.typing import NDArray

from speechscope.relevance.waveforms import DEVIATIONS, measured, shared

RATE = 16000


def vowel(f0: float, formants: tuple[float, ...]) -> NDArray[np.float64]:
    """Pulses that fall by 6 dB an octave, as voices do, through resonances of 80 Hz; 250 ms."""
    signal = np.zeros(4000)
    signal[np.arange(0, 4000, RATE / f0).astype(int)] = 1.0
    signal = scipy.signal.lfilter([1], [1, -0.98], signal)
    for formant in (*formants, 3400.0, 4300.0, 5300.0, 6400.0):
        radius = np.exp(-np.pi * 80 / RATE)
        angle = 2 * np.pi * formant / RATE
        signal = scipy.signal.lfilter([1], [1, -2 * radius * np.cos(angle), radius**2], signal)
    return np.asarray(signal)


@pytest.mark.parametrize("f0", [120.0, 210.0])
@pytest.mark.parametrize("formants", [(730.0, 1090.0, 2440.0), (440.0, 1900.0, 2550.0)])
def test_what_was_synthesised_is_measured(f0: float, formants: tuple[float, ...]) -> None:
    found = measured(vowel(f0, formants), RATE)
    assert found[0] == pytest.approx(f0, rel=0.02)
    assert found[1] == pytest.approx(formants[0], rel=0.12)
    assert found[2] == pytest.approx(formants[1], rel=0.12)
    np.testing.assert_allclose(measured(1e-6 * vowel(f0, formants), RATE), found)


def test_a_glide_is_measured_in_its_middle() -> None:
    # From 100 to 150 Hz: the frames around the middle see 116 to 134 Hz.
    time = np.arange(4000) / RATE
    phase = np.cumsum(100 + 200 * time) / RATE
    signal = np.zeros(4000)
    signal[1:] = np.diff(np.floor(phase))
    found = measured(scipy.signal.lfilter([1], [1, -0.98], signal), RATE)
    assert found[0] == pytest.approx(125, abs=3)


def test_silence_has_nothing() -> None:
    assert np.isnan(measured(np.zeros(4000), RATE)).all()


def test_agreement_is_within_the_deviation_of_vowel_and_group() -> None:
    original = np.array([120.0, 750.0, 1300.0])
    group, right = shared(original, original + np.array([20, -62, 112]), "aa")
    assert group == "M" and right.tolist() == [1, 1, 0]
    higher = original + np.array([90, 0, 0])
    group, right = shared(higher, higher + np.array([0, -62, 112]), "aa")
    assert group == "F" and right.tolist() == [1, 1, 1]
    _, right = shared(np.array([np.nan, 750.0, 1300.0]), np.full(3, np.nan), "aa")
    assert np.isnan(right[0]) and right[1:].tolist() == [0, 0]
    assert DEVIATIONS["M"].keys() == DEVIATIONS["F"].keys()
    # Of speakers no vowel is known: 21.5, 36.8 and 108.2 Hz are the men's mean deviations.
    _, right = shared(original, original + np.array([21.4, 36.9, 108]), None)
    assert right.tolist() == [1, 0, 1]
