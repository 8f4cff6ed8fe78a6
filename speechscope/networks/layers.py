"""A network is a readable table of rows; `Network` runs any part of it and counts its layers.

Layers are counted as Churchman 2015 does (sec. 7): convolution, batch normalisation, ReLU, pooling
and fully connected layers each count from 1; dropout does not.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechscope.errors import SpeechscopeError, UsageProblem

Shape: TypeAlias = tuple[int, ...]
Pads: TypeAlias = tuple[int, int, int, int]
"""Zeros before and after in frequency, then in time."""


@dataclass(frozen=True)
class Conv:
    """A convolution over frequency and time (Churchman 2015, sec. 2.1.1).

    `kernel` and `stride` are (frequency, time). "valid" takes the ⌊(n − kernel) / stride⌋ + 1 whole
    positions on an axis of n; "same" pads kernel − 1 zeros, (kernel − stride) // 2 of them before,
    and leaves ⌈n / stride⌉ (sec. 2.1.7); "same-time" pads the time axis alone.
    """

    maps: int
    kernel: tuple[int, int]
    padding: Literal["valid", "same", "same-time"] = "valid"
    stride: tuple[int, int] = (1, 1)

    @property
    def pads(self) -> Pads:
        """Zeros (before, after) in frequency, then (before, after) in time."""
        pads: list[int] = []
        for axis, padded in enumerate((self.padding == "same", self.padding != "valid")):
            before = max(self.kernel[axis] - self.stride[axis], 0) // 2
            pads += (before, self.kernel[axis] - 1 - before) if padded else (0, 0)
        top, bottom, left, right = pads
        return top, bottom, left, right


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation of every map: γ (x − mean) / √(variance + ε) + β (Krug 2018, sec. 3.4).

    Mean and variance are those of the batch in training, running means of them otherwise.
    """


@dataclass(frozen=True)
class ReLU:
    """Rectified linear units, max(0, x) (Churchman 2015, sec. 2.1.2)."""


@dataclass(frozen=True)
class MaxPool:
    """Max-pooling over (frequency, time) without padding (Churchman 2015, sec. 2.1.3).

    Elements beyond the last whole pooling region are left out.
    """

    size: tuple[int, int]
    stride: tuple[int, int]


@dataclass(frozen=True)
class Linear:
    """A fully connected layer (Churchman 2015, sec. 2.1.5).

    `units` None means one unit per class. In training, `dropout` is the share of this layer's
    inputs set to zero, the others being scaled by 1 / (1 − dropout) (sec. 2.1.4).
    """

    units: int | None
    dropout: float = 0.0


Row: TypeAlias = Conv | BatchNorm | ReLU | MaxPool | Linear
Table: TypeAlias = tuple[Row, ...]

_STEMS: dict[type, str] = {
    Conv: "conv",
    BatchNorm: "norm",
    ReLU: "relu",
    MaxPool: "pool",
    Linear: "fc",
}


class Layered(nn.Module):
    """A network whose layers can be named, counted from 1, and read: all that methods ask for.

    Inputs are (B, C, F, T). Ours are `Network`; others become
    `speechscope.networks.foreign.ForeignNetwork`.

    Attributes
    ----------
    input_shape
        (C, F, T) of one item.
    names
        One name a layer.
    shapes
        The output shape of one item at every layer.
    """

    input_shape: Shape
    names: Sequence[str]
    shapes: Sequence[Shape]

    def resolve(self, layer: int | str) -> int:
        """Return the number of a layer given by number or name.

        Raises UsageProblem when the network has no such layer.
        """
        names = list(self.names)
        if layer in names:
            return names.index(str(layer)) + 1
        number = int(layer) if str(layer).isdecimal() else 0
        if not 1 <= number <= len(names):
            raise UsageProblem(
                f"layer {layer}: expected 1 to {len(names)} or one of {', '.join(names)}"
            )
        return number

    def named(self, number: int) -> str:
        """Return the name of the layer of a number."""
        return self.names[number - 1]

    def activation(self, x: Tensor, layer: int | str) -> Tensor:
        """Return the output (B, …) of one layer."""
        number = self.resolve(layer)
        return self.activations(x, [number])[number]

    def activations(self, x: Tensor, layers: Iterable[int | str]) -> dict[int, Tensor]:
        """Return the outputs of several layers in one pass, by layer number."""
        raise NotImplementedError


