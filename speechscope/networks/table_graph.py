"""The steps of our own networks, from their tables."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from speechscope.networks.graph import Graph, Part, Step
from speechscope.networks.layers import BatchNorm, Conv, Linear, MaxPool, Network
from speechscope.networks.maps import Convolution, Dense, LinearMap, Scale, along_channels, output


def table_graph(network: Network) -> Graph:
    """Return the steps of a network; its weights are shared, not copied.

    Layers have the names that the network gives them (conv1, pool1, …).
    """
    steps: list[Step] = []

    def add(step: Step) -> None:
        steps.append(step)

    for name, row in zip(network.names, network.table, strict=True):
        last, what = (len(steps),), str(row)
        if isinstance(row, Conv):
            top, bottom, left, right = row.pads
            padding = (top, left) if (top, left) == (bottom, right) else (0, 0)
            if row.pads != (0, 0, 0, 0) and padding == (0, 0):
                add(Step(name, "plain", last, _pad(left, right, top, bottom), what))
                last = (len(steps),)
            weight, bias = (p.detach() for p in network.parameters_of(name))
            convolution = Convolution(
                weight, along_channels(bias, 2), row.stride, padding, dilation=(1, 1)
            )
            add(linear_step(name, last, convolution, what, "conv"))
        elif isinstance(row, BatchNorm):
            module = network.get_submodule(name)
            assert isinstance(module, nn.BatchNorm2d)
            add(linear_step(name, last, norm_map(module, 2), what, "norm"))
        elif isinstance(row, MaxPool):
            add(Step(name, "plain", last, _pool(row), what, part="pool"))
        elif isinstance(row, Linear):
            if len(network.shape_before(name)) > 1:
                add(Step(name, "plain", last, _flatten, what))
                last = (len(steps),)
            weight, bias = (p.detach() for p in network.parameters_of(name))
            add(linear_step(name, last, Dense(weight, bias), what, "dense"))
        else:
            add(Step(name, "relu", last, functional.relu, what))
    return Graph(tuple(steps))


def linear_step(
    name: str,
    inputs: tuple[int, ...],
    layer: LinearMap,
    what: str,
    part: Part,
) -> Step:
    """Return the step of a linear map."""
    return Step(name, "linear", inputs, partial(output, layer), what, layer, part)


def norm_map(norm: nn.modules.batchnorm._BatchNorm, axes: int) -> Scale:
    """Return batch normalisation with its running statistics as factors and shifts.

    y = γ (x − mean) / √(variance + ε) + β.
    """
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    factor = (variance + norm.eps).rsqrt()
    if norm.affine:
        factor = factor * norm.weight.detach()
    shift = -mean * factor
    if norm.affine:
        shift = shift + norm.bias.detach()
    return Scale(along_channels(factor, axes), along_channels(shift, axes))


def _pad(left: int, right: int, top: int, bottom: int) -> Callable[[Tensor], Tensor]:
    return lambda x: functional.pad(x, (left, right, top, bottom))


def _pool(row: MaxPool) -> Callable[[Tensor], Tensor]:
    return lambda x: functional.max_pool2d(x, row.size, row.stride)


def _flatten(x: Tensor) -> Tensor:
    return x.flatten(1)
