"""Where the chains of simulated annealing are, and the best that each has met."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechscope.fast.compiled import Array, Marks, compiled, compiled_sums


@dataclass
class Chains:
    """The state of all chains; changes of rows are (B, n, T, C), and contiguous.

    Parameters
    ----------
    x
        (B, C, F, T), contiguous; it is written to.
    rest
        What E has besides the activations, λ/2 ‖X‖², (B,) in float64.
    energy
        E (B,) in float64.
    l2
        λ.

    Attributes
    ----------
    lowest
        The lowest E met.
    """

    x: Tensor
    rest: Tensor
    energy: Tensor
    l2: float
    lowest: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.lowest = self.energy.clone()
        # The best is copied when a chain leaves it, not whenever it finds a better one.
        self._best = self.x.clone()
        self._at_best = torch.ones_like(self.energy, dtype=torch.bool)
        self._rest_then, self._limit = (torch.empty_like(self.energy) for _ in range(2))
        self._accepted = torch.empty_like(self._at_best)
        self._limits: list[Any] = []
        self._state: list[Any] = []
        if self.x.device.type == "cpu":  # all of which stay where they are
            then = self._rest_then, self._limit
            self._limits = [a.numpy() for a in (self.x, self.rest, self.energy, *then)]
            state = self.x, self.rest, self.energy, self.lowest, self._best, self._at_best
            self._state = [a.numpy() for a in (*state, self._accepted, *then)]

    @property
    def best(self) -> Tensor:
        """The X of the lowest E, (B, C, F, T)."""
        return torch.where(self._at_best[:, None, None, None], self.x, self._best)

    def limit(self, change: Tensor, first: int, slack: Tensor) -> Tensor:
        """Return what ½ ‖Y* − Y‖² has to be below after a change, for E' to be below E + slack.

        (B,) in float64, valid until the next call.
        """
        if self._limits:
            arguments: Any = [*self._limits, change.numpy(), slack.numpy(), first, self.l2]
            _limit(*arguments)
            return self._limit
        rows = change.permute(0, 3, 1, 2)
        place = self.x[:, :, first : first + change.shape[1]]
        grown = ((place + 0.5 * rows) * rows).sum((1, 2, 3)).double()
        torch.add(self.rest, grown, alpha=self.l2, out=self._rest_then)
        return self._limit.copy_(self.energy + slack - self._rest_then)

    def settle(self, change: Tensor, first: int, proposed: Tensor) -> Tensor:
        """Move the chains where ½ ‖Y* − Y‖² is below the last `limit`; return which, (B,)."""
        if self._state:
            arguments: Any = [*self._state, change.numpy(), proposed.numpy(), first]
            _settle(*arguments)
            return self._accepted
        energy = proposed + self._rest_then
        accepted = self._accepted.copy_(proposed < self._limit)
        leaving = (self._at_best & accepted & (energy >= self.lowest)).nonzero()[:, 0]
        self._best[leaving] = self.x[leaving]
        self._at_best[leaving] = False
        place = self.x[:, :, first : first + change.shape[1]]
        place += torch.where(accepted[:, None, None, None], change.permute(0, 3, 1, 2), 0.0)
        self.rest.copy_(torch.where(accepted, self._rest_then, self.rest))
        self.energy.copy_(torch.where(accepted, energy, self.energy))
        better = accepted & (energy < self.lowest)
        self._at_best |= better
        self.lowest.copy_(torch.where(better, energy, self.lowest))
        return accepted


@compiled_sums
def _limit(
    x: Array,
    rest: Array,
    energy: Array,
    rest_then: Array,
    limit: Array,
    change: Array,
    slack: Array,
    first: int,
    l2: float,
) -> None:
    items, count, frames, channels = change.shape
    half = x.dtype.type(0.5)
    for b in range(items):
        total = 0.0
        for row in range(count):
            for c in range(channels):
                for t in range(frames):
                    d = change[b, row, t, c]
                    total += np.float64((x[b, c, first + row, t] + half * d) * d)
        rest_then[b] = rest[b] + l2 * total
        limit[b] = energy[b] + slack[b] - rest_then[b]


@compiled
def _settle(
    x: Array,
    rest: Array,
    energy: Array,
    lowest: Array,
    best: Array,
    at_best: Marks,
    accepted: Marks,
    rest_then: Array,
    limit: Array,
    change: Array,
    proposed: Array,
    first: int,
) -> None:
    items, count, frames, channels = change.shape
    for b in range(items):
        accepted[b] = proposed[b] < limit[b]
        if not accepted[b]:
            continue
        then = proposed[b] + rest_then[b]
        if at_best[b] and then >= lowest[b]:
            for c in range(channels):
                for row in range(x.shape[2]):
                    for t in range(frames):
                        best[b, c, row, t] = x[b, c, row, t]
            at_best[b] = False
        for row in range(count):
            for c in range(channels):
                for t in range(frames):
                    x[b, c, first + row, t] += change[b, row, t, c]
        energy[b], rest[b] = then, rest_then[b]
        if energy[b] < lowest[b]:
            lowest[b], at_best[b] = energy[b], True
