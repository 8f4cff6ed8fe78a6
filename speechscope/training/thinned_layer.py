"""A fully connected layer of which some units, and some of what it reads, are left out."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from speechscope.training import submatrix
from speechscope.training.optimizers import Rule, update_submatrix

ROWS = 128
"""Units whose weights are updated at a time: few enough for their derivative to stay in a cache."""


class ThinnedLayer:
    """A fully connected layer and its ReLU, with some rows and columns of its weights in use.

    A *part* holds the weights in use, or their derivative.

    Parameters
    ----------
    inputs
        Array (batch, columns in use) that the layer before writes.
    room
        For every lane, room for the derivative by `ROWS` units; layers may share it.

    Attributes
    ----------
    rows
        Units in use.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        left: int,
        inputs: Tensor,
        rule: Rule,
        l2: float,
        room: Sequence[Tensor],
        *,
        relu: bool,
    ) -> None:
        self.weight, self.bias, self._rule, self._l2, self._relu = weight, bias, rule, l2, relu
        self.weight_sums = [torch.zeros_like(weight) for _ in rule.sums]
        self.bias_sums = [torch.zeros_like(bias) for _ in rule.sums]
        (units, columns), lanes = weight.shape, len(room)
        self._left, self._scale = left, units / left
        self._edges = np.array([round(units * i / lanes) for i in range(lanes + 1)])
        self._cuts = self._edges  # where each lane's share of the rows in use begins
        self.rows = torch.arange(units, device=weight.device)
        self._columns = torch.arange(columns, device=weight.device)
        self._x = inputs
        batch, used = inputs.shape
        self.y = inputs.new_empty(batch, left)
        self._dx = torch.empty_like(inputs)
        self._dy = self.y  # until the first `backward`
        self._thins = left < units
        self._is_part = self._thins or used < columns
        self._part = weight.new_empty(left, used) if self._is_part else weight
        self._room = room
        self._part_bias = bias

    def draw(self, generator: torch.Generator, columns: Tensor | None) -> None:
        """Choose the rows; the columns are the rows of the layer before."""
        if columns is not None:
            self._columns = columns
        if self._thins:
            order = torch.randperm(len(self.bias), generator=generator)[: self._left].numpy()
            order.sort()
            self._cuts = np.searchsorted(order, self._edges)
            rows = torch.from_numpy(order)
            self.rows = rows.to(self.bias.device)
            self._part_bias = self.bias[self.rows]

    def own(self, lane: int) -> slice:
        """Return the rows in use that a lane updates, counted among those in use."""
        return slice(int(self._cuts[lane]), int(self._cuts[lane + 1]))

    def gather(self, lane: int) -> None:
        """Copy a lane's rows of the weights to the part."""
        if self._is_part:
            own = self.own(lane)
            submatrix.take(self.weight, self.rows[own], self._columns, self._part[own])

    def forward(self, items: slice) -> Tensor:
        """Return the units in use, (B, left), valid until the next call."""
        y = self.y[items]
        torch.addmm(self._part_bias, self._x[items], self._part.t(), out=y)
        if self._relu:
            y.relu_()
        return y.mul_(self._scale) if self._scale != 1 else y

    def backward(self, grads: Tensor, items: slice) -> Tensor:
        """Return the array with the derivatives by x, given that by y; it is overwritten."""
        self._dy, grad = grads, grads[items]
        if self._relu:
            torch.ops.aten.threshold_backward.grad_input(grad, self.y[items], 0, grad_input=grad)
            if self._scale != 1:
                grad.mul_(self._scale)
        torch.mm(grad, self._part, out=self._dx[items])
        return self._dx

    def gradient(self, rows: slice, count: int, out: Tensor) -> Tensor:
        """Write the derivative by rows of the part, from `count` items, to `out`."""
        return torch.mm(self._dy[:count, rows].t(), self._x[:count], out=out)

    def bias_gradient(self, count: int) -> Tensor:
        """Return the derivative by the bias in use, from `count` items."""
        return self._dy[:count].sum(0)

    def update(self, lane: int, count: int, step: int) -> None:
        """Update a lane's rows, from `count` items."""
        own, used = self.own(lane), self._x.shape[1]
        for start in range(own.start, own.stop, ROWS):
            rows = slice(start, min(start + ROWS, own.stop))
            out = self._room[lane][: (rows.stop - start) * used].view(-1, used)
            self.apply(rows, self.gradient(rows, count, out), step)

    def apply(self, rows: slice, grad: Tensor, step: int) -> None:
        """Update rows of those in use, given the derivative by them, which is overwritten."""
        if self._l2:
            grad.add_(self._part[rows], alpha=self._l2)
        if self._is_part:
            places = self.rows[rows], self._columns
            update_submatrix(self._rule, self.weight, self.weight_sums, *places, grad, step)
        else:
            self._rule(self.weight[rows], grad, [whole[rows] for whole in self.weight_sums], step)

    def apply_bias(self, grad: Tensor, step: int) -> None:
        """Update the biases in use, given the derivative by them."""
        rows = self.rows if self._thins else None
        bias, sums = self.bias, self.bias_sums
        if rows is not None:
            bias, sums = bias[rows], [whole[rows] for whole in sums]
        if self._l2:
            grad.add_(bias, alpha=self._l2)
        self._rule(bias, grad, sums, step)
        if rows is not None:
            for whole, part in zip((self.bias, *self.bias_sums), (bias, *sums), strict=True):
                whole.index_copy_(0, rows, part)

    @property
    def in_use(self) -> tuple[int, int]:
        """Shape of the part: rows and columns in use."""
        return self._left, self._x.shape[1]
