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
from speechscope.fast.thinned_layer import ThinnedLayer
from speechscope.networks.layers import Linear, Network, ReLU
from speechscope.training.optimizers import Rule


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
        self._layers: list[ThinnedLayer] = []
        self.sums: dict[str, list[Tensor]] = {}
        first_weight, _ = network.parameters_of(names[0])
        new = first_weight.detach().new_empty
        self.units, self._by_units = (new(batch, first_weight.shape[1]) for _ in range(2))
        inputs, by_inputs = self.units, self._by_units
        largest = max(network.parameters_of(name)[0].numel() for name in names)
        room = [new(largest) for _ in range(lanes)]
        for name, after in zip(names, (*names[1:], None), strict=True):
            weight, bias = (parameter.detach() for parameter in network.parameters_of(name))
            share = shares.get(after, 0.0) if after is not None else 0.0
            layer = ThinnedLayer(
                weight,
                bias,
                len(bias) - round(len(bias) * share),
                inputs,
                by_inputs,
                rule,
                l2,
                room,
                relu=after is not None,
            )
            self._layers.append(layer)
            self.sums[f"{name}.weight"] = layer.weight_sums
            self.sums[f"{name}.bias"] = layer.bias_sums
            inputs, by_inputs = layer.y, layer.by_y
        self._by_logits = by_inputs

    @property
    def kept(self) -> list[Tensor]:
        """The units left in at the last `draw`, of every layer but the last."""
        return [layer.rows for layer in self._layers[:-1]]

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
        self._by_logits[items] = grad
        for layer in reversed(self._layers):
            layer.backward(items)
        return self._by_units[items]

    def update(self, lane: int, count: int, step: int) -> None:
        """Update the weights of a lane's units from all `count` items, after `backward`."""
        for number, layer in enumerate(self._layers):
            layer.update(lane, count, step)
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
            layer.gradient(lane, count, by_parts[layer.own[lane]])
            if number % self._lanes == lane:
                by_bias.copy_(layer.bias_gradient(count))

    def apply(self, lane: int, parts: Sequence[tuple[Tensor, Tensor]], step: int) -> None:
        """Update the weights of a lane's units, given the derivatives."""
        for number, (layer, (by_parts, by_bias)) in enumerate(
            zip(self._layers, parts, strict=True)
        ):
            layer.apply(lane, by_parts[layer.own[lane]], step)
            if number % self._lanes == lane:
                layer.apply_bias(by_bias, step)
