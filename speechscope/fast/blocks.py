"""Convolution, ReLU and pooling in their fastest differentiable forms.

Arrays are (B, C, F, T) as everywhere; in memory they keep the maps of a bin together, and
bins (or frames of bins) apart, as `kernels` needs them, so no copy is made between blocks.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from speechscope.fast.kernels import FrequencyConvolution, time_band
from speechscope.fast.pooling import FrequencyPool, TimePool

Shape = tuple[int, ...]
Pads = tuple[int, int, int, int]
Pool = tuple[tuple[int, int], tuple[int, int]]
"""Size and stride, each over (frequency, time)."""


def convolution_block(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    pads: Pads,
    pool: Pool | None = None,
    *,
    relu: bool = False,
    repeat: int = 1,
) -> Tensor:
    """Convolve, and then pool and rectify where asked.

    y = max_pool(relu(w ∗ x + b)), stride 1; bias and ReLU are applied after the pooling, with
    which they commute.

    Parameters
    ----------
    x
        Input (B, C, F, T).
    weight, bias
        Kernel (maps, C, kf, kt) and bias (maps,), if any.
    pads
        Zeros before and after in frequency, then in time.
    pool
        Regions that do not overlap in time.
    relu
        Whether to rectify.
    repeat
        How often each frame of x counts, as if x were x.repeat_interleave(repeat, dim=3); the
        repeated frames are added up in the kernel instead.

    Raises
    ------
    Unsupported
        The pooling regions overlap in time.
    """
    batch, channels, frequency, frames = x.shape
    maps, _, taps, width = weight.shape
    top, bottom, left, right = pads
    f_out = frequency + top + bottom - taps + 1
    t_out = frames * repeat + left + right - width + 1
    banded = width > 1 or frames == 1
    (size, time_size), (stride, time_stride) = pool or ((1, 1), (1, 1))
    time = TimePool(time_size, time_stride, t_out, maps, columns=banded)
    if banded:
        rows = x.permute(0, 2, 3, 1).reshape(batch, frequency, frames * channels)
        kernel = time_band(weight, frames * repeat, left, t_out)
        if repeat > 1:
            kernel = kernel.view(taps, frames, repeat, channels, -1).sum(2).flatten(1, 2)
        if time.reorders:
            kernel = kernel[..., time.columns]
    else:
        if repeat > 1:
            x = x.repeat_interleave(repeat, dim=3)
            frames *= repeat
        rows = x.permute(0, 3, 2, 1).reshape(batch * frames, frequency, channels)
        kernel = weight[..., 0].permute(2, 1, 0)
    y: Tensor = _Convolve.apply(rows, kernel, top, f_out)  # type: ignore[no-untyped-call]
    if not banded:
        y = y.view(batch, frames, f_out, maps)
    if pool is not None:
        y = _Pool.apply(y, time, FrequencyPool(size, stride, f_out))  # type: ignore[no-untyped-call]
    if bias is not None:
        y = y + (bias.repeat(time.out) if banded else bias)
    if relu:
        y = functional.relu(y)
    if banded:
        return y.view(batch, y.shape[1], time.out, maps).permute(0, 3, 1, 2)
    return y.permute(0, 3, 2, 1)


def excess_work(before: Shape, after: Shape, kernel: tuple[int, int]) -> float:
    """Return how many times the products a convolution needs `convolution_block` computes.

    More than once where a kernel is much shorter than the frames it is a band over, or as tall
    as the input, so that most of the rows it computes are padding.

    Parameters
    ----------
    before, after
        Shapes (C, F, T) of its input and output.
    kernel
        (frequency, time).
    """
    frames, (maps, f_out, t_out) = before[2], after
    banded = kernel[1] > 1 or frames == 1
    geometry = FrequencyConvolution(kernel[0], 1, t_out * maps if banded else maps, f_out)
    return geometry.rows / f_out * (max(frames / kernel[1], 1.0) if banded else 1.0)


def plain_convolution(
    x: Tensor, weight: Tensor, bias: Tensor, pads: Pads, stride: tuple[int, int]
) -> Tensor:
    """Convolve (B, C, F, T) with PyTorch's own layers, whose strides are (frequency, time)."""
    top, bottom, left, right = pads
    if weight.shape[2] == x.shape[2] and not top + bottom:
        # One bin is left: as fast as the machine's matrix products with the bins as channels.
        x, weight = x.flatten(1, 2), weight.flatten(1, 2)
        if left + right:
            x = functional.pad(x, (left, right))
        return functional.conv1d(x, weight, bias, stride[1]).unsqueeze(2)
    if top + bottom + left + right:
        x = functional.pad(x, (left, right, top, bottom))
    if weight.shape[3] > 1:
        # With maps nearest in memory, kernels over both axes take half the time on the CPU.
        x = x.contiguous(memory_format=torch.channels_last)
    return functional.conv2d(x, weight, bias, stride)


class _Convolve(torch.autograd.Function):
    """Convolution of rows (R, F, K) with a kernel (taps, K, maps) along F."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, top: int, f_out: int) -> Tensor:
        # Products narrower than a few vector registers waste them.
        group = 2 if kernel.shape[2] <= 16 else 1
        taps = kernel.shape[0]
        shape = FrequencyConvolution(taps, kernel.shape[1], kernel.shape[2], f_out, group)
        padded = shape.buffer(len(x), x)
        padded[:, top : top + x.shape[1]] = x
        matrix = shape.matrix(kernel)
        out = x.new_empty(len(x), shape.rows, kernel.shape[2])
        shape.forward(padded, matrix, out)
        ctx.save_for_backward(padded, matrix)
        ctx.shape, ctx.top, ctx.frequency = shape, top, x.shape[1]
        return out[:, :f_out]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        padded, matrix = ctx.saved_tensors
        shape: FrequencyConvolution = ctx.shape
        grad = functional.pad(grads[0], (0, 0, 0, shape.rows - shape.f_out))
        dx = dkernel = None
        if ctx.needs_input_grad[0]:
            buffer = shape.buffer(len(padded), padded)
            shape.backward(grad, matrix, buffer)
            dx = buffer[:, ctx.top : ctx.top + ctx.frequency]
        if ctx.needs_input_grad[1]:
            dkernel = shape.kernel_gradient(shape.weight_gradient(padded, grad))
        return dx, dkernel, None, None


class _Pool(torch.autograd.Function):
    """Max-pooling of rows over time, then over frequency."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, time: TimePool, frequency: FrequencyPool) -> Tensor:
        ctx.time, ctx.frequency, ctx.like = time, frequency, x
        # What is returned must not be what the backward pass compares: kept in ctx, the output
        # and its own node would hold each other, and only the garbage collector would free them.
        return frequency.forward(time.forward(x)).clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        time: TimePool = ctx.time
        grad = grads[0].clone()
        out = torch.empty_like(ctx.like)
        if time.leaves_frames:
            out.zero_()
        target = time.targets(out)
        if target is not None:
            ctx.frequency.backward(grad, target)
        else:
            pooled = grad.new_empty(time.shape(out))
            ctx.frequency.backward(grad, pooled)
            time.backward(pooled, out)
        return out, None, None
