"""Guided backpropagation."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from speechscope.networks.graph import Kind, Step
from speechscope.registry import RELEVANCE
from speechscope.relevance.explain import Explained, derivative

_REFUSED: dict[Kind, str] = {
    "activation": "guided backpropagation is defined for ReLU only",
    "gate": "guided backpropagation is defined for ReLU only",
    "gated": "guided backpropagation is defined for ReLU only",
    "unknown": "guided backpropagation cannot tell whether it holds a ReLU",
}


@RELEVANCE.register("guided")
def guided_backpropagation(of: Explained, x: Tensor, target: Tensor, *_: object) -> Tensor:
    """Return the gradient of the target score with only what raises it kept at every ReLU.

    At a ReLU y = max(0, z) with G = ∂S_c/∂y from above, the derivative by z is
    G · [z > 0] · [G > 0].

    Source: Muckenhirn 2019, sec. 3.1 (after Springenberg et al. 2015, sec. 3.4).

    Raises
    ------
    Untreatable
        The network has another activation, or a layer that may hide one.
    """
    graph = of.steps(x)
    graph.refuse(_REFUSED)
    return derivative(lambda values: graph.run(values, {"relu": _guided}), x, target)


def _guided(step: Step, z: Tensor) -> Tensor:
    out: Tensor = _GuidedReLU.apply(z)  # type: ignore[no-untyped-call]
    return out


class _GuidedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        y = functional.relu(z)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        kept: Tensor = torch.ops.aten.threshold_backward(grads[0], y, 0)
        return kept.clamp_(min=0)
