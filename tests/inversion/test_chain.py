from dataclasses import replace

import inversions
import pytest
import torch
from inversions import bold, bp_settings

from speechscope.errors import UsageProblem
from speechscope.inversion.anneal import AnnealSettings, anneal
from speechscope.inversion.bp import bp, random_start
from speechscope.inversion.chain import InversionSettings, invert, most_steps, parse_method
from speechscope.inversion.problem import Found, Problem
from speechscope.networks.decoders import Decoder
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Table
from speechscope.work.tasks import mixed

TABLE: Table = (Conv(3, (4, 5), "same"), ReLU(), MaxPool((5, 2), (2, 2)), Linear(6))
SETTINGS = replace(
    inversions.settings(),
    l2=0.02,
    block=3,
    bp=bp_settings(steps=7, start=0.3, driver=bold(rate=0.01)),
)
SEEDS = [4, 5, 6, 7, 8]


@pytest.fixture
def network() -> Network:
    torch.manual_seed(1)
    return Network(TABLE, (1, 14, 5)).double()


@pytest.fixture
def inputs() -> torch.Tensor:
    return torch.randn(5, 1, 14, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def problem(network: Network, inputs: torch.Tensor, layer: int) -> Problem:
    return Problem(network, layer, network.activation(inputs, layer).detach(), SEEDS, 0.02)


def test_methods_are_chained_by_plus() -> None:
    assert parse_method("bp") == ("bp",)
    assert parse_method("decode+bp") == ("decode", "bp")
    assert parse_method("decode + bp+bp") == ("decode", "bp", "bp")
    assert most_steps("decode+bp+bp", SETTINGS) == 14
    for wrong in ("", "bp+", "decode-bp", "BP"):
        with pytest.raises(UsageProblem, match="choose from anneal, bp, decode, align"):
            parse_method(wrong)


def test_inversion_is_each_method_at_each_layer(network: Network, inputs: torch.Tensor) -> None:
    decoders = {layer: Decoder(network, layer).double() for layer in (1, 3)}
    calls: list[tuple[int, int]] = []
    found = invert(
        network,
        {"decode": decoders},
        inputs,
        [1, "pool1"],
        ["bp", "decode", "decode+bp"],
        SETTINGS,
        seeds=SEEDS,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert found.reconstruction.shape == (3, 2, 5, 1, 14, 5)
    assert found.objective.shape == (3, 2, 5, 8)
    assert calls[-1] == (30, 30)
    assert calls == sorted(calls)
    for at, layer in enumerate((1, 3)):
        whole = problem(network, inputs, layer)
        alone = bp(whole, None, SETTINGS.bp)
        with torch.no_grad():
            decoded = decoders[layer](whole.target)
        after = bp(whole, decoded, SETTINGS.bp)
        for row, expected in ((0, alone.x), (1, decoded), (2, after.x)):
            torch.testing.assert_close(
                found.reconstruction[row, at].double(), expected, rtol=1e-6, atol=1e-6
            )
        assert found.steps[:, at].tolist() == [[7] * 5, [0] * 5, [7] * 5]
        energy, _ = whole.objective().evaluate(decoded)
        torch.testing.assert_close(found.objective[1, at, :, 0], energy)
        torch.testing.assert_close(found.objective[2, at, :, 0], energy)
        assert bool(found.objective[1, at, :, 1:].isnan().all())


def test_each_method_starts_from_the_last(network: Network, inputs: torch.Tensor) -> None:
    found = invert(network, {}, inputs, [4], ["bp+bp"], SETTINGS, seeds=SEEDS)
    whole = problem(network, inputs, 4)
    first = bp(whole, None, SETTINGS.bp)
    second = bp(whole, first.x, SETTINGS.bp)
    torch.testing.assert_close(found.reconstruction[0, 0].double(), second.x, rtol=1e-6, atol=1e-6)
    assert found.steps[0, 0].tolist() == [14] * 5
    expected = torch.cat([first.objective, second.objective[:, 1:]], dim=1)
    torch.testing.assert_close(found.objective[0, 0], expected)


def test_histories_of_different_lengths_follow_each_other() -> None:
    nan = float("nan")
    first = Found(
        torch.zeros(2, 1, 1, 1),
        torch.tensor([[9.0, 8.0, 7.0], [5.0, nan, nan]]),
        torch.tensor([2, 0]),
    )
    second = Found(
        torch.ones(2, 1, 1, 1), torch.tensor([[7.0, 6.0], [5.0, 4.0]]), torch.tensor([1, 1])
    )
    both = first.then(second)
    torch.testing.assert_close(
        both.objective, torch.tensor([[9.0, 8.0, 7.0, 6.0], [5.0, 4.0, nan, nan]]), equal_nan=True
    )
    assert both.steps.tolist() == [3, 1]
    assert bool((both.x == 1).all())


def test_blocks_change_nothing_but_rounding(network: Network, inputs: torch.Tensor) -> None:
    one = invert(network, {}, inputs, [3], ["bp"], SETTINGS, seeds=SEEDS)
    other = replace(SETTINGS, block=5)
    whole = invert(network, {}, inputs, [3], ["bp"], other, seeds=SEEDS)
    torch.testing.assert_close(one.reconstruction, whole.reconstruction, rtol=1e-5, atol=1e-6)
    again = invert(network, {}, inputs, [3], ["bp"], SETTINGS, seeds=SEEDS)
    assert torch.equal(one.reconstruction, again.reconstruction)


def test_decoding_needs_a_decoder(network: Network, inputs: torch.Tensor) -> None:
    with pytest.raises(UsageProblem, match="layer 3: no decoder"):
        invert(network, {}, inputs, [3], ["decode"], SETTINGS, seeds=SEEDS)


def test_the_start_is_the_same_at_every_layer(network: Network, inputs: torch.Tensor) -> None:
    still = replace(SETTINGS, bp=bp_settings(steps=0, start=0.3))
    found = invert(network, {}, inputs, [1, 3], ["bp"], still, seeds=SEEDS)
    starts = random_start((1, 14, 5), SEEDS, 0.3)
    torch.testing.assert_close(found.reconstruction[0, 0], starts)
    torch.testing.assert_close(found.reconstruction[0, 1], starts)


def test_averages_are_means_of_runs_that_differ(network: Network, inputs: torch.Tensor) -> None:
    decoders = {3: Decoder(network, 3).double()}
    calm = replace(SETTINGS, average=3, noise=0.2)
    one = replace(SETTINGS, average=1, noise=0.2)

    def run(settings: InversionSettings, seeds: list[int]) -> torch.Tensor:
        found = invert(
            network, {"decode": decoders}, inputs, [3], ["bp", "decode"], settings, seeds=seeds
        )
        return found.reconstruction.double()

    averaged, single = run(calm, SEEDS), run(one, SEEDS)
    whole = problem(network, inputs, 3)
    seeds = [SEEDS, *([mixed(seed, number) for seed in SEEDS] for number in (1, 2))]
    starts = [bp(replace(whole, seeds=chosen), None, SETTINGS.bp).x for chosen in seeds]
    torch.testing.assert_close(averaged[0, 0], sum(starts) / 3, rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        noisy = [
            decoders[3](replace(whole, seeds=chosen, noise=0.2).noisy_target()) for chosen in seeds
        ]
        plain = decoders[3](whole.target)
    torch.testing.assert_close(averaged[1, 0], sum(noisy) / 3, rtol=1e-6, atol=1e-6)
    assert not torch.allclose(noisy[0], noisy[1])
    # A single run has no noise.
    torch.testing.assert_close(single[1, 0], plain, rtol=1e-6, atol=1e-6)
    ratio = (noisy[0] - plain).norm() / plain.norm()
    assert 0.01 < float(ratio) < 1


def test_the_mismatch_is_that_of_the_layer(network: Network, inputs: torch.Tensor) -> None:
    found = invert(network, {}, inputs, [1, 3], ["bp"], SETTINGS, seeds=SEEDS)
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

    def watched(problem: Problem, start: torch.Tensor | None, settings: AnnealSettings) -> Found:
        seen.append(len(problem.target))
        return anneal(problem, start, settings)

    monkeypatch.setattr("speechscope.inversion.chain.anneal", watched)
    few = replace(SETTINGS, anneal=replace(SETTINGS.anneal, proposals=10))
    invert(network, {}, inputs, [1], names, few, seeds=SEEDS)
    assert seen == sizes
