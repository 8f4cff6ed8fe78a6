"""Inputs of waveforms by torch are those of `Representation`, and have slopes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from prepared import prepared

from speechscope.errors import UsageProblem
from speechscope.inversion import chains
from speechscope.inversion.analysis import Analysis, OfSound
from speechscope.inversion.bp import bp
from speechscope.inversion.problem import Problem
from speechscope.inversion.source import derivation
from speechscope.networks.layers import Conv, MaxPool, Network, ReLU
from speechscope.registry import REPRESENTATIONS
from speechscope.stages.invert import Invert

FRAMEWISE = sorted(set(REPRESENTATIONS.names()) - {"gammatone"})
SOUNDS = 0.1 * np.random.default_rng(0).normal(size=(3, 420)).astype(np.float32)


@pytest.mark.parametrize("bins", [31, 21])  # of 60 and of 40 points, in a window of 60
@pytest.mark.parametrize("features", FRAMEWISE)
def test_inputs_are_those_of_the_representation(features: str, bins: int) -> None:
    corpus = prepared(features=features, bins=bins, deltas=2)
    found = Analysis(corpus, derivation(corpus))(torch.from_numpy(SOUNDS))
    expected = corpus.representation.segments(SOUNDS) - corpus.mean
    unlike = np.abs(found.numpy() - expected)
    if features == "magnitude-phase":  # at ±π a phase is either
        assert np.median(unlike) < 1e-5
        assert np.mean(unlike > 1e-3) < 0.02
    else:
        assert unlike.max() < 2e-4 * np.abs(expected).max()


@pytest.mark.parametrize("features", FRAMEWISE)
def test_silence_has_a_slope(features: str) -> None:
    sound = torch.zeros(1, 420, requires_grad=True)
    Analysis(prepared(features=features))(sound).sum().backward()
    assert sound.grad is not None
    assert sound.grad.isfinite().all()


def test_windows_are_sounds_as_they_are() -> None:
    corpus = prepared(unit="window")
    found = Analysis(corpus)(torch.from_numpy(SOUNDS))
    np.testing.assert_allclose(found.numpy()[:, 0, 0], SOUNDS - corpus.mean[0, 0], atol=1e-6)


@pytest.mark.parametrize(
    "wrong", [{"features": "gammatone"}, {"unit": "frame"}, {"normalize": "utterance"}]
)
def test_what_is_no_function_of_a_sound_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageProblem, match=r"corpus\.zarr: a search for sounds needs"):
        Analysis(prepared(**wrong))


def network_for(analysis: Analysis) -> Network:
    torch.manual_seed(0)
    table = (Conv(6, (5, 3), "same"), ReLU(), MaxPool((3, 2), (2, 2)))
    return Network(table, tuple(analysis.mean.shape)).requires_grad_(False)


def test_the_slope_by_the_sound_is_that_of_small_changes() -> None:
    analysis = Analysis(prepared(features="log-mel", bins=12)).double()
    network = network_for(analysis).double()
    sounds = torch.from_numpy(SOUNDS).double()
    target = network.activation(analysis(sounds.flip(0)), 3)
    problem = Problem(network, 3, target, [0, 1, 2], 0.3)
    objective = OfSound(problem.objective_of_all(), analysis)
    energy, slope = objective.evaluate(sounds[:, None, None])
    change = torch.randn(sounds.shape, generator=torch.Generator().manual_seed(3)).double()
    after, _ = objective.evaluate((sounds + 1e-7 * change)[:, None, None])
    expected = (slope[:, 0, 0] * change).sum(1)
    torch.testing.assert_close((after - energy) / 1e-7, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("features", ["real", "log-mel"])
def test_bp_finds_a_sound_with_the_activity(features: str) -> None:
    analysis = Analysis(prepared(features=features, bins=31 if features == "real" else 12))
    network = network_for(analysis)
    inputs = analysis(torch.from_numpy(SOUNDS))
    settings = Invert(method=("bp",), on="waveform", optimizer="lbfgs", steps=60, l2=0.0, block=2)
    found = chains.invert(network, inputs, [3], settings, [1, 2, 3], analysis=analysis)
    assert found.objective[0, 0, :, 60].max() < 0.1 * found.objective[0, 0, :, 0].min()
    assert found.mismatch.max() < 0.3
    again = analysis(found.waveforms[0, 0])
    torch.testing.assert_close(again, found.reconstruction[0, 0], rtol=0, atol=1e-5)


def test_bp_begins_with_the_sound_that_the_method_before_heard() -> None:
    analysis = Analysis(prepared())
    network = network_for(analysis)
    heard = torch.from_numpy(SOUNDS)
    x = analysis(heard)
    target = network.activation(x.flip(0), 3)
    settings = Invert(method=("bp",), on="waveform", steps=0)
    problem = Problem(network, 3, target, [1, 2, 3], 0.3, analysis=analysis)
    begun = bp(replace(problem, heard=heard), x, settings).waveform
    assert begun is not None
    assert torch.equal(begun, heard)
    # Of a start that is no sound, it is made by the way back, which the real part loses some on.
    made = bp(problem, x, settings).waveform
    assert made is not None
    expected = analysis.corpus.representation.invert((x + analysis.mean).numpy())
    assert expected is not None
    np.testing.assert_allclose(made.numpy(), expected, atol=1e-6)
    assert float((made - heard).abs().max()) > 0.01
