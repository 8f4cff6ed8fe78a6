"""Decoders: from the activations of one layer back to the network's input.

Every encoder layer is inverted in reverse order (Riemens 2015, sec. 4.2; Churchman 2015, sec.
6.5): a fully connected layer by another one, pooling by blind unpooling, a convolution by a
learned convolution of transposed alignment.
"""

from math import prod
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechscope.errors import SpeechscopeError
from speechscope.networks.blocks import convolution_block
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Shape
from speechscope.networks.unpooling import BlindUnpooling, transpose_kernel, transpose_pads

Init = Literal["transpose", "random"]


class Stage(nn.Module):
    """The inverse of one encoder layer with weights, and of the pooling that followed it.

    The output is rectified where it stands for rectified activations (Riemens 2015, sec. 4.3), and
    is not where it stands for the spectrogram.

    Attributes
    ----------
    target
        Number of the encoder layer whose output this stage restores; 0 is the network's input.
    shape
        Its per-item shape.
    """

    target: int
    shape: Shape
    rectified: bool
    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, network: Network, first: int) -> None:
        super().__init__()
        self.target = first - 1
        self.shape = network.shape_before(first)
        self.rectified = _rectified(network, first - 1)

    def reset(self, encoder: Tensor, init: Init, generator: torch.Generator | None) -> None:
        """Set the weights to the transpose of the encoder's, or draw them from N(0, 1 / fan-in)."""
        with torch.no_grad():
            self.bias.zero_()
            if init == "transpose":
                self.weight.copy_(transpose_kernel(encoder) if encoder.dim() == 4 else encoder.t())
            else:
                deviation = self.weight[0].numel() ** -0.5
                self.weight.normal_(0.0, deviation, generator=generator)

    def size(self) -> float:
        """Return the root mean square of the weights."""
        return float(self.weight.detach().square().mean().sqrt())

    def scale(self, factor: float) -> None:
        """Multiply the weights."""
        with torch.no_grad():
            self.weight.mul_(factor)


class LinearStage(Stage):
    """A fully connected layer that restores the input of another one."""

    def __init__(self, network: Network, first: int) -> None:
        super().__init__(network, first)
        (units,) = network.shapes[first - 1]
        self.weight = nn.Parameter(torch.empty(prod(self.shape), units))
        self.bias = nn.Parameter(torch.empty(prod(self.shape)))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, …) in the shape of the restored layer for activations (B, units)."""
        y = functional.linear(x, self.weight, self.bias).view(len(x), *self.shape)
        return functional.relu(y) if self.rectified else y


class ConvolutionStage(Stage):
    """Blind unpooling, where the encoder pooled, and a convolution of transposed alignment."""

    def __init__(self, network: Network, first: int, pools: list[MaxPool]) -> None:
        super().__init__(network, first)
        conv = network.table[first - 1]
        assert isinstance(conv, Conv)
        shape = network.shapes[first - 1]
        self.unpool: BlindUnpooling | None = None
        if pools:
            (pool,) = pools
            self.unpool = BlindUnpooling(pool.size, pool.stride, (shape[1], shape[2]))
        self.pads = transpose_pads(conv.kernel, conv.pads)
        self.weight = nn.Parameter(torch.empty(self.shape[0], conv.maps, *conv.kernel))
        self.bias = nn.Parameter(torch.empty(self.shape[0]))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, F, T) before the encoder's convolution, for what came after it."""
        repeat = 1
        if self.unpool is not None and self.unpool.repeat:
            # Repeated frames are added up in the kernel: half the products for pools of two.
            x, repeat = self.unpool.over_frequency(x), self.unpool.repeat
        elif self.unpool is not None:
            x = self.unpool(x)
        return convolution_block(
            x, self.weight, self.bias, self.pads, relu=self.rectified, repeat=repeat
        )


class Decoder(nn.Module):
    """A decoder for one layer of a network.

    Parameters
    ----------
    network
        The encoder; only its table, and its weights for the first weights here, are used.
    layer
        Number or name of the layer whose activations are decoded.
    init
        First weights: the encoder's, transposed (Riemens 2015, sec. 4.3), or random.
    generator
        For the random ones.

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
    """

    def __init__(
        self,
        network: Network,
        layer: int | str,
        init: Init = "transpose",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.layer = network.resolve(layer)
        stages: list[Stage] = []
        pools: list[MaxPool] = []
        for number in range(self.layer, 0, -1):
            row = network.table[number - 1]
            if isinstance(row, MaxPool):
                if pools:
                    raise SpeechscopeError(f"layer {number}: two poolings in a row have no inverse")
                pools.append(row)
            elif isinstance(row, Linear | Conv):
                if isinstance(row, Conv):
                    stage: Stage = ConvolutionStage(network, number, pools)
                else:
                    stage = LinearStage(network, number)
                weight, _ = network.parameters_of(network.names[number - 1])
                stage.reset(weight.detach(), init, generator)
                stages.append(stage)
                pools = []
        self.stages = nn.ModuleList(stages)

    def stage(self, index: int) -> Stage:
        """Return one stage, 0 being the one nearest the layer."""
        return cast(Stage, self.stages[index])

    def forward(self, code: Tensor) -> Tensor:
        """Return inputs (B, C, F, T) restored from activations (B, …) of the layer."""
        for stage in self.stages:
            code = stage(code)
        return code


def _rectified(network: Network, layer: int) -> bool:
    """Tell whether a layer's output is a ReLU's, pooled or not."""
    while layer > 0 and isinstance(network.table[layer - 1], MaxPool):
        layer -= 1
    return layer > 0 and isinstance(network.table[layer - 1], ReLU)
