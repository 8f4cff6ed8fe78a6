import numpy as np
import oracles
import pytest

from speechscope.features import distances


def test_cross_correlation_equals_one_dot_product_a_lag() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(5, 40)), rng.normal(size=(5, 40))
    expected = [oracles.cross_correlation_peak(a, b) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(distances.max_cross_correlation(first, second), expected, atol=1e-12)


def test_a_delay_and_a_gain_do_not_count_but_a_sign_does() -> None:
    signal = np.zeros((1, 100))
    signal[0, 10:20] = [1, -2, 3, 1, 0, 2, -1, 4, 0, 1]
    moved = 0.1 * np.roll(signal, 30, axis=1)
    assert distances.max_cross_correlation(signal, moved)[0] == pytest.approx(1)
    assert distances.max_cross_correlation(signal, -moved)[0] < 0.6


def test_silence_correlates_with_nothing() -> None:
    assert distances.max_cross_correlation(np.zeros((1, 8)), np.ones((1, 8)))[0] == 0


def test_spectrograms_are_compared_as_vectors() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 1, 4, 3)), rng.normal(size=(2, 1, 4, 3))
    expected = oracles.cross_correlation_peak(first[1].ravel(), second[1].ravel())
    assert distances.max_cross_correlation(first, second)[1] == pytest.approx(expected)
    distance = np.sqrt(
        sum((a - b) ** 2 for a, b in zip(first[0].flat, second[0].flat, strict=True))
    )
    assert distances.euclidean(first, second)[0] == pytest.approx(distance)


def test_the_best_gain_is_taken_and_no_delay() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(2, 3, 50))
    for a, b, found in zip(first, second, distances.correlation(first, second), strict=True):
        gain = (a @ b) / (b @ b)
        left = np.sum((a - gain * b) ** 2) / np.sum(a**2)
        assert found == pytest.approx(np.sign(gain) * np.sqrt(1 - left))
    assert distances.correlation(first, np.zeros_like(first)).tolist() == [0, 0, 0]


def test_intensity_is_the_ratio_of_the_norms() -> None:
    values = np.random.default_rng(3).normal(size=(4, 1, 5, 6))
    np.testing.assert_allclose(distances.intensity(values, -0.25 * values), 0.25)
    assert distances.intensity(np.zeros((1, 3)), np.ones((1, 3)))[0] == 0


def test_log_spectral_distance_equals_a_loop_and_ignores_the_level() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=(2, 3, 1500))
    first[0, 900:] = 0  # silent frames do not count
    expected = [
        oracles.log_spectral_distance(a, b, 400, 160, 60.0)
        for a, b in zip(first, second, strict=True)
    ]
    found = distances.log_spectral_distance(first, second)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(distances.log_spectral_distance(first, 0.01 * first), 0, atol=1e-9)
    np.testing.assert_allclose(distances.log_spectral_distance(first, 7 * second), found)


def test_stoi_needs_a_stretch_of_speech() -> None:
    pytest.importorskip("pystoi")
    rng = np.random.default_rng(6)
    speech = rng.normal(size=16000) * (1 + np.sin(np.arange(16000) / 800))
    assert distances.stoi(speech, speech, 16000) == pytest.approx(1, abs=1e-6)
    noisy = distances.stoi(speech, rng.normal(size=16000), 16000)
    assert noisy is not None and noisy < 0.5
    assert distances.stoi(speech[:2554], speech[:2554], 16000) is None
    assert distances.stoi(speech, np.zeros(16000), 16000) is None
