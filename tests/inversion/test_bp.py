from dataclasses import replace

import numpy as np
import oracles
import pytest
import torch
from torch import Tensor

from speechscope.inversion.bp import bp
from speechscope.inversion.problem import Objective, Problem
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Table
from speechscope.stages.invert import Invert
from speechscope.work.device import normal

TABLE: Table = (Conv(3, (4, 5), "same"), ReLU(), MaxPool((5, 2), (2, 2)), Linear(6))
DRIVER = Invert(rate=10.0, up=1.3, down=0.4, stop=0.02)


def problem(count: int, layer: int = 4, l2: float = 0.01) -> Problem:
    torch.manual_seed(3)
    network = Network(TABLE, (1, 14, 5)).double()
    x = torch.randn(8, 1, 14, 5, dtype=torch.float64)[:count]
    target = network.activation(x, layer).detach()
    return Problem(network, layer, target, list(range(count)), l2)


def one_by_hand(
    whole: Problem, item: int, start: Tensor, settings: Invert
) -> tuple[Tensor, list[float]]:
    """Steepest descent of a single item, the bold driver by its oracle."""
    target = whole.target[item : item + 1]
    objective = Objective(whole.network, whole.layer, target, whole.l2)
    x, errors, visited = start[item : item + 1], [], []
    for _ in range(settings.steps + 1):
        energy, gradient = objective.evaluate(x)
        errors.append(float(energy))
        visited.append(x)
        rates, allowed = oracles.bold_driver(
            errors, settings.rate or 0.0, settings.up, settings.down, settings.stop
        )
        if allowed < len(errors):
            break
        x = x - rates[-1] * gradient
    return visited[int(np.argmin(errors))], errors


def test_every_item_takes_the_steps_it_would_take_alone() -> None:
    # Some items stop by the driver, at different steps, and some at the limit. The rate is far
    # too high at first, which magnifies rounding, too: hence the tolerances.
    settings = replace(DRIVER, steps=60)
    whole = problem(8)
    start = normal(whole.seeds, (1, 14, 5), 0.5).double()
    found = bp(whole, start, settings)
    lengths = []
    for item in range(8):
        x, errors = one_by_hand(whole, item, start, settings)
        lengths.append(len(errors) - 1)
        assert int(found.steps[item]) == len(errors) - 1
        history = found.objective[item]
        np.testing.assert_allclose(history[: len(errors)].numpy(), errors, rtol=1e-6)
        assert bool(history[len(errors) :].isnan().all())
        torch.testing.assert_close(found.x[item], x[0], rtol=1e-6, atol=1e-7)
    assert min(lengths) < 60 and max(lengths) == 60 and len(set(lengths)) > 2


def test_an_item_does_not_depend_on_its_batch() -> None:
    settings = replace(DRIVER, steps=40, start=0.5)
    whole = bp(problem(8), None, settings)
    fewer = bp(problem(3), None, settings)
    torch.testing.assert_close(fewer.x, whole.x[:3], rtol=1e-9, atol=1e-10)
    assert fewer.steps.tolist() == whole.steps[:3].tolist()


def test_the_best_is_returned_not_the_last() -> None:
    # Only ever growing, the rate ends far too high.
    settings = Invert(steps=80, rate=0.01, up=1.1, down=1.1)
    whole = problem(4, layer=1)
    found = bp(whole, None, settings)
    lowest = found.objective.nan_to_num(torch.inf).min(1).values
    assert bool((found.objective[:, -1] > 10 * lowest).all())
    energy, _ = whole.objective().evaluate(found.x)
    torch.testing.assert_close(energy, lowest)


def test_descent_recovers_what_one_convolution_keeps() -> None:
    # 3 maps of every position determine the single channel they are made from.
    whole = problem(4, layer=1, l2=0.0)
    settings = Invert(steps=1000, start=0.1, rate=1e-2)
    found = bp(whole, None, settings)
    torch.manual_seed(3)
    Network(TABLE, (1, 14, 5))
    x = torch.randn(8, 1, 14, 5, dtype=torch.float64)[:4]
    assert float((found.x - x).norm() / x.norm()) < 0.02
    assert bool((found.objective[:, 0] > 1e3 * found.objective.amin(1)).all())


def test_starts_depend_on_their_seed_alone() -> None:
    starts = normal([5, 9, 5], (1, 3, 4), 2.0)
    assert torch.equal(starts[0], starts[2])
    assert not torch.equal(starts[0], starts[1])
    assert torch.equal(normal([9], (1, 3, 4), 2.0)[0], starts[1])
    assert float(normal([0], (1, 100, 100), 2.0).std()) == pytest.approx(2.0, rel=0.05)


def test_nothing_to_reconstruct() -> None:
    found = bp(problem(0), None, Invert(steps=5))
    assert found.x.shape == (0, 1, 14, 5)
    assert found.objective.shape[0] == 0


def test_a_linear_layer_is_descended_as_its_matrix_says() -> None:
    """Every step of E = ½ ‖A x + b − y‖² + λ/2 ‖x‖² by NumPy, the driver by hand."""
    whole = problem(3, layer=1, l2=0.7)
    settings = Invert(steps=40, rate=0.02, up=1.5, down=0.4, stop=0.005)
    with torch.no_grad():
        size = 14 * 5
        basis = torch.eye(size, dtype=torch.float64).view(size, 1, 14, 5)
        shift = whole.network.activation(torch.zeros_like(basis[:1]), 1).flatten()
        matrix = (whole.network.activation(basis, 1).flatten(1) - shift).numpy().T
    start = normal(whole.seeds, (1, 14, 5), 0.5).double()
    found = bp(whole, start, settings)
    fell, rose = 0, 0
    for item in range(3):
        x, y = start[item].flatten().numpy(), whole.target[item].flatten().numpy()
        factor, before, lowest = 1.0, None, np.inf
        for step in range(41):
            apart = matrix @ x + shift.numpy() - y
            energy = 0.5 * apart @ apart + 0.7 / 2 * x @ x
            if before is not None:
                factor *= 1.5 if energy < before else 0.4
                fell, rose = fell + (energy < before), rose + (energy > before)
            before = energy
            np.testing.assert_allclose(float(found.objective[item, step]), energy, rtol=1e-9)
            if energy < lowest:
                lowest, best = energy, x
            x = x - 0.02 * factor * (matrix.T @ apart + 0.7 * x)
        # At the end steps differ by less than rounding can tell apart: any of them is the best.
        np.testing.assert_allclose(found.x[item].flatten().numpy(), best, atol=1e-7)
    # Both branches of the driver were taken.
    assert fell > 20 and rose > 5
