"""Decoders: from the activations of one layer back to the network's input.

Every encoder layer is inverted in reverse order (Riemens 2015, sec. 4.2; Churchman 2015, sec.
6.5): a fully connected layer by another one, pooling by blind or switch unpooling, a convolution
by a convolution of transposed alignment.
"""

from collections.abc import Mapping
from math import prod
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.networks.layers import (
    Conv,
    Linear,
    MaxPool,
    Network,
    Pads,
    ReLU,
    Shape,
    convolution,
)

Weights = Literal["random", "transpose-init", "transpose-tied", "frozen-random"]
"""Where a decoder's weights come from (Riemens 2015, sec. 5.1).

``random``: drawn, then trained; ``transpose-init``: first the encoder's, transposed, then trained;
``transpose-tied``: the encoder's, transposed, at all times; ``frozen-random``: drawn and kept.
"""

Unpool = Literal["switch", "blind"]
"""How pooling is inverted (Riemens 2015, B.8.2 and B.8.3)."""

Switches: TypeAlias = Mapping[int, Tensor]
"""Where each pooling layer found its maxima, by the layer's number (see `pooling_switches`)."""


class Stage(nn.Module):
    """The inverse of one encoder layer with weights, and of the pooling that followed it.

    The output is rectified where it stands for rectified activations and the decoder has ReLUs
    (Riemens 2015, sec. 4.3), and is not where it stands for the spectrogram.

    Parameters
    ----------
    network
        The encoder.
    first
        Number of the layer with weights.
    shape
        Of the weights.
    weights
        Where they come from; `transpose-tied` shares the encoder's parameter, so that the
        derivatives by both uses of it add up.
    relu
        Whether decoders of this kind have ReLUs.

    Attributes
    ----------
    target
        Number of the encoder layer whose output this stage restores; 0 is the network's input.
    shape
        Its per-item shape.
    bias
        One value a map or unit; there is nothing of the encoder's that it could be taken from.
    """

    def __init__(
        self, network: Network, first: int, shape: Shape, weights: Weights, *, relu: bool
    ) -> None:
        super().__init__()
        self.target = first - 1
        self.shape = network.shape_before(first)
        before = first - 1
        while before > 0 and isinstance(network.table[before - 1], MaxPool):
            before -= 1
        # A ReLU's output, pooled or not, is rectified again.
        self.rectified = relu and before > 0 and isinstance(network.table[before - 1], ReLU)
        encoder, _ = network.parameters_of(network.names[first - 1])
        # In a tuple the encoder's parameter does not count as one of this module's.
        self._encoder = (encoder,)
        self.weight: nn.Parameter | None = None
        if weights != "transpose-tied":
            self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.zeros(shape[0]))

    @property
    def kernel(self) -> Tensor:
        """The weights as they act: this stage's own, or the encoder's transposed."""
        return transpose_kernel(*self._encoder) if self.weight is None else self.weight

    def reset(self, weights: Weights, generator: torch.Generator | None) -> None:
        """Set first weights: the encoder's transposed, or drawn from N(0, 1 / fan-in)."""
        if self.weight is None:
            return
        with torch.no_grad():
            if weights == "transpose-init":
                self.weight.copy_(transpose_kernel(*self._encoder))
            else:
                deviation = self.weight[0].numel() ** -0.5
                self.weight.normal_(0.0, deviation, generator=generator)

    def size(self) -> float:
        """Return the root mean square of the weights."""
        return float(self.kernel.detach().square().mean().sqrt())

    def scale(self, factor: float) -> None:
        """Multiply the stage's own weights."""
        if self.weight is not None:
            with torch.no_grad():
                self.weight.mul_(factor)


class LinearStage(Stage):
    """A fully connected layer that restores the input of another one."""

    def __init__(self, network: Network, first: int, weights: Weights, *, relu: bool) -> None:
        (units,) = network.shapes[first - 1]
        shape = (prod(network.shape_before(first)), units)
        super().__init__(network, first, shape, weights, relu=relu)

    def forward(self, x: Tensor, switches: Switches | None = None) -> Tensor:
        """Return (B, …) in the shape of the restored layer for activations (B, units)."""
        y = functional.linear(x, self.kernel, self.bias).view(len(x), *self.shape)
        return functional.relu(y) if self.rectified else y


