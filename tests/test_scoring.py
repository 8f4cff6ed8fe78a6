import numpy as np
import oracles
import pytest

from speechscope import scoring


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
