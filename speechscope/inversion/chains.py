"""Where the chains of simulated annealing are, and the best that each has met."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.compiled import Array, compiled, compiled_sums


@dataclass
class Chains:
    """The state of all chains; changes of rows are (B, n, T, C), and contiguous.

    Parameters
    ----------
    x
        (B, C, F, T), contiguous; it is written to.
    rest
        What E has besides the activations, (B,) in float64.
    energy
        E (B,) in float64.

    Attributes
    ----------
    lowest
        The lowest E met.
    """

    x: Tensor
    rest: Tensor
    energy: Tensor
    lowest: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.lowest = self.energy.clone()
        # The best is copied when a chain leaves it, not whenever it finds a better one.
        self._best = self.x.clone()
        self._at_best = torch.ones_like(self.energy, dtype=torch.bool)

    @property
    def best(self) -> Tensor:
        """The X of the lowest E, (B, C, F, T)."""
        return torch.where(self._at_best[:, None, None, None], self.x, self._best)

    def penalty(self, change: Tensor, first: int) -> Tensor:
        """Return by how much ½ ‖X‖² grows with a change, (B,) in float64."""
        if self.x.device.type == "cpu":
            found = torch.empty(len(change), dtype=torch.float64)
            _penalty(self.x.numpy(), change.numpy(), first, found.numpy())
            return found
        rows = change.permute(0, 3, 1, 2)
        place = self.x[:, :, first : first + change.shape[1]]
        return ((place + 0.5 * rows) * rows).sum((1, 2, 3)).double()

    def settle(
        self, change: Tensor, first: int, accepted: Tensor, energy: Tensor, rest: Tensor
    ) -> None:
        """Move the chains that are marked, to the energies and rests given."""
        if self.x.device.type == "cpu":
            state = self.x, self.rest, self.energy, self.lowest, self._best, self._at_best
            arrays = [array.numpy() for array in (*state, change, accepted, energy, rest)]
            arguments: Any = [*arrays, first]
            _settle(*arguments)
            return
        leaving = (self._at_best & accepted & (energy >= self.lowest)).nonzero()[:, 0]
        self._best[leaving] = self.x[leaving]
        self._at_best[leaving] = False
        place = self.x[:, :, first : first + change.shape[1]]
        place += torch.where(accepted[:, None, None, None], change.permute(0, 3, 1, 2), 0.0)
        self.rest.copy_(torch.where(accepted, rest, self.rest))
        self.energy.copy_(torch.where(accepted, energy, self.energy))
        better = accepted & (energy < self.lowest)
        self._at_best |= better
        self.lowest.copy_(torch.where(better, energy, self.lowest))


@compiled_sums
def _penalty(x: Array, change: Array, first: int, out: Array) -> None:
    items, count, frames, channels = change.shape
    half = x.dtype.type(0.5)
    for b in range(items):
        total = 0.0
        for row in range(count):
            for c in range(channels):
                for t in range(frames):
                    d = change[b, row, t, c]
                    total += np.float64((x[b, c, first + row, t] + half * d) * d)
        out[b] = total


@compiled
def _settle(
    x: Array,
    rest: Array,
    energy: Array,
    lowest: Array,
    best: Array,
    at_best: NDArray[np.bool_],
    change: Array,
    accepted: NDArray[np.bool_],
    energy_then: Array,
    rest_then: Array,
    first: int,
) -> None:
    items, count, frames, channels = change.shape
    for b in range(items):
        if not accepted[b]:
            continue
        if at_best[b] and energy_then[b] >= lowest[b]:
            for c in range(channels):
                for row in range(x.shape[2]):
                    for t in range(frames):
                        best[b, c, row, t] = x[b, c, row, t]
            at_best[b] = False
        for row in range(count):
            for c in range(channels):
                for t in range(frames):
                    x[b, c, first + row, t] += change[b, row, t, c]
        energy[b], rest[b] = energy_then[b], rest_then[b]
        if energy[b] < lowest[b]:
            lowest[b], at_best[b] = energy[b], True
