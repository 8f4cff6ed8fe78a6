"""Reconstruction by a trained decoder (Churchman 2015, sec. 6.5)."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.inversion.problem import Problem, Reconstruction, at_most
from speechscope.registry import INVERSION

if TYPE_CHECKING:
    from speechscope.stages.invert import Invert


@INVERSION.register("decode")
@at_most(lambda settings: 0)
def decode(problem: Problem, start: Tensor | None, settings: "Invert") -> Reconstruction:
    """Restore the input by a decoder of ``decode-train``, from the activations alone.

    Runs that are to be averaged decode Y* + σ ‖Y*‖ / √units · ε with normal noise ε, else all of
    them would be the same (Churchman 2015, sec. 6.7: "adding slight noise to the input"). The
    history holds E of the result alone, after no step.

    Raises
    ------
    UsageProblem
        The problem has no such decoder.
    """
    return _restored("decode", problem)


@INVERSION.register("align")
@at_most(lambda settings: 0)
def align(problem: Problem, start: Tensor | None, settings: "Invert") -> Reconstruction:
    """Restore the input by a decoder that `speechscope.inversion.align` trained; see `decode`."""
    return _restored("align", problem)


def _restored(method: str, problem: Problem) -> Reconstruction:
    if method not in problem.restorers:
        raise UsageProblem(
            f"layer {problem.layer}: no decoder was trained for it "
            f"(speechscope decode-train --layer {problem.layer})"
        )
    with torch.no_grad():
        x = problem.restorers[method](noisy(problem)).contiguous()
        energy = replace(problem, derived=None).objective().energy(x)
    steps = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    return Reconstruction(x, energy[:, None], steps)


def noisy(problem: Problem) -> Tensor:
    """Return the activations with the noise of each item's seed."""
    target = problem.target
    if not problem.noise:
        return target
    noise = torch.empty(target.shape)
    for row, seed in zip(noise, problem.seeds, strict=True):
        row.copy_(torch.randn(row.shape, generator=torch.Generator().manual_seed(seed)))
    size = target.flatten(1).square().mean(1).sqrt() * problem.noise
    return target + size.view(-1, *(1 for _ in target.shape[1:])) * noise.to(target)
