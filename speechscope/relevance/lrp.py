"""Layer-wise relevance propagation."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from speechscope.networks.graph import Graph, Kind, Step, Untreatable, linear_step
from speechscope.networks.maps import Convolution, Dense, LinearMap, Scale, output
from speechscope.registry import RELEVANCE
from speechscope.relevance.explain import Explained
from speechscope.relevance.rules import Composite, Krug, Rule, Settings, Sums, composite, stabilised


def folded(graph: Graph) -> Graph:
    """Return a graph whose batch normalisations are one with the convolution or dense layer beside.

    After a layer: a (W x + b) + c = (a W) x + (a b + c). Before one: W (a x + c) + b =
    (W a) x + (W c + b), where W c differs at borders that are padded; flattening between a
    normalisation and a dense layer is followed. A normalisation that stands between other layers
    stays as it is, and so does one of other axes than the layer's channels.

    A folded step keeps the layer's name; where the normalisation came after it, `apart` has both.
    """
    steps = list(graph.steps)
    uses = _uses(steps)
    gone: dict[int, int] = {}  # a normalisation → the step that now gives its output
    for number, step in enumerate(steps, 1):
        if step.part != "norm" or not isinstance(step.map, Scale):
            continue
        source = step.inputs[0]
        before = steps[source - 1] if source else None
        if before is not None and uses[source] == 1 and before.apart is None:
            layer = before.map
            if isinstance(layer, Convolution | Dense) and _by_channel(step.map, layer, 0):
                merged = _with(before, _after(layer, step.map))
                steps[source - 1] = replace(merged, apart=(layer, step.map))
                gone[number] = source
                continue
        user, norm = _user(steps, number), step.map
        if user and steps[user - 1].what in FLATTENING and _user(steps, user):
            flat, user = steps[user - 1], _user(steps, user)
            norm = _flattened(norm, flat, steps[user - 1].map)
        layer = steps[user - 1].map if user else None
        if not isinstance(layer, Convolution | Dense):
            continue
        if _by_channel(norm, layer, 1) and (merged_before := _before(layer, norm)) is not None:
            steps[user - 1] = _with(steps[user - 1], merged_before)
            gone[number] = source
    return Graph(_without(steps, gone))


FLATTENING = ("Flatten", "the function flatten")
"""What steps that only flatten are called."""


def _user(steps: Sequence[Step], number: int) -> int:
    """Return the one step that takes what a step gives; 0: there are several, or none."""
    users = [n for n, other in enumerate(steps, 1) if number in other.inputs]
    return users[0] if len(users) == 1 else 0


def _by_channel(norm: Scale, layer: Convolution | Dense, side: int) -> bool:
    """Say whether a scale is of the channels a layer gives (side 0) or takes (1).

    Not so behind a dense layer that runs along another axis than the channels'.
    """
    shape = (1, layer.weight.shape[side], *(1,) * (layer.weight.dim() - 2))
    if isinstance(layer, Convolution) and side == 1:
        shape = (1, layer.weight.shape[1] * layer.groups, *shape[2:])
    return all(part is None or part.shape == shape for part in (norm.weight, norm.bias))


def _flattened(norm: Scale, flat: Step, layer: LinearMap | None) -> Scale:
    """Return a scale of maps as one of the values they are flattened to, if a layer takes those."""
    shape = norm.weight.shape
    if not isinstance(layer, Dense) or len(shape) < 2 or layer.weight.shape[1] % shape[1]:
        return norm
    places = layer.weight.shape[1] // shape[1]
    whole = (*shape[:2], places, *shape[3:])[: len(shape)]
    bias = None if norm.bias is None else flat.run(norm.bias.expand(whole))
    return Scale(flat.run(norm.weight.expand(whole)), bias)


def _with(step: Step, layer: LinearMap) -> Step:
    return linear_step(step.name, step.inputs, layer, step.what, step.part)


def _after(layer: Convolution | Dense, norm: Scale) -> Convolution | Dense:
    factor = norm.weight.flatten()
    weight = layer.weight * factor.view(-1, *(1,) * (layer.weight.dim() - 1))
    bias = norm.bias
    if layer.bias is not None:
        scaled = layer.bias * norm.weight.view_as(layer.bias)
        bias = scaled if bias is None else scaled + bias.view_as(scaled)
    if isinstance(layer, Dense):
        return Dense(weight, None if bias is None else bias.flatten())
    return replace(layer, weight=weight, bias=bias)


def _before(layer: Convolution | Dense, norm: Scale) -> Convolution | Dense | None:
    factor, shift = norm.weight.flatten(), norm.bias
    if isinstance(layer, Dense):
        bias = layer.bias
        if shift is not None:
            more = layer.weight @ shift.flatten()
            bias = more if bias is None else bias + more
        return Dense(layer.weight * factor, bias)
    if layer.groups != 1:
        return None
    axes = layer.weight.dim() - 2
    weight = layer.weight * factor.view(1, -1, *(1,) * axes)
    if shift is None:
        return replace(layer, weight=weight)
    if any(layer.padding):
        return replace(layer, weight=weight, shifted=(shift, layer.weight))
    more = (layer.weight.flatten(2).sum(2) @ shift.flatten()).view(1, -1, *(1,) * axes)
    return replace(layer, weight=weight, bias=more if layer.bias is None else layer.bias + more)


def _uses(steps: Sequence[Step]) -> list[int]:
    uses = [0] * (len(steps) + 1)
    for step in steps:
        for number in step.inputs:
            uses[number] += 1
    return uses


def _without(steps: Sequence[Step], gone: dict[int, int]) -> tuple[Step, ...]:
    places = {0: 0}
    out: list[Step] = []
    for number, step in enumerate(steps, 1):
        if number in gone:
            places[number] = places[gone[number]]
            continue
        out.append(replace(step, inputs=tuple(places[n] for n in step.inputs)))
        places[number] = len(out)
    return tuple(out)


_REFUSED: dict[Kind, str] = dict.fromkeys(
    ("unknown", "gate"), "no rule of relevance propagation is known for it"
)
_RULE: dict[Kind, str] = {
    "activation": "unchanged",
    "relu": "unchanged",
    "sum": "in proportion",
    "normalisation": "deviation held",
    "product": "half each",
    "gated": "gates held",
    "softmax": "softmax",
}
"""What the rules of other layers than linear ones are called in a record."""


@RELEVANCE.register("lrp")
def lrp(of: Explained, x: Tensor, target: Tensor, settings: Settings, *_: object) -> Tensor:
    """Return the relevance of every input value for the target score.

    From the score down, every layer hands its relevance to its inputs by its rule (`rules`);
    activations and reshapes hand it on unchanged, a max-pooling to the maximum, a sum in
    proportion. Without biases and ε the relevances of an item add up to its score.

    A normalisation is linear with its deviation held, a recurrent layer or a gated unit with its
    gates held (Arras et al. 2017); a product of two hands half to each, and a softmax x_i (R_i −
    s_i Σ_j R_j) (AttnLRP: Achtibat et al. 2024, sec. 3.3, propositions 3.1, 3.3 and 3.4).

    Batch normalisation is folded into the layer beside it, but under Krug's rule, where the
    relevance of the target score starts as 1 and each step is divided by its largest magnitude
    (Krug 2018, sec. 3.4).

    Source: Bach et al. (2015); Montavon et al. (2019).

    Raises
    ------
    Untreatable
        The network has a layer for which there is no rule.
    """
    return _propagate(of.steps(x), x, target, composite(settings), ())[0]


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
    if of.alone and len(x) > 1:
        return _one_by_one(of, x, target, settings)
    graph = of.steps(x)
    layers = layers_with_weights(graph)
    relevance, *entering = _propagate(graph, x, target, composite(settings), layers)
    if not of_items(entering, len(x)):
        return _one_by_one(of, x, target, settings)
    if len(x) > 1 and any(part.dim() > 2 and part.shape[1] == len(x) for part in entering):
        # As many frames as items: of one alone the axes can be told apart.
        alone = _propagate(of.steps(x[:1]), x[:1], target[:1], composite(settings), layers)
        if not of_items(alone[1:], 1):
            return _one_by_one(of, x, target, settings)
    sums = [part.flatten(1).sum(1) for part in entering]
    return relevance, dict(zip(layers, sums, strict=True))


def of_items(values: Sequence[Tensor], count: int) -> bool:
    """Say whether the first axis of what enters layers is that of items, and not time."""
    return all(len(part) == count for part in values)


def _one_by_one(
    of: Explained, x: Tensor, target: Tensor, settings: Settings
) -> tuple[Tensor, dict[str, Tensor]]:
    found, by_layer = [], dict[str, list[Tensor]]()
    for item in (slice(n, n + 1) for n in range(len(x))):
        graph = of.steps(x[item])
        layers = layers_with_weights(graph)
        relevance, *entering = _propagate(graph, x[item], target[item], composite(settings), layers)
        found.append(relevance)
        for name, part in zip(layers, entering, strict=True):
            by_layer.setdefault(name, []).append(part.sum()[None])
    return torch.cat(found), {name: torch.cat(sums) for name, sums in by_layer.items()}


def layers_with_weights(graph: Graph) -> tuple[str, ...]:
    """Return the names of the layers that relevance is handed down by, first layer first."""
    names = [step.name for step in folded(graph).steps if step.kind == "linear" and step.name]
    return tuple(dict.fromkeys(names))


def rules_of(graph: Graph, settings: Settings) -> dict[str, str]:
    """Return the rule by which each layer hands relevance down, by name, first layer first."""
    rules = composite(settings)
    found: dict[str, str] = {}
    for step in folded(graph).steps:
        if step.name and step.kind == "linear":
            found.setdefault(step.name, type(rules(step.part)).__name__.lower())
        elif step.name and step.kind in _RULE:
            found.setdefault(step.name, _RULE[step.kind])
    return found


def _propagate(
    graph: Graph, x: Tensor, target: Tensor, rules: Composite, layers: tuple[str, ...]
) -> tuple[Tensor, ...]:
    graph.refuse(_REFUSED, relevant=True)
    krug = isinstance(rules.conv, Krug)
    plan = folded(graph)
    linear, unchanged, shared, proportional, soft = (
        cast("Callable[..., Tensor]", function.apply)
        for function in (_LinearRelevance, _Unchanged, _Shared, _Proportional, _Softmax)
    )

    def held(step: Step, *values: Tensor) -> Tensor:
        return proportional(step, *values)

    def added(step: Step, *values: Tensor) -> Tensor:
        return shared(*values, step) if step.held is None else proportional(step, *values)

    handlers: dict[Kind, Callable[..., Tensor]] = {
        "linear": lambda step, values: linear(values, step, rules(step.part)),
        "relu": lambda step, values: unchanged(values, step),
        "activation": lambda step, values: unchanged(values, step),
        "sum": added,
        "normalisation": held,
        "product": held,
        "gated": held,
        "softmax": lambda step, values, *rest: soft(values, step, *rest),
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
    if not y.requires_grad:
        raise Untreatable(
            "no slope leads from the scores to what is explained (a detach, no_grad); occlusion "
            "needs none"
        )
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
    # A GPU multiplies by zeros in less time than it tells whether there are any.
    if x.device.type == "cpu" and not bool((x < 0).any()):
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


TINY = 1e-20
"""Added to sums that are shared: far below those of branches that are scaled down to 1e-6."""


class _Shared(torch.autograd.Function):
    """A sum of two, whose relevance is shared in proportion: R_a = a R / (a + b)."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, step: Step) -> Tensor:
        ctx.save_for_backward(first, second)
        out: Tensor = step.run(first, second)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        first, second = ctx.saved_tensors
        factor = grads[0] / stabilised(first + second, TINY)
        return first * factor, second * factor, None