class ConvolutionStage(Stage):
    """Unpooling, where the encoder pooled, and a convolution of transposed alignment."""

    def __init__(
        self,
        network: Network,
        first: int,
        pooling: int | None,
        weights: Weights,
        unpool: Unpool,
        *,
        relu: bool,
    ) -> None:
        conv = network.table[first - 1]
        assert isinstance(conv, Conv)
        shape = (network.shape_before(first)[0], conv.maps, *conv.kernel)
        super().__init__(network, first, shape, weights, relu=relu)
        self.pads = transpose_pads(conv.kernel, conv.pads)
        self.before = network.shapes[first - 1][1:]
        self.unpool: BlindUnpooling | None = None
        self.switch: int | None = None
        if pooling is not None and unpool == "switch":
            self.switch = pooling
        elif pooling is not None:
            pool = network.table[pooling - 1]
            assert isinstance(pool, MaxPool)
            frequency, time = self.before
            self.unpool = BlindUnpooling(pool.size, pool.stride, (frequency, time))

    def forward(self, x: Tensor, switches: Switches | None = None) -> Tensor:
        """Return (B, C, F, T) before the encoder's convolution, for what came after it.

        Raises
        ------
        SpeechscopeError
            The stage unpools by switches, and those of its pooling are not given.
        """
        repeat = 1
        if self.switch is not None:
            if switches is None or self.switch not in switches:
                raise SpeechscopeError(
                    f"layer {self.switch}: switch unpooling needs the encoder's switches"
                )
            frequency, time = self.before
            x = switch_unpool(x, switches[self.switch], (frequency, time))
        elif self.unpool is not None and self.unpool.repeat:
            # Repeated frames are added up in the kernel: half the products for pools of two.
            x, repeat = self.unpool.over_frequency(x), self.unpool.repeat
        elif self.unpool is not None:
            x = self.unpool(x)
        y = convolution(x, self.kernel, self.bias, self.pads, repeat=repeat)
        return functional.relu(y) if self.rectified else y


class Decoder(nn.Module):
    """A decoder for one layer of a network.

    Parameters
    ----------
    network
        The encoder; only its table, and its weights for the first weights here, are used.
    layer
        Number or name of the layer whose activations are decoded.
    weights
        Where the weights come from.
    generator
        For the random ones.
    unpool
        How pooling is inverted; a decoder that unpools by switches must be given them.
    relu
        Whether what stands for rectified activations is rectified (Riemens 2015, sec. 5.2).

    Attributes
    ----------
    layer
        The layer's number.
    stages
        From the layer outwards to the spectrogram.

    Raises
    ------
    SpeechscopeError
        When a layer on the way has no inverse.
    UsageProblem
        When one on the way skips positions.
    """

    def __init__(
        self,
        network: Network,
        layer: int | str,
        weights: Weights = "transpose-init",
        generator: torch.Generator | None = None,
        *,
        unpool: Unpool = "blind",
        relu: bool = True,
    ) -> None:
        super().__init__()
        self.layer = network.resolve(layer)
        stages: list[Stage] = []
        pooling: int | None = None
        for number in range(self.layer, 0, -1):
            row = network.table[number - 1]
            if isinstance(row, MaxPool):
                if pooling is not None:
                    raise SpeechscopeError(f"layer {number}: two poolings in a row have no inverse")
                pooling = number
            elif isinstance(row, Conv) and row.stride != (1, 1):
                raise UsageProblem(
                    f"layer {number}: a convolution with stride {row.stride} has no decoder"
                )
            elif isinstance(row, Linear | Conv):
                if isinstance(row, Conv):
                    stage: Stage = ConvolutionStage(
                        network, number, pooling, weights, unpool, relu=relu
                    )
                else:
                    stage = LinearStage(network, number, weights, relu=relu)
                stage.reset(weights, generator)
                stages.append(stage)
                pooling = None
        self.stages = nn.ModuleList(stages)

    def stage(self, index: int) -> Stage:
        """Return one stage, 0 being the one nearest the layer."""
        return cast(Stage, self.stages[index])

    def forward(self, code: Tensor, switches: Switches | None = None, first: int = 0) -> Tensor:
        """Return inputs (B, C, F, T) restored from activations (B, …) of the layer.

        With `first`, from what the stages before that one restore.
        """
        for stage in self.stages[first:]:
            code = stage(code, switches)
        return code


def transpose_kernel(weight: Tensor) -> Tensor:
    """Return the convolution transpose (C, maps, kf, kt) of a kernel (maps, C, kf, kt).

    Of a matrix, the transpose.

    [T(F)]_{i,j,k,d} = F_{H−i+1,W−j+1,d,k}: flipped along both axes, input and output swapped.
    Source: Riemens 2015, B.8.1.
    """
    return weight.t() if weight.dim() == 2 else weight.transpose(0, 1).flip(2, 3)


def transpose_pads(kernel: tuple[int, int], pads: Pads) -> Pads:
    """Return the padding with which the transposed kernel restores the size before a convolution.

    Each side's zeros become kernel − 1 − zeros: none become full padding, and "same" stays "same"
    with its sides exchanged. Both paddings are (before, after) in frequency, then in time.
    """
    frequency, time = kernel
    return (
        frequency - 1 - pads[0],
        frequency - 1 - pads[1],
        time - 1 - pads[2],
        time - 1 - pads[3],
    )


