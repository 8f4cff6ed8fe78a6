"""F0 and formants of vowels that are made, what is left of them by a filter, and by chance."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
from made import RATE, vowel
from numpy.typing import NDArray

from speechscope.scores.statistics import OTHER, UNTRAINED
from speechscope.scores.voices import (
    DEVIATIONS,
    MEANS,
    NOISE,
    Voices,
    equalised,
    formants,
    levels,
    pitch,
    steady,
    within,
)

TABLE = Path(__file__).parents[3] / "shared/data/hillenbrand/h95.csv"


def measured(signals: NDArray[np.float64]) -> NDArray[np.float64]:
    """F0, F1, F2 of signals (N, n), as they are."""
    f0 = [pitch(signal, RATE) for signal in signals]
    return np.column_stack([f0, formants(levels(signals, RATE), RATE)])


NAMES = {
    "A": "aa", "{": "ae", "V": "ah", "O": "ao", "E": "eh", "3'": "er",
    "e": "ey", "I": "ih", "i": "iy", "o": "ow", "U": "uh", "u": "uw",
}  # fmt: skip


@pytest.fixture(scope="module")
def made() -> tuple[NDArray[np.float64], list[str], list[str]]:
    """Vowels of 24 men and 24 women, spread as the table says; their names and groups."""
    rng = np.random.default_rng(0)
    waves, names, groups = [], [], []
    for number in range(48):
        group, name = "MF"[number % 2], list(MEANS["M"])[number // 2 % 12]
        spread = 0.7 * rng.standard_normal(3) * DEVIATIONS[group][name]
        f0, f1, f2 = np.array(MEANS[group][name]) + spread
        f2 = max(f2, f1 + 200)
        third = 2600.0 if f2 < 2300 else f2 + 500
        waves.append(vowel(f0, (f1, f2, third), begin=int(rng.integers(60))))
        names.append(name)
        groups.append(group)
    return np.array(waves), names, groups


@pytest.mark.parametrize("f0", [120.0, 210.0])
@pytest.mark.parametrize("resonances", [(730.0, 1090.0, 2440.0), (440.0, 1900.0, 2550.0)])
def test_what_was_synthesised_is_measured(f0: float, resonances: tuple[float, ...]) -> None:
    signal = vowel(f0, resonances)
    found = measured(signal[None])
    assert found[0] == pytest.approx([f0, *resonances[:2]], rel=0.08)
    np.testing.assert_allclose(measured(1e-6 * signal[None]), found)


def test_a_glide_is_measured_in_its_middle() -> None:
    # From 100 to 150 Hz: the frames around the middle see 116 to 134 Hz.
    time = np.arange(4000) / RATE
    phase = np.cumsum(100 + 200 * time) / RATE
    signal = np.zeros(4000)
    signal[1:] = np.diff(np.floor(phase))
    assert pitch(scipy.signal.lfilter([1], [1, -0.98], signal), RATE) == pytest.approx(125, abs=3)


def test_silence_has_nothing() -> None:
    assert np.isnan(measured(np.zeros((1, 4000)))).all()


def test_agreement_is_within_the_deviation_of_vowel_and_group() -> None:
    original = np.array([[120.0, 750.0, 1300.0]])
    assert within(original + np.array([20, -62, 112]), original, ["aa"], ["M"]).tolist() == [
        [1, 1, 0]
    ]
    assert within(original + np.array([22, -97, 112]), original, ["aa"], ["F"]).tolist() == [
        [1, 1, 1]
    ]
    nothing = within(np.full((1, 3), np.nan), original * [[np.nan, 1, 1]], ["aa"], ["M"])
    assert np.isnan(nothing[0, 0]) and nothing[0, 1:].tolist() == [0, 0]
    # Of speakers no vowel is known: 21.5, 36.8 and 108.2 Hz are the men's mean deviations.
    assert within(original + np.array([21.4, 36.9, 108]), original, [None], ["M"]).tolist() == [
        [1, 0, 1]
    ]


def test_a_differentiated_vowel_agrees_with_itself(
    made: tuple[NDArray[np.float64], list[str], list[str]],
) -> None:
    waves, names, groups = made
    true, over = formants(levels(waves, RATE), RATE), levels(waves, RATE)

    def share(found: NDArray[np.float64]) -> NDArray[np.float64]:
        nothing = np.zeros((len(waves), 1))
        heard = np.hstack([nothing, formants(found, RATE)])
        return np.asarray(within(heard, np.hstack([nothing, true]), names, groups).mean(0)[1:])

    slope = np.diff(waves, axis=1, prepend=0)
    assert share(levels(slope, RATE))[0] < 0.5  # by itself its first formant is lost
    # Scales of their own, as relevance has, change nothing.
    scales = np.random.default_rng(1).lognormal(sigma=2, size=(len(waves), 1))
    assert (share(equalised(levels(scales * slope, RATE), over)) > 0.9).all()
    assert (share(equalised(over, over)) == 1).all()
    noise = np.random.default_rng(2).standard_normal(waves.shape)
    assert (share(equalised(levels(noise, RATE), over)) < 0.4).all()


def test_the_filter_of_a_signal_does_not_know_its_own_vowel() -> None:
    waves = np.array([vowel(120, (300, 2200, 2900)), vowel(120, (750, 1200, 2400))])
    noise = np.random.default_rng(0).standard_normal(waves.shape)
    # Each gets the other's spectrum, since that is all there is besides itself.
    heard = formants(equalised(levels(noise, RATE), levels(waves, RATE)), RATE)
    assert heard[0, 0] > heard[1, 0] + 200


def test_windows_in_the_middle_half_of_a_vowel() -> None:
    labels = np.array([1, 1, 1, 1, 2, 1, 1, 1, 1])
    utterances = np.array([0, 0, 0, 0, 0, 0, 0, 1, 1])
    starts = 320 * np.array([0, 1, 2, 3, 4, 5, 6, 0, 2])  # the last two have a gap between
    middle = [False, True, True, False, True, True, True, True, True]
    assert steady(labels, utterances, starts).tolist() == middle


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_shares_stand_beside_their_bounds(
    made: tuple[NDArray[np.float64], list[str], list[str]],
) -> None:
    waves, names, _ = made
    kept = Voices(dict(enumerate(names)), RATE)
    noise = np.random.default_rng(3).standard_normal(waves.shape)
    relevance = np.diff(waves, axis=1, prepend=0)
    kept.add(0, waves.astype(np.float32), {"guided": (relevance, noise)})
    rows = {str(score.names["measure"]): score for score in kept.scores(None)}
    assert len(rows) == 3 * (2 * 2 + 24)
    for group in "MF":
        own = rows[f"F1 of all vowels, {group}"]
        assert own.names["method"] == "guided" and len(own.values) >= 20
        assert np.nanmean(own.values) > 0.9 and own.ceiling is not None and own.ceiling > 0.8
        for null in (UNTRAINED, OTHER, NOISE):
            assert np.nanmean(own.chance[null]) < 0.5, null
        # About the mean of its vowel, not the original itself: its own share is the ceiling.
        table = rows[f"F1 by the table of all vowels, {group}"]
        assert table.ceiling == pytest.approx(np.nanmean(table.values), abs=0.2)
        assert np.nanmean(table.values) < np.nanmean(own.values)


@pytest.mark.skipif(not TABLE.exists(), reason="needs ../shared/data/hillenbrand")
def test_the_tables_are_those_of_the_measured_vowels() -> None:
    spoken = defaultdict(list)
    for row in csv.DictReader(TABLE.read_text().splitlines()):
        found = [float(row[name] or 0) for name in ("f0", "f1", "f2")]
        spoken[row["type"], NAMES[row["vowel"]]].append(found)
    for kind, group in ("mM", "wF"):
        for name in NAMES.values():
            values = np.array(spoken[kind, name])
            values[values == 0] = np.nan
            deviations = np.nanstd(values, 0, ddof=1)
            np.testing.assert_allclose(MEANS[group][name], np.nanmean(values, 0), atol=0.501)
            np.testing.assert_allclose(DEVIATIONS[group][name], deviations, atol=0.501)
