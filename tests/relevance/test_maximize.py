"""Optimal inputs: the climb, and what a unit sees."""

import pytest
import torch
from torch import Tensor, nn

from speechscope.errors import UsageProblem
from speechscope.networks.layers import Conv, MaxPool, Network, ReLU
from speechscope.registry import NETWORKS
from speechscope.relevance.maximize import (
    Unit,
    maximize,
    on_its_window,
    on_whole_inputs,
    parse_units,
    seen,
)
from speechscope.stages.maximize import Maximize

SETTINGS = Maximize(steps=60, lr=0.05, l1=0.0, l2=0.5, tv=0.0)


def linear(x: Tensor) -> Tensor:
    """Two units: the sum of the input, and minus its first value."""
    return torch.stack([x.flatten(1).sum(1), -x.flatten(1)[:, 0]], 1)


def test_the_optimum_of_a_linear_unit_is_its_weight_over_lambda() -> None:
    many = Maximize(steps=600, lr=0.05, l1=0.0, l2=0.5, tv=0.0)
    found = maximize(linear, (1, 2, 3), [Unit(0), Unit(1)], many, [1, 2])
    wanted = torch.zeros(2, 1, 2, 3)
    wanted[0], wanted[1, 0, 0, 0] = 2.0, -2.0
    torch.testing.assert_close(found.x, wanted, atol=2e-3, rtol=0)
    assert found.activation.shape == (2, 601)
    torch.testing.assert_close(
        found.activation[:, -1], torch.tensor([12.0, 2.0]), atol=0.02, rtol=0
    )


def test_the_first_step_of_adam_is_its_rate() -> None:
    def climbed(steps: int) -> Tensor:
        settings = Maximize(steps=steps, lr=0.05, l1=0.0, l2=0.0, tv=0.0)
        return maximize(linear, (1, 2, 3), [Unit(0)], settings, [1]).x

    torch.testing.assert_close(climbed(1) - climbed(0), torch.full((1, 1, 2, 3), 0.05))


def test_l1_and_total_variation_cost() -> None:
    # Slope 1 against λ₁ = 2: nothing is worth its price. Values end within a step of 0.
    strong = Maximize(steps=200, lr=0.01, l1=2.0, l2=0.0, tv=0.0)
    assert maximize(linear, (1, 2, 3), [Unit(0)], strong, [1]).x.abs().max() < 0.03
    rough = Maximize(steps=200, lr=0.01, l1=0.0, l2=0.0, tv=0.0)
    smooth = Maximize(steps=200, lr=0.01, l1=0.0, l2=0.0, tv=9.0)
    # Unit 1 pulls at one value alone, which the variation holds back.
    found = [maximize(linear, (1, 2, 3), [Unit(1)], s, [1]).x for s in (rough, smooth)]
    varied = [float(x.diff(dim=2).abs().sum() + x.diff(dim=3).abs().sum()) for x in found]
    assert varied[1] < varied[0] / 5


def test_units_do_not_touch_each_other_and_starts_are_xaviers() -> None:
    both = maximize(linear, (1, 2, 3), [Unit(0), Unit(1)], SETTINGS, [5, 6])
    alone = maximize(linear, (1, 2, 3), [Unit(1)], SETTINGS, [6])
    torch.testing.assert_close(both.x[1:], alone.x)
    still = Maximize(steps=0, lr=0.05, l1=0, l2=0, tv=0)
    start = maximize(linear, (1, 201, 16), [Unit(0)], still, [0]).x
    bound = (6 / 217) ** 0.5
    assert 0.99 * bound < start.abs().max() <= bound
    torch.testing.assert_close(start.std(), torch.tensor(bound / 3**0.5), rtol=0.05, atol=0)


@pytest.mark.parametrize("layer", [1, 2, 4, 6, 9])
def test_a_window_is_what_a_unit_sees(layer: int) -> None:
    torch.manual_seed(0)
    table = (
        *(Conv(3, (4, 3), padding="same"), ReLU(), MaxPool((3, 2), (2, 2))),
        *(Conv(4, (3, 1), padding="same"), ReLU(), MaxPool((3, 1), (2, 1))),
        *(Conv(4, (2, 2), padding="same"), ReLU(), MaxPool((2, 2), (1, 1))),
    )
    network = Network(table, (2, 60, 24), 3).eval().requires_grad_(False)
    alone = on_its_window(network, layer)
    shape = alone.seen
    assert alone.out[1:] == (1, 1)
    number = layer - 1 if isinstance(table[layer - 1], ReLU) else layer
    # The derivative of one unit in the middle of the whole network, and what it covers.
    x = torch.randn(1, 2, 60, 24).requires_grad_()
    maps = network.activation(x, number)
    f, t = maps.shape[2] // 2, maps.shape[3] // 2
    (gradient,) = torch.autograd.grad(maps[0, :, f, t].sum(), x)
    window = seen(table, number)
    assert window == shape[1:]
    rows, frames = gradient[0].abs().sum((0, 2)).nonzero(), gradient[0].abs().sum((0, 1)).nonzero()
    assert rows.max() - rows.min() < shape[1] and frames.max() - frames.min() < shape[2]
    # The same window by itself gives the same activation.
    found = []
    for top in range(60 - shape[1] + 1):
        for left in range(24 - shape[2] + 1):
            part = x[:, :, top : top + shape[1], left : left + shape[2]]
            found.append((alone.run(part)[0, :, 0, 0] - maps[0, :, f, t]).abs().max())
    assert min(found) < 1e-5


def test_layers_that_see_everything_keep_the_whole_input() -> None:
    network = NETWORKS["freq-overlap"]((1, 201, 16), 5).eval()
    for layer in (10, 16):
        found = on_its_window(network, layer)
        assert found.seen == (1, 201, 16) and len(found.out) == 1
    found = on_its_window(network, 4)
    assert found.seen == (1, 22, 16) and found.out == (16, 1, 1)


def test_units_by_name_number_and_place() -> None:
    assert parse_units(["all"], (3,), ("a", "b", "c")) == {n: Unit(i) for i, n in enumerate("abc")}
    assert parse_units(["b", "2"], (3,), ("a", "b", "c")) == {"b": Unit(1), "2": Unit(2)}
    found = parse_units(["4", "1@0x2", "1@mean"], (5, 3, 4), ())
    assert found == {"4": Unit(4, (1, 2)), "1@0x2": Unit(1, (0, 2)), "1@mean": Unit(1)}
    for text, why in (("5", "0 to 4"), ("x", "0 to 4"), ("1@3x0", "BINxFRAME"), ("1@2", "BINxF")):
        with pytest.raises(UsageProblem, match=why):
            parse_units([text], (5, 3, 4), ())


def test_a_unit_of_a_map_is_one_place_or_their_mean() -> None:
    values = torch.arange(24.0).view(2, 3, 4)
    assert float(Unit(1, (2, 3)).of(values)) == 23
    assert float(Unit(1).of(values)) == 17.5
    assert float(Unit(1).of(torch.tensor([3.0, 7.0]))) == 7


def test_a_relus_unit_in_any_network_is_what_enters_it() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 2)).eval()
    x = torch.randn(2, 1, 5, 6)
    found = on_whole_inputs(network, x, "1")
    assert found.out == (2, 3, 4) and found.seen == (1, 5, 6)
    torch.testing.assert_close(found.run(x), network[0](x))
    assert (found.run(x) < 0).any()
    torch.testing.assert_close(on_whole_inputs(network, x, "last").run(x), network(x))
