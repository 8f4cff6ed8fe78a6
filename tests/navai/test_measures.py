"""Measures of patterns whose shape is known."""

import numpy as np
import pytest
from made import bursts

from speechscope.scores.navai import band_energy, bands, burst, strength, width
from speechscope.scores.voices import MEANS

FREQUENCY = np.arange(0, 8000, 100.0)
STEP = 0.01


def test_energy_in_the_bands_is_counted_against_their_width() -> None:
    flat = np.ones((80, 9))
    assert band_energy(flat, FREQUENCY, STEP, [(500, 900)]) == pytest.approx(1)
    peak = np.zeros((80, 9))
    peak[7] = 1.0
    # Bins from 200 to 4000 Hz are 39, those of the band 5.
    assert band_energy(peak, FREQUENCY, STEP, [(500, 900)]) == pytest.approx(39 / 5)
    assert band_energy(peak, FREQUENCY, STEP, [(1500, 1900)]) == 0
    assert band_energy(-peak, FREQUENCY, STEP, [(500, 900)]) == 0
    both = band_energy(peak, FREQUENCY, STEP, [(500, 900), (800, 1000)])
    assert both == pytest.approx(39 / 6)  # bands that overlap count once


def test_a_band_between_two_bins_has_the_nearest() -> None:
    peak = np.zeros((80, 9))
    peak[7] = 1.0
    assert band_energy(peak, FREQUENCY, STEP, [(710, 740)]) == pytest.approx(39)


def test_the_spectrum_is_taken_where_the_pattern_is_loudest() -> None:
    pattern = np.zeros((80, 31))
    pattern[7, 20], pattern[30, 2] = 5.0, 1.0
    assert band_energy(pattern, FREQUENCY, STEP, [(3000, 3000)]) == 0
    pattern[7, 20] = -5.0  # less than in the others: no formant
    assert band_energy(pattern, FREQUENCY, STEP, [(3000, 3000)]) > 30


def test_a_burst_stands_out_of_what_is_around_it() -> None:
    pattern = np.zeros((4, 17))
    pattern[:, 8] = 1.0
    assert burst(pattern, STEP) == pytest.approx(1 / np.sqrt(1 / 17))
    assert burst(-pattern, STEP) == pytest.approx(0.5 / np.sqrt(1 / 17))  # on both sides of it
    steady = np.ones((4, 11))
    assert burst(steady, STEP) == pytest.approx(0)
    assert np.isnan(burst(np.ones((4, 6)), STEP))


def test_a_burst_is_looked_for_in_the_middle() -> None:
    pattern = np.zeros((4, 206))
    pattern[:, 20] = 1.0
    assert burst(pattern, STEP) == 0
    pattern[:, 102] = 1.0
    assert burst(pattern, STEP) == pytest.approx(1 / np.sqrt(2 / 206))


def test_a_burst_is_lost_to_jitter() -> None:
    # Krug 2018, sec. 4.3: "spreading the strong signal … causes averaging out"; means of 400.
    found = [burst(bursts(jitter, STEP), STEP) for jitter in (0.0, 0.01, 0.02, 0.04)]
    chance = burst(bursts(0.0, STEP) - bursts(0.0, STEP, seed=1), STEP)
    assert found[0] > 5 and found == sorted(found, reverse=True)
    assert found[1] < 0.7 * found[0] and found[2] < 0.5 * found[0]
    assert found[3] > chance and chance < 0.7


def test_width_is_the_time_above_half_the_energy() -> None:
    pattern = np.zeros((3, 20))
    pattern[:, 8:11], pattern[:, 9], pattern[:, 15] = 0.8, 1.0, 0.9
    assert width(pattern, STEP) == pytest.approx(30)  # 0.64 of the energy counts, a gap ends it
    assert width(np.ones((3, 20)), STEP) == pytest.approx(200)


def test_strength_is_a_ratio_of_sizes() -> None:
    rng = np.random.default_rng(0)
    chance = rng.normal(size=(5, 6))
    assert strength(-3 * chance, chance) == pytest.approx(3)
    assert np.isnan(strength(chance, np.zeros((5, 6))))


@pytest.mark.parametrize("vowel", MEANS["M"])
def test_formants_lie_between_men_and_women(vowel: str) -> None:
    for number, (low, high) in enumerate(bands(vowel)):
        men, women = (MEANS[group][vowel][number + 1] for group in "MF")
        assert 200 < low < men <= women < high < 3000
