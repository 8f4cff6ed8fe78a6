"""Max-pooling with the ReLU beside it, forward and back, in one pass over memory each.

`pooled` replaces `speechscope.networks.layers.pooled` where weights are trained: the same values,
and slopes, of equal maxima to the first (``tests/fast/test_pooling.py``). PyTorch pools with the
maps of a bin side by side or, five times as slowly, as they are: the copies there and back, the
ReLU's own pass and its slope in another order take as long again. An update of `raw-phone` takes
1.3 times as long with the plain form, of `logmel` 1.2 times (``benchmarks/networks.py``).
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechscope.fast.compiled import HALVES, Array, Halves, compiled
from speechscope.work.accelerators import Unsupported

FEW = 1 << 16
"""Values that one thread pools in less time than two."""
Loops = tuple[Callable[[Array, Array], None], Callable[[Array, Array, Array, Array], None]]


def pooled(x: Tensor, size: tuple[int, int], stride: tuple[int, int], relu: bool) -> Tensor:
    """See `speechscope.networks.layers.pooled`."""
    if x.device.type != "cpu" or x.dtype != torch.float32:
        raise Unsupported("numbers on another device, or of another type")
    if x.shape[3] == 1:
        return pooled(x.transpose(2, 3), size[::-1], stride[::-1], relu).transpose(2, 3)
    if x.shape[3] < size[1] + stride[1]:
        raise Unsupported("one region in a line")
    # Planes are pooled one by one, in whichever order they lie.
    turned = not x.is_contiguous() and x.transpose(0, 1).is_contiguous()
    y: Tensor = _Pool.apply(x.transpose(0, 1) if turned else x, size, stride, relu)  # type: ignore[no-untyped-call]
    return y.transpose(0, 1) if turned else y


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, size: tuple[int, int], stride: tuple[int, int], relu: bool
    ) -> Tensor:
        x = x.contiguous()
        sizes = zip(x.shape[2:], size, stride, strict=True)
        y = x.new_empty(*x.shape[:2], *((n - k) // step + 1 for n, k, step in sizes))
        largest, ctx.share = _loops(*size, *stride, relu)
        ctx.save_for_backward(x, y)
        _by_halves(largest, x, y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        x, y = ctx.saved_tensors
        by_x = torch.empty_like(x)
        _by_halves(ctx.share, x, y, grads[0].contiguous(), by_x)
        return by_x, None, None, None


def _by_halves(loop: Callable[..., None], *arrays: Tensor) -> None:
    planes = [array.detach().flatten(0, 1).numpy() for array in arrays]
    if torch.get_num_threads() < HALVES or arrays[0].numel() < FEW:
        loop(*planes)
        return
    halves = _halves()
    parts = halves.parts(len(planes[0]))
    halves.run(lambda half: loop(*(plane[parts[half]] for plane in planes)))


@cache
def _halves() -> Halves:
    return Halves()


@cache
def _loops(rows: int, columns: int, down: int, right: int, relu: bool) -> Loops:
    """Return loops over planes (N, F, T) for one size and stride.

    The processor takes several regions at once where it knows how they lie.
    """

    @compiled
    def largest(x: Array, y: Array) -> None:
        zero = x.dtype.type(0)
        for n in range(len(y)):
            plane = x[n]
            for f in range(np.uintp(y.shape[1])):
                line = y[n, f]
                for t in range(np.uintp(len(line))):
                    most = plane[f * down, t * right]
                    for i in range(rows):
                        for j in range(columns):
                            value = plane[f * down + i, t * right + j]
                            # What is not a number stays so.
                            most = value if value > most or value != value else most
                    line[t] = zero if relu and most <= zero else most

    @compiled
    def share(x: Array, y: Array, by_y: Array, by_x: Array) -> None:
        zero = x.dtype.type(0)
        for n in range(len(y)):
            plane, out = x[n], by_x[n]
            out[:] = zero
            for f in range(np.uintp(y.shape[1])):
                line, by_line = y[n, f], by_y[n, f]
                for t in range(np.uintp(len(line))):
                    most = line[t]
                    rest = zero if relu and most <= zero else by_line[t]
                    for i in range(rows):
                        for j in range(columns):
                            equal = plane[f * down + i, t * right + j] == most
                            taken = rest if equal else zero
                            rest -= taken
                            out[f * down + i, t * right + j] += taken

    return largest, share
