import numpy as np
import pytest

from speechscope.scores.tables import bootstrap, interval, threshold


def test_the_threshold_is_the_mean_over_items() -> None:
    waveforms = np.array([[1.0, 0, 0, 0], [0, 1, 1, 0]])
    average = np.array([1.0, 0, 0, 0])
    assert threshold(average, waveforms) == pytest.approx((1 + 1 / np.sqrt(2)) / 2)


def test_the_bootstrap_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for trial in range(200):
        low, high = bootstrap(rng.normal(size=60), seed=trial, resamples=300)
        hits += low <= 0 <= high
    assert 0.88 * 200 <= hits <= 0.99 * 200
    low, high = bootstrap(rng.normal(size=900))
    # The normal interval is 1.96 / √900 on each side.
    assert high - low == pytest.approx(2 * 1.96 / 30, rel=0.15)


def test_the_interval_is_that_of_a_mean() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(2.0, 3.0, size=400)
    mean, low, high = interval(np.append(values, np.nan))
    assert mean == pytest.approx(values.mean())
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert interval(np.full(5, 7.0)) == (7.0, 7.0, 7.0)
    assert np.isnan(interval(np.full(3, np.nan))).all()
