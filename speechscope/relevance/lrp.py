"""Layer-wise relevance propagation."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from speechscope.networks.graph import Graph, Kind, Step
from speechscope.networks.maps import output
from speechscope.relevance.folding import folded
from speechscope.relevance.rules import (
    Composite,
    Krug,
    Rule,
    Signed,
    Sums,
    add_up,
    apart,
    hand_down,
    stabilised,
)
from speechscope.relevance.target import one_hot

_REFUSED: dict[Kind, str] = {
    "unknown": "no rule of relevance propagation is known for it",
    "normalisation": "no rule of relevance propagation is known for it",
}


def lrp(graph: Graph, x: Tensor, target: Tensor, composite: Composite) -> Tensor:
    """Return the relevance of every input value for the target score.

    From the score down, every layer hands its relevance to its inputs by its rule (`rules`);
    activations and reshapes hand it on unchanged, a max-pooling to the maximum, a sum in
    proportion. Without biases and ε the relevances of an item add up to its score.

    Batch normalisation is folded into the layer beside it, but under Krug's rule, where the
    relevance of the target score starts as 1 and each step is divided by its largest magnitude
    (Krug 2018, sec. 3.4).

    Source: Bach et al. (2015); Montavon et al. (2019).

    Parameters
    ----------
    graph
        The network's steps.
    x
        Inputs (B, …).
    target
        Class of each item (B,).
    composite
        The rule of each part, from `rules.composite`.

    Raises
    ------
    Untreatable
        The network has a layer for which there is no rule.
    """
    return _propagate(graph, x, target, composite, ())[0]


def lrp_with_sums(
    graph: Graph, x: Tensor, target: Tensor, composite: Composite
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return what `lrp` does, and the relevance in all that enters each layer with weights.

    Where no bias, ε or scaling takes any, every sum is the target's score: the relevance lost or
    gained between two layers is what the biases of the layers between them took.

    Returns
    -------
    The relevance, shaped as x, and by layer the sums (B,); parameters and errors as `lrp`.
    """
    layers = layers_with_weights(graph)
    relevance, *entering = _propagate(graph, x, target, composite, layers)
    sums = [part.flatten(1).sum(1) for part in entering]
    return relevance, dict(zip(layers, sums, strict=True))


def layers_with_weights(graph: Graph) -> tuple[str, ...]:
    """Return the names of the layers that relevance is handed down by, first layer first."""
    names = [step.name for step in folded(graph).steps if step.kind == "linear"]
    return tuple(dict.fromkeys(names))


def _propagate(
    graph: Graph, x: Tensor, target: Tensor, composite: Composite, layers: tuple[str, ...]
) -> tuple[Tensor, ...]:
    graph.refuse(_REFUSED)
    krug = isinstance(composite("conv"), Krug)
    plan = folded(graph)
    handlers: dict[Kind, Callable[..., Tensor]] = {
        "linear": lambda step, values: _linear(step, values, composite(step.part)),
        "relu": _unchanged,
        "activation": _unchanged,
        "sum": _shared,
    }
    kept: dict[str, Tensor] = {}
    with torch.enable_grad():
        place = x.detach().requires_grad_()
        scores = plan.run(place, handlers, kept)
        start = one_hot(scores, target)
        wanted = [place, *(kept[name] for name in layers)]
        # A sum: given the derivatives by scores, PyTorch imports its symbolic shapes (0.4 s).
        begun = (scores * (start if krug else start * scores.detach())).sum()
        return torch.autograd.grad(begun, wanted)


def _linear(step: Step, x: Tensor, rule: Rule) -> Tensor:
    layer = step.map
    assert layer is not None
    out: Tensor = _LinearRelevance.apply(x, step, rule)  # type: ignore[no-untyped-call]
    return out


class _LinearRelevance(torch.autograd.Function):
    """A linear layer whose backward pass hands relevance down."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Step, rule: Rule) -> Tensor:
        layer = step.map
        assert layer is not None
        signed: Signed | None = None
        if isinstance(rule, Krug) and step.apart is not None:
            layer, norm = step.apart
            z = output(layer, x)
            sums = Sums(z, None, None, output(norm, z))
        else:
            signed = apart(layer, x) if rule.signed else None
            sums = add_up(layer, x, signed)
        ctx.layer, ctx.rule, ctx.x, ctx.signed = layer, rule, x, signed
        # What is returned must not be what ctx keeps: the output and its own node would hold each
        # other, and only the garbage collector would free them.
        ctx.sums = replace(sums, z=sums.z.detach(), output=sums.output.detach())
        return sums.output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        rule: Rule = ctx.rule
        factors = rule.factors(ctx.sums, grads[0])
        relevance = hand_down(ctx.layer, ctx.x, factors, ctx.signed)
        if isinstance(rule, Krug):
            largest = relevance.abs().flatten(1).amax(1).view(-1, *(1,) * (relevance.dim() - 1))
            relevance = relevance / torch.where(largest > 0, largest, 1)
        return relevance, None, None


def _unchanged(step: Step, z: Tensor) -> Tensor:
    out: Tensor = _Unchanged.apply(z, step)  # type: ignore[no-untyped-call]
    return out


class _Unchanged(torch.autograd.Function):
    """An activation that relevance passes."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, step: Step) -> Tensor:
        out: Tensor = step.run(z)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def _shared(step: Step, first: Tensor, second: Tensor) -> Tensor:
    out: Tensor = _Shared.apply(first, second, step)  # type: ignore[no-untyped-call]
    return out


class _Shared(torch.autograd.Function):
    """A sum of two, whose relevance is shared in proportion: R_a = a R / (a + b)."""

    EPSILON = 1e-9

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, step: Step) -> Tensor:
        ctx.save_for_backward(first, second)
        out: Tensor = step.run(first, second)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        first, second = ctx.saved_tensors
        factor = grads[0] / stabilised(first + second, _Shared.EPSILON)
        return first * factor, second * factor, None
