"""Reconstruction by a trained decoder (Churchman 2015, sec. 6.5)."""

import torch
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.inversion.problem import Found, Problem


def decode(problem: Problem, start: Tensor | None = None) -> Found:
    """Decode the activations; a start, if there is one, has no influence.

    The history holds E of the result alone, after no step.

    Raises
    ------
    UsageProblem
        The problem has no decoder.
    """
    if problem.decoder is None:
        raise UsageProblem(
            f"layer {problem.layer}: no decoder was trained for it "
            f"(speechscope decode-train --layer {problem.layer})"
        )
    with torch.no_grad():
        x = problem.decoder(problem.target).contiguous()
    energy, _ = problem.objective().evaluate(x)
    steps = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    return Found(x, energy[:, None], steps)
