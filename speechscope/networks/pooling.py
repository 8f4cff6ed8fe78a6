"""Max-pooling over whole arrays of rows, and its derivative (see `kernels`)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from speechscope.errors import SpeechscopeError


class Unsupported(SpeechscopeError):
    """A network has rows in an order, or of a kind, that has no fast form."""


def fold_max(parts: Sequence[Tensor]) -> list[Tensor]:
    """Return the running maxima of equally shaped arrays; the last one is the maximum."""
    running = [parts[0]]
    for part in parts[1:]:
        running.append(torch.maximum(running[-1], part))
    return running


def unfold_max(grad: Tensor, parts: Sequence[Tensor], running: Sequence[Tensor]) -> list[Tensor]:
    """Return the derivative of the maximum by each part; of equal parts the first gets it all."""
    shares = []
    for part, before in zip(parts[:0:-1], running[-2::-1], strict=True):
        # Where part > before, in one pass instead of a mask and a product.
        share = torch.ops.aten.threshold_backward(grad, part - before, 0)
        shares.append(share)
        grad = grad - share
    shares.append(grad)
    return shares[::-1]


class TimePool:
    """Max-pooling over time frames, the regions not overlapping.

    Frames are the columns of x (B, F, frames × maps), ordered by `columns`, or have rows of their
    own, x (B, frames, F, maps).

    Raises Unsupported when the regions overlap.
    """

    def __init__(self, size: int, stride: int, frames: int, maps: int, *, columns: bool) -> None:
        self.out = (frames - size) // stride + 1
        if size > stride and self.out > 1:
            raise Unsupported(f"pooling of {size} frames every {stride}: the regions overlap")
        self._size, self._stride = size, stride
        self._as_columns = columns
        self._width = self.out * maps
        # All first frames of the regions, then all second ones: a region's maximum is then
        # that of long neighbouring stretches of memory.
        order = [region * stride + k for k in range(size) for region in range(self.out)]
        self.columns = [frame * maps + m for frame in order for m in range(maps)]
        self.reorders = self.columns != list(range(frames * maps))
        self.leaves_frames = len(order) < frames

    def parts(self, x: Tensor) -> list[Tensor]:
        """Return the k-th frame of every region, for each k."""
        if self._size == 1 and self._stride == 1:
            return [x]
        if self._as_columns:
            return list(torch.split(x, self._width, dim=-1))
        span = (self.out - 1) * self._stride + 1
        return [x[:, k : k + span : self._stride] for k in range(self._size)]


class FrequencyPool:
    """Max-pooling over frequency, the last but one axis; the regions may overlap."""

    def __init__(self, size: int, stride: int, frequency: int) -> None:
        self.out = (frequency - size) // stride + 1
        self._size, self._stride = size, stride
        # Every second bin begins a region: neighbouring pairs are shared between regions.
        self._paired = stride == 2 and size >= 4
        self._pairs = self.out + size // 2 - 1
        self._x: list[Tensor] = []
        self._first: list[Tensor] = []
        self._running: list[Tensor] = []
        self._parts: list[Tensor] = []

    def _slice(self, x: Tensor, first: int, count: int, stride: int) -> Tensor:
        return x[..., first : first + (count - 1) * stride + 1 : stride, :]

    def _split(self, x: Tensor) -> list[Tensor]:
        return [self._slice(x, k, self.out, self._stride) for k in range(self._size)]

    def _halves(self, x: Tensor) -> list[Tensor]:
        return [self._slice(x, k, self._pairs, 2) for k in range(2)]

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled x, (…, out, K); what `backward` needs is kept."""
        if self._size == 1:
            return self._slice(x, 0, self.out, self._stride)
        if self._paired:
            self._x = self._halves(x)
            self._first = fold_max(self._x)
            pairs = self._first[-1]
            self._parts = [
                self._slice(pairs, k, self.out, 1) for k in range(self._size // 2)
            ] + self._split(x)[self._size // 2 * 2 :]
        else:
            self._parts = self._split(x)
        self._running = fold_max(self._parts)
        return self._running[-1]

    def backward(self, grad: Tensor, out: Tensor) -> None:
        """Write the derivative by x to `out`, given that by the pooled x."""
        if self._size == 1:
            out.zero_()
            self._slice(out, 0, self.out, self._stride).copy_(grad)
            return
        shares = unfold_max(grad, self._parts, self._running)
        if not self._paired:
            out.zero_()
            for part, share in zip(self._split(out), shares, strict=True):
                part.add_(share)
            return
        half = self._size // 2
        pairs = grad.new_empty(*grad.shape[:-2], self._pairs, grad.shape[-1])
        pairs[..., self.out :, :] = 0
        pairs[..., : self.out, :] = shares[0]
        for k in range(1, half):
            self._slice(pairs, k, self.out, 1).add_(shares[k])
        for part, share in zip(
            self._halves(out), unfold_max(pairs, self._x, self._first), strict=True
        ):
            part.copy_(share)
        out[..., 2 * self._pairs :, :] = 0
        if self._size % 2:
            self._split(out)[-1].add_(shares[-1])
