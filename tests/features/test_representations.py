import pickle
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pytest
import scipy.signal
import soundfile

from speechscope.errors import UsageProblem
from speechscope.features.representations import Representation, Scaling
from speechscope.features.stft import Transform
from speechscope.registry import REPRESENTATIONS
from speechscope.settings import make
from speechscope.stages.prepare import Prepare

RNG = np.random.default_rng(8)
SEGMENTS = RNG.normal(size=(2, 2554)).astype(np.float32)
SPEECHLIKE = RNG.normal(size=(5000,)).astype(np.float32)
BINS = [2, 64, 101, 134, 201, 301]


def paper(bins: int) -> Transform:
    return Transform(samples=2554, window=267, overlap=122, bins=bins, rate=16000)


def spectrum(bins: int, samples: Any = SEGMENTS) -> Any:
    return oracles.stft(samples, window=267, hop=145, points=2 * (bins - 1))


@pytest.mark.parametrize("bins", BINS)
@pytest.mark.parametrize("name", REPRESENTATIONS.names())
def test_any_number_of_bins(name: str, bins: int) -> None:
    made = Representation(name, paper(bins), deltas=1)
    values = made.segments(SEGMENTS)
    assert values.shape == (2, *made.shape) == (2, made.channels, bins, 16)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert made.axis.values.shape == (bins,)
    assert (np.diff(made.axis.values) > 0).all()
    assert len(made.channel_names) == made.channels == 2 * len(made.static.channels)


# 2 bins: a transform of 2 points; 101: of 200, shorter than the window; 134: of 266.
@pytest.mark.parametrize("bins", BINS)
def test_spectra_equal_sums_by_definition(bins: int) -> None:
    expected = spectrum(bins)
    channels = {
        "real": [expected.real],
        "magnitude": [np.abs(expected)],
        "sqrt-magnitude": [np.sqrt(np.abs(expected))],
        "log-magnitude": [np.log(np.abs(expected) + 1e-3)],
        "complex": [expected.real, expected.imag],
    }
    for name, wanted in channels.items():
        found = Representation(name, paper(bins)).segments(SEGMENTS)
        # Sums of 267 products in float32; a root and a logarithm magnify what is near 0.
        tolerance = 5e-3 if name in ("sqrt-magnitude", "log-magnitude") else 2e-4
        np.testing.assert_allclose(found, np.stack(wanted, axis=1), atol=tolerance, err_msg=name)


@pytest.mark.parametrize("bins", BINS)
def test_magnitude_and_phase_are_polar_coordinates(bins: int) -> None:
    expected = spectrum(bins)
    found = Representation("magnitude-phase", paper(bins)).segments(SEGMENTS)
    np.testing.assert_allclose(found[:, 0], np.abs(expected), atol=2e-4)
    clear = np.abs(expected) > 0.1  # a phase is as sure as its magnitude is large
    turns = np.exp(1j * found[:, 1]) - np.exp(1j * np.angle(expected))
    assert np.abs(turns[clear]).max() < 2e-3
    silent = Representation("magnitude-phase", paper(bins)).segments(np.zeros_like(SEGMENTS))
    assert not silent.any()


@pytest.mark.parametrize("bins", [201, 301])
def test_complex_is_scipys_stft(bins: int) -> None:
    window = scipy.signal.get_window("hamming", 267, fftbins=False)
    _, times, expected = scipy.signal.stft(
        SEGMENTS.astype(float), 16000, window, 267, 122, 2 * (bins - 1), boundary=None, padded=False
    )
    expected *= window.sum()  # scipy's scale makes a steady tone its amplitude
    made = Representation("complex", paper(bins))
    found = made.segments(SEGMENTS)
    np.testing.assert_allclose(found[:, 0] + 1j * found[:, 1], expected, atol=2e-4)
    np.testing.assert_allclose(made.times, times)


