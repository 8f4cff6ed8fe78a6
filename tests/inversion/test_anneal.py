import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from speechscope.fast import changed_rows, row_loops
from speechscope.fast.changed_rows import ChangedRows
from speechscope.fast.row_loops import Pooling
from speechscope.inversion.anneal import SWEEP, Chains, Neighbours, anneal, temperatures
from speechscope.inversion.problem import Problem
from speechscope.networks.layers import Conv, Layered, Linear, MaxPool, Network, ReLU, Table
from speechscope.registry import NETWORKS
from speechscope.stages.invert import Invert
from speechscope.work.accelerators import PLAIN, Unsupported

TABLE: Table = (
    Conv(3, (4, 5), "same"),
    ReLU(),
    MaxPool((5, 2), (2, 2)),
    Conv(4, (3, 1), "same"),
    ReLU(),
    MaxPool((3, 1), (2, 1)),
    Linear(6),
    ReLU(),
    Linear(5),
)
WIDE: Table = (
    Conv(3, (4, 3), "same"),
    MaxPool((5, 1), (2, 1)),
    Conv(4, (3, 3), "same"),
    MaxPool((7, 2), (3, 2)),
    Conv(5, (2, 2)),
    ReLU(),
    Linear(4),
)
"""Later kernels over time, and regions that overlap by one row and by more than two."""
SETTINGS = Invert(
    proposals=250,
    chains=2,
    rows=3,
    share=0.5,
    reach=0.4,
    temperature=1e-2,
    cooling=1e-3,
    seed=9,
)


def network(table: Table = TABLE, shape: tuple[int, int, int] = (1, 24, 6)) -> Network:
    torch.manual_seed(0)
    made = Network(table, shape).double()
    for parameter in made.parameters():
        parameter.data.normal_(std=parameter[0].numel() ** -0.5)
    return made.requires_grad_(False)


