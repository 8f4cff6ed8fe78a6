"""A fully connected layer of which some units, and some of what it reads, are left out."""

from collections.abc import Sequence

import torch
from torch import Tensor

from speechscope.networks.pooling import Scratch
from speechscope.training.optimizers import Rule

PAD = 16
"""Columns of zeros after a part, from which the columns that are left out take their derivative;
a whole cache line, so that rows stay aligned."""


class ThinnedLayer:
    """A fully connected layer and its ReLU, with some rows and columns of its weights in use.

    A *wide* array holds rows in use with all columns, a *part* only the columns in use. What a
    lane needs for a moment only is shared by the layers: the fewer arrays, the more of them stay
    in the processor's caches.

    Parameters
    ----------
    inputs
        Array (batch, columns in use) that the layer before writes.
    number
        Of the layer, among those that share `scratch`.
    """

    rows: Tensor | None = None
    """Units in use; None: all."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        left: int,
        inputs: Tensor,
        rule: Rule,
        l2: float,
        scratch: Sequence[Scratch],
        *,
        number: int,
        thins_columns: bool,
        relu: bool,
    ) -> None:
        self.weight, self.bias, self._rule, self._l2, self._relu = weight, bias, rule, l2, relu
        self.weight_sums = [torch.zeros_like(weight) for _ in rule.sums]
        self.bias_sums = [torch.zeros_like(bias) for _ in rule.sums]
        self._scratch = scratch
        units, lanes = len(bias), len(scratch)
        self._left, self._scale = left, units / left
        self._edges = [round(units * i / lanes) for i in range(lanes + 1)]
        self._cuts = list(self._edges)  # where each lane's share of the rows in use begins
        self._columns: Tensor | None = None
        self._inverse = torch.empty(0)
        self._x = inputs
        batch, used = inputs.shape
        self.y = inputs.new_empty(batch, left)
        self._dx = torch.empty_like(inputs)
        self._dy = self.y  # until the first `backward`
        self._thins = left < units
        # Rows as they were gathered: from then to the update.
        self._gathered, self._number = [weight[:0]] * lanes, number
        self._part = weight.new_empty(left, used) if self._thins or thins_columns else weight
        self._part_bias = bias

    def draw(self, generator: torch.Generator, columns: Tensor | None) -> None:
        """Choose the rows; the columns are the rows of the layer before."""
        self._columns = columns
        if columns is not None:
            inputs = self.weight.shape[1]
            # Columns left out point to the zeros after the part.
            inverse = columns.new_full((inputs,), len(columns))
            inverse[columns] = torch.arange(len(columns), device=columns.device)
            self._inverse = inverse
        if self._thins:
            order = torch.randperm(len(self.bias), generator=generator)
            rows = order[: self._left].sort().values
            inner = torch.tensor(self._edges[1:-1])
            self._cuts = [0, *torch.searchsorted(rows, inner).tolist(), self._left]
            self.rows = rows.to(self.bias.device)
            self._part_bias = self.bias[self.rows]

    def own(self, lane: int) -> slice:
        """Return the rows in use that a lane updates, counted among those in use."""
        return slice(self._cuts[lane], self._cuts[lane + 1])

    def _temporary(self, lane: int, name: str, rows: int, columns: int) -> Tensor:
        return self._scratch[lane](name, 0, (rows, columns), self.weight)

    def _wide(self, lane: int, name: str, whole: Tensor, number: int = 0) -> Tensor:
        """Return a lane's rows in use of `whole`: a copy where rows are left out."""
        own = self.own(lane)
        if self.rows is None:
            return whole[own]
        shape = (own.stop - own.start, whole.shape[1])
        out = self._scratch[lane](name, number, shape, self.weight)
        return torch.index_select(whole, 0, self.rows[own], out=out)

    def gather(self, lane: int) -> None:
        """Copy a lane's rows of the weights to the part."""
        part = self._part[self.own(lane)]
        if self._columns is not None:
            wide = self._gathered[lane] = self._wide(lane, "weight", self.weight, self._number)
            torch.index_select(wide, 1, self._columns, out=part)
        elif self.rows is not None:
            torch.index_select(self.weight, 0, self.rows[self.own(lane)], out=part)

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

    def padded(self, lane: int) -> Tensor:
        """Return room for the derivative by a lane's part, and for zeros behind its rows."""
        own = self.own(lane)
        pad = PAD if self._columns is not None else 0
        return self._temporary(lane, "part", own.stop - own.start, self._x.shape[1] + pad)

    def gradient(self, lane: int, count: int, by_part: Tensor) -> None:
        """Write the derivative by a lane's part, from `count` items."""
        torch.mm(self._dy[:count, self.own(lane)].t(), self._x[:count], out=by_part)

    def bias_gradient(self, count: int) -> Tensor:
        """Return the derivative by the bias in use, from `count` items."""
        return self._dy[:count].sum(0)

    def apply(self, lane: int, padded: Tensor, step: int) -> None:
        """Update a lane's rows, given the derivative by its part (`padded`)."""
        own, used = self.own(lane), self._x.shape[1]
        grad, weight = padded[:, :used], self._part[own]
        if self._l2:
            grad.add_(weight, alpha=self._l2)
        if self._columns is not None:
            padded[:, used:] = 0
            grad = self._temporary(lane, "grad", len(padded), self.weight.shape[1])
            torch.index_select(padded, 1, self._inverse, out=grad)
            weight = self._gathered[lane]
        sums = [
            self._wide(lane, f"sum{number}", whole) for number, whole in enumerate(self.weight_sums)
        ]
        self._rule(weight, grad, sums, step)
        if self.rows is not None:
            rows = self.rows[own]
            for whole, part in zip((self.weight, *self.weight_sums), (weight, *sums), strict=True):
                put_rows(whole, rows, part)

    def apply_bias(self, grad: Tensor, step: int) -> None:
        """Update the biases in use, given the derivative by them."""
        rows = self.rows
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


def put_rows(whole: Tensor, rows: Tensor, part: Tensor) -> None:
    """Set ``whole[rows] = part``, both contiguous matrices."""
    wide = torch.complex128
    if whole.shape[1] * whole.element_size() % wide.itemsize == 0:
        # index_copy_ moves an element at a time: sixteen bytes cost as much as four.
        whole, part = whole.view(wide), part.view(wide)
    whole.index_copy_(0, rows, part)
