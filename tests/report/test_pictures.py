"""What is seen and heard of items: levels in decibels whatever holds them, and their samples."""

from dataclasses import replace
from pathlib import Path

import corpora
import numpy as np
import preparing
import pytest

from speechscope.corpus.store import Corpus
from speechscope.features.stft import centred
from speechscope.report.figures import Axis, Picture
from speechscope.report.pictures import (
    DECIBELS,
    DEVIATIONS,
    InputStyle,
    from_onset,
    longest,
    pictures,
    readable,
    sounding,
    sounds,
    waveform_picture,
)

AMPLITUDE = np.array([[1.0, 0.1], [0.01, 1e-5]])  # 0, −20, −40 and −100 dB
LEVELS = np.array([[0.0, -20.0], [-40.0, -60.0]])


@pytest.mark.parametrize(
    ("features", "values"),
    [
        ("real", -AMPLITUDE),
        ("magnitude", AMPLITUDE),
        ("sqrt-magnitude", AMPLITUDE**0.5),
        ("mel", AMPLITUDE**2),
        ("log-mel", np.log(AMPLITUDE**2)),
        ("log-magnitude", np.log(AMPLITUDE) + 3),
        ("gammatone", AMPLITUDE ** (1 / 3)),
    ],
)
def test_levels_are_those_of_the_amplitude(features: str, values: np.ndarray) -> None:
    style = InputStyle(features, "none", Axis("frequency"), Axis("time"))
    found, scale = style.levels(7 * values[None] if "log" not in features else values[None])
    np.testing.assert_allclose(found, LEVELS, atol=1e-9)
    assert scale == DECIBELS


def test_complex_values_are_drawn_by_their_modulus_and_z_values_as_they_are() -> None:
    style = InputStyle("complex", "none", Axis("frequency"), Axis("time"))
    found, _ = style.levels(np.stack([0.6 * AMPLITUDE, -0.8 * AMPLITUDE]))
    np.testing.assert_allclose(found, LEVELS, atol=1e-9)
    found, scale = replace(style, normalize="band").levels(AMPLITUDE[None].repeat(2, 0))
    assert scale == DEVIATIONS and (found == np.hypot(AMPLITUDE, AMPLITUDE)).all()


def test_silence_is_the_floor() -> None:
    style = InputStyle("real", "none", Axis("frequency"), Axis("time"))
    assert (style.levels(np.zeros((1, 3, 2)))[0] == -60).all()
    assert (style.grey(np.zeros((1, 3, 2))) == 0).all()


def test_padding_is_no_sound_whatever_silence_is() -> None:
    inside = np.random.default_rng(0).normal(size=(1, 3, 4))
    for silence in (0.0, -2.5):
        given = np.full((1, 3, 10), silence)
        given[..., 3:7] = inside
        assert sounding(given) == (3, 7)
    assert sounding(inside) == (0, 4)
    assert sounding(np.zeros((1, 3, 5))) == (0, 5)


def test_time_counts_from_where_the_sound_begins() -> None:
    given = np.zeros((1, 2, 10))
    given[..., 4:6] = 1.0
    other = np.random.default_rng(0).normal(size=(1, 2, 10))
    other[..., :2] = 0.0
    frames = longest([given, other])
    assert frames == 8
    style = InputStyle("real", "none", Axis("frequency"), Axis("time", "ms", 0.0, 100.0))
    shown = from_onset(style.picture(given), given, frames)
    assert isinstance(shown, Picture)
    assert (shown.x.low, shown.x.high) == (0.0, 80.0)
    assert (shown.values[:, :2] == 0).all()
    assert np.isnan(shown.values[:, 2:]).all(), "behind the end of the sound there is nothing"


def test_few_large_values_do_not_make_a_picture_blank() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(201, 16))
    values[3, 4] = -1e6
    shown = readable(values, Axis("time"), Axis("frequency"), "relevance")
    assert len(shown.values) == 101 and "99th percentile" in shown.scale.label
    assert shown.values[1, 4] < -1, "the strongest of rows 2 and 3, with its sign"
    assert np.median(np.abs(shown.values)) > 0.3


def prepared(tmp_path: Path, unit: str) -> Corpus:
    root = corpora.timit(tmp_path / "timit", speakers=1, sentences=1)
    settings = {
        "segment": preparing.SETTINGS,
        "frame": replace(preparing.SETTINGS, unit="frame", features="log-mel", context=11,
                         length=320, window=320, overlap=160, bins=40),
        "window": replace(preparing.SETTINGS, unit="window", context=1,
                          features="waveform", length=4000, window=4000, overlap=3840, bins=2),
    }[unit]  # fmt: skip
    corpus, _ = preparing.run(root, tmp_path / "c.zarr", settings)
    return corpus


def test_a_segment_sounds_as_it_was_cut(tmp_path: Path) -> None:
    corpus = prepared(tmp_path, "segment")
    items = np.array([3, 1])
    for sound, padded in zip(sounds(corpus, items), corpus.waveforms(items), strict=True):
        assert 0 < len(sound.samples) <= 2554 and sound.rate == 16000
        np.testing.assert_array_equal(centred([sound.samples], 2554)[0], padded)


def test_a_frame_sounds_with_its_context(tmp_path: Path) -> None:
    corpus = prepared(tmp_path, "frame")
    wave = corpus.artifact.read("waveform")
    item = np.array([20])
    (sound,) = sounds(corpus, item)
    utterance = corpus.artifact.read("utterance")[20]
    first = corpus.artifact.read("waveform_offset")[utterance]
    start = first + corpus.artifact.read("start")[20]
    # Eleven frames, 160 samples apart, of 320 samples.
    np.testing.assert_array_equal(sound.samples, wave[start - 5 * 160 : start + 5 * 160 + 320])
    (shown,) = pictures(corpus, item, ["x"])
    assert isinstance(shown, Picture)
    assert shown.values.shape == (40, 11) and shown.alt == "x"
    assert [shown.x.low, shown.x.high] == pytest.approx([-55, 55])


def test_a_window_sounds_as_the_network_gets_it(tmp_path: Path) -> None:
    corpus = prepared(tmp_path, "window")
    items = np.arange(30, 33)
    for sound, given in zip(sounds(corpus, items), corpus.view.read(items), strict=True):
        np.testing.assert_array_equal(sound.samples, given[0, 0])


def test_the_spectrogram_of_a_tone_peaks_at_its_frequency_and_times_are_in_ms() -> None:
    tone = np.sin(2 * np.pi * 2000 * np.arange(4000) / 16000).astype(np.float32)
    shown = waveform_picture(tone, 16000)
    row = int(shown.values.mean(axis=1).argmax())
    middle = (row + 0.5) / len(shown.values)
    assert shown.y.place(2000) == pytest.approx(middle, abs=1 / len(shown.values))
    assert shown.x.units == "ms" and 235 < shown.x.high < 250
