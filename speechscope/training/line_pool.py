"""Max-pooling with stride 2 of lines whose even and odd bins lie apart, and its derivative.

The maximum over a region is one over pairs of neighbouring bins, even and odd, and of pairs that
follow each other: a few passes over long neighbouring stretches of memory. The derivative where
a > b is that of `threshold_backward` at a − b: one pass instead of a mask and a product.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from speechscope.networks.pooling import Scratch

aten = torch.ops.aten


@dataclass(frozen=True)
class LineArrays:
    """What a pooling keeps from its forward to its backward pass, for a whole batch.

    Parameters
    ----------
    y
        Even bins, then odd ones.
    maxima
        The running maxima of pairs of bins.
    z, grad
        The output, and the derivative by it.
    """

    y: Tensor
    maxima: list[Tensor]
    z: Tensor
    grad: Tensor

    @classmethod
    def of(cls, like: Tensor, size: int, length: int) -> "LineArrays":
        """Make arrays of zeros for regions of `size` bins and lines of `length` elements."""
        new = like.new_zeros
        maxima = [new(length) for _ in range(size // 2)]
        return cls(new(2 * length), maxima, new(length), new(length))


class LinePool:
    """Max-pooling, bias and ReLU of the lines of some items.

    Parameters
    ----------
    arrays
        Where everything lies; the views of it are made here, once.
    scratch
        For what is needed for a moment.
    size
        Bins of a region, at least 2.
    shape
        (maps, B, line).

    Attributes
    ----------
    y
        What is pooled: (2 × maps, B × line), even bins and then odd ones.
    grad
        The derivative by the output, (maps, B, line): to be written before `backward`, and 0
        where a line holds bins that stand for nothing. It is overwritten.
    """

    def __init__(
        self, arrays: LineArrays, scratch: Scratch, size: int, shape: tuple[int, int, int]
    ) -> None:
        maps, count, line = shape
        length = maps * count * line
        self.y = arrays.y[: 2 * length].view(2 * maps, -1)
        self._even, self._odd = arrays.y[:length], arrays.y[length : 2 * length]
        pairs = [part[:length] for part in arrays.maxima]
        z = arrays.z[:length]
        self._pairs, self._z, self._by_maps = pairs[0], z, z.view(maps, -1)
        self._lines = z.view(shape)
        self.grad = arrays.grad[:length].view(shape)
        self._rest = self.grad.view(-1)
        self._grad_by_maps = self.grad.view(maps, -1)
        like = arrays.y

        def temporary(name: str, number: int, elements: int) -> Tensor:
            return scratch(name, number, (elements,), like)

        self._gap = temporary("gap", 0, length)
        dy = temporary("dy", 0, 2 * length)
        self._dy, self._deven, self._dodd = dy.view(2 * maps, -1), dy[:length], dy[length:]
        # Every maximum after the first: of what came before, and of bins `shift` further on.
        last = len(pairs)
        further = [(pairs[m - 1], pairs[0], pairs[m], m) for m in range(1, last)]
        if size % 2:
            further.append((pairs[-1], self._even, z, last))
        self._copies = size % 2 == 0
        self._last = pairs[-1]
        self._maxima = [(a[:-m], b[m:], out[:-m]) for a, b, out, m in further]
        shares = [temporary("share", m, length) for *_, m in further]
        self._gaps = [
            (b[m:], a[:-m], self._gap[:-m], share)
            for (a, b, _, m), share in zip(further, shares, strict=True)
        ]
        targets = [self._rest] * (last - 1) + [self._deven] * (size % 2)
        self._returns = [
            (target[m:], share[:-m])
            for (*_, m), share, target in zip(further, shares, targets, strict=True)
        ]
        self._to_pairs = last - 1

    def forward(self, bias: Tensor) -> Tensor:
        """Return max(0, maximum of `y` over each region + bias), (maps, B, line)."""
        torch.maximum(self._even, self._odd, out=self._pairs)
        for a, b, out in self._maxima:
            torch.maximum(a, b, out=out)
        if self._copies:
            self._z.copy_(self._last)
        self._by_maps.add_(bias[:, None]).relu_()
        return self._lines

    def backward(self) -> tuple[Tensor, Tensor]:
        """Return the derivatives by `y` and the bias; of equal maxima the first gets it all."""
        rest = self._rest
        aten.threshold_backward.grad_input(rest, self._z, 0, grad_input=rest)
        by_bias = self._grad_by_maps.sum(1)
        for later, before, gap, share in reversed(self._gaps):
            torch.sub(later, before, out=gap)
            aten.threshold_backward.grad_input(rest, self._gap, 0, grad_input=share)
            rest.sub_(share)
        for target, share in self._returns[: self._to_pairs]:
            target.add_(share)
        torch.sub(self._odd, self._even, out=self._gap)
        aten.threshold_backward.grad_input(rest, self._gap, 0, grad_input=self._dodd)
        torch.sub(rest, self._dodd, out=self._deven)
        for target, share in self._returns[self._to_pairs :]:
            target.add_(share)
        return self._dy, by_bias