class Network(Layered):
    """A feed-forward network built from a table.

    Parameters
    ----------
    table
        Rows, first layer first.
    input_shape
        (C, F, T) of one item: channels, frequency bins, time frames. Without fully connected rows
        the network takes any number of frames its rows fit in, and T is one of them.
    classes
        Units of a `Linear(None)` row.
    xavier
        Whether weights are drawn as Glorot & Bengio (2010) do rather than He et al. (2015).

    Attributes
    ----------
    names
        One name a layer: conv1, relu1, pool1, …, fc4.
    shapes
        The output shape of one item at every layer, (C, F, T) or (units,).
    dropout
        The rate applied to the input of each fully connected layer in training, by name;
        it starts as the table says and may be changed.

    Parameters are named as the layers (`conv1.weight` (maps, in, frequency, time),
    `norm1.weight` (maps,), `fc1.weight` (out, in), the inputs of the first fully connected layer
    in C, F, T order).

    Raises
    ------
    SpeechscopeError
        When a row does not fit what comes before it.
    """

    def __init__(
        self,
        table: Table,
        input_shape: Shape = (1, 201, 16),
        classes: int = 48,
        *,
        xavier: bool = False,
    ) -> None:
        super().__init__()
        self._xavier = xavier
        self.table = tuple(table)
        self.input_shape = tuple(input_shape)
        self.classes = classes
        counts = dict.fromkeys(_STEMS.values(), 0)
        names = []
        for row in self.table:
            counts[_STEMS[type(row)]] += 1
            names.append(f"{_STEMS[type(row)]}{counts[_STEMS[type(row)]]}")
        self.names = tuple(names)
        self.shapes = output_shapes(self.table, self.input_shape, classes)
        self.dropout: dict[str, float] = {}
        self._fixed_length = any(isinstance(row, Linear) for row in self.table)
        before = self.input_shape
        for name, row, shape in zip(self.names, self.table, self.shapes, strict=True):
            if isinstance(row, Conv):
                self.add_module(name, nn.Conv2d(before[0], row.maps, row.kernel))
            elif isinstance(row, BatchNorm):
                self.add_module(name, nn.BatchNorm2d(before[0]))
            elif isinstance(row, Linear):
                self.add_module(name, nn.Linear(prod(before), shape[0]))
                self.dropout[name] = row.dropout
            before = shape
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw weights and set biases to 0.

        From N(0, 2 / fan-in) (He et al. 2015, for ReLUs), or with `xavier` from
        N(0, 2 / (fan-in + fan-out)) (Glorot & Bengio 2010, eq. 12). Weights without values, on
        PyTorch's device ``meta``, stay so.
        """
        for name in self.names:
            if name.startswith(("conv", "fc")):
                weight, bias = self.parameters_of(name)
                if weight.is_meta:  # PyTorch would import its compiler, for 1.4 s, to draw nothing
                    continue
                fans = weight[0].numel() + (weight[:, 0].numel() if self._xavier else 0)
                with torch.no_grad():
                    weight.normal_(0.0, (2.0 / fans) ** 0.5, generator=generator)
                    bias.zero_()
            elif name.startswith("norm"):
                self.get_submodule(name).reset_parameters()  # type: ignore[operator]

    def parameters_of(self, name: str) -> tuple[Tensor, Tensor]:
        """Return the weight and bias of the layer called `name`."""
        module = self.get_submodule(name)
        weight, bias = module.weight, module.bias
        assert isinstance(weight, Tensor) and isinstance(bias, Tensor)
        return weight, bias

    def shape_before(self, layer: int | str) -> Shape:
        """Return the per-item shape that enters a layer."""
        number = self.resolve(layer)
        return self.shapes[number - 2] if number > 1 else self.input_shape

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, classes) of inputs (B, C, F, T)."""
        return self.activation(x, len(self.names))

    def activation(self, x: Tensor, layer: int | str, start: int | str = 0) -> Tensor:
        """Return the output of one layer, (B, C, F, T) or (B, units).

        `start` 0: x is the input; otherwise x is the output of layer `start`.
        """
        number = self.resolve(layer)
        return self.activations(x, [number], start)[number]

    def activations(
        self, x: Tensor, layers: Iterable[int | str], start: int | str = 0
    ) -> dict[int, Tensor]:
        """Return the outputs of several layers in one pass, by layer number."""
        wanted = {self.resolve(layer) for layer in layers}
        first = 0 if start == 0 else self.resolve(start)
        if wanted and min(wanted) <= first:
            raise SpeechscopeError(f"layer {min(wanted)} lies before the start, layer {first}")
        expected = self.shapes[first - 1] if first else self.input_shape
        shape = tuple(x.shape[1:])
        if shape != expected and (self._fixed_length or shape[:-1] != expected[:-1]):
            raise SpeechscopeError(
                f"layer {first + 1} takes items of shape {expected}, found {shape}"
            )
        outputs: dict[int, Tensor] = {}
        for number in range(first + 1, max(wanted, default=0) + 1):
            x = self._layer(number, x)
            if number in wanted:
                outputs[number] = x
        return outputs

    def _layer(self, number: int, x: Tensor) -> Tensor:
        """Return the output of one layer for its input."""
        name, row = self.names[number - 1], self.table[number - 1]
        if isinstance(row, Conv):
            return convolution(x, *self.parameters_of(name), row.pads, row.stride)
        if isinstance(row, BatchNorm):
            normalised: Tensor = self.get_submodule(name)(x)
            return normalised
        if isinstance(row, ReLU):
            return functional.relu(x)
        if isinstance(row, MaxPool):
            if x.device.type == "cpu":
                # With the maps of a bin side by side, pooling takes a fifth of the time there.
                x = x.contiguous(memory_format=torch.channels_last)
            return functional.max_pool2d(x, row.size, row.stride)
        x = x.flatten(1)
        if self.training and self.dropout[name] > 0:
            x = functional.dropout(x, self.dropout[name])
        return functional.linear(x, *self.parameters_of(name))


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    pads: Pads,
    stride: tuple[int, int] = (1, 1),
    repeat: int = 1,
) -> Tensor:
    """Return the convolution (B, maps, F', T') of inputs (B, C, F, T).

    Where there are more maps than a kernel has weights, windows are copied and multiplied, which
    costs less than such a product gains. Where a kernel spans all bins, they are taken as channels
    of a convolution over time; where it spans all frames, these are channels of a convolution over
    frequency, with a map for every frame of the output. That is several times as fast on the CPU as
    `conv2d`, whose derivative by a weight as wide as its input is also wrong there (PyTorch 2.13;
    see tests/networks/test_kernels). On a GPU weights that are kept are not rearranged at every
    call.

    Parameters
    ----------
    weight, bias
        Kernels (maps, C, frequency, time), and (maps,).
    pads
        Zeros before and after in frequency, then in time.
    stride
        (frequency, time).
    repeat
        How often each frame of x counts, as in x.repeat_interleave(repeat, dim=3).
    """
    top, bottom, left, right = pads
    if x.device.type != "cpu" and repeat == 1 and not weight.requires_grad:
        return functional.conv2d(_pad(x, (left, right, top, bottom)), weight, bias, stride)
    frames, width = x.shape[3] * repeat, weight.shape[3]
    if x.device.type == "cpu" and repeat == 1 and len(weight) > weight[0].numel():
        return _by_windows(_pad(x, (left, right, top, bottom)), weight, bias, stride)
    if weight.shape[2] == x.shape[2] and top == bottom == 0 and repeat == 1:
        bins = _pad(x.flatten(1, 2), (left, right))
        return functional.conv1d(bins, weight.flatten(1, 2), bias, stride[1]).unsqueeze(2)
    if width >= frames and stride[1] == 1:
        after = frames + left + right - width + 1
        # In one order now: it would be brought into it forward, and once more back.
        columns = _pad(x.transpose(2, 3).flatten(1, 2), (top, bottom)).contiguous()
        kernel = over_frames(weight, frames, left, after)
        if repeat > 1:
            kernel = kernel.view(*kernel.shape[:3], -1, repeat).sum(4)
        bias = bias if bias is None or after == 1 else bias.repeat(after)
        kernel = kernel.transpose(2, 3).flatten(1, 2)
        y = functional.conv1d(columns, kernel, bias, stride[0])
        return y.view(len(y), after, weight.shape[0], y.shape[2]).permute(0, 2, 3, 1)
    if repeat > 1 and (width > 1 or left or right):
        x, repeat = x.repeat_interleave(repeat, dim=3), 1
    y = functional.conv2d(_pad(x, (left, right, top, bottom)), weight, bias, stride)
    return y if repeat == 1 else y.repeat_interleave(repeat, dim=3)


