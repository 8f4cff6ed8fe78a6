"""Relevance of samples moved to frequencies, and the filters of a first layer."""

import numpy as np
import oracles
import torch

from speechscope.relevance.waveforms import (
    Frames,
    cumulative_response,
    dictionary_response,
    spectral_gradient,
    spectral_relevance,
)


def test_the_spectrum_of_a_gradient_is_the_inverse_transform_of_each_frame() -> None:
    rng = np.random.default_rng(0)
    f, frames = rng.normal(size=(2, 50)), Frames(length=16, hop=6)
    found = spectral_gradient(torch.tensor(f), frames).numpy()
    assert found.shape == (2, 9, frames.count(50)) == (2, 9, 7)
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(16) / 16)
    padded = np.pad(f, ((0, 0), (0, 16)))
    for item in range(2):
        for frame in range(7):
            part = padded[item, 6 * frame : 6 * frame + 16] * window
            wanted = np.abs(oracles.inverse_dft(part))[:9]
            np.testing.assert_allclose(found[item, :, frame], wanted, atol=1e-12)


def test_relevance_of_frequencies_adds_up_and_is_gradient_times_spectrum() -> None:
    rng = np.random.default_rng(1)
    x = torch.tensor(rng.normal(size=(3, 60)))
    gradient = torch.tensor(rng.normal(size=(3, 60)))
    frames = Frames(length=16, hop=4)
    relevance = gradient * x
    found = spectral_relevance(relevance, x, frames)
    torch.testing.assert_close(found.sum((1, 2)), relevance.sum(1))
    # One frame over the whole signal: Re(X_k ∂S/∂X_k) with ∂S/∂X_k of eq. 3.
    whole = Frames(length=60, hop=60)
    one = spectral_relevance(relevance, x, whole)[0, :, 0].numpy()
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(60) / 60)
    spectrum = np.fft.fft(x[0].numpy() * window)
    wanted = np.real(spectrum * oracles.inverse_dft(gradient[0].numpy() / window))
    folded = wanted[:31].copy()
    folded[1:30] += wanted[:30:-1]
    np.testing.assert_allclose(one, folded, atol=1e-12)


def test_a_tone_is_relevant_at_its_frequency() -> None:
    time = torch.arange(800) / 16000
    tone = torch.sin(2 * torch.pi * 2000 * time)[None]
    found = spectral_relevance(tone * tone, tone, Frames(length=400, hop=160)).sum(2)[0]
    assert int(found.argmax()) == 50  # 2000 Hz in bins of 40 Hz
    assert float(found[48:53].sum() / found.sum()) > 0.95


def test_silent_samples_have_no_relevance_to_move() -> None:
    x, relevance = torch.zeros(1, 32), torch.zeros(1, 32)
    assert torch.equal(spectral_relevance(relevance, x, Frames(16, 8)), torch.zeros(1, 9, 3))


def test_the_first_layers_responses_are_their_formulas() -> None:
    rng = np.random.default_rng(2)
    kernels, x = rng.normal(size=(5, 12)), rng.normal(size=(3, 12))
    kernels[4] = 0
    spectra = np.array([np.abs(np.fft.fft(k, 32))[:17] for k in kernels])
    wanted = sum(s / np.linalg.norm(s) for s in spectra[:4])
    found = cumulative_response(torch.tensor(kernels), 32)
    np.testing.assert_allclose(found.numpy(), wanted)
    for item in range(3):
        total = sum((x[item] @ k) * np.fft.fft(k, 32)[:17] for k in kernels)
        found = dictionary_response(torch.tensor(kernels), torch.tensor(x), 32)[item]
        np.testing.assert_allclose(found.numpy(), np.abs(total))