@pytest.mark.parametrize("name", REPRESENTATIONS.names())
def test_a_whole_utterance_is_transformed_like_a_segment(name: str) -> None:
    made = Representation(name, paper(64), deltas=2)
    values, times = made.utterance(SEGMENTS[1])
    expected = made.segments(SEGMENTS)[1].transpose(2, 0, 1)
    if name == "magnitude-phase":
        # ±π are one phase, and Δ of it leaps.
        values, expected = values[:, :1], expected[:, :1]
    np.testing.assert_allclose(values, expected, atol=2e-4)
    np.testing.assert_array_equal(times, made.times)


def test_frames_of_a_long_utterance_stand_where_their_times_say() -> None:
    # Longer than one block of frames: 1600 of them.
    samples = np.random.default_rng(9).normal(size=1600 * 40).astype(np.float32)
    made = Representation("real", Transform(2554, 80, 40, 41, 16000))
    values, times = made.utterance(samples)
    assert values.shape == (1599, 1, 41)
    for frame in (0, 1, 1023, 1024, 1598):
        middle = round(times[frame] * 16000)
        expected = oracles.stft(samples[None, middle - 40 : middle + 40], 80, 40, 80)
        np.testing.assert_allclose(values[frame, 0], expected[0, :, 0].real, atol=1e-4)


@pytest.mark.parametrize("name", REPRESENTATIONS.names())
def test_an_utterance_shorter_than_a_window_is_one_frame(name: str) -> None:
    short = SEGMENTS[0, :100]
    padded = np.pad(short, (0, 167))
    made = Representation(name, paper(64))
    values, times = made.utterance(short)
    assert values.shape == (1, *made.shape[:2])
    np.testing.assert_array_equal(values, made.utterance(padded)[0])
    np.testing.assert_allclose(times, [267 / 2 / 16000])


# 135 bins are 268 points, one more than the window; 134 would fold its last sample onto its first.
@pytest.mark.parametrize("bins", [135, 201, 301])
@pytest.mark.parametrize("name", ["complex", "magnitude-phase"])
def test_two_channels_give_the_waveform_back(name: str, bins: int) -> None:
    made = Representation(name, paper(bins), deltas=2, normalize="gain")
    back = made.invert(made.segments(SEGMENTS))
    assert back is not None
    covered = 15 * 145 + 267
    np.testing.assert_allclose(back[:, :covered], SEGMENTS[:, :covered], atol=1e-4)
    assert not back[:, covered:].any()


# 80, 100 and 200 points for a window of 100: frames repeat, just fit, and fit.
@pytest.mark.parametrize("bins", [41, 51, 101])
@pytest.mark.parametrize("name", ["real", "complex"])
def test_inverses_equal_overlap_add_frame_by_frame(name: str, bins: int) -> None:
    made = Representation(name, Transform(400, window=100, overlap=60, bins=bins, rate=16000))
    values = np.random.default_rng(10).normal(size=(2, *made.shape)).astype(np.float32)
    spectra = values[:, 0] + (1j * values[:, 1] if name == "complex" else 0)
    taper = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(100) / 99)
    expected, total = np.zeros((2, 400)), np.zeros(400)
    for t in range(8):
        where = slice(40 * t, 40 * t + 100)
        frame = np.fft.irfft(spectra[:, :, t], 2 * (bins - 1))
        expected[:, where] += taper * np.tile(frame, 2)[:, :100]
        total[where] += taper**2
    expected[:, total > 0] /= total[total > 0]
    found = made.invert(values)
    assert found is not None
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "name", sorted({*REPRESENTATIONS.names()} - {"real", "complex", "magnitude-phase"})
)
def test_what_has_lost_the_phase_has_no_direct_inverse(name: str) -> None:
    made = Representation(name, paper(64))
    assert made.invert(made.segments(SEGMENTS)) is None


