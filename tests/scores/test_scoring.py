import numpy as np
import oracles
import pytest

from speechscope.scores import scoring


def test_cross_correlation_equals_one_dot_product_a_lag() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(5, 40)), rng.normal(size=(5, 40))
    expected = [oracles.cross_correlation_peak(a, b) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(scoring.max_cross_correlation(first, second), expected, atol=1e-12)


def test_a_delay_and_a_gain_do_not_count_but_a_sign_does() -> None:
    signal = np.zeros((1, 100))
    signal[0, 10:20] = [1, -2, 3, 1, 0, 2, -1, 4, 0, 1]
    moved = 0.1 * np.roll(signal, 30, axis=1)
    assert scoring.max_cross_correlation(signal, moved)[0] == pytest.approx(1)
    assert scoring.max_cross_correlation(signal, -moved)[0] < 0.6


def test_silence_correlates_with_nothing() -> None:
    assert scoring.max_cross_correlation(np.zeros((1, 8)), np.ones((1, 8)))[0] == 0


def test_spectrograms_are_compared_as_vectors() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 1, 4, 3)), rng.normal(size=(2, 1, 4, 3))
    expected = oracles.cross_correlation_peak(first[1].ravel(), second[1].ravel())
    assert scoring.max_cross_correlation(first, second)[1] == pytest.approx(expected)
    distance = np.sqrt(
        sum((a - b) ** 2 for a, b in zip(first[0].flat, second[0].flat, strict=True))
    )
    assert scoring.euclidean(first, second)[0] == pytest.approx(distance)


def test_the_threshold_is_the_mean_over_items() -> None:
    waveforms = np.array([[1.0, 0, 0, 0], [0, 1, 1, 0]])
    average = np.array([1.0, 0, 0, 0])
    assert scoring.threshold(average, waveforms) == pytest.approx((1 + 1 / np.sqrt(2)) / 2)


def test_balanced_accuracy_weighs_classes_alike() -> None:
    labels = np.array([0, 0, 0, 0, 2, 2])
    predicted = np.array([0, 0, 0, 1, 2, 0])
    assert scoring.accuracy(labels, predicted) == pytest.approx(4 / 6)
    assert scoring.balanced_accuracy(labels, predicted) == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_the_best_gain_is_taken_and_no_delay() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(2, 3, 50))
    for a, b, found in zip(first, second, scoring.correlation(first, second), strict=True):
        gain = (a @ b) / (b @ b)
        left = np.sum((a - gain * b) ** 2) / np.sum(a**2)
        assert found == pytest.approx(np.sign(gain) * np.sqrt(1 - left))
    assert scoring.correlation(first, np.zeros_like(first)).tolist() == [0, 0, 0]


def test_intensity_is_the_ratio_of_the_norms() -> None:
    values = np.random.default_rng(3).normal(size=(4, 1, 5, 6))
    np.testing.assert_allclose(scoring.intensity(values, -0.25 * values), 0.25)
    assert scoring.intensity(np.zeros((1, 3)), np.ones((1, 3)))[0] == 0


def test_log_spectral_distance_equals_a_loop_and_ignores_the_level() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=(2, 3, 1500))
    first[0, 900:] = 0  # silent frames do not count
    expected = [
        oracles.log_spectral_distance(a, b, 400, 160, 60.0)
        for a, b in zip(first, second, strict=True)
    ]
    found = scoring.log_spectral_distance(first, second)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(scoring.log_spectral_distance(first, 0.01 * first), 0, atol=1e-9)
    np.testing.assert_allclose(scoring.log_spectral_distance(first, 7 * second), found)


def test_the_bootstrap_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for trial in range(200):
        low, high = scoring.bootstrap(rng.normal(size=60), seed=trial, resamples=300)
        hits += low <= 0 <= high
    assert 0.88 * 200 <= hits <= 0.99 * 200
    low, high = scoring.bootstrap(rng.normal(size=900))
    # The normal interval is 1.96 / √900 on each side.
    assert high - low == pytest.approx(2 * 1.96 / 30, rel=0.15)


def test_stoi_needs_a_stretch_of_speech() -> None:
    pytest.importorskip("pystoi")
    rng = np.random.default_rng(6)
    speech = rng.normal(size=16000) * (1 + np.sin(np.arange(16000) / 800))
    assert scoring.stoi(speech, speech, 16000) == pytest.approx(1, abs=1e-6)
    noisy = scoring.stoi(speech, rng.normal(size=16000), 16000)
    assert noisy is not None and noisy < 0.5
    assert scoring.stoi(speech[:2554], speech[:2554], 16000) is None
    assert scoring.stoi(speech, np.zeros(16000), 16000) is None
