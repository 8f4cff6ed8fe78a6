"""What one unit of a layer sees, and the layer on an input of that size."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speechscope.errors import UsageProblem
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Shape, Table
from speechscope.networks.receptive_field import unpadded
from speechscope.relevance.maximize import Unit
from speechscope.relevance.networks import graph_of


def seen(table: Table, layer: int) -> tuple[int, int] | None:
    """Return the (bins, frames) of the input that one unit of a layer sees.

    On each axis: with kernel k and stride s, size + (k − 1) · step, step · s. None where a fully
    connected layer is on the way: the whole input.
    """
    size, step = [1, 1], [1, 1]
    for row in table[:layer]:
        if isinstance(row, Linear):
            return None
        if isinstance(row, Conv | MaxPool):
            kernel = row.kernel if isinstance(row, Conv) else row.size
            for axis in range(2):
                size[axis] += (kernel[axis] - 1) * step[axis]
                step[axis] *= row.stride[axis]
    return size[0], size[1]


@dataclass(frozen=True)
class Layer:
    """A layer as a function of what one of its units sees.

    Parameters
    ----------
    name
        Of the layer.
    run
        Gives its activation (B, maps, …) of inputs of that size.
    seen
        (C, F, T).
    out
        Shape of the activation of one item.
    """

    name: str
    run: Callable[[Tensor], Tensor]
    seen: Shape
    out: Shape


def on_its_window(network: Network, layer: int) -> Layer:
    """Return a layer as a function of what one of its units sees.

    Where a unit sees only part of the input, the layers before run without padding on an input of
    just that size (Krug 2018, sec. 3.2: "the receptive field size"), and give one position. A unit
    of a ReLU is excited by what enters it: below 0 the ReLU has no slope to climb.
    """
    name = network.names[layer - 1]
    last = layer - 1 if isinstance(network.table[layer - 1], ReLU) and layer > 1 else layer
    window = seen(network.table, last)
    channels, bins, frames = network.input_shape
    if window is None or window[0] > bins or window[1] > frames:
        shape = network.shapes[last - 1]
        return Layer(name, lambda x: network.activation(x, last), network.input_shape, shape)
    part = unpadded(network, last, (channels, *window))
    return Layer(name, part, (channels, *window), part.shapes[-1])


def on_whole_inputs(network: nn.Module, example: Tensor, layer: str) -> Layer:
    """Return a layer of any module as a function of whole inputs; ``last``: its scores.

    As in `on_its_window`, a unit of a ReLU is excited by what enters it, and scores are taken
    before a softmax.

    Parameters
    ----------
    example
        An input (B, …).

    Raises
    ------
    UsageProblem
        There is no such layer.
    SpeechscopeError
        The module cannot be traced.
    """
    graph = graph_of(network, example)
    part = graph if layer == "last" else graph.until(layer)
    with torch.no_grad():
        out = part(example)
    return Layer(layer, part, tuple(example.shape[1:]), tuple(out.shape[1:]))


def parse_units(texts: list[str], shape: Shape, classes: tuple[str, ...]) -> dict[str, Unit]:
    """Return units by the names they were asked for with.

    Parameters
    ----------
    texts
        ``all``; a number, from 0, of a map or unit; a class, in the last layer. A map's unit stands
        in the middle of its map, or where ``12@BINxFRAME`` says; ``12@mean`` is the whole map.
    shape
        Of the layer's output.
    classes
        Names of its units, empty where they have none.

    Raises
    ------
    UsageProblem
        There is no such unit.
    """
    middle = (shape[1] // 2, shape[2] // 2) if len(shape) == 3 else None
    if texts == ["all"]:
        names = classes or tuple(str(number) for number in range(shape[0]))
        return {name: Unit(number, middle) for number, name in enumerate(names)}
    units = {}
    for text in texts:
        name, _, place = text.partition("@")
        number = classes.index(name) if name in classes else int(name) if name.isdigit() else -1
        if not 0 <= number < shape[0]:
            known = ", ".join(classes) or f"0 to {shape[0] - 1}"
            raise UsageProblem(f"--unit {text}: choose from {known}")
        units[text] = Unit(number, _position(text, place, shape) if place else middle)
    return units


def _position(text: str, place: str, shape: Shape) -> tuple[int, int] | None:
    if place == "mean":
        return None
    parts = [int(part) if part.isdigit() else -1 for part in place.split("x")]
    if (
        len(shape) != 3
        or len(parts) != 2
        or not all(0 <= at < size for at, size in zip(parts, shape[1:], strict=True))
    ):
        raise UsageProblem(f"--unit {text}: positions in a map of {shape[1:]} are BINxFRAME")
    return parts[0], parts[1]
