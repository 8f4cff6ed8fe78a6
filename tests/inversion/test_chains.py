from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from speechscope.errors import UsageProblem
from speechscope.inversion import chains
from speechscope.inversion.align import noisy
from speechscope.inversion.bp import bp
from speechscope.inversion.chains import Inversion, longest
from speechscope.inversion.problem import Problem, Reconstruction
from speechscope.networks.decoders import Decoder
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Table
from speechscope.registry import INVERSION
from speechscope.stages.invert import Invert
from speechscope.work.device import normal
from speechscope.work.tasks import mixed

TABLE: Table = (Conv(3, (4, 5), "same"), ReLU(), MaxPool((5, 2), (2, 2)), Linear(6))
SETTINGS = Invert(l2=0.02, block=3, steps=7, start=0.3, rate=0.01)
SEEDS = [4, 5, 6, 7, 8]


@pytest.fixture
def network() -> Network:
    torch.manual_seed(1)
    return Network(TABLE, (1, 14, 5)).double()


@pytest.fixture
def inputs() -> torch.Tensor:
    return torch.randn(5, 1, 14, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def invert(
    network: Network,
    decoders: Mapping[int, Any],
    inputs: torch.Tensor,
    layers: list[int],
    methods: list[str],
    settings: Invert = SETTINGS,
    progress: Any = None,
) -> Inversion:
    chosen = replace(settings, method=tuple(methods))
    restorers = {"decode": decoders}
    return chains.invert(
        network, inputs, layers, chosen, SEEDS, restorers=restorers, progress=progress
    )


def problem(network: Network, inputs: torch.Tensor, layer: int) -> Problem:
    return Problem(network, layer, network.activation(inputs, layer).detach(), SEEDS, 0.02)


def test_methods_are_chained_by_plus() -> None:
    def sequences(*methods: str) -> list[tuple[str, ...]]:
        return Invert(method=methods).sequences()

    assert sequences("bp") == [("bp",)]
    assert sequences("decode+bp", "decode + bp+bp") == [("decode", "bp"), ("decode", "bp", "bp")]
    assert longest(replace(SETTINGS, method=("bp", "decode+bp+bp"))) == 14
    for wrong in ("", "bp+", "decode-bp", "BP"):
        with pytest.raises(UsageProblem, match="choose from decode, align, anneal, bp"):
            sequences(wrong)


def test_a_registered_method_is_one_of_them(
    network: Network, inputs: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(INVERSION, "_entries", dict(INVERSION._entries))

    @INVERSION.register("halve")
    def halve(problem: Problem, start: torch.Tensor | None, settings: Invert) -> Reconstruction:
        assert start is not None
        energy = problem.objective().energy(start / 2)
        return Reconstruction(start / 2, energy[:, None], torch.zeros(len(start)).long())

    found = invert(network, {}, inputs, [3], ["bp", "bp+halve"])
    assert torch.equal(found.reconstruction[1], found.reconstruction[0] / 2)


def test_inversion_is_each_method_at_each_layer(network: Network, inputs: torch.Tensor) -> None:
    decoders = {layer: Decoder(network, layer).double() for layer in (1, 3)}
    calls: list[tuple[int, int]] = []
    found = invert(
        network,
        decoders,
        inputs,
        [1, 3],
        ["bp", "decode", "decode+bp"],
        progress=lambda done, total: calls.append((done, total)),
    )
    assert found.reconstruction.shape == (3, 2, 5, 1, 14, 5)
    assert found.objective.shape == (3, 2, 5, 8)
    assert calls[-1] == (30, 30)
    assert calls == sorted(calls)
    for at, layer in enumerate((1, 3)):
        whole = problem(network, inputs, layer)
        alone = bp(whole, None, SETTINGS)
        with torch.no_grad():
            decoded = decoders[layer](whole.target)
        after = bp(whole, decoded, SETTINGS)
        for row, expected in ((0, alone.x), (1, decoded), (2, after.x)):
            torch.testing.assert_close(
                found.reconstruction[row, at].double(), expected, rtol=1e-6, atol=1e-6
            )
        assert found.steps[:, at].tolist() == [[7] * 5, [0] * 5, [7] * 5]
        energy = whole.objective().energy(decoded)
        torch.testing.assert_close(found.objective[1, at, :, 0], energy)
        torch.testing.assert_close(found.objective[2, at, :, 0], energy)
        assert bool(found.objective[1, at, :, 1:].isnan().all())


def test_each_method_starts_from_the_last(network: Network, inputs: torch.Tensor) -> None:
    found = invert(network, {}, inputs, [4], ["bp+bp"])
    whole = problem(network, inputs, 4)
    first = bp(whole, None, SETTINGS)
    second = bp(whole, first.x, SETTINGS)
    torch.testing.assert_close(found.reconstruction[0, 0].double(), second.x, rtol=1e-6, atol=1e-6)
    assert found.steps[0, 0].tolist() == [14] * 5
    expected = torch.cat([first.objective, second.objective[:, 1:]], dim=1)
    torch.testing.assert_close(found.objective[0, 0], expected)


def test_histories_of_different_lengths_follow_each_other() -> None:
    nan = float("nan")
    first = Reconstruction(
        torch.zeros(2, 1, 1, 1),
        torch.tensor([[9.0, 8.0, 7.0], [5.0, nan, nan]]),
        torch.tensor([2, 0]),
    )
    second = Reconstruction(
        torch.ones(2, 1, 1, 1), torch.tensor([[7.0, 6.0], [5.0, 4.0]]), torch.tensor([1, 1])
    )
    both = first.then(second)
    torch.testing.assert_close(
        both.objective, torch.tensor([[9.0, 8.0, 7.0, 6.0], [5.0, 4.0, nan, nan]]), equal_nan=True
    )
    assert both.steps.tolist() == [3, 1]
    assert bool((both.x == 1).all())


def test_blocks_change_nothing_but_rounding(network: Network, inputs: torch.Tensor) -> None:
    one = invert(network, {}, inputs, [3], ["bp"])
    other = replace(SETTINGS, block=5)
    whole = invert(network, {}, inputs, [3], ["bp"], other)
    torch.testing.assert_close(one.reconstruction, whole.reconstruction, rtol=1e-5, atol=1e-6)
    again = invert(network, {}, inputs, [3], ["bp"])
    assert torch.equal(one.reconstruction, again.reconstruction)


def test_decoding_needs_a_decoder(network: Network, inputs: torch.Tensor) -> None:
    with pytest.raises(UsageProblem, match="layer 3: no decoder"):
        invert(network, {}, inputs, [3], ["decode"])


def test_the_start_is_the_same_at_every_layer(network: Network, inputs: torch.Tensor) -> None:
    still = replace(SETTINGS, steps=0)
    found = invert(network, {}, inputs, [1, 3], ["bp"], still)
    starts = normal(SEEDS, (1, 14, 5), 0.3)
    torch.testing.assert_close(found.reconstruction[0, 0], starts)
    torch.testing.assert_close(found.reconstruction[0, 1], starts)


def test_averages_are_means_of_runs_that_differ(network: Network, inputs: torch.Tensor) -> None:
    decoders = {3: Decoder(network, 3).double()}
    calm = replace(SETTINGS, average=3, noise=0.2)
    one = replace(SETTINGS, average=1, noise=0.2)

    def run(settings: Invert) -> torch.Tensor:
        found = invert(network, decoders, inputs, [3], ["bp", "decode"], settings)
        return found.reconstruction.double()

    averaged, single = run(calm), run(one)
    whole = problem(network, inputs, 3)
    seeds = [SEEDS, *([mixed(seed, number) for seed in SEEDS] for number in (1, 2))]
    starts = [bp(replace(whole, seeds=chosen), None, SETTINGS).x for chosen in seeds]
    torch.testing.assert_close(averaged[0, 0], sum(starts) / 3, rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        several = [decoders[3](noisy(replace(whole, seeds=chosen, noise=0.2))) for chosen in seeds]
        plain = decoders[3](whole.target)
    torch.testing.assert_close(averaged[1, 0], sum(several) / 3, rtol=1e-6, atol=1e-6)
    assert not torch.allclose(several[0], several[1])
    # A single run has no noise.
    torch.testing.assert_close(single[1, 0], plain, rtol=1e-6, atol=1e-6)
    ratio = (several[0] - plain).norm() / plain.norm()
    assert 0.01 < float(ratio) < 1


def test_runs_of_annealing_differ_in_their_bands(network: Network, inputs: torch.Tensor) -> None:
    calm = replace(SETTINGS, average=2, proposals=60, reach=0.5, seed=3)
    found = invert(network, {}, inputs, [3], ["anneal"], calm)
    runs = []
    for run in range(2):
        seeds = [mixed(seed, run) for seed in SEEDS] if run else SEEDS
        whole = replace(problem(network, inputs, 3), seeds=seeds)
        chosen = replace(calm, seed=mixed(3, run) if run else 3)
        runs.append(INVERSION["anneal"](whole, None, chosen).x)
    expected = sum(runs) / 2
    torch.testing.assert_close(found.reconstruction[0, 0].double(), expected, rtol=1e-6, atol=1e-6)


def test_the_mismatch_is_that_of_the_layer(network: Network, inputs: torch.Tensor) -> None:
    found = invert(network, {}, inputs, [1, 3], ["bp"])
    for at, layer in enumerate((1, 3)):
        wanted = network.activation(inputs, layer).flatten(1)
        y = network.activation(found.reconstruction[0, at].double(), layer).flatten(1)
        expected = (y - wanted).norm(dim=1) / wanted.norm(dim=1)
        torch.testing.assert_close(found.mismatch[0, at], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("names", "sizes"), [(["anneal"], [5]), (["anneal", "bp"], [3, 2]), (["bp+anneal"], [3, 2])]
)
def test_annealing_alone_takes_larger_blocks(
    network: Network,
    inputs: torch.Tensor,
    monkeypatch: pytest.MonkeyPatch,
    names: list[str],
    sizes: list[int],
) -> None:
    seen: list[int] = []

    def watched(problem: Problem, start: torch.Tensor | None, settings: Invert) -> Reconstruction:
        seen.append(len(problem.target))
        answer: Reconstruction = anneal(problem, start, settings)
        return answer

    anneal = INVERSION["anneal"]
    monkeypatch.setattr(INVERSION, "_entries", {**INVERSION._entries, "anneal": watched})
    invert(network, {}, inputs, [1], names, replace(SETTINGS, proposals=10))
    assert seen == sizes
