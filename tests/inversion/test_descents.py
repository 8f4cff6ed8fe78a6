import numpy as np
import oracles
import pytest
import torch
from torch import Tensor

from speechscope.inversion.descents import Descent
from speechscope.registry import DESCENTS
from speechscope.stages.invert import Invert


def quadratic(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Curvatures (B, n) and minima (B, 1, 2, 3) of three problems of different scale."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([[1.0], [30.0], [0.1]], dtype=torch.float64)
    curvature = scale * (0.1 + torch.rand(3, 6, dtype=torch.float64, generator=generator))
    return curvature, torch.randn(3, 1, 2, 3, dtype=torch.float64, generator=generator)


def evaluate(x: Tensor, curvature: Tensor, minimum: Tensor) -> tuple[Tensor, Tensor]:
    apart = (x - minimum).flatten(1)
    return 0.5 * (curvature * apart**2).sum(1), (curvature * apart).view_as(x)


def rule(name: str, x: Tensor, rate: float = 0.1) -> Descent:
    made: Descent = DESCENTS[name](x, Invert(optimizer=name, rate=rate))
    return made


@pytest.mark.parametrize("name", ["adagrad", "adam"])
def test_adaptive_rules_follow_their_formulas(name: str) -> None:
    curvature, minimum = quadratic()
    x = torch.zeros_like(minimum)
    steps = rule(name, x)
    visited = [x.clone()]
    gradients = []
    for _ in range(30):
        energy, gradient = evaluate(x, curvature, minimum)
        gradients.append(gradient.numpy().copy())
        x = steps.step(x, energy, gradient)
        visited.append(x.clone())
    expected = getattr(oracles, name)(np.array(gradients), 0.1)
    np.testing.assert_allclose(
        np.array([v.numpy() for v in visited]), expected, rtol=1e-6, atol=1e-8
    )
    assert bool(steps.running.all())


def test_lbfgs_solves_quadratics_in_few_steps_and_stops() -> None:
    curvature, minimum = quadratic()
    x = torch.zeros_like(minimum)
    steps = rule("lbfgs", x)
    kept: list[Tensor] = []
    for _ in range(60):
        energy, gradient = evaluate(x, curvature, minimum)
        kept.append(energy)
        x = steps.step(x, energy, gradient)
    assert float((x - minimum).abs().max()) < 1e-6
    assert float(torch.stack(kept)[25].max()) < 1e-8 * float(kept[0].max())
    # At the minimum itself there is nowhere to go.
    still = rule("lbfgs", minimum)
    still.step(minimum.clone(), *evaluate(minimum, curvature, minimum))
    assert not bool(still.running.any())


def test_lbfgs_direction_is_that_of_the_dense_inverse() -> None:
    curvature, minimum = quadratic()
    x = torch.zeros_like(minimum)
    steps = rule("lbfgs", x)
    points, gradients = [], []
    for _ in range(5):
        energy, gradient = evaluate(x, curvature, minimum)
        points.append(x.flatten(1).numpy().copy())
        gradients.append(gradient.flatten(1).numpy().copy())
        x = steps.step(x, energy, gradient)
    for item in range(3):
        s = np.diff(np.array(points)[:, item], axis=0)
        y = np.diff(np.array(gradients)[:, item], axis=0)
        expected = oracles.lbfgs_direction(s, y, gradients[-1][item])
        # Quadratics this mild are accepted at full length.
        moved = x.flatten(1).numpy()[item] - points[-1][item]
        np.testing.assert_allclose(moved, expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", ["bold", "lbfgs"])
def test_items_that_leave_do_not_disturb_the_others(name: str) -> None:
    curvature, minimum = quadratic()
    kept = torch.tensor([0, 2])
    x, fewer = torch.zeros_like(minimum), torch.zeros_like(minimum)
    whole, part = rule(name, x, 0.01), rule(name, fewer, 0.01)
    for step in range(12):
        x = whole.step(x, *evaluate(x, curvature, minimum)).clone()
        if step < 5:
            fewer = part.step(fewer, *evaluate(fewer, curvature, minimum)).clone()
        else:
            if step == 5:
                part.keep(kept)
                fewer = fewer[kept]
            fewer = part.step(fewer, *evaluate(fewer, curvature[kept], minimum[kept])).clone()
    torch.testing.assert_close(fewer, x[kept])
