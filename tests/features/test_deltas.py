import numpy as np
import oracles
import pytest

from speechscope.features.representations import delta, fill_deltas


def test_an_impulse_by_hand() -> None:
    values = np.array([0, 0, 0, 10, 0, 0], dtype=np.float32)
    # Σ θ² = 5 on each side: 1/10 of the neighbour's, 2/10 of the next one's difference.
    np.testing.assert_allclose(delta(values), [0, 2, 1, 0, -1, -2], atol=1e-6)


def test_a_ramp_has_its_slope_and_repeated_ends() -> None:
    found = delta(np.arange(6, dtype=np.float32))
    np.testing.assert_allclose(found, [0.5, 0.8, 1, 1, 0.8, 0.5], atol=1e-6)


@pytest.mark.parametrize("frames", [0, 1, 2, 3, 4, 30])
def test_it_equals_a_line_fitted_to_five_frames(frames: int) -> None:
    values = np.random.default_rng(3).normal(size=(2, 3, frames)).astype(np.float32)
    expected = np.array([[oracles.regression(row, 2) for row in rows] for rows in values])
    np.testing.assert_allclose(delta(values), expected.reshape(values.shape), atol=1e-6)


def test_channels_are_static_then_first_then_second_derivatives() -> None:
    values = np.zeros((2, 6, 3, 9), dtype=np.float32)
    values[:, :2] = np.random.default_rng(4).normal(size=(2, 2, 3, 9))
    static = values[:, :2].copy()
    fill_deltas(values, 2)
    np.testing.assert_array_equal(values[:, :2], static)
    np.testing.assert_array_equal(values[:, 2:4], delta(static))
    np.testing.assert_array_equal(values[:, 4:], delta(delta(static)))
