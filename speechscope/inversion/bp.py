"""Backpropagation to the input: gradient descent on the reconstruction (Churchman 2015, 6.4)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from speechscope.inversion.descents import Descent
from speechscope.inversion.problem import Problem, Reconstruction, complete, static_channels
from speechscope.registry import DESCENTS, INVERSION

if TYPE_CHECKING:
    from speechscope.stages.invert import Invert


def random_start(shape: Sequence[int], seeds: Sequence[int], deviation: float) -> Tensor:
    """Return normally distributed starts (B, *shape), each drawn from its own seed.

    A start therefore does not depend on the items around it, nor on the device.
    """
    out = torch.empty(len(seeds), *shape)
    for row, seed in zip(out, seeds, strict=True):
        row.normal_(0.0, deviation, generator=torch.Generator().manual_seed(seed))
    return out


@INVERSION.register("bp")
def bp(problem: Problem, start: Tensor | None, settings: "Invert") -> Reconstruction:
    """Descend on E = ½ ‖Y* − Y‖² + λ/2 ‖X‖² by the derivative ∂E/∂X.

    Source: Churchman 2015, sec. 6.4. Where the paper returns the last reconstruction, this returns
    the one with the lowest E: the bold driver only shrinks its factor once it has gone too far, so
    the last is often a step past the best. Items that have converged by their rule (for the bold
    driver, a factor below its stop) leave the batch. Δ channels are no unknowns: they follow the
    static ones, in E and in its derivative (chosen; the paper has none).
    """
    target, derived = problem.target, problem.derived
    if start is None:
        start = random_start(problem.network.input_shape, problem.seeds, settings.start)
    x = static_channels(start, derived).to(target, copy=True)
    count, device = len(x), x.device
    objective = problem.objective()
    rule: Descent = DESCENTS[settings.optimizer](x, settings)
    history = torch.full((settings.steps + 1, count), torch.nan, dtype=torch.float64, device=device)
    steps = torch.zeros(count, dtype=torch.int64, device=device)
    best, lowest = x.clone(), torch.full((count,), torch.inf, dtype=torch.float64, device=device)
    answer = torch.empty_like(x)
    active = torch.arange(count, device=device)
    for step in range(settings.steps + 1):
        energy, gradient = objective.evaluate(x)
        history[step, active] = energy
        better = energy < lowest
        torch.where(better[:, None, None, None], x, best, out=best)
        lowest = torch.where(better, energy, lowest)
        if step < settings.steps:
            x = rule.step(x, energy, gradient)
            running = rule.running
        else:
            running = torch.zeros_like(better)
        if not bool(running.all()):
            left = ~running
            answer[active[left]] = best[left]
            steps[active[left]] = step
            kept = running.nonzero()[:, 0]
            if not len(kept):
                break
            active, x, best, lowest = active[kept], x[kept], best[kept], lowest[kept]
            rule.keep(kept)
            objective.keep(kept)
    width = int(steps.max()) + 1 if count else 1
    return Reconstruction(complete(answer, derived), history[:width].t().contiguous(), steps)
