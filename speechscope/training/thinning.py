"""Dropout of whole units for a batch, computed on the units that are left.

Churchman 2015, sec. 2.1.4: hidden units are randomly selected and omitted, and "these units will
not be updated in the following weight update step". A unit left out for a whole batch has rows
and columns of weights that neither act nor change: with half the units left out, the matrix
between two such layers is a quarter of its size (Graham et al. 2015, "Efficient batchwise dropout
training using submatrices"). Outputs are scaled in training, by 1 / (share kept), rather than
at test time, as is usual now.

Forward and back are written out, in arrays that are reused: fresh memory for every step costs as
much as the arithmetic of the smaller layers. Every lane (see `lanes`) runs its items through all
units, and updates the weights of its own units.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from speechscope.errors import SpeechscopeError
from speechscope.networks.layers import Linear, Network, ReLU
from speechscope.networks.pooling import Scratch
from speechscope.training.optimizers import Rule

PAD = 16
"""Columns of zeros after a part, from which the columns that are left out take their derivative;
a whole cache line, so that rows stay aligned."""


class ThinnedLayers:
    """The fully connected layers of a network, of which some units are left out at every step.

    A step is `draw`, then in every lane `gather`, then `forward` and `backward` for its items,
    then, when all lanes have done so, `update`.

    Parameters
    ----------
    network
        Rows `Linear`, `ReLU`, …, `Linear` at its end.
    shares
        Share of a layer's input units left out, by the layer's name; exactly that share, rounded,
        is left out at every step.
    batch
        The most items of a step.
    rule
        How weights are updated.
    l2
        λ of the penalty ½ λ ∥w∥², for the weights and biases in use.
    lanes
        How many parts the units are updated in.

    Attributes
    ----------
    last_row
        How many rows come before these layers.
    units
        What they read, (batch, units): to be written before `forward`.
    sums
        The running sums of the rule, by the parameter's name, in the order of `rule.sums`.

    Raises
    ------
    SpeechscopeError
        The end of the network has other rows.
    """

    def __init__(
        self,
        network: Network,
        shares: Mapping[str, float],
        batch: int,
        rule: Rule,
        *,
        l2: float = 0.0,
        lanes: int = 1,
    ) -> None:
        first = next((i for i, r in enumerate(network.table) if isinstance(r, Linear)), None)
        rows = network.table[first:] if first is not None else ()
        wanted = [Linear if i % 2 == 0 else ReLU for i in range(len(rows))]
        if first is None or len(rows) % 2 == 0 or [type(row) for row in rows] != wanted:
            raise SpeechscopeError("the network does not end in fully connected layers and ReLUs")
        self.last_row = first
        names = network.names[first::2]
        if shares.get(names[0], 0.0) > 0:
            raise SpeechscopeError("units of the convolutions cannot be left out")
        self._lanes = lanes
        self._layers: list[_Layer] = []
        self.sums: dict[str, list[Tensor]] = {}
        scratch = [Scratch() for _ in range(lanes)]
        first_weight, _ = network.parameters_of(names[0])
        self.units = inputs = first_weight.detach().new_empty(batch, first_weight.shape[1])
        for number, (name, after) in enumerate(zip(names, (*names[1:], None), strict=True)):
            weight, bias = (parameter.detach() for parameter in network.parameters_of(name))
            share = shares.get(after, 0.0) if after is not None else 0.0
            layer = _Layer(
                weight,
                bias,
                len(bias) - round(len(bias) * share),
                inputs,
                rule,
                l2,
                scratch,
                number=number,
                thins_columns=inputs.shape[1] < weight.shape[1],
                relu=after is not None,
            )
            self._layers.append(layer)
            self.sums[f"{name}.weight"] = layer.weight_sums
            self.sums[f"{name}.bias"] = layer.bias_sums
            inputs = layer.y
        self._dlogits = torch.empty_like(inputs)

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

    def gather(self, lane: int) -> None:
        """Copy the weights of a lane's units that are in use to where the products want them."""
        for layer in self._layers:
            layer.gather(lane)

    def forward(self, items: slice) -> Tensor:
        """Return the logits (B, classes) of some items of the batch, from their `units`."""
        for layer in self._layers:
            logits = layer.forward(items)
        return logits

    def backward(self, grad: Tensor, items: slice) -> Tensor:
        """Return the derivative by the units, given that by the logits, after `forward`."""
        self._dlogits[items] = grad
        grads = self._dlogits
        for layer in reversed(self._layers):
            grads = layer.backward(grads, items)
        return grads[items]

    def update(self, lane: int, count: int, step: int) -> None:
        """Update the weights of a lane's units from all `count` items, after `backward`."""
        for number, layer in enumerate(self._layers):
            padded = layer.padded(lane)
            layer.gradient(lane, count, padded[:, : layer.in_use[1]])
            layer.apply(lane, padded, step)
            if number % self._lanes == lane:  # too little work to share
                layer.apply_bias(layer.bias_gradient(count), step)

    def gradients(self) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Return one array for all derivatives in use, and its parts by part and bias."""
        shapes = [layer.in_use for layer in self._layers]
        whole = self.units.new_empty(sum(rows * (columns + 1) for rows, columns in shapes))
        parts, start = [], 0
        for rows, columns in shapes:
            middle, end = start + rows * columns, start + rows * (columns + 1)
            parts.append((whole[start:middle].view(rows, columns), whole[middle:end]))
            start = end
        return whole, parts

    def gather_gradients(
        self, lane: int, count: int, parts: Sequence[tuple[Tensor, Tensor]]
    ) -> None:
        """Write the derivatives by a lane's units to where `gradients` has room for them."""
        for number, (layer, (by_parts, by_bias)) in enumerate(
            zip(self._layers, parts, strict=True)
        ):
            layer.gradient(lane, count, by_parts[layer.own(lane)])
            if number % self._lanes == lane:
                by_bias.copy_(layer.bias_gradient(count))

    def apply(self, lane: int, parts: Sequence[tuple[Tensor, Tensor]], step: int) -> None:
        """Update the weights of a lane's units, given the derivatives."""
        for number, (layer, (by_parts, by_bias)) in enumerate(
            zip(self._layers, parts, strict=True)
        ):
            padded = layer.padded(lane)
            padded[:, : by_parts.shape[1]] = by_parts[layer.own(lane)]
            layer.apply(lane, padded, step)
            if number % self._lanes == lane:
                layer.apply_bias(by_bias, step)


class _Layer:
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
