import numpy as np

from speechscope.features.representations import Scaling

# One utterance, one channel, two bands, two frames.
VALUES = np.array([[[[1, 3], [5, 7]]]], dtype=np.float32)


def test_an_utterance_by_hand() -> None:
    values = VALUES.copy()
    Scaling.of(values, "utterance").apply(values)
    # Mean 4, deviations -3 -1 1 3, variance 5.
    np.testing.assert_allclose(values, np.array([[[[-3, -1], [1, 3]]]]) / np.sqrt(5), atol=1e-6)


def test_bands_by_hand() -> None:
    values = VALUES.copy()
    Scaling.of(values, "band").apply(values)
    np.testing.assert_allclose(values, [[[[-1, 1], [-1, 1]]]])


def test_channels_and_utterances_are_apart() -> None:
    values = np.random.default_rng(5).normal(size=(3, 2, 4, 50)).astype(np.float32)
    values *= np.array([1, 10, 100], dtype=np.float32)[:, None, None, None]
    values[:, 1] += 7
    Scaling.of(values, "utterance").apply(values)
    np.testing.assert_allclose(values.mean(axis=(2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(values.std(axis=(2, 3)), 1, atol=1e-5)


def test_silence_becomes_zero() -> None:
    values = np.full((1, 1, 2, 5), -13.8, dtype=np.float32)
    Scaling.of(values, "band").apply(values)
    np.testing.assert_array_equal(values, 0)


def test_joined_rows_stand_for_the_items_of_each_utterance() -> None:
    first, second = Scaling.of(VALUES, "utterance"), Scaling.of(10 * VALUES, "utterance")
    joined = Scaling.join([first, second], [2, 1])
    np.testing.assert_array_equal(joined.mean.ravel(), [4, 4, 40])
    np.testing.assert_allclose(joined.deviation.ravel(), np.sqrt([5, 5, 500]), rtol=1e-6)
