"""Backpropagation to the input: gradient descent on the reconstruction (Churchman 2015, 6.4)."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from speechscope.inversion.analysis import Analysis, OfSound
from speechscope.inversion.descents import Descent
from speechscope.inversion.problem import (
    Objective,
    Problem,
    Reconstruction,
    complete,
    static_channels,
)
from speechscope.registry import DESCENTS, INVERSION
from speechscope.work.device import normal

if TYPE_CHECKING:
    from speechscope.stages.invert import Invert


ASKED = 16
"""Steps after which a GPU is asked which items have converged: the CPU waits for the answer."""


@INVERSION.register("bp")
def bp(problem: Problem, start: Tensor | None, settings: "Invert") -> Reconstruction:
    """Descend on E = ½ ‖Y* − Y‖² + λ/2 ‖X‖² by the derivative ∂E/∂X.

    Source: Churchman 2015, sec. 6.4. Where the paper returns the last reconstruction, this returns
    the one with the lowest E: the bold driver only shrinks its factor once it has gone too far, so
    the last is often a step past the best. Items that have converged by their rule (for the bold
    driver, a factor below its stop) leave the batch. Δ channels are no unknowns: they follow the
    static ones, in E and in its derivative (chosen; the paper has none). With ``on`` of
    ``waveform`` the unknown is the waveform that X is the analysis of, E being the same.
    """
    target, derived = problem.target, problem.derived
    analysis = problem.analysis if settings.on == "waveform" else None
    objective: Objective | OfSound
    if analysis is not None:
        objective = OfSound(problem.objective_of_all(), analysis)
        start = _waveforms(problem, analysis, start, settings)
    else:
        objective = problem.objective()
        if start is None:
            start = normal(problem.seeds, problem.network.input_shape, settings.start)
        start = static_channels(start, derived)
    x = start.to(target, copy=True)
    count, device = len(x), x.device
    rule: Descent = DESCENTS[settings.optimizer](x, settings)
    history = torch.full((settings.steps + 1, count), torch.nan, dtype=torch.float64, device=device)
    steps = torch.zeros(count, dtype=torch.int64, device=device)
    best, lowest = x.clone(), torch.full((count,), torch.inf, dtype=torch.float64, device=device)
    answer = torch.empty_like(x)
    active = torch.arange(count, device=device)
    # Of those in the batch: which have not converged, and how many steps they have taken.
    alive, taken = torch.ones_like(active, dtype=torch.bool), torch.zeros_like(active)
    every = 1 if device.type == "cpu" else ASKED
    for step in range(settings.steps + 1):
        energy, gradient = objective.evaluate(x)
        history[step, active] = torch.where(alive, energy, torch.nan)
        better = (energy < lowest) & alive
        torch.where(better[:, None, None, None], x, best, out=best)
        lowest = torch.where(better, energy, lowest)
        if step == settings.steps:
            alive = torch.zeros_like(alive)
        else:
            x = rule.step(x, energy, gradient)
            alive = alive & rule.running
        taken += alive
        if (step % every == 0 or step == settings.steps) and not bool(alive.all()):
            answer[active[~alive]], steps[active[~alive]] = best[~alive], taken[~alive]
            kept = alive.nonzero()[:, 0]
            if not len(kept):
                break
            active, x, best, lowest = active[kept], x[kept], best[kept], lowest[kept]
            alive, taken = alive[kept], taken[kept]
            rule.keep(kept)
            objective.keep(kept)
    width = int(steps.max()) + 1 if count else 1
    history = history[:width].t().contiguous()
    if analysis is None:
        return Reconstruction(complete(answer, derived), history, steps)
    waveforms = answer.flatten(1)
    with torch.no_grad():
        return Reconstruction(analysis(waveforms), history, steps, waveforms)


def _waveforms(
    problem: Problem, analysis: Analysis, start: Tensor | None, settings: "Invert"
) -> Tensor:
    """Return the waveforms (B, 1, 1, samples) to begin with."""
    if problem.heard is not None:
        found = problem.heard
    elif start is not None:
        found = analysis.sound(start, problem.seeds)
    else:
        found = normal(problem.seeds, (analysis.samples,), settings.start)
    return found[:, None, None]
