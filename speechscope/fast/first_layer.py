"""The energy of the first layer after a change of a few rows, without its activations."""

import torch
from torch import Tensor

from speechscope.fast.changed_rows import Span, toeplitz
from speechscope.fast.kernels import time_band
from speechscope.inversion.objective import make_objective
from speechscope.networks.layers import Conv, Network
from speechscope.work.accelerators import Unsupported


class FirstLayer:
    """The first convolution A, linear: its energy from the derivative g = Aᵀ (Y − Y*) by the input.

    E(X + Q) = E(X) + ⟨g, Q⟩ + ½ Qᵀ AᵀA Q, and g changes by AᵀA Q: both need the changed rows, and
    those whose windows they share, and no output of the convolution.

    Raises Unsupported when the first layer is no convolution.
    """

    def __init__(self, network: Network, target: Tensor) -> None:
        row = network.table[0]
        if not isinstance(row, Conv):
            raise Unsupported("the network begins without a convolution")
        weight, _ = (p.detach() for p in network.parameters_of(network.names[0]))
        _, self._bins, frames = network.input_shape
        _, self._out, out_frames = network.shapes[0]
        self._top, self._taps = row.pads[0], row.kernel[0]
        self._band = time_band(weight, frames, row.pads[2], out_frames)
        self._objective = make_objective(network, 1, target, 0.0)
        self._products: dict[Span, tuple[Span, Tensor, Tensor]] = {}
        self._gradient = target.new_empty(0)
        self._energy = self._proposed = target.new_empty(0, dtype=torch.float64)
        self._change, self._rows = target.new_empty(0), (0, 0)

    def load(self, x: Tensor) -> Tensor:
        """See `proposals.Proposals`."""
        energy, gradient = self._objective.evaluate(x)
        self._gradient = gradient.permute(0, 2, 3, 1).flatten(2).contiguous()
        self._energy = energy
        return energy.clone()

    def propose(self, change: Tensor, first: int, limit: Tensor | None = None) -> Tensor:
        """See `proposals.Proposals`."""
        self._rows = (first, first + change.shape[1])
        self._change = change.flatten(1)
        _, inner, _ = self._product(self._rows)
        slope = self._gradient[:, slice(*self._rows)].flatten(1)
        gain = (slope + 0.5 * (self._change @ inner)).mul_(self._change).sum(1)
        self._proposed = self._energy + gain
        return self._proposed

    def settle(self, accepted: Tensor) -> None:
        """See `proposals.Proposals`."""
        items = accepted.nonzero()[:, 0]
        reach, _, outer = self._product(self._rows)
        place = self._gradient[:, slice(*reach)]
        moved = self._change[items] @ outer
        place[items] += moved.view(len(items), *place.shape[1:])
        self._energy = torch.where(accepted, self._proposed, self._energy)

    def _product(self, rows: Span) -> tuple[Span, Tensor, Tensor]:
        """Return the rows that share a window with some rows, and AᵀA within and to them."""
        # Away from the borders it is the same for every band of one height.
        margin = 2 * self._taps
        inside = rows[0] >= margin and rows[1] <= self._bins - margin
        key = (margin, margin + rows[1] - rows[0]) if inside else rows
        shift = rows[0] - key[0]
        if key not in self._products:
            low = max(0, key[0] + self._top - self._taps + 1)
            outputs = low, min(self._out, key[1] + self._top)
            reach = max(0, key[0] - self._taps + 1), min(self._bins, key[1] + self._taps - 1)
            shifted = outputs[0] - self._top, outputs[1] - self._top
            there = toeplitz(self._band, key, shifted)
            back = toeplitz(self._band, reach, shifted)
            self._products[key] = reach, there @ there.t(), there @ back.t()
        reach, inner, outer = self._products[key]
        return (reach[0] + shift, reach[1] + shift), inner, outer
