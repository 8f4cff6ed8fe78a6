"""Batch normalisation folded into the layer beside it."""

from collections.abc import Sequence
from dataclasses import replace

from speechscope.networks.graph import Graph, Step, linear_step
from speechscope.networks.maps import Convolution, Dense, LinearMap, Scale


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
