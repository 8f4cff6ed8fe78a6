"""Energies of proposed changes, by the quickest way that a network and a layer allow."""

from contextlib import suppress
from typing import Protocol

import torch
from torch import Tensor

from speechscope.fast.changed_rows import ChangedRows, Span
from speechscope.fast.first_layer import FirstLayer
from speechscope.inversion.objective import squared_norm
from speechscope.networks.layered import Layered
from speechscope.networks.layers import Network
from speechscope.work.accelerators import Unsupported


class Proposals(Protocol):
    """½ ‖Y* − Y‖² of inputs, and of inputs in which a band of rows has changed."""

    def load(self, x: Tensor) -> Tensor:
        """Take inputs (B, C, F, T) and return their energies (B,) in float64."""

    def propose(self, change: Tensor, first: int, limit: Tensor | None = None) -> Tensor:
        """Add `change` (B, n, T, C) at row `first`, wholly inside, and return the energies (B,).

        They are valid until the next call. An energy that is not below the limit (B,) may be any
        that is not, either; items with such ones are not to be accepted.
        """

    def settle(self, accepted: Tensor) -> None:
        """Keep the change in the items marked in (B,), and take it back in the others."""


def make_proposals(network: Layered, layer: int, target: Tensor) -> Proposals:
    """Return the energies of a layer under changes of some rows.

    Networks whose layers have no such form are evaluated whole; the numbers are the same up to
    rounding.
    """
    with suppress(Unsupported):
        if isinstance(network, Network):
            if layer == 1:
                return FirstLayer(network, target)
            return ChangedRows(network, layer, target)
    return WholeNetwork(network, layer, target)


class WholeNetwork:
    """Every proposal by a forward pass, for any network."""

    def __init__(self, network: Layered, layer: int, target: Tensor) -> None:
        self._network, self._layer, self._target = network, layer, target
        self._x = self._before = target.new_empty(0)
        self._band: Span = (0, 0)

    def load(self, x: Tensor) -> Tensor:
        """See `Proposals`."""
        self._x = x.clone()
        return self._energy()

    def propose(self, change: Tensor, first: int, limit: Tensor | None = None) -> Tensor:
        """See `Proposals`."""
        self._band = (first, first + change.shape[1])
        band = self._x[:, :, slice(*self._band)]
        self._before = band.clone()
        band += change.permute(0, 3, 1, 2)
        return self._energy()

    def settle(self, accepted: Tensor) -> None:
        """See `Proposals`."""
        band = self._x[:, :, slice(*self._band)]
        band.copy_(torch.where(accepted[:, None, None, None], band, self._before))

    def _energy(self) -> Tensor:
        with torch.no_grad():
            y = self._network.activation(self._x, self._layer)
        return squared_norm(y - self._target).mul_(0.5)
