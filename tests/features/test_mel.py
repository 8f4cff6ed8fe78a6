from typing import Any

import kaldi_native_fbank
import numpy as np
import oracles
import pytest

from speechscope.features import filterbanks
from speechscope.features.representations import Representation
from speechscope.features.stft import Transform

NOISE = np.random.default_rng(6).normal(size=8000).astype(np.float32)


def sizes(bins: int, window: int = 320, overlap: int = 160) -> Transform:
    return Transform(samples=2554, window=window, overlap=overlap, bins=bins, rate=16000)


def kaldi(options: Any, online: Any, transform: Transform, bands: int, samples: Any) -> Any:
    """Features of kaldi-native-fbank, without dither, pre-emphasis, offset removal and lifter."""
    frame = options.frame_opts
    frame.dither, frame.preemph_coeff, frame.remove_dc_offset = 0, 0, False
    frame.window_type = "hamming"
    frame.frame_length_ms = 1000 * transform.window / transform.rate
    frame.frame_shift_ms = 1000 * transform.hop / transform.rate
    options.mel_opts.num_bins, options.mel_opts.low_freq = bands, 0
    computer = online(options)
    computer.accept_waveform(transform.rate, samples.tolist())
    computer.input_finished()
    return np.stack([computer.get_frame(t) for t in range(computer.num_frames_ready)])


def slow_energies(samples: Any, transform: Transform, bands: int) -> Any:
    points = filterbanks.points_for(transform.window, bands, transform.rate)
    spectrum = oracles.stft(samples[None], transform.window, transform.hop, points)[0]
    return (np.abs(spectrum) ** 2).T @ oracles.mel_triangles(bands, points, transform.rate)


def test_the_scale_passes_through_1000_hertz() -> None:
    # The scale was made so that 1000 Hz are 1000 mel (within its rounded constants).
    assert abs(float(filterbanks.hertz_to_mel(1000.0)) - 1000) < 0.02
    np.testing.assert_allclose(
        filterbanks.mel_to_hertz(filterbanks.hertz_to_mel(np.arange(5.0))), np.arange(5.0)
    )


@pytest.mark.parametrize(("bands", "points"), [(13, 512), (40, 512), (128, 2048)])
def test_filters_equal_triangles_flank_by_flank(bands: int, points: int) -> None:
    expected = oracles.mel_triangles(bands, points, 16000)
    np.testing.assert_allclose(filterbanks.filters(bands, points, 16000), expected, atol=1e-6)


def test_triangles_share_every_frequency_between_the_outer_peaks() -> None:
    total = filterbanks.filters(40, 1024, 16000).sum(axis=1)
    frequency = np.arange(513) * 16000 / 1024
    peaks = filterbanks.centres(40, 16000)
    inside = (frequency >= peaks[0]) & (frequency <= peaks[-1])
    np.testing.assert_allclose(total[inside], 1, atol=1e-5)
    assert (total[~inside] < 1).all()


@pytest.mark.parametrize("bands", [2, 40, 128, 201, 301])
def test_no_band_is_empty(bands: int) -> None:
    points = filterbanks.points_for(267, bands, 16000)
    assert points >= 512
    assert (filterbanks.filters(bands, points, 16000).max(axis=0) > 0).all()
    # The next shorter transform would not do: it is too short for the window or misses a band.
    half = oracles.mel_triangles(bands, points // 2, 16000)
    assert points // 2 < 267 or (half.max(axis=0) == 0).any()


@pytest.mark.parametrize("bands", [40, 128])
def test_energies_and_logarithms_equal_sums_by_definition(bands: int) -> None:
    expected = slow_energies(NOISE[:1500], sizes(bands), bands)
    energies, _ = Representation("mel", sizes(bands)).utterance(NOISE[:1500])
    logarithms, _ = Representation("log-mel", sizes(bands)).utterance(NOISE[:1500])
    # Single precision: about 1e-6 of the energy, and of what leaks into a band beside it.
    np.testing.assert_allclose(energies[:, 0], expected, rtol=1e-4)
    np.testing.assert_allclose(logarithms[:, 0], np.log(expected + 1e-6), atol=1e-4)


def test_silence_is_the_floor() -> None:
    values, _ = Representation("log-mel", sizes(40)).utterance(np.zeros(400, dtype=np.float32))
    np.testing.assert_allclose(values, np.log(1e-6), rtol=1e-6)


@pytest.mark.parametrize(("cepstra", "bands"), [(13, 40), (60, 60)])
def test_cepstra_equal_cosine_sums_by_definition(cepstra: int, bands: int) -> None:
    energies = slow_energies(NOISE[:1500], sizes(cepstra), bands)
    expected = oracles.cosine_transform(np.log(energies + 1e-6), cepstra)
    found, _ = Representation("mfcc", sizes(cepstra)).utterance(NOISE[:1500])
    np.testing.assert_allclose(found[:, 0], expected, atol=2e-4)


@pytest.mark.parametrize(("window", "overlap"), [(320, 160), (400, 240)])
def test_it_is_kaldis_filter_bank(window: int, overlap: int) -> None:
    transform = sizes(40, window, overlap)
    options = kaldi_native_fbank.FbankOptions()
    options.use_log_fbank = False
    expected = kaldi(options, kaldi_native_fbank.OnlineFbank, transform, 40, NOISE)
    found, _ = Representation("mel", transform).utterance(NOISE)
    # Both in single precision: 1e-5 of a band's energy measured.
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-4)


def test_it_is_kaldis_cepstrum() -> None:
    options = kaldi_native_fbank.MfccOptions()
    options.use_energy, options.num_ceps, options.cepstral_lifter = False, 13, 0
    expected = kaldi(options, kaldi_native_fbank.OnlineMfcc, sizes(13), 40, NOISE)
    found, _ = Representation("mfcc", sizes(13)).utterance(NOISE)
    # Energies of this noise are near 100: the floor of 1e-6 does not show.
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-4)