def _by_windows(x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int]) -> Tensor:
    windows = x.unfold(2, weight.shape[2], stride[0]).unfold(3, weight.shape[3], stride[1])
    batch, _, bins, frames = windows.shape[:4]
    rows = windows.permute(0, 2, 3, 1, 4, 5).reshape(batch * bins * frames, -1)
    y = functional.linear(rows, weight.flatten(1), bias)
    return y.view(batch, bins, frames, len(weight)).permute(0, 3, 1, 2)


def over_frames(weight: Tensor, frames: int, left: int, after: int) -> Tensor:
    """Return the kernel of every output frame over all input frames.

    Of weight (maps, C, F, width), (after × maps, C, F, frames): that of output t at input s is
    weight[…, s − t + left], and 0 where the kernel does not reach.
    """
    padded = _pad(weight, (max(after - 1 - left, 0), max(frames + left - weight.shape[3], 0)))
    starts = range(max(after - 1, left), -1, -1)[:after]
    kernels = [padded[..., start : start + frames] for start in starts]
    return torch.cat(kernels) if after > 1 else kernels[0]


def _pad(x: Tensor, pads: Sequence[int]) -> Tensor:
    return functional.pad(x, tuple(pads)) if any(pads) else x


def output_shapes(table: Table, input_shape: Shape, classes: int) -> tuple[Shape, ...]:
    """Return the per-item output shape of every row of a table.

    Raises SpeechscopeError where a row does not fit the shape it is given.
    """
    shapes: list[Shape] = []
    shape = tuple(input_shape)
    for number, row in enumerate(table, start=1):
        if isinstance(row, Conv | BatchNorm | MaxPool):
            if len(shape) != 3:
                raise SpeechscopeError(f"layer {number}: {row} cannot follow a shape {shape}")
        if isinstance(row, Conv | MaxPool):
            channels, frequency, time = shape
            if isinstance(row, Conv):
                top, bottom, left, right = row.pads
                channels = row.maps
                frequency, time = frequency + top + bottom, time + left + right
            size = row.kernel if isinstance(row, Conv) else row.size
            frequency = (frequency - size[0]) // row.stride[0] + 1
            time = (time - size[1]) // row.stride[1] + 1
            if frequency < 1 or time < 1:
                raise SpeechscopeError(f"layer {number}: {row} does not fit in {shape}")
            shape = (channels, frequency, time)
        elif isinstance(row, Linear):
            shape = (classes if row.units is None else row.units,)
        shapes.append(shape)
    return tuple(shapes)


