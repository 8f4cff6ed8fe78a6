"""Linear layers as the rules of relevance need them: without the bias, with any weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechscope.networks.layers import convolution
from speechscope.work.accelerators import fastest


class LinearMap(Protocol):
    """A linear layer.

    Attributes
    ----------
    weight
        Its weights; None where they are not parameters, as in an average, and all positive.
    """

    @property
    def weight(self) -> Tensor | None:
        """The weights."""

    def bias_at(self, x: Tensor) -> Tensor | None:
        """Return the bias, broadcastable to the output for inputs x (B, …)."""

    def apply(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """Return W x, without the bias; its derivative by x, given s, is Wᵀ s."""


@dataclass(frozen=True)
class Dense:
    """A fully connected layer; weight (out, in), bias (out,)."""

    weight: Tensor
    bias: Tensor | None

    def bias_at(self, x: Tensor) -> Tensor | None:
        """See `LinearMap`."""
        return self.bias

    def apply(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """See `LinearMap`."""
        assert weight is not None
        return functional.linear(x, weight)


@dataclass(frozen=True)
class Convolution:
    """A convolution over one to three axes; weight (maps, in / groups, …), bias (1, maps, 1, …).

    `shifted` (shift, kernel), where there is one, adds what the kernel makes of a constant input,
    (1, in, 1, …), that is padded with zeros: a batch normalisation before the layer leaves that.
    """

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    shifted: tuple[Tensor, Tensor] | None = None

    def bias_at(self, x: Tensor) -> Tensor | None:
        """See `LinearMap`."""
        if self.shifted is None:
            return self.bias
        shift, kernel = self.shifted
        more = self.apply(shift.expand(1, *x.shape[1:]), kernel)
        return more if self.bias is None else more + self.bias

    def apply(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """See `LinearMap`."""
        assert weight is not None
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        return fastest(convolve)(x, weight, *geometry)


def convolve(
    x: Tensor,
    weight: Tensor,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Tensor:
    """Return the convolution of x (B, C, …) over one to three axes, without a bias."""
    if len(stride) == 2 and groups == 1 and dilation == (1, 1):
        pads = (padding[0], padding[0], padding[1], padding[1])
        return convolution(x, weight, None, pads, (stride[0], stride[1]))
    none = (0,) * len(stride)
    return torch.convolution(x, weight, None, stride, padding, dilation, False, none, groups)


@dataclass(frozen=True)
class Scale:
    """A factor and a shift for every channel: batch normalisation with fixed statistics.

    y = a x + c, with a and c broadcastable to x (B, C, …).
    """

    weight: Tensor
    bias: Tensor | None

    def bias_at(self, x: Tensor) -> Tensor | None:
        """See `LinearMap`."""
        return self.bias

    def apply(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """See `LinearMap`."""
        assert weight is not None
        return x * weight


@dataclass(frozen=True)
class Affine:
    """Any affine function: an average, a transposed convolution, a product with a matrix.

    y = f(x), f(x) − f(0) being linear; `bias` is f(0), None where that is 0.
    """

    function: Callable[[Tensor], Tensor]
    bias: Tensor | None

    @classmethod
    def of(cls, function: Callable[[Tensor], Tensor], x: Tensor) -> "Affine":
        """Return a function of inputs like x."""
        return cls(function, function(torch.zeros_like(x)).detach())

    @property
    def weight(self) -> None:
        """See `LinearMap`."""
        return None

    def bias_at(self, x: Tensor) -> Tensor | None:
        """See `LinearMap`."""
        return self.bias

    def apply(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """See `LinearMap`."""
        y = self.function(x)
        return y if self.bias is None else y - self.bias


def output(layer: LinearMap, x: Tensor) -> Tensor:
    """Return W x + b."""
    y, bias = layer.apply(x, layer.weight), layer.bias_at(x)
    return y if bias is None else y + bias


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


def along_channels(values: Tensor, axes: int) -> Tensor:
    """Return one value a channel, (C,), shaped to broadcast over (B, C, …) with `axes` axes."""
    return values.view(1, -1, *(1,) * axes)
