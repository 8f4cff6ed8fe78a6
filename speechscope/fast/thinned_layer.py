"""A fully connected layer of which some units, and some of what it reads, are left out."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from speechscope.fast import submatrix, units
from speechscope.training.optimizers import Rule


class ThinnedLayer:
    """A fully connected layer and its ReLU, with some rows and columns of its weights in use.

    A *part* holds the weights in use, or their derivative.

    Parameters
    ----------
    inputs, by_inputs
        Arrays (batch, columns in use): what the layer before writes, and the derivative by it.
    room
        For every lane, room for the derivative by its share of the weights in use; layers may
        share it.

    Attributes
    ----------
    rows
        Units in use.
    own
        The part of them that each lane updates.
    y, by_y
        Arrays (batch, rows in use): what this layer writes, and the derivative by it, which the
        layer after writes.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        left: int,
        inputs: Tensor,
        by_inputs: Tensor,
        rule: Rule,
        l2: float,
        room: Sequence[Tensor],
        *,
        relu: bool,
    ) -> None:
        self.weight, self.bias, self._rule, self._l2, self._relu = weight, bias, rule, l2, relu
        self.weight_sums = [torch.zeros_like(weight) for _ in rule.sums]
        self.bias_sums = [torch.zeros_like(bias) for _ in rule.sums]
        (rows, columns), lanes = weight.shape, len(room)
        self._left, self._scale = left, rows / left
        self.rows = torch.arange(rows, device=weight.device)
        self._columns = torch.arange(columns, device=weight.device)
        batch, used = inputs.shape
        self.y, self.by_y = (inputs.new_empty(batch, left) for _ in range(2))
        self._thins = left < rows
        self._is_part = self._thins or used < columns
        self._part = weight.new_empty(left, used) if self._is_part else weight
        self._part_bias = bias
        self._bias_columns = [whole[:, None] for whole in (bias, *self.bias_sums)]
        self._only = self.rows.new_zeros(1)
        self.own = [slice(left * i // lanes, left * (i + 1) // lanes) for i in range(lanes)]
        self._rows = [self.rows[own] for own in self.own]
        self._room = [
            one[: (own.stop - own.start) * used].view(-1, used)
            for one, own in zip(room, self.own, strict=True)
        ]
        # Views of arrays that stay where they are: making one takes as long as a small operation.
        self._parts = [self._part[own] for own in self.own]
        self._turned = self._part.t()

        @cache
        def of_items(start: int, stop: int) -> tuple[Tensor, ...]:
            return tuple(a[start:stop] for a in (inputs, by_inputs, self.y, self.by_y))

        @cache
        def by_own(lane: int, count: int) -> Tensor:
            return self.by_y[:count, self.own[lane]].t()

        self._of_items, self._by_own = of_items, by_own

    def draw(self, generator: torch.Generator, columns: Tensor | None) -> None:
        """Choose the rows; the columns are the rows of the layer before."""
        if columns is not None:
            self._columns = columns
        if self._thins:
            order = torch.randperm(len(self.bias), generator=generator)[: self._left].numpy()
            order.sort()
            self.rows = torch.from_numpy(order).to(self.bias.device)
            self._rows = [self.rows[own] for own in self.own]
            self._part_bias = self.bias[self.rows]

    def gather(self, lane: int) -> None:
        """Copy a lane's rows of the weights to the part."""
        if self._is_part:
            submatrix.take(self.weight, self._rows[lane], self._columns, self._parts[lane])

    def forward(self, items: slice) -> Tensor:
        """Return the units in use, (B, left), valid until the next call."""
        x, _, y, _ = self._of_items(items.start, items.stop)
        torch.mm(x, self._turned, out=y)
        units.answer(y, self._part_bias, self._scale, relu=self._relu)
        return y

    def backward(self, items: slice) -> None:
        """Write the derivative by x, given that by y, which is overwritten."""
        _, by_x, y, by_y = self._of_items(items.start, items.stop)
        if self._relu:
            units.silence(by_y, y, self._scale)
        torch.mm(by_y, self._part, out=by_x)

    def gradient(self, lane: int, count: int, out: Tensor) -> Tensor:
        """Write the derivative by a lane's rows of the part, from `count` items, to `out`."""
        return torch.mm(self._by_own(lane, count), self._of_items(0, count)[0], out=out)

    def bias_gradient(self, count: int) -> Tensor:
        """Return the derivative by the bias in use, from `count` items."""
        return self._of_items(0, count)[3].sum(0)

    def update(self, lane: int, count: int, step: int) -> None:
        """Update a lane's rows, from `count` items."""
        self.apply(lane, self.gradient(lane, count, self._room[lane]), step)

    def apply(self, lane: int, grad: Tensor, step: int) -> None:
        """Update a lane's rows, given the derivative by them, which is overwritten."""
        if self._l2:
            grad.add_(self._parts[lane], alpha=self._l2)
        if self._is_part:
            places = self._rows[lane], self._columns
            submatrix.update(self._rule, self.weight, self.weight_sums, *places, grad, step)
        else:
            own = self.own[lane]
            self._rule(self._parts[lane], grad, [whole[own] for whole in self.weight_sums], step)

    def apply_bias(self, grad: Tensor, step: int) -> None:
        """Update the biases in use, given the derivative by them."""
        if self._l2:
            grad.add_(self._part_bias, alpha=self._l2)
        if self._thins:
            whole, *sums = self._bias_columns
            submatrix.update(self._rule, whole, sums, self.rows, self._only, grad[:, None], step)
        else:
            self._rule(self.bias, grad, self.bias_sums, step)

    @property
    def in_use(self) -> tuple[int, int]:
        """Shape of the part: rows and columns in use."""
        return self._left, self._part.shape[1]
