"""Convolutions that relevance flows through, forward and back to the input, on the CPU.

`convolve` replaces `speechscope.networks.maps.convolve`; `tests/fast/test_banded.py` holds the two
against each other. Gains: see there, and `benchmarks/relevance.py`.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from speechscope.fast.blocks import convolution_block, excess_work
from speechscope.work.accelerators import Unsupported

WORTH = 2.0
"""Most products computed for one that is needed, as in `speechscope.networks.layers`."""


def convolve(
    x: Tensor,
    weight: Tensor,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Tensor:
    """See `speechscope.networks.maps.convolve`."""
    if x.device.type != "cpu" or groups > 1 or set(dilation) != {1} or weight.requires_grad:
        raise Unsupported("convolutions of other devices and kinds have no fast form")
    if _of_one_signal(x, weight, padding):
        out: Tensor = _OneSignal.apply(x, weight, stride, padding)  # type: ignore[no-untyped-call]
        return out
    if stride != (1, 1) or not _worth(x, weight, padding):
        raise Unsupported("the plain form of this convolution is the fastest")
    (top, left), no_bias = padding, None
    return convolution_block(x, weight, no_bias, (top, top, left, left))


def _worth(x: Tensor, weight: Tensor, padding: tuple[int, ...]) -> bool:
    """Say whether products over rows are the fastest form of a convolution with stride 1."""
    maps, channels, *kernel = weight.shape
    f, t = (
        size + 2 * pad - taps + 1
        for size, pad, taps in zip(x.shape[2:], padding, kernel, strict=True)
    )
    before, after = (channels, *x.shape[2:]), (maps, f, t)
    return f > 1 and t > 0 and excess_work(before, after, (kernel[0], kernel[1])) < WORTH


def _of_one_signal(x: Tensor, weight: Tensor, padding: tuple[int, ...]) -> bool:
    """Say whether one signal is filtered over one axis, as by the first layer of a waveform."""
    axes = weight.dim() - 2
    over_one = axes == 1 or (axes == 2 and x.shape[3] == weight.shape[3] == 1 and not padding[1])
    return over_one and weight.shape[1] == 1


class _OneSignal(torch.autograd.Function):
    """Filters of one signal, whose derivative by it is one product with overlapping columns.

    PyTorch's own way back takes 2 to 14 times as long.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, stride: tuple[int, ...], padding: tuple[int, ...]
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.step, ctx.border = x.shape, stride[0], padding[0]
        form = functional.conv1d if weight.dim() == 3 else functional.conv2d
        return form(x, weight, None, stride, padding)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        columns = weight.flatten(1).t() @ grads[0].flatten(2)
        length, taps = (ctx.shape[2], 1), (weight.shape[2], 1)
        step, border = (ctx.step, 1), (ctx.border, 0)
        x = functional.fold(columns, length, taps, 1, border, step).view(ctx.shape)
        return x, None, None, None
