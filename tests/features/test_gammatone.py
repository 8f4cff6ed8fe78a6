import numpy as np
import oracles
import pytest

from speechscope.features import filterbanks
from speechscope.features.filterbanks import gammatonogram


def test_centres_are_evenly_spaced_on_the_erb_rate_scale() -> None:
    found = filterbanks.erb_centres(64, 16000)
    np.testing.assert_allclose(found[[0, -1]], [50, 7200])
    # Glasberg & Moore 1990, eq. 4: E = 21.4 log10(4.37 F + 1), F in kHz.
    steps = np.diff(21.4 * np.log10(4.37 * found / 1000 + 1))
    np.testing.assert_allclose(steps, steps[0])


def test_impulse_responses_have_decayed_at_their_end() -> None:
    responses = filterbanks.impulse_responses(64, 16000)
    last_millisecond = np.abs(responses[:, -16:]).max(axis=1)
    assert (last_millisecond < 1e-5 * np.abs(responses).max(axis=1)).all()


# The last is longer than one block of the filtering.
@pytest.mark.parametrize(
    ("samples", "window", "hop"),
    [(2554, 267, 145), (2554, 200, 200), (900, 160, 50), (14000, 320, 160)],
)
def test_it_equals_convolution_band_by_band(samples: int, window: int, hop: int) -> None:
    signal = np.random.default_rng(7).normal(size=samples).astype(np.float32)
    expected = oracles.gammatonogram(signal, window, hop, filterbanks.erb_centres(5, 16000), 16000)
    found = gammatonogram(signal, window, hop, 5, 16000)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_tone_comes_through_its_band_at_unit_gain() -> None:
    centre = filterbanks.erb_centres(32, 16000)[20]
    tone = 0.5 * np.sin(2 * np.pi * centre * np.arange(16000) / 16000)
    found = gammatonogram(tone.astype(np.float32), 3200, 1600, 32, 16000)
    assert (found[1:].argmax(axis=1) == 20).all()
    # The mean of a rectified sine of amplitude A is A / π.
    np.testing.assert_allclose(found[2:, 20], np.cbrt(0.5 / np.pi), rtol=1e-3)


def test_silence_stays_silent_and_a_signal_shorter_than_a_window_has_no_frame() -> None:
    assert not gammatonogram(np.zeros(600, dtype=np.float32), 267, 145, 4, 16000).any()
    assert gammatonogram(np.zeros(100, dtype=np.float32), 267, 145, 4, 16000).shape == (0, 4)