def region_weights(size: int, stride: int, length: int) -> Tensor:
    """Return the matrix (length, regions) that averages the regions each element belongs to.

    weights[e, i] = 1 / #P(e) where element e lies in region i, P(e) = {i : i·stride ≤ e < i·stride
    + size}. Riemens 2015, B.8.3 assumes that every element belonged to a region. Elements past the
    last whole region (or between regions) belonged to none; they take the value of the nearest
    region, the earlier one of two equally near.

    Source: Riemens 2015, B.8.3, along one axis.
    """
    regions = (length - size) // stride + 1
    elements = torch.arange(length)[:, None]
    first = torch.arange(regions)[None, :] * stride
    # Elements between e and the region, 0 inside it.
    distance = torch.maximum(first - elements, elements - (first + size - 1)).clamp(min=0)
    nearest = torch.zeros_like(distance).scatter_(1, distance.argmin(1, keepdim=True), 1)
    member = torch.where((distance == 0).any(1, keepdim=True), distance == 0, nearest == 1)
    return member / member.sum(1, keepdim=True)


class BlindUnpooling(torch.nn.Module):
    """Blind unpooling over frequency and time.

    Y[i', j'] = (1 / (#P(i') #Q(j'))) Σ_{i ∈ P(i')} Σ_{j ∈ Q(j')} X[i, j]: each element takes the
    average of the maxima of all regions it belongs to. Source: Riemens 2015, B.8.3; Churchman
    2015, sec. 6.5.2.

    Parameters
    ----------
    size, stride
        Of the pooling to invert, each (frequency, time).
    shape
        (F', T') before that pooling; elements that belonged to no region as in `region_weights`.

    Attributes
    ----------
    repeat
        How often each time frame is merely repeated, where time unpooling is no more than that
        (regions that touch and cover everything), else 0.
    """

    frequency: Tensor
    time: Tensor

    def __init__(
        self, size: tuple[int, int], stride: tuple[int, int], shape: tuple[int, int]
    ) -> None:
        super().__init__()
        for name, axis in (("frequency", 0), ("time", 1)):
            weights = region_weights(size[axis], stride[axis], shape[axis])
            self.register_buffer(name, weights, persistent=False)
        regions = self.time.shape[1]
        repeats = shape[1] // regions
        plain = torch.eye(regions).repeat_interleave(repeats, dim=0)
        self.repeat = repeats if torch.equal(plain, self.time) else 0

    def over_frequency(self, x: Tensor) -> Tensor:
        """Unpool (B, C, F, T) over frequency only."""
        batch, channels, regions, frames = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(batch, regions, frames * channels)
        unpooled = torch.matmul(self.frequency, rows)
        return unpooled.view(batch, -1, frames, channels).permute(0, 3, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, F', T') for (B, C, F, T)."""
        x = self.over_frequency(x)
        if self.repeat:
            return x.repeat_interleave(self.repeat, dim=3)
        return torch.einsum("bcft,st->bcfs", x, self.time)


def pooling_switches(x: Tensor, size: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """Return where every pooling region found its maximum: the switches of max-pooling.

    P[i, j], Q[i, j] = arg max over the region of X, kept here as the one number f · T + t of the
    element (f, t) = (i·stride + P, j·stride + Q). Source: Riemens 2015, B.8.2.

    Parameters
    ----------
    x
        What is pooled, (B, C, F, T). Where a ReLU stands between the convolution and the pooling,
        give what enters the ReLU: Riemens' units pool first (sec. 4.3), and behind a ReLU every
        silent region is a tie.
    size, stride
        Of the pooling, each (frequency, time).

    Returns
    -------
    (B, C, regions over frequency, regions over time), int64.
    """
    _, switches = functional.max_pool2d(x.detach(), size, stride, return_indices=True)
    return switches


def at_switches(x: Tensor, switches: Tensor) -> Tensor:
    """Return the elements of x (B, C, F, T) that the switches name, in the switches' shape."""
    return x.flatten(2).gather(2, switches.flatten(2)).view(switches.shape)


def switch_unpool(x: Tensor, switches: Tensor, shape: tuple[int, int]) -> Tensor:
    """Put every value back where its region had found its maximum, and 0 everywhere else.

    Y[(i, j)·stride + (P[i, j], Q[i, j])] = X[i, j]. Regions that overlap may share their maximum;
    Riemens remarks that they then write the same value. A decoder's values differ, and Y = S·X
    with S in {0, 1} (B.8.2) takes one of them: here the last in the order of frequency, then time.

    Parameters
    ----------
    x, switches
        (B, C, regions over frequency, regions over time), from `pooling_switches`.
    shape
        (F', T') before the pooling.

    Returns
    -------
    (B, C, F', T'). Source: Riemens 2015, B.8.2.
    """
    batch, channels = x.shape[:2]
    values, where = x.flatten(2), switches.flatten(2)
    numbers = torch.arange(where.shape[2], device=x.device).expand_as(where)
    elements = (batch, channels, shape[0] * shape[1])
    last = where.new_zeros(elements).scatter_reduce_(2, where, numbers, "amax")
    # Each element is given one value and otherwise zeros, so the order of adding is of no account.
    taken = torch.where(last.gather(2, where) == numbers, values, 0)
    return x.new_zeros(elements).scatter_add(2, where, taken).view(batch, channels, *shape)
