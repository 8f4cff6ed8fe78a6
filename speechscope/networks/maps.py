"""Linear layers as the rules of relevance need them: with any weights, forward and back.

A map y = W x + b is applied without its bias, by `apply`, and transposed, by `adjoint`, with its
own weights or with parts of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from speechscope.fast.banded import Banded


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
        """Return W x, without the bias."""

    def adjoint(self, s: Tensor, x: Tensor, weight: Tensor | None) -> Tensor:
        """Return Wᵀ s for s shaped as the output; x is any input of the shape wanted."""


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

    def adjoint(self, s: Tensor, x: Tensor, weight: Tensor | None) -> Tensor:
        """See `LinearMap`."""
        assert weight is not None
        return s @ weight


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

    def _flat(self, x: Tensor, weight: Tensor) -> bool:
        """Tell whether one bin is left: then the bins are channels, which is several times faster.

        As in `speechscope.fast.blocks.plain_convolution`.
        """
        return (
            weight.dim() == 4
            and weight.shape[2] == x.shape[2]
            and not self.padding[0]
            and self.dilation == (1, 1)
            and self.groups == 1
        )

    def _of_one_signal(self, x: Tensor, weight: Tensor) -> bool:
        """Tell whether it filters one signal over one axis, as the first layer of a waveform."""
        along_time = weight.dim() == 3 or (weight.dim() == 4 and x.shape[3] == weight.shape[3] == 1)
        return (
            along_time
            and weight.shape[1] == 1
            and set(self.dilation) == {1}
            and (weight.dim() == 3 or not self.padding[1])
            and x.device.type == "cpu"
        )

    def _spread(self, s: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Return Wᵀ s as one product whose columns overlap: PyTorch's own way takes 2 to 14 ×."""
        columns = weight.flatten(1).t() @ s.flatten(2)
        length, taps = (x.shape[2], 1), (weight.shape[2], 1)
        step, border = (self.stride[0], 1), (self.padding[0], 0)
        return functional.fold(columns, length, taps, 1, border, step).view(x.shape)

    def _banded(self, x: Tensor, weight: Tensor) -> Banded | None:
        """Return the fastest form, where there is one."""
        plain = self.stride == self.dilation == (1, 1) and self.groups == 1
        if not plain or x.device.type != "cpu":
            return None
        maps, channels, f, t = weight.shape
        padding = (self.padding[0], self.padding[1])
        form = Banded(x.shape[2], x.shape[3], channels, maps, (f, t), padding)
        return form if form.worth else None

    def apply(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """See `LinearMap`."""
        assert weight is not None
        if self._flat(x, weight):
            y = functional.conv1d(
                x.flatten(1, 2), weight.flatten(1, 2), None, self.stride[1], self.padding[1]
            )
            return y.unsqueeze(2)
        banded = self._banded(x, weight)
        if banded is not None:
            return banded.apply(x, weight)
        return torch.convolution(
            x,
            weight,
            None,
            self.stride,
            self.padding,
            self.dilation,
            False,
            (0,) * len(self.stride),
            self.groups,
        )

    def adjoint(self, s: Tensor, x: Tensor, weight: Tensor | None) -> Tensor:
        """See `LinearMap`."""
        assert weight is not None
        if self._flat(x, weight):
            part = replace(
                self, stride=self.stride[1:], padding=self.padding[1:], dilation=self.dilation[1:]
            )
            return part.adjoint(s.squeeze(2), x.flatten(1, 2), weight.flatten(1, 2)).view(x.shape)
        if self._of_one_signal(x, weight):
            return self._spread(s, x, weight)
        banded = self._banded(x, weight)
        if banded is not None:
            return banded.adjoint(s, weight)
        back: Tensor = torch.ops.aten.convolution_backward(
            s,
            x,
            weight,
            None,
            self.stride,
            self.padding,
            self.dilation,
            False,
            (0,) * len(self.stride),
            self.groups,
            (True, False, False),
        )[0]
        return back


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

    def adjoint(self, s: Tensor, x: Tensor, weight: Tensor | None) -> Tensor:
        """See `LinearMap`."""
        assert weight is not None
        return s * weight


@dataclass(frozen=True)
class Average:
    """An average over regions, or any linear map with positive weights given as a function."""

    function: Callable[[Tensor], Tensor]

    @property
    def weight(self) -> None:
        """See `LinearMap`."""
        return None

    def bias_at(self, x: Tensor) -> Tensor | None:
        """See `LinearMap`."""
        return None

    def apply(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """See `LinearMap`."""
        return self.function(x)

    def adjoint(self, s: Tensor, x: Tensor, weight: Tensor | None) -> Tensor:
        """See `LinearMap`."""
        with torch.enable_grad():
            place = x.detach().requires_grad_()
            (back,) = torch.autograd.grad(self.function(place), place, s)
        return back


def output(layer: LinearMap, x: Tensor) -> Tensor:
    """Return W x + b, which automatic differentiation takes back by the adjoint."""
    y: Tensor = _Applied.apply(x, layer)  # type: ignore[no-untyped-call]
    bias = layer.bias_at(x)
    return y if bias is None else y + bias


class _Applied(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: LinearMap) -> Tensor:
        ctx.x, ctx.layer = x, layer
        y = layer.apply(x, layer.weight)
        return y.clone() if y is x else y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        layer: LinearMap = ctx.layer
        return layer.adjoint(grads[0], ctx.x, layer.weight), None


def along_channels(values: Tensor, axes: int) -> Tensor:
    """Return one value a channel, (C,), shaped to broadcast over (B, C, …) with `axes` axes."""
    return values.view(1, -1, *(1,) * axes)
