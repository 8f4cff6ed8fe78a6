"""Pictures and sounds of a page, read back by other programs."""

import io

import numpy as np
import pytest
import soundfile
from matplotlib import image

from speechscope.report.figures import SECONDS, Sound
from speechscope.report.page import wav
from speechscope.report.svg import address, png


def test_a_palette_picture_is_what_matplotlib_reads() -> None:
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (256, 3)).astype(np.uint8)
    pixels = rng.integers(0, 256, (5, 7)).astype(np.uint8)
    found = image.imread(io.BytesIO(png(pixels, palette)))
    np.testing.assert_array_equal(np.rint(found[..., :3] * 255).astype(np.uint8), palette[pixels])


def test_a_colour_picture_is_what_matplotlib_reads() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (4, 3, 3)).astype(np.uint8)
    found = image.imread(io.BytesIO(png(pixels)))
    np.testing.assert_array_equal(np.rint(found * 255).astype(np.uint8), pixels)


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
