"""Filters of one signal, as the first layer of a network of waveforms, back to the signal.

`convolve` replaces `speechscope.networks.maps.convolve`; `tests/fast/test_one_signal.py` holds the
two against each other. PyTorch takes 2.0 to 2.9 times as long, forward and back, for 40 to 80
filters of 30 to 300 samples every 4 to 10.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from speechscope.work.accelerators import Unsupported

MOST = 64
"""Most positions of a filter that overlap in one sample; at 251 the plain form takes half."""


def convolve(
    x: Tensor,
    weight: Tensor,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Tensor:
    """See `speechscope.networks.maps.convolve`."""
    if x.shape[1] > 1 or groups > 1:
        raise Unsupported("there is more than one signal")
    if x.device.type != "cpu" or weight.requires_grad or not x.requires_grad:
        raise Unsupported("only the way back of one signal has a fast form")
    # The axis of time, among those of which the others have one value.
    axes = [
        axis for axis in range(len(stride)) if (x.shape[axis + 2], weight.shape[axis + 2]) != (1, 1)
    ]
    if len(axes) != 1 or set(dilation) != {1} or sum(padding) != padding[axes[0]]:
        raise Unsupported("the filters have more than one axis")
    (axis,) = axes
    if weight.shape[axis + 2] > MOST * stride[axis]:
        raise Unsupported("PyTorch is faster where many positions of a filter overlap")
    out: Tensor = _Filters.apply(x.flatten(2), weight.flatten(1), stride[axis], padding[axis])  # type: ignore[no-untyped-call]
    shape = [1] * len(stride)
    shape[axis] = -1
    return out.view(*out.shape[:2], *shape)


class _Filters(torch.autograd.Function):
    """Filters (maps, taps) of signals (B, 1, T); back as one product with overlapping columns."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.length, ctx.stride, ctx.padding = x.shape[2], stride, padding
        return functional.conv1d(x, weight[:, None], None, stride, padding)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        columns = weight.t() @ grads[0]
        length, taps = (ctx.length, 1), (weight.shape[1], 1)
        x = functional.fold(columns, length, taps, 1, (ctx.padding, 0), (ctx.stride, 1))
        return x.squeeze(3), None, None, None