class _Proportional(torch.autograd.Function):
    """A step whose relevance its inputs share as they add to it: R_i = x_i Σ_j ∂h_j/∂x_i R_j / y_j.

    h is the step with what its rule takes as constant held so; of a product, which is linear in
    each of two, both have half.
    """

    @staticmethod
    def forward(ctx: Any, step: Step, *values: Tensor) -> Tensor:
        assert step.held is not None
        ctx.step = step
        ctx.relevant = range(len(values)) if step.passes is None else step.passes
        with torch.enable_grad():
            ctx.values = [
                v.detach().requires_grad_(n in ctx.relevant) for n, v in enumerate(values)
            ]
            # The copies may be changed in place.
            ctx.held = step.held(*(v.clone() for v in ctx.values))
        alike = step.kind in ("product", "sum")  # held is the step itself
        out: Tensor = ctx.held.detach() if alike else step.run(*values)
        ctx.out = out.detach()
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        factor = grads[0] / stabilised(ctx.out, TINY)
        if ctx.step.kind == "product":
            factor /= len(ctx.relevant)
        backs = _back(ctx.held, factor, [ctx.values[n] for n in ctx.relevant])
        found: list[Tensor | None] = [None] * len(ctx.values)
        for n, back in zip(ctx.relevant, backs, strict=True):
            found[n] = ctx.values[n].detach() * back
        return (None, *found)


class _Softmax(torch.autograd.Function):
    """A softmax s of x: R_i = x_i (R_i − s_i Σ_j R_j), 0 where s is 0 (AttnLRP, prop. 3.1)."""

    SMALLEST = 1e-30

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Step, *rest: Any) -> Tensor:
        with torch.enable_grad():
            ctx.x = x.detach().requires_grad_()
            ctx.out = step.run(ctx.x, *rest)
        out: Tensor = ctx.out.detach()
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        out = ctx.out.detach()
        (back,) = _back(ctx.out, grads[0] / out.clamp(min=_Softmax.SMALLEST), [ctx.x])
        found = torch.where(out > 0, ctx.x.detach() * back, 0)
        return found, *(None,) * (len(ctx.needs_input_grad) - 1)