def problem(count: int, layer: int, l2: float = 0.05) -> Problem:
    made = network()
    x = torch.randn(6, 1, 24, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return Problem(made, layer, made.activation(x[:count], layer), list(range(7, 7 + count)), l2)


def energy(made: Layered, layer: int, target: Tensor, x: Tensor) -> Tensor:
    """½ Σ (Y* − Y)² by a forward pass of the whole network."""
    return 0.5 * (target - made.activation(x, layer)).flatten(1).square().sum(1)


@pytest.mark.parametrize(
    ("table", "shape", "layers"),
    [
        (TABLE, (1, 24, 6), range(1, 10)),
        (TABLE, (2, 24, 6), (1, 6, 9)),
        ((*TABLE, ReLU(), Linear(3)), (1, 24, 6), (10, 11)),
        (WIDE, (1, 24, 6), range(1, 8)),
        (NETWORKS["freq-overlap"]().table, (1, 201, 16), (1, 3, 6, 9, 12)),
        (NETWORKS["freq-overlap-padded"]().table, (1, 201, 16), (1, 3, 6, 9, 12)),
    ],
)
def test_changed_rows_give_the_energy_of_a_whole_forward_pass(
    table: Table, shape: tuple[int, int, int], layers: range | tuple[int, ...]
) -> None:
    made, rows = network(table, shape), 5
    generator = torch.Generator().manual_seed(2)
    for layer in layers:
        original, x = torch.randn(2, 3, *shape, dtype=torch.float64, generator=generator)
        target = made.activation(original, layer)
        proposals = ChangedRows(made, layer, target)
        torch.testing.assert_close(proposals.load(x), energy(made, layer, target, x))
        # Both borders, and bands that overlap what was kept and what was taken back.
        for first in (0, shape[1] - 1, shape[1] - rows, 7, 9, 8, 2, 11):
            count = min(rows, shape[1] - first)
            change = torch.randn(
                3, count, shape[2], shape[0], dtype=torch.float64, generator=generator
            )
            changed = x.clone()
            changed[:, :, first : first + count] += change.permute(0, 3, 1, 2)
            found = proposals.propose(change, first)
            expected = energy(made, layer, target, changed)
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
            accepted = torch.rand(3, generator=generator) < 0.5
            proposals.settle(accepted)
            x = torch.where(accepted[:, None, None, None], changed, x)
        # Another start, at a band that was changed before.
        x = torch.randn(3, *shape, dtype=torch.float64, generator=generator)
        torch.testing.assert_close(proposals.load(x), energy(made, layer, target, x))
        none = torch.zeros(3, rows, shape[2], shape[0], dtype=torch.float64)
        found = proposals.propose(none, 7)
        torch.testing.assert_close(found, energy(made, layer, target, x), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize(
    "pool",
    [
        Pooling(before=6, after=6),
        Pooling(5, 2, 1, 1, relu=True, before=6, after=6),
        Pooling(3, 3, 2, 2, before=6, after=3),
        Pooling(2, 1, 2, 4, relu=True, before=6, after=2),
    ],
)
def test_pooled_rows_equal_the_formula(pool: Pooling, apart: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(4, 19, 6, 3, generator=rng, dtype=torch.float64)
    change = torch.randn(4, 4, 6, 3, generator=rng, dtype=torch.float64)
    changed = z.clone()
    changed[:, 8:12] += change
    expected = functional.max_pool2d(
        changed.permute(0, 3, 1, 2), (pool.rows, pool.frames), (pool.stride, pool.step)
    ).permute(0, 2, 3, 1)
    # Regions that reach above and below the change.
    regions = 7 // pool.stride, min(expected.shape[1], 13 // pool.stride + 1)
    expected = expected[:, slice(*regions)]
    if pool.relu:
        expected = expected.relu()

    def laid(x: Tensor, each: bool) -> Tensor:
        rows = x.transpose(1, 2).flatten(0, 1) if each else x.flatten(2)
        return rows.contiguous()

    wanted = laid(expected, apart)
    found = torch.empty_like(wanted)
    rows = laid(z, True)
    changes = laid(change, True)
    again = row_loops.pooled(rows, 8, changes, regions, replace(pool, apart=apart), found)
    for _ in range(2):
        found.zero_()
        again()
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("each", [1, 2])
def test_rows_are_compared_added_and_replaced(each: int) -> None:
    rng = torch.Generator().manual_seed(0)
    whole, rows, target = torch.randn(3, 3 * each, 7, 6, generator=rng, dtype=torch.float64)
    rows, marks = rows[:, :3].contiguous(), torch.tensor([True, False, True])
    place, change = whole, torch.empty_like(rows)
    row_loops.difference(rows, place, 2, change)()
    torch.testing.assert_close(change, rows - whole[:, 2:5])
    items = marks.repeat_interleave(each)

    def others_are(before: Tensor) -> None:
        assert torch.equal(whole[~items], before[~items])
        assert torch.equal(whole[:, :2], before[:, :2])
        assert torch.equal(whole[:, 5:], before[:, 5:])

    before = whole.clone()
    given = marks.numpy()
    row_loops.keep(place, 2, change, each=each, add=True)(given)
    torch.testing.assert_close(whole[items, 2:5], rows[items])
    others_are(before)
    row_loops.keep(place, 2, target[:, :3].contiguous(), each=each)(given)
    assert torch.equal(whole[items, 2:5], target[items, :3])
    others_are(before)


def test_energies_of_residuals() -> None:
    rng = torch.Generator().manual_seed(0)
    residual, rows = torch.randn(2, 3, 7, 6, generator=rng, dtype=torch.float64)
    rows = rows[:, :3].contiguous()
    energy, found = torch.rand(3, dtype=torch.float64), torch.empty(3, dtype=torch.float64)
    row_loops.energy(rows, residual, 2, energy, found)()
    gain = rows.square() - residual[:, 2:5].square()
    torch.testing.assert_close(found, energy + 0.5 * gain.sum((1, 2)))


@pytest.mark.parametrize("layer", [1, 3, 6, 9])
def test_the_fast_chains_decide_as_the_plain_ones(layer: int) -> None:
    whole = problem(5, layer)
    rng = torch.Generator().manual_seed(0)
    start = 0.1 * torch.randn(5, 1, 24, 6, generator=rng, dtype=torch.float64)
    both = [
        make(whole.network, layer, whole.target, 0.3, start)
        for make in (Chains, changed_rows.Chains)
    ]
    moved, better, slacks = 0, 0, 0.02 * both[0].energy
    for number in range(60):
        change = 0.1 * torch.randn(5, 1, 2, 6, generator=rng, dtype=torch.float64)
        slack = slacks * torch.rand(5, generator=rng, dtype=torch.float64)
        before = both[0].energy, both[0].lowest
        for chains in both:
            chains.step(change, number * 5 % 23, slack)
        for name in ("energy", "lowest", "best"):
            wanted, given = (getattr(chains, name) for chains in both)
            torch.testing.assert_close(given, wanted, rtol=1e-9, atol=1e-12)
        moved += int((both[0].energy != before[0]).sum())
        better += int((both[0].lowest != before[1]).sum())
    assert 5 < better < moved < 300  # chains stay, move up, and find better places


def test_what_rounding_adds_up_to_is_computed_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changed_rows, "FRESH", 4)
    whole = problem(2, 6)
    x = torch.zeros(2, 1, 24, 6, dtype=torch.float64)
    chains = changed_rows.Chains(whole.network, 6, whole.target, 0.3, x)
    before = chains.energy.clone()
    chains.energy += 1.0
    never = torch.full((2,), -torch.inf, dtype=torch.float64)
    for step in range(5):
        chains.step(x[:, :, :2], 3, never)
        expected = before + (1.0 if step < 4 else 0.0)
        torch.testing.assert_close(chains.energy, expected, rtol=1e-12, atol=0)


def test_other_networks_have_no_changed_rows() -> None:
    made = network((Conv(4, (3, 3)), MaxPool((3, 3), (3, 1)), Linear(None)), (1, 17, 9))
    x = torch.randn(2, 1, 17, 9, dtype=torch.float64)
    with pytest.raises(Unsupported):
        changed_rows.Chains(made, 3, made.activation(x, 3), 0.1, x)


@pytest.mark.parametrize("layer", [1, 6, 9])
def test_annealing_is_the_same_without_accelerators(
    layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = problem(3, layer)
    fast = anneal(whole, None, SETTINGS)
    monkeypatch.setenv(PLAIN, "1")
    plain = anneal(whole, None, SETTINGS)
    torch.testing.assert_close(fast.objective, plain.objective, rtol=1e-9, atol=0)
    torch.testing.assert_close(fast.x, plain.x, rtol=1e-9, atol=1e-12)


def one_by_one(whole: Problem, item: int, chain: int, settings: Invert) -> list[float]:
    """One chain as the paper describes it, a forward pass of the network for every neighbour."""
    made, target = whole.network, whole.target[item : item + 1]
    neighbours = Neighbours(
        [whole.seeds[item]], settings, 24, 6, torch.zeros((), dtype=torch.float64)
    )

    def error(x: Tensor) -> float:
        return float(energy(made, whole.layer, target, x) + 0.5 * whole.l2 * (x**2).sum())

    x = torch.zeros(1, 1, 24, 6, dtype=torch.float64)
    now = began = best = error(x)
    visited = [best]
    k = 0
    for sweep in range(math.ceil(settings.proposals / SWEEP)):
        count = min(SWEEP, settings.proposals - sweep * SWEEP)
        changes, uniform, first = neighbours.sweep(count)
        for step in range(count):
            new = x.clone()
            for row in range(settings.rows):
                if 0 <= first[step] + row < 24:
                    new[0, 0, first[step] + row] += changes[step, chain, row]
            wanted = error(new)
            temperature = (
                settings.temperature * began * settings.cooling ** (k / settings.proposals)
            )
            if wanted < now or float(uniform[step, chain]) < math.exp((now - wanted) / temperature):
                x, now = new, wanted
            best = min(best, now)
            k += 1
        visited.append(best)
    return visited


@pytest.mark.parametrize("layer", [1, 6, 9])
def test_every_chain_takes_the_decisions_of_the_paper(layer: int) -> None:
    whole = problem(3, layer)
    found = anneal(whole, None, SETTINGS)
    for item in range(3):
        chains = [one_by_one(whole, item, chain, SETTINGS) for chain in range(2)]
        expected = [min(pair) for pair in zip(*chains, strict=True)]
        torch.testing.assert_close(
            found.objective[item], torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=0
        )
    # What is returned is what the last entry is the energy of, and chains do come down.
    reached = energy(whole.network, layer, whole.target, found.x)
    reached += 0.5 * whole.l2 * found.x.flatten(1).square().sum(1)
    torch.testing.assert_close(found.objective[:, -1], reached)
    assert bool((found.objective[:, -1] < 0.9 * found.objective[:, 0]).all())
    assert bool((found.objective.diff(dim=1) <= 0).all())
    assert found.steps.tolist() == [3, 3, 3]


def test_an_item_does_not_depend_on_its_batch() -> None:
    whole, fewer = anneal(problem(6, 6), None, SETTINGS), anneal(problem(2, 6), None, SETTINGS)
    torch.testing.assert_close(fewer.x, whole.x[:2], rtol=1e-9, atol=1e-9)
    other = replace(problem(2, 6), seeds=[1, 2])
    assert not torch.equal(anneal(other, None, SETTINGS).x, fewer.x)


def test_neighbours_are_those_of_the_paper() -> None:
    like = torch.zeros(())
    settings = replace(SETTINGS, reach=0.05, chains=30)
    changes, uniform, first = Neighbours([3, 4], settings, 24, 6, like).sweep(100)
    assert changes.shape == (100, 60, 3, 6)
    assert float((changes == 0).double().mean()) == pytest.approx(0.5, abs=0.01)
    assert float(changes.abs().max()) <= 0.05
    # One sign a neighbour, and each as often.
    signs = torch.stack([(changes > 0).any(3).any(2), (changes < 0).any(3).any(2)])
    assert not bool(signs.all(0).any())
    assert float(signs[0].double().mean()) == pytest.approx(0.5, abs=0.03)
    size = changes[changes > 0]
    assert float(size.mean()) == pytest.approx(0.025, abs=1e-3)
    assert float(size.std()) == pytest.approx(0.05 / math.sqrt(12), abs=1e-3)
    assert float(uniform.min()) > 0 and float(uniform.mean()) == pytest.approx(0.5, abs=0.02)
    assert min(first) < 0 and max(first) > 21 and len(set(first)) > 20


def test_the_temperature_falls_from_its_share_of_the_start() -> None:
    start = torch.tensor([2.0, 40.0], dtype=torch.float64)
    found = temperatures(SETTINGS, start, 0, SETTINGS.proposals + 1)
    torch.testing.assert_close(found[0], 1e-2 * start)
    torch.testing.assert_close(found[-1], 1e-5 * start)
    torch.testing.assert_close(found[1:] / found[:-1], (found[1] / found[0]).expand(250, 2))


def test_derived_channels_follow_the_static_ones() -> None:
    made = network(TABLE, (2, 24, 6))
    derivative = torch.randn(6, 6, dtype=torch.float64)
    derived = torch.stack([torch.eye(6, dtype=torch.float64), derivative])
    x = torch.randn(2, 1, 24, 6, dtype=torch.float64)
    target = made.activation(torch.cat([x, x @ derivative], 1), 3)
    whole = Problem(made, 3, target, [1, 2], 0.0, derived=derived)
    found = anneal(whole, None, SETTINGS)
    assert bool((found.x[:, :1] != 0).any())
    torch.testing.assert_close(found.x[:, 1:], found.x[:, :1] @ derivative)


def test_nothing_to_anneal() -> None:
    found = anneal(problem(0, 3), None, SETTINGS)
    assert found.x.shape == (0, 1, 24, 6) and found.objective.shape[0] == 0