@dataclass(frozen=True)
class ReceptiveField:
    """The frames each output of a layer depends on.

    Output t sees the `frames` frames from t · step − before on, those before 0 and after the last
    being padding.
    """

    frames: int
    step: int
    before: int

    def span(self, output: int) -> tuple[int, int]:
        """Return (first, past the last) frame that an output sees."""
        first = output * self.step - self.before
        return first, first + self.frames

    def blocks(self, frames: int, most: int) -> Iterator[tuple[int, slice]]:
        """Yield outputs of so many frames that see no padding, up to `most` at a time.

        As the first of them, and the frames that they see: without padding they give these alone.
        """
        first = -(-self.before // self.step)
        stop = (frames + self.before - self.frames) // self.step + 1
        for output in range(first, stop, most):
            last = min(output + most, stop) - 1
            yield output, slice(self.span(output)[0], self.span(last)[1])


def receptive_field(table: Table, layer: int, axis: int = 1) -> ReceptiveField:
    """Return the receptive field over time, or frequency (axis 0), of a layer, counted from 1.

    Layer by layer, a kernel k with stride s and p zeros before: frames + (k − 1) · step,
    before + p · step, step · s.

    Raises
    ------
    SpeechscopeError
        A fully connected layer is on the way: it sees the whole input.
    """
    frames, step, before = 1, 1, 0
    for number, row in enumerate(table[:layer], start=1):
        if isinstance(row, Linear):
            raise SpeechscopeError(f"layer {number} is fully connected: it sees the whole input")
        if isinstance(row, Conv | MaxPool):
            size = row.kernel if isinstance(row, Conv) else row.size
            frames += (size[axis] - 1) * step
            before += row.pads[2 * axis] * step if isinstance(row, Conv) else 0
            step *= row.stride[axis]
    return ReceptiveField(frames, step, before)


def bytes_each(network: nn.Module, shape: Shape) -> float:
    """Return what an item of a shape takes on the way through a network and back, about [bytes].

    Four times what our layers give: outputs, derivatives, and what a step holds beside them. Of a
    network that is not ours nothing is known: a thousand times the input (chosen).
    """
    values = sum(map(prod, network.shapes)) if isinstance(network, Network) else 250 * prod(shape)
    return 16.0 * values


def unpadded(network: Network, layer: int, input_shape: Shape) -> Network:
    """Return the layers up to one, without padding, for inputs of a shape (C, F, T).

    Of the size that the layer's outputs see, this gives the one output that nothing was padded for.
    """
    rows = tuple(
        replace(row, padding="valid") if isinstance(row, Conv) else row
        for row in network.table[:layer]
    )
    part = Network(rows, input_shape, network.classes)
    state = network.state_dict()
    part.load_state_dict({name: state[name] for name in part.state_dict()})
    return part.to(next(network.parameters()).device).eval().requires_grad_(False)
