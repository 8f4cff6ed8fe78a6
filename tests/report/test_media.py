"""Pictures and sounds of a page, read back by other programs."""

import io

import numpy as np
import pytest
import soundfile
from matplotlib import image
from numpy.typing import NDArray
from reports import content

from speechscope.report.drawing import address, palette, png
from speechscope.report.figures import SECONDS, Scale, Sound
from speechscope.report.page import wav

SCALE = Scale("", 0.0, 255.0)


def read(address: str) -> NDArray[np.integer]:
    pixels: NDArray[np.floating] = image.imread(io.BytesIO(content(address)))
    return np.asarray(np.rint(pixels * 255).astype(int))


def test_a_picture_has_the_colours_of_its_values() -> None:
    values = np.random.default_rng(0).integers(0, 256, (5, 7)).astype(float)
    found = read(png(values, SCALE))
    np.testing.assert_array_equal(found[..., :3], palette("sequential")[values.astype(int)])


def test_what_lies_under_a_picture_is_seen_where_values_are_small() -> None:
    values, under = np.array([[0.0, 1.0, -1.0]]), np.ones((1, 3))
    found = read(png(values, Scale("", -1.0, 1.0, "diverging"), under))[0]
    assert np.ptp(found[0, :3]) == 0  # grey
    np.testing.assert_array_equal(found[1:, :3], palette("diverging")[[-1, 0]])


def test_nothing_is_drawn_where_there_is_no_value() -> None:
    found = read(png(np.array([[np.nan, 255.0]]), SCALE))[0]
    assert found[0, 3] == 0
    assert found[1].tolist() == [*palette("sequential")[-1].tolist(), 255]


def test_a_sound_is_scaled_cut_and_of_16_bits() -> None:
    samples = 1e-3 * np.sin(np.arange(8000 * 6) / 7)
    content = wav(Sound(samples, 8000))
    info = soundfile.info(io.BytesIO(content))
    assert (info.samplerate, info.channels, info.subtype) == (8000, 1, "PCM_16")
    found, _ = soundfile.read(io.BytesIO(content))
    assert len(found) == SECONDS * 8000
    assert np.abs(found).max() == pytest.approx(0.7, abs=1e-3)
    np.testing.assert_allclose(found, samples[: len(found)] * 700, atol=1e-3)


def test_silence_and_nan_are_silent() -> None:
    for samples in (np.zeros(10), np.full(10, np.nan), np.zeros(0)):
        found, _ = soundfile.read(io.BytesIO(wav(Sound(samples, 16000))))
        assert not found.any()


def test_an_address_holds_the_bytes() -> None:
    assert address(b"abc", "image/png") == "data:image/png;base64,YWJj"
