import numpy as np
import oracles
import pytest

from speechscope.features.stft import Stft, centred

PAPER = Stft(samples=2554, window=267, overlap=122, points=400, rate=16000)


def noise(count: int, samples: int = 2554) -> np.ndarray:
    values: np.ndarray = np.random.default_rng(1).normal(size=(count, samples)).astype(np.float32)
    return values


def test_the_papers_sizes() -> None:
    assert (PAPER.bins, PAPER.frames, PAPER.hop) == (201, 16, 145)
    assert PAPER.spectrum(noise(3)).shape == (3, 201, 16)


@pytest.mark.parametrize("points", [267, 400, 401, 800])
def test_real_part_and_magnitude_equal_a_transform_frame_by_frame(points: int) -> None:
    stft = Stft(2554, 267, 122, points, 16000)
    segments = noise(2)
    spectrum = oracles.stft(segments, window=267, hop=145, points=points)
    # Sums of 267 products in float32: errors near 267 · 6e-8 · |x|.
    np.testing.assert_allclose(stft.spectrum(segments).real, spectrum.real, atol=2e-4)
    np.testing.assert_allclose(stft.magnitude(segments), np.abs(spectrum), atol=2e-4)


def test_a_tone_peaks_in_its_bin() -> None:
    tone = np.cos(2 * np.pi * 1000 * np.arange(2554) / 16000)[None].astype(np.float32)
    peak = PAPER.magnitude(tone)[0].mean(axis=1).argmax()
    assert PAPER.frequencies[peak] == 1000


@pytest.mark.parametrize("points", [400, 401, 800])
def test_the_inverse_equals_overlap_add_frame_by_frame(points: int) -> None:
    stft = Stft(2554, 267, 122, points, 16000)
    spectra = np.random.default_rng(2).normal(size=(2, stft.bins, 16)).astype(np.float32)
    expected = oracles.overlap_add(spectra, window=267, hop=145, points=points, samples=2554)
    np.testing.assert_allclose(stft.inverse(spectra), expected, atol=1e-5)


def test_nothing_is_lost_where_the_halves_of_a_frame_do_not_meet() -> None:
    # 2W - 1 = 533 points or more: the even part of a frame shows half of every sample.
    segments = noise(2)
    stft = Stft(2554, 267, 122, 600, 16000)
    covered = slice(0, 15 * 145 + 267)
    # n = 0 is its own mirror image: that one sample of a frame comes out whole, not half.
    found, whole = 2 * stft.inverse(stft.spectrum(segments).real), segments
    starts = np.arange(16) * 145
    keep = np.setdiff1d(np.arange(2554)[covered], starts)
    np.testing.assert_allclose(found[:, keep], whole[:, keep], atol=1e-4)


def test_a_segment_is_padded_on_both_sides() -> None:
    padded = centred([np.ones(3, dtype=np.float32)], 8)[0]
    np.testing.assert_array_equal(padded, [0, 0, 1, 1, 1, 0, 0, 0])
