"""Layer-wise relevance propagation."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from speechscope.networks.graph import Graph, Kind, Step
from speechscope.networks.maps import Convolution, Dense, LinearMap, output
from speechscope.registry import RELEVANCE
from speechscope.relevance.explain import Explained
from speechscope.relevance.folding import folded
from speechscope.relevance.rules import Composite, Krug, Rule, Settings, Sums, composite, stabilised

_REFUSED: dict[Kind, str] = {
    "unknown": "no rule of relevance propagation is known for it",
    "normalisation": "no rule of relevance propagation is known for it",
}


@RELEVANCE.register("lrp")
def lrp(of: Explained, x: Tensor, target: Tensor, settings: Settings, *_: object) -> Tensor:
    """Return the relevance of every input value for the target score.

    From the score down, every layer hands its relevance to its inputs by its rule (`rules`);
    activations and reshapes hand it on unchanged, a max-pooling to the maximum, a sum in
    proportion. Without biases and ε the relevances of an item add up to its score.

    Batch normalisation is folded into the layer beside it, but under Krug's rule, where the
    relevance of the target score starts as 1 and each step is divided by its largest magnitude
    (Krug 2018, sec. 3.4).

    Source: Bach et al. (2015); Montavon et al. (2019).

    Raises
    ------
    Untreatable
        The network has a layer for which there is no rule.
    """
    return _propagate(of.steps(), x, target, composite(settings), ())[0]


def lrp_with_sums(
    of: Explained, x: Tensor, target: Tensor, settings: Settings
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return what `lrp` does, and the relevance in all that enters each layer with weights.

    Where no bias, ε or scaling takes any, every sum is the target's score: the relevance lost or
    gained between two layers is what the biases of the layers between them took.

    Returns
    -------
    The relevance, shaped as x, and by layer the sums (B,); parameters and errors as `lrp`.
    """
    graph = of.steps()
    layers = layers_with_weights(graph)
    relevance, *entering = _propagate(graph, x, target, composite(settings), layers)
    sums = [part.flatten(1).sum(1) for part in entering]
    return relevance, dict(zip(layers, sums, strict=True))


def layers_with_weights(graph: Graph) -> tuple[str, ...]:
    """Return the names of the layers that relevance is handed down by, first layer first."""
    names = [step.name for step in folded(graph).steps if step.kind == "linear"]
    return tuple(dict.fromkeys(names))


def _propagate(
    graph: Graph, x: Tensor, target: Tensor, rules: Composite, layers: tuple[str, ...]
) -> tuple[Tensor, ...]:
    graph.refuse(_REFUSED)
    krug = isinstance(rules.conv, Krug)
    plan = folded(graph)
    linear, unchanged, shared = (
        cast("Callable[..., Tensor]", function.apply)
        for function in (_LinearRelevance, _Unchanged, _Shared)
    )
    handlers: dict[Kind, Callable[..., Tensor]] = {
        "linear": lambda step, values: linear(values, step, rules(step.part)),
        "relu": lambda step, values: unchanged(values, step),
        "activation": lambda step, values: unchanged(values, step),
        "sum": lambda step, first, second: shared(first, second, step),
    }
    kept: dict[str, Tensor] = {}
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        scores = plan.run(x, handlers, kept)
        start = torch.zeros_like(scores)
        start[torch.arange(len(target), device=target.device), target] = 1
        entering = [x, *(kept[name] for name in layers)]
        return _back(scores, start if krug else start * scores.detach(), entering)


def _back(y: Tensor, s: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return Σ_j s_j ∂y_j / ∂x_i for inputs x; given s itself, PyTorch imports SymPy for 0.4 s."""
    with torch.enable_grad():
        start: Tensor = _Start.apply(y, s)  # type: ignore[no-untyped-call]
    return torch.autograd.grad(start, inputs)


class _Start(torch.autograd.Function):
    """A number whose derivative by y is s."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, s: Tensor) -> Tensor:
        ctx.s = s
        return y.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.s, None


class _LinearRelevance(torch.autograd.Function):
    """A linear layer whose backward pass hands relevance down: R_i = Σ_j z_ij f_j.

    What multiplies x_i, Σ_j w_ij f_j, is the derivative of the layer's sums by x_i, given f_j.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Step, rule: Rule) -> Tensor:
        layer, norm = step.map, None
        if isinstance(rule, Krug) and step.apart is not None:
            layer, norm = step.apart
        assert layer is not None
        ctx.rule, ctx.axis, ctx.shape = rule, -1 if isinstance(layer, Dense) else 1, x.shape
        with torch.enable_grad():
            ctx.x, ctx.added = (_signed if rule.signed else _plain)(layer, x, ctx.axis)
        # What is returned must not be what ctx keeps: the output and its own node would hold each
        # other, and only the garbage collector would free them.
        added, bias = ctx.added.detach(), layer.bias_at(x)
        positive, negative = added.chunk(2, ctx.axis) if rule.signed else (added, added)
        z = positive + negative if rule.signed else added
        if bias is not None:
            z = z + bias
        if bias is not None and rule.signed:
            positive, negative = positive + bias.clamp(min=0), negative + bias.clamp(max=0)
        out = z if norm is None else output(norm, z)
        ctx.sums = Sums(z.detach(), positive, negative, out.detach())
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        factors, below = ctx.rule.factors(ctx.sums, grads[0])
        if ctx.rule.signed:
            below = torch.zeros_like(factors) if below is None else below
            factors = torch.cat([factors, below], ctx.axis)
        (back,) = _back(ctx.added, factors, [ctx.x])
        relevance = ctx.x.detach() * back
        if relevance.shape != ctx.shape:
            relevance = sum(relevance.chunk(2, ctx.axis))
        if isinstance(ctx.rule, Krug):
            largest = relevance.abs().flatten(1).amax(1).view(-1, *(1,) * (relevance.dim() - 1))
            relevance = relevance / torch.where(largest > 0, largest, 1)
        return relevance, None, None


def _plain(layer: LinearMap, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Return what enters a layer, and the sums it makes, without the bias, as a function of it."""
    x = x.detach().requires_grad_()
    return x, layer.apply(x, layer.weight)


def _signed(layer: LinearMap, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Return what enters a layer, and as a function of it sums of contributions by their sign.

    Along the axis of channels or units stand what is positive and, where anything is, what is
    negative of x; the sums of positive and those of negative contributions. One product of all is
    faster than several.
    """
    assert layer.weight is not None
    above, below = layer.weight.clamp(min=0), layer.weight.clamp(max=0)
    grouped = isinstance(layer, Convolution) and layer.groups > 1
    if not bool((x < 0).any()):
        x = x.detach().requires_grad_()
        if grouped:
            return x, torch.cat([layer.apply(x, above), layer.apply(x, below)], axis)
        return x, layer.apply(x, torch.cat([above, below]))
    x = torch.cat([x.clamp(min=0), x.clamp(max=0)], axis).detach().requires_grad_()
    if grouped:
        up, down = x.chunk(2, axis)
        positive = layer.apply(up, above) + layer.apply(down, below)
        return x, torch.cat([positive, layer.apply(up, below) + layer.apply(down, above)], axis)
    beside = torch.cat([above, below], 1), torch.cat([below, above], 1)
    return x, layer.apply(x, torch.cat(beside))


class _Unchanged(torch.autograd.Function):
    """An activation that relevance passes."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, step: Step) -> Tensor:
        out: Tensor = step.run(z)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


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
