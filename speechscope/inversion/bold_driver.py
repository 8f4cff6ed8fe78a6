"""The bold driver: a learning rate that grows on success and shrinks on failure."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class BoldDriverSettings:
    """How the factor on the learning rate moves (Churchman 2015, sec. 6.4.2; Battiti 1989).

    Parameters
    ----------
    rate
        Master learning rate η, which the factor multiplies.
    up, down
        What the factor is multiplied by when the error is lower, or higher, than one step before.
    stop
        A reconstruction whose factor falls below this has converged.
    """

    rate: float
    up: float
    down: float
    stop: float


class BoldDriver:
    """One factor per item, all starting at 1.

    factor ← factor · up where E is lower than one step before, factor · down where it is higher,
    and as it was where it is equal. Source: Churchman 2015, sec. 6.4.2.
    """

    def __init__(
        self, count: int, settings: BoldDriverSettings, device: torch.device | None = None
    ) -> None:
        self._settings = settings
        self.factor = torch.ones(count, dtype=torch.float64, device=device)
        self._before: Tensor | None = None

    def update(self, energy: Tensor) -> Tensor:
        """Take the errors (B,) of this step; return the learning rates (B,) for the next."""
        settings = self._settings
        if self._before is not None:
            self.factor = torch.where(
                energy < self._before,
                self.factor * settings.up,
                torch.where(energy > self._before, self.factor * settings.down, self.factor),
            )
        self._before = energy
        return self.factor * settings.rate

    @property
    def running(self) -> Tensor:
        """Which items (B,) have not converged."""
        return self.factor >= self._settings.stop

    def keep(self, items: Tensor) -> None:
        """Drop all items but those at these positions."""
        self.factor = self.factor[items]
        if self._before is not None:
            self._before = self._before[items]
