"""Backpropagation to the input: gradient descent on the reconstruction (Churchman 2015, 6.4)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from speechscope.inversion.bold_driver import BoldDriver, BoldDriverSettings
from speechscope.inversion.problem import Found, Problem


@dataclass(frozen=True)
class BpSettings:
    """Settings of backpropagation to the input.

    Parameters
    ----------
    steps
        Most updates of an item.
    start
        Standard deviation of the random start.
    driver
        The bold driver.
    """

    steps: int = 2000
    start: float = 1e-2
    driver: BoldDriverSettings = field(default_factory=BoldDriverSettings)


def random_start(shape: Sequence[int], seeds: Sequence[int], deviation: float) -> Tensor:
    """Return normally distributed starts (B, *shape), each drawn from its own seed.

    A start therefore does not depend on the items around it, nor on the device.
    """
    out = torch.empty(len(seeds), *shape)
    for row, seed in zip(out, seeds, strict=True):
        row.normal_(0.0, deviation, generator=torch.Generator().manual_seed(seed))
    return out


def bp(problem: Problem, start: Tensor | None, settings: BpSettings) -> Found:
    """Descend along X ← X − η f ∂E/∂X, with the bold driver factor f of each item.

    Source: Churchman 2015, sec. 6.4. Where the paper returns the last reconstruction, this returns
    the one with the lowest E: the bold driver only shrinks its factor once it has gone too far, so
    the last is often a step past the best. Items whose factor falls below the driver's stop have
    converged and leave the batch.
    """
    target = problem.target
    if start is None:
        start = random_start(problem.network.input_shape, problem.seeds, settings.start)
    x = start.to(target, copy=True)
    count, device = len(x), x.device
    objective = problem.objective()
    driver = BoldDriver(count, settings.driver, device)
    history = torch.full((settings.steps + 1, count), torch.nan, dtype=torch.float64, device=device)
    steps = torch.zeros(count, dtype=torch.int64, device=device)
    best, lowest = x.clone(), torch.full((count,), torch.inf, dtype=torch.float64, device=device)
    found = torch.empty_like(x)
    active = torch.arange(count, device=device)
    for step in range(settings.steps + 1):
        energy, gradient = objective.evaluate(x)
        history[step, active] = energy
        better = energy < lowest
        torch.where(better[:, None, None, None], x, best, out=best)
        lowest = torch.where(better, energy, lowest)
        rate = driver.update(energy)
        running = driver.running
        if step == settings.steps:
            running = torch.zeros_like(running)
        if not bool(running.all()):
            left = ~running
            found[active[left]] = best[left]
            steps[active[left]] = step
            kept = running.nonzero()[:, 0]
            if not len(kept):
                break
            active, x, gradient, rate = active[kept], x[kept], gradient[kept], rate[kept]
            best, lowest = best[kept], lowest[kept]
            driver.keep(kept)
            objective.keep(kept)
        x.addcmul_(gradient, rate.neg().to(x)[:, None, None, None])
    width = int(steps.max()) + 1 if count else 1
    return Found(found, history[:width].t().contiguous(), steps)
