from dataclasses import replace

import numpy as np
import pytest
import torch

from speechscope.features.distances import max_cross_correlation
from speechscope.features.representations import Representation
from speechscope.features.stft import Stft, Transform
from speechscope.inversion.sound import MODULUS, griffin_lim, inverse_real
from speechscope.inversion.source import make_stimuli
from speechscope.registry import STIMULI

STFT = Stft(samples=2554, window=267, overlap=122, points=400, rate=16000)


@pytest.mark.parametrize("points", [100, 200, 400])
def test_the_inverse_equals_that_of_the_features_and_has_a_derivative(points: int) -> None:
    stft = replace(STFT, points=points)
    spectra = np.random.default_rng(0).normal(size=(3, stft.bins, 16)).astype(np.float32)
    found = torch.from_numpy(spectra).requires_grad_()
    waveforms = inverse_real(stft, found)
    np.testing.assert_allclose(waveforms.detach(), stft.inverse(spectra), atol=1e-5)
    weights = torch.randn(waveforms.shape)
    (gradient,) = torch.autograd.grad((weights * waveforms).sum(), found)
    # Linear: the derivative along the input is the output itself.
    along, output = (gradient * found).sum().item(), (weights * waveforms).sum().item()
    assert along == pytest.approx(output, rel=1e-4)


def test_griffin_lim_finds_the_modulus_and_the_sound() -> None:
    tones = make_stimuli("tones", 6, 2554, 16000, 0)
    modulus = torch.from_numpy(STFT.magnitude(tones))
    found = griffin_lim(STFT, modulus, list(range(6))).numpy()
    again = STFT.magnitude(found)
    apart = np.linalg.norm((again - modulus.numpy()).reshape(6, -1), axis=1)
    # Random phases leave about the whole modulus to be found.
    assert np.median(apart / np.linalg.norm(modulus.reshape(6, -1), axis=1)) < 0.15
    assert np.median(max_cross_correlation(tones, found)) > 0.8


def test_an_item_keeps_its_sound_in_another_batch() -> None:
    modulus = torch.rand(5, 201, 16)
    whole, part = griffin_lim(STFT, modulus, range(5)), griffin_lim(STFT, modulus[2:4], [2, 3])
    torch.testing.assert_close(part, whole[2:4], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("features", ["magnitude", "sqrt-magnitude", "log-magnitude"])
def test_every_modulus_is_undone(features: str) -> None:
    sounds = make_stimuli("chirps", 3, 2554, 16000, 1)
    sizes = Transform(samples=2554, window=267, overlap=122, bins=201, rate=16000)
    spectra = torch.from_numpy(Representation(features, sizes).segments(sounds)[:, 0])
    expected = griffin_lim(STFT, torch.from_numpy(STFT.magnitude(sounds)), [4, 5, 6])
    modulus = MODULUS[features](spectra).clamp(min=0)
    found = griffin_lim(STFT, modulus, [4, 5, 6])
    assert float(torch.from_numpy(max_cross_correlation(expected.numpy(), found.numpy())).min()) > (
        0.95
    )


@pytest.mark.parametrize("kind", STIMULI.names())
def test_stimuli_are_seeded_centred_and_as_loud_as_speech(kind: str) -> None:
    sounds = make_stimuli(kind, 8, 2554, 16000, 3)
    np.testing.assert_array_equal(make_stimuli(kind, 3, 2554, 16000, 3), sounds[:3])
    assert not np.array_equal(make_stimuli(kind, 8, 2554, 16000, 4), sounds)
    for sound in sounds:
        (sounding,) = np.nonzero(sound)
        assert 2554 / 3 - 2 <= np.ptp(sounding) + 1 <= 2554
        assert abs(sounding[0] + sounding[-1] - 2553) <= 2
        assert np.sqrt(np.mean(sound[sounding] ** 2)) == pytest.approx(0.05, rel=0.15)


def test_a_tone_has_one_frequency_and_a_chirp_many() -> None:
    def width(sounds: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(sounds)) ** 2
        power /= power.sum(1, keepdims=True)
        return float(np.median((power > power.max(1, keepdims=True) / 10).sum(1)))

    tones, chirps = (make_stimuli(kind, 20, 2554, 16000, 0) for kind in ("tones", "chirps"))
    assert width(tones) < 8 and width(chirps) > 30