def test_z_normalised_values_have_no_inverse() -> None:
    made = Representation("complex", paper(201), normalize="utterance")
    assert made.invert(made.segments(SEGMENTS)) is None


@pytest.mark.parametrize("scope", ["utterance", "band"])
def test_segments_take_the_scale_of_their_utterance(scope: str) -> None:
    plain = Representation("log-mel", paper(40), deltas=1)
    made = Representation("log-mel", paper(40), deltas=1, normalize=scope)
    whole, _ = plain.utterance(SPEECHLIKE)
    axis = (0, 2) if scope == "utterance" else 0
    mean, deviation = (f(whole, axis=axis, keepdims=True)[0] for f in (np.mean, np.std))
    found = made.segments(SEGMENTS, Scaling.join([made.scaling(SPEECHLIKE)], [2]))
    expected = (plain.segments(SEGMENTS) - mean[..., None]) / deviation[..., None]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    normalised, _ = made.utterance(SPEECHLIKE)
    np.testing.assert_allclose(normalised, (whole - mean) / deviation, atol=1e-4)


def test_segments_by_themselves_are_utterances_of_their_own() -> None:
    made = Representation("log-mel", paper(40), normalize="utterance")
    values = made.segments(SEGMENTS * np.array([[1], [100]], dtype=np.float32))
    np.testing.assert_allclose(values.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(values.std(axis=(1, 2, 3)), 1, atol=1e-5)


def test_it_travels_to_other_processes() -> None:
    for name in REPRESENTATIONS.names():
        made = Representation(name, paper(40), deltas=2, normalize="band")
        sent = pickle.loads(pickle.dumps(made))
        np.testing.assert_array_equal(sent.segments(SEGMENTS), made.segments(SEGMENTS))


def test_axes_are_in_hertz_or_count_coefficients() -> None:
    assert Representation("real", paper(201)).axis.values[25] == 1000
    assert Representation("real", paper(201)).axis.units == "Hz"
    cepstrum = Representation("mfcc", paper(13)).axis
    assert (cepstrum.name, cepstrum.units, cepstrum.values[-1]) == ("cepstrum", "1", 12)


@pytest.mark.parametrize("name", ["mel", "log-mel", "gammatone", "magnitude"])
def test_a_tone_is_found_at_its_frequency(name: str) -> None:
    made = Representation(name, paper(64))
    tone = np.sin(2 * np.pi * made.axis.values[30] * np.arange(2554) / 16000)
    values = made.segments(tone.astype(np.float32)[None])[0, 0]
    assert (values[:, 4:].argmax(axis=0) == 30).all()


@pytest.mark.parametrize(
    ("name", "bins", "options"),
    [
        ("cochleagram", 64, {}),
        ("real", 1, {}),
        ("real", 201, {"deltas": 3}),
        ("real", 201, {"normalize": "loud"}),
    ],
)
def test_what_there_is_not_is_refused(name: str, bins: int, options: dict[str, Any]) -> None:
    with pytest.raises(UsageProblem, match=r"^--(features|bins|deltas|normalize) "):
        make(Prepare, "prepare", {"folder": "x", "features": name, "bins": bins, **options})


@pytest.mark.real
@pytest.mark.parametrize("name", REPRESENTATIONS.names())
def test_recorded_speech(name: str, real_speech: Path) -> None:
    path = min((real_speech / "librispeech-phones" / "TEST").rglob("*.flac"))
    samples, _ = soundfile.read(path, dtype="float32")
    made = Representation(name, Transform(2554, 320, 160, 64, 16000), deltas=2, normalize="band")
    values, times = made.utterance(samples)
    assert len(values) == len(times) == (len(samples) - 160) // 160
    assert np.isfinite(values).all()
    deviation = values.std(axis=0)
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-3)
    # A band that never changes stays 0: the imaginary part of bin 0 and of the highest.
    assert ((np.abs(deviation - 1) < 1e-3) | (deviation == 0)).all()
