from dataclasses import replace

import numpy as np
import oracles
import pytest
import torch
from torch import Tensor

from speechscope.features.stft import Stft
from speechscope.inversion.align import delayed_error, train_aligned
from speechscope.inversion.sound import inverse_real
from speechscope.networks.layers import Conv, MaxPool, Network, ReLU
from speechscope.stages.invert import Invert
from speechscope.work.progress import Bar

STFT = Stft(samples=220, window=40, overlap=20, points=80, rate=8000)


def test_the_error_is_the_distance_at_the_best_delay() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 4, 37))
    found = delayed_error(torch.from_numpy(first), torch.from_numpy(second), 36)
    expected = [
        1 - oracles.cross_correlation_peak(a, b) for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_a_delay_beyond_the_lags_counts() -> None:
    wave = torch.zeros(1, 60, dtype=torch.float64)
    wave[0, 10:14] = torch.tensor([1.0, -2.0, 3.0, -1.0])
    late, early = wave.roll(5, 1), wave.roll(-5, 1)
    for moved in (late, early):
        assert float(delayed_error(moved, 3 * wave, 5)) == pytest.approx(0, abs=1e-12)
        assert float(delayed_error(moved, wave, 4)) > 0.3
    assert float(delayed_error(late, wave, 0)) == pytest.approx(1)


class Tones:
    """Tones of one of eight frequencies and a random phase, as segments to learn from."""

    def __init__(self, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        frequency = 400 + 300 * torch.randint(0, 8, (count, 1), generator=generator)
        phase = torch.rand(count, 1, generator=generator)
        time = torch.arange(220) / 8000
        self.waveforms = torch.sin(2 * torch.pi * (frequency * time + phase))
        self.inputs = torch.from_numpy(STFT.spectrum(self.waveforms.numpy()).real)[:, None]
        self.segments = self.inputs, self.waveforms


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    table = (Conv(6, (5, 1), "same"), ReLU(), MaxPool((5, 10), (2, 10)))
    return Network(table, (1, 41, 10)).requires_grad_(False)


SETTINGS = Invert(align_items=2000, align_epochs=4, align_batch=50, align_hidden=64)


def heard(network: Network, settings: Invert) -> Tensor:
    """Return the errors of unseen tones at their best delay."""
    mean = torch.zeros(1, 41, 10)
    decoders = train_aligned(network, [3], Tones(2000, 1).segments, STFT, mean, settings)
    test = Tones(200, 2)
    code = network.activation(test.inputs, 3)
    found = inverse_real(STFT, decoders[3](code)[:, 0])
    return delayed_error(found, test.waveforms, 219)


def test_freedom_of_delay_is_what_restores_sounds_of_unknown_phase(network: Network) -> None:
    free = heard(network, SETTINGS)
    fixed = heard(network, replace(SETTINGS, align_lags=0))
    assert float(free.median()) < 0.2
    assert float(fixed.median()) > 2 * float(free.median())


def test_training_is_seeded_and_leaves_the_network_and_the_generator_alone(
    network: Network,
) -> None:
    short, mean = replace(SETTINGS, align_epochs=1, align_items=200), torch.randn(1, 41, 10)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    tones = Tones(300, 3)
    calls: list[tuple[int, int, str]] = []
    first, again, other = (
        train_aligned(
            network,
            [1, 3],
            tones.segments,
            STFT,
            mean,
            chosen,
            Bar(lambda *told: calls.append(told)),
        )
        for chosen in (short, short, replace(short, seed=1))
    )
    assert calls[3][:2] == (4, 4) and float(calls[3][2].removeprefix("error ")) > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    code = network.activation(tones.inputs[:5], 3)
    assert torch.equal(first[3](code), again[3](code))
    assert not torch.equal(first[3](code), other[3](code))
    # Inputs are centred: the mean is taken away from what is heard.
    torch.testing.assert_close(first[3](code) + mean, first[3].spectrogram(code))
