"""Reconstruction by a trained decoder (Churchman 2015, sec. 6.5)."""

import torch

from speechscope.errors import UsageProblem
from speechscope.inversion.problem import Found, Problem
from speechscope.registry import INVERSION


@INVERSION.register("decode")
def decode(name: str, problem: Problem) -> Found:
    """Restore the input from the activations by the decoder called `name`.

    Runs that are to be averaged decode Y* + σ ‖Y*‖ / √units · ε with normal noise ε, else all of
    them would be the same (Churchman 2015, sec. 6.7: "adding slight noise to the input"). The
    history holds E of the result alone, after no step.

    Raises
    ------
    UsageProblem
        The problem has no such decoder.
    """
    if name not in problem.restorers:
        raise UsageProblem(
            f"layer {problem.layer}: no decoder was trained for it "
            f"(speechscope decode-train --layer {problem.layer})"
        )
    with torch.no_grad():
        x = problem.restorers[name](problem.noisy_target()).contiguous()
    energy, _ = problem.objective().evaluate(x)
    steps = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    return Found(x, energy[:, None], steps)


@INVERSION.register("align")
def align(name: str, problem: Problem) -> Found:
    """Restore the input by a decoder trained up to a delay."""
    return decode(name, problem)
