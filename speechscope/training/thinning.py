"""Dropout of whole units for a batch, computed on the units that are left.

Churchman 2015, sec. 2.1.4: hidden units are randomly selected and omitted, and "these units will
not be updated in the following weight update step". A unit left out for a whole batch has rows
and columns of weights that neither act nor change: with half the units left out, the matrix
between two such layers is a quarter of its size (Graham et al. 2015, "Efficient batchwise dropout
training using submatrices"). Outputs are scaled in training, by 1 / (share kept), rather than
at test time, as is usual now.

Forward and back are written out, in arrays that are reused: fresh memory for every step costs as
much as the arithmetic of the smaller layers.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from speechscope.errors import SpeechscopeError
from speechscope.networks.layers import Linear, Network, ReLU


class ThinnedLayers:
    """The fully connected layers of a network, of which some units are left out at every step.

    `draw`, `forward` and `backward` make a step; the last gives the network's parameters their
    derivatives, 0 for what was left out.

    Parameters
    ----------
    network
        Rows `Linear`, `ReLU`, …, `Linear` at its end.
    shares
        Share of a layer's input units left out, by the layer's name; exactly that share, rounded,
        is left out at every step.
    batch
        The most items of a step.

    Raises
    ------
    SpeechscopeError
        The end of the network has other rows.
    """

    def __init__(self, network: Network, shares: Mapping[str, float], batch: int) -> None:
        first = next((i for i, r in enumerate(network.table) if isinstance(r, Linear)), None)
        rows = network.table[first:] if first is not None else ()
        wanted = [Linear if i % 2 == 0 else ReLU for i in range(len(rows))]
        if first is None or len(rows) % 2 == 0 or [type(row) for row in rows] != wanted:
            raise SpeechscopeError("the network does not end in fully connected layers and ReLUs")
        self.last_row = first
        """How many rows come before these layers."""
        names = network.names[first::2]
        if shares.get(names[0], 0.0) > 0:
            raise SpeechscopeError("units of the convolutions cannot be left out")
        self._layers: list[_Layer] = []
        columns: int | None = None
        for name, after in zip(names, (*names[1:], None), strict=True):
            weight, bias = network.parameters_of(name)
            share = shares.get(after, 0.0) if after is not None else 0.0
            left = len(bias) - round(len(bias) * share)
            self._layers.append(_Layer(weight, bias, left, columns, batch, relu=after is not None))
            columns = left if left < len(bias) else None

    @property
    def kept(self) -> list[Tensor]:
        """The units left in at the last `draw`, of every layer but the last."""
        every = [torch.arange(len(layer.bias), device=layer.bias.device) for layer in self._layers]
        return [
            all_units if layer.rows is None else layer.rows
            for layer, all_units in zip(self._layers[:-1], every, strict=False)
        ]

    def draw(self, generator: torch.Generator) -> None:
        """Choose the units that are left in for the next step."""
        columns: Tensor | None = None
        for layer in self._layers:
            layer.draw(generator, columns)
            columns = layer.rows

    def forward(self, units: Tensor) -> Tensor:
        """Return the logits (B, classes) of the units (B, units) before these layers."""
        for layer in self._layers:
            units = layer.forward(units)
        return units

    def backward(self, grad: Tensor) -> Tensor:
        """Return the derivative by the units, given that by the logits, after `forward`."""
        for layer in reversed(self._layers):
            grad = layer.backward(grad)
        return grad


class _Layer:
    """A fully connected layer and its ReLU, with some rows and columns of its weights in use."""

    rows: Tensor | None = None
    """Units in use; None: all."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        left: int,
        columns: int | None,
        batch: int,
        *,
        relu: bool,
    ) -> None:
        self.weight, self.bias, self._relu = weight.detach(), bias.detach(), relu
        units, inputs = weight.shape
        self._left, self._scale = left, units / left
        weight.grad, bias.grad = torch.zeros_like(weight), torch.zeros_like(bias)
        self._dweight, self._dbias = weight.grad, bias.grad
        self._thins = left < units
        new = self.weight.new_empty
        self._part, self._dpart = self.weight, self._dweight
        self._part_bias = self.bias
        self._wide = self.weight[:0]
        self._columns: Tensor | None = None
        if self._thins or columns is not None:
            self._part = new(left, columns or inputs)
            self._dpart = torch.empty_like(self._part)
            self._part_bias = new(left)
        if self._thins and columns is not None:
            self._wide = new(left, inputs)
        self._x = self._part[:0]
        self._y = new(batch, left)
        self._dx = new(batch, columns or inputs)

    def draw(self, generator: torch.Generator, columns: Tensor | None) -> None:
        """Choose the rows; the columns are the rows of the layer before."""
        self._columns = columns
        if self._thins:
            order = torch.randperm(len(self.bias), generator=generator)
            self.rows = order[: self._left].sort().values.to(self.bias.device)
            torch.index_select(self.bias, 0, self.rows, out=self._part_bias)
            wide = self._part if columns is None else self._wide
            torch.index_select(self.weight, 0, self.rows, out=wide)
            if columns is not None:
                torch.index_select(wide, 1, columns, out=self._part)
        elif columns is not None:
            self._part_bias.copy_(self.bias)
            torch.index_select(self.weight, 1, columns, out=self._part)

    def forward(self, x: Tensor) -> Tensor:
        """Return the units in use, (B, left), valid until the next call."""
        self._x, y = x, self._y[: len(x)]
        torch.addmm(self._part_bias, x, self._part.t(), out=y)
        if self._relu:
            y.relu_()
        return y.mul_(self._scale) if self._scale != 1 else y

    def backward(self, grad: Tensor) -> Tensor:
        """Return the derivative by x; `grad`, by the units in use, is overwritten."""
        if self._relu:
            torch.ops.aten.threshold_backward.grad_input(
                grad, self._y[: len(grad)], 0, grad_input=grad
            )
        if self._scale != 1:
            grad.mul_(self._scale)
        torch.mm(grad.t(), self._x, out=self._dpart)
        self._spread(grad.sum(0))
        return torch.mm(grad, self._part, out=self._dx[: len(grad)])

    def _spread(self, bias: Tensor) -> None:
        """Put the derivatives by the parts where they belong."""
        if self.rows is None:
            self._dbias.copy_(bias)
        else:
            self._dbias.zero_().index_copy_(0, self.rows, bias)
        if self._part is self.weight:
            return
        self._dweight.zero_()
        if self.rows is None:
            assert self._columns is not None
            self._dweight.index_copy_(1, self._columns, self._dpart)
        elif self._columns is None:
            self._dweight.index_copy_(0, self.rows, self._dpart)
        else:
            places = self.rows[:, None] * self._dweight.shape[1] + self._columns
            self._dweight.view(-1).index_copy_(0, places.view(-1), self._dpart.view(-1))
