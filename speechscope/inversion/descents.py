"""Rules by which `bp` moves beside the bold driver: AdaGrad, Adam and L-BFGS, item by item."""

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from speechscope.registry import DESCENTS

if TYPE_CHECKING:
    from speechscope.stages.invert import Invert

MEMORY = 10
"""Pairs L-BFGS remembers (Nocedal & Wright 2006, sec. 7.2: 3 to 20)."""

DECREASE, SHORTEN, SHORTEST = 1e-4, 0.5, 1e-8
"""L-BFGS: the decrease a step must bring (ibid., eq. 3.4), what else shortens it, and its end."""


class Descent(Protocol):
    """One way to go on from X, given E and ∂E/∂X there; made from the start and the settings."""

    def step(self, x: Tensor, energy: Tensor, gradient: Tensor) -> Tensor:
        """Return the next X (B, C, F, T); x may be overwritten."""

    @property
    def running(self) -> Tensor:
        """Which items (B,) have not converged."""

    def keep(self, items: Tensor) -> None:
        """Drop all items but those at these positions."""


class _Elementwise:
    """A rule of `torch.optim` that treats every number by itself; items run to the last step."""

    def __init__(self, x: Tensor, optimizer: torch.optim.Optimizer) -> None:
        self._x, self._optimizer = x, optimizer

    def step(self, x: Tensor, energy: Tensor, gradient: Tensor) -> Tensor:
        """See `Descent`."""
        x.grad = gradient
        self._optimizer.step()
        return x

    @property
    def running(self) -> Tensor:
        """See `Descent`."""
        return torch.ones(len(self._x), dtype=torch.bool, device=self._x.device)

    def keep(self, items: Tensor) -> None:
        """See `Descent`; no item leaves before the last step."""


@DESCENTS.register("adagrad")
def adagrad(x: Tensor, settings: "Invert") -> Descent:
    """X ← X − η ∂E/∂X / √G, G the sum of the squared derivatives so far.

    Source: Churchman 2015, sec. 5.2 and 6.4.2; Duchi et al. 2011.
    """
    rate = settings.step_size or 0.0
    return _Elementwise(x, torch.optim.Adagrad([x], rate, eps=1e-8, foreach=False))


@DESCENTS.register("adam")
def adam(x: Tensor, settings: "Invert") -> Descent:
    """X ← X − η m̂ / (√v̂ + ε), m̂ and v̂ the corrected running means of ∂E/∂X and its square.

    Source: Kingma & Ba 2015, alg. 1.
    """
    rate = settings.step_size or 0.0
    return _Elementwise(x, torch.optim.Adam([x], rate, eps=1e-8, foreach=False))


@DESCENTS.register("lbfgs")
class LimitedMemoryBfgs:
    """L-BFGS with a step that is halved until E falls enough, every item by itself.

    d = −H ∂E/∂X by the two-loop recursion (Nocedal & Wright 2006, alg. 7.4); X + α d is kept if
    E(X + α d) ≤ E(X) + 10⁻⁴ α ⟨∂E/∂X, d⟩, else α is halved. Each evaluation counts as a step. An
    item whose α falls below 10⁻⁸, or whose derivative is 0, has converged.
    """

    def __init__(self, x: Tensor, settings: "Invert") -> None:
        count, size = len(x), x[0].numel() if len(x) else 0
        self._s = x.new_zeros(MEMORY, count, size)
        self._y = x.new_zeros(MEMORY, count, size)
        # 1 / ⟨s, y⟩; 0 marks a pair that is not there.
        self._inverse = x.new_zeros(MEMORY, count)
        self._base = self._gradient = self._direction = x.new_zeros(count, size)
        self._energy = torch.full((count,), torch.inf, dtype=torch.float64, device=x.device)
        self._slope = x.new_zeros(count)
        self._length = x.new_ones(count)
        self._started = False

    def step(self, x: Tensor, energy: Tensor, gradient: Tensor) -> Tensor:
        """See `Descent`."""
        flat, slopes = x.flatten(1), gradient.flatten(1).clone()
        if self._started:
            allowed = self._energy + DECREASE * (self._length * self._slope).double()
            accepted = energy <= allowed
            self._remember(flat, slopes, accepted)
        else:
            accepted = torch.ones(len(x), dtype=torch.bool, device=x.device)
        chosen = accepted[:, None]
        self._base = torch.where(chosen, flat, self._base)
        self._gradient = torch.where(chosen, slopes, self._gradient)
        self._energy = torch.where(accepted, energy, self._energy)
        direction = self._descend()
        self._direction = torch.where(chosen, direction, self._direction)
        self._slope = (self._direction * self._gradient).sum(1)
        norm = self._gradient.norm(dim=1)
        # Before anything is known of the curvature, a step moves by 1 at most.
        first = torch.where(self._inverse.any(0), 1.0, (1 / norm).clamp(max=1.0))
        shorter = self._length * SHORTEN
        self._length = torch.where(accepted, first.nan_to_num(0.0), shorter)
        self._length = torch.where(norm > 0, self._length, 0.0)
        self._started = True
        return (self._base + self._length[:, None] * self._direction).view_as(x)

    @property
    def running(self) -> Tensor:
        """See `Descent`."""
        return self._length >= SHORTEST

    def keep(self, items: Tensor) -> None:
        """See `Descent`."""
        self._s, self._y = self._s[:, items], self._y[:, items]
        self._inverse = self._inverse[:, items]
        for name in ("_base", "_gradient", "_direction", "_energy", "_slope", "_length"):
            setattr(self, name, getattr(self, name)[items])

    def _remember(self, x: Tensor, gradient: Tensor, accepted: Tensor) -> None:
        s, y = x - self._base, gradient - self._gradient
        curvature = (s * y).sum(1)
        # A pair without positive curvature would make H indefinite: it is passed over.
        useful = accepted & (curvature > 1e-10 * (y * y).sum(1))
        for memory, new in ((self._s, s), (self._y, y)):
            rolled = torch.cat([memory[1:], new[None]])
            memory.copy_(torch.where(useful[None, :, None], rolled, memory))
        rolled = torch.cat([self._inverse[1:], (1 / curvature)[None]])
        self._inverse = torch.where(useful[None], rolled, self._inverse)

    def _descend(self) -> Tensor:
        q = self._gradient.clone()
        shares = []
        for s, y, inverse in zip(
            self._s.flip(0), self._y.flip(0), self._inverse.flip(0), strict=True
        ):
            share = inverse * (s * q).sum(1)
            shares.append(share)
            q -= share[:, None] * y
        newest = (self._y[-1] ** 2).sum(1) * self._inverse[-1]
        q /= torch.where(newest > 0, newest, 1.0)[:, None]
        for s, y, inverse, share in zip(
            self._s, self._y, self._inverse, reversed(shares), strict=True
        ):
            q += (share - inverse * (y * q).sum(1))[:, None] * s
        return -q
