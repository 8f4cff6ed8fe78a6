import numpy as np
import pytest
import torch
from torch import Tensor

from speechscope.fast.frozen import FrozenObjective
from speechscope.inversion.problem import Objective, Problem
from speechscope.inversion.writing import mismatched
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Table
from speechscope.registry import NETWORKS

SMALL: Table = (Conv(3, (4, 5), "same"), ReLU(), MaxPool((5, 2), (2, 2)), Linear(6), ReLU())


def network(table: Table = SMALL, shape: tuple[int, int, int] = (1, 14, 5)) -> Network:
    torch.manual_seed(0)
    made = Network(table, shape).double()
    for parameter in made.parameters():
        parameter.data.normal_(std=parameter[0].numel() ** -0.5)
    return made


def by_hand(made: Network, layer: int, target: Tensor, l2: float, x: Tensor) -> Tensor:
    """½ Σ (Y* − Y)² + λ/2 Σ X² of each item."""
    difference = target - made.activation(x, layer)
    axes = tuple(range(1, difference.dim()))
    return 0.5 * (difference**2).sum(axes) + 0.5 * l2 * (x**2).sum((1, 2, 3))


@pytest.mark.parametrize("layer", range(1, 6))
@pytest.mark.parametrize("kind", [FrozenObjective, Objective])
def test_value_and_derivative_equal_the_formula_and_finite_differences(
    layer: int, kind: type[FrozenObjective] | type[Objective]
) -> None:
    made = network()
    original, x = torch.randn(2, 4, 1, 14, 5, dtype=torch.float64)
    target = made.activation(original, layer).detach()
    energy, gradient = kind(made, layer, target, 0.3).evaluate(x)
    with torch.no_grad():
        torch.testing.assert_close(energy, by_hand(made, layer, target, 0.3, x), rtol=1e-12, atol=0)
        step = 1e-6
        for index in range(0, 70, 3):
            nudge = torch.zeros(70, dtype=torch.float64)
            nudge[index] = step
            nudge = nudge.view(1, 1, 14, 5)
            slope = (
                by_hand(made, layer, target, 0.3, x + nudge)
                - by_hand(made, layer, target, 0.3, x - nudge)
            ) / (2 * step)
            torch.testing.assert_close(gradient.flatten(1)[:, index], slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["freq-overlap", "freq-overlap-padded"])
@pytest.mark.parametrize("layer", [1, 2, 3, 6, 9, 12, 16])
def test_the_papers_networks_equal_autograd(name: str, layer: int) -> None:
    made = network(NETWORKS[name]().table, (1, 201, 16))
    original, x = torch.randn(2, 2, 1, 201, 16, dtype=torch.float64)
    target = made.activation(original, layer).detach()
    energy, gradient = Problem(made, layer, target, [], 0.1).objective().evaluate(x)
    expected = Objective(made, layer, target, 0.1).evaluate(x)
    torch.testing.assert_close(energy, expected[0], rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(gradient, expected[1], rtol=1e-10, atol=1e-11)


def test_a_layer_without_a_fast_form_is_differentiated_automatically() -> None:
    table: Table = (Conv(4, (3, 3)), MaxPool((3, 3), (3, 1)), Linear(None))
    made = network(table, (1, 17, 9))
    target = made.activation(torch.randn(2, 1, 17, 9, dtype=torch.float64), 3).detach()
    assert isinstance(Problem(made, 3, target, [], 0.0).objective(), Objective)
    assert isinstance(Problem(made, 1, made.activation(torch.zeros(2, 1, 17, 9,
        dtype=torch.float64), 1).detach(), [], 0.0).objective(), FrozenObjective)  # fmt: skip


@pytest.mark.parametrize("kind", [FrozenObjective, Objective])
def test_kept_items_keep_their_targets(
    kind: type[FrozenObjective] | type[Objective],
) -> None:
    made = network()
    original, x = torch.randn(2, 5, 1, 14, 5, dtype=torch.float64)
    objective = kind(made, 3, made.activation(original, 3).detach(), 0.0)
    energy, gradient = (found.clone() for found in objective.evaluate(x))
    kept = torch.tensor([0, 3])
    objective.keep(kept)
    fewer, less = objective.evaluate(x[kept])
    torch.testing.assert_close(fewer, energy[kept])
    torch.testing.assert_close(less, gradient[kept])


def test_what_quiet_items_get_by_chance_is_a_factor() -> None:
    rng = np.random.default_rng(0)
    size = np.geomspace(0.01, 1, 40)
    target, found = rng.normal(size=(2, 40, 9))
    target *= size[:, None] / np.linalg.norm(target, axis=1, keepdims=True)
    own, other = mismatched(target, found)
    np.testing.assert_allclose(own[0], np.linalg.norm(target[0] - found[0]) / 0.01)
    assert (other > 0).all()
    assert np.corrcoef(np.log(other), -np.log(size))[0, 1] > 0.8
