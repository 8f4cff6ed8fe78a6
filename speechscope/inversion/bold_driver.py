"""The bold driver: a step size that grows on success and shrinks on failure."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from speechscope.registry import DESCENTS

if TYPE_CHECKING:
    from speechscope.stages.invert import Invert


@DESCENTS.register("bold")
class BoldDriver:
    """X ← X − η f ∂E/∂X, with one factor f per item, all starting at 1.

    f ← f · up where E is lower than one step before, f · down where it is higher, and as it was
    where it is equal; an item whose f falls below ``stop`` has converged.
    Source: Churchman 2015, sec. 6.4.2; Battiti 1989.
    """

    def __init__(self, x: Tensor, settings: "Invert") -> None:
        self._settings = settings
        self.factor = torch.ones(len(x), dtype=torch.float64, device=x.device)
        self._before: Tensor | None = None

    def step(self, x: Tensor, energy: Tensor, gradient: Tensor) -> Tensor:
        """See `speechscope.inversion.descents.Descent`."""
        if self._before is not None:
            up, down = self.factor * self._settings.up, self.factor * self._settings.down
            risen = torch.where(energy > self._before, down, self.factor)
            self.factor = torch.where(energy < self._before, up, risen)
        self._before = energy
        rate = self.factor * (self._settings.step_size or 0.0)
        return x.addcmul_(gradient, rate.to(x)[:, None, None, None], value=-1)

    @property
    def running(self) -> Tensor:
        """See `speechscope.inversion.descents.Descent`."""
        return self.factor >= self._settings.stop

    def keep(self, items: Tensor) -> None:
        """See `speechscope.inversion.descents.Descent`."""
        self.factor = self.factor[items]
        if self._before is not None:
            self._before = self._before[items]
