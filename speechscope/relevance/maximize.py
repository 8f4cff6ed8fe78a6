"""Activation maximization: the input that excites a unit most."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from speechscope.training.optimizers import Adam

Shape = tuple[int, ...]


@dataclass(frozen=True)
class MaximizeSettings:
    """How to climb.

    Parameters
    ----------
    steps
        Steps of Adam.
    lr
        Its rate.
    l1, l2, tv
        Weights of ‖x‖₁, ½‖x‖² and the total variation in the objective.
    """

    steps: int
    lr: float
    l1: float
    l2: float
    tv: float


@dataclass(frozen=True)
class Unit:
    """What is to be excited.

    Parameters
    ----------
    number
        Of the map, or of the unit of a layer without maps.
    position
        (bin, frame) in its map; None: the mean over the map.
    """

    number: int
    position: tuple[int, int] | None = None

    def of(self, activation: Tensor) -> Tensor:
        """Return its activation, a scalar, from that of a layer for one item (maps, …)."""
        values = activation[self.number]
        if values.dim() == 2 and self.position is not None:
            return values[self.position]
        return values.mean()


@dataclass(frozen=True)
class Maximized:
    """What was found.

    Parameters
    ----------
    x
        Optimal inputs (units, C, F, T).
    activation
        Of each unit before every step and after the last, (units, steps + 1).
    """

    x: Tensor
    activation: Tensor


def maximize(
    layer: Callable[[Tensor], Tensor],
    shape: Shape,
    units: Sequence[Unit],
    settings: MaximizeSettings,
    seeds: Sequence[int],
    *,
    device: torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Maximized:
    """Climb from random inputs to inputs that excite units of a layer most, all units at once.

    a_u(x) − λ₁ ‖x‖₁ − λ₂/2 ‖x‖² − λ_tv Σ |x_i − x_{i+1}| (over bins and frames), by Adam. Units do
    not touch each other: each has an input of its own, and Adam works value by value.

    Source: Krug 2018, sec. 3.2: L1, L2, Adam, a Xavier uniform start, which draws from ±√(6 / (F +
    T)). The factor ½ of L2 is chosen, as elsewhere in this program.

    Parameters
    ----------
    layer
        Gives the activation (B, maps, …) of inputs (B, C, F, T).
    shape
        (C, F, T) of an input: what one unit sees, or a whole input.
    units
        The units.
    settings
        How to climb.
    seeds
        One a unit.
    device
        Where the network is.
    """
    bound = (6 / (shape[-2] + shape[-1])) ** 0.5
    starts = [
        torch.empty(shape).uniform_(-bound, bound, generator=torch.Generator().manual_seed(seed))
        for seed in seeds
    ]
    x = torch.stack(starts).to(device).requires_grad_()
    # PyTorch's own brings its compiler along, which takes longer to import than many climbs.
    follow = Adam(settings.lr)
    sums = [torch.zeros_like(x) for _ in follow.sums]
    history = torch.empty(len(units), settings.steps + 1)

    def excitation() -> Tensor:
        found = layer(x)
        return torch.stack([unit.of(one) for unit, one in zip(units, found, strict=True)])

    for step in range(settings.steps):
        with torch.enable_grad():
            reached = excitation()
            (gradient,) = torch.autograd.grad(_penalty(x, settings) - reached.sum(), x)
        history[:, step] = reached.detach()
        with torch.no_grad():
            follow(x, gradient, sums, step + 1)
        if progress is not None:
            progress(step + 1, settings.steps)
    with torch.no_grad():
        history[:, -1] = excitation()
    return Maximized(x.detach(), history)


def _penalty(x: Tensor, settings: MaximizeSettings) -> Tensor:
    total = settings.l1 * x.abs().sum() + settings.l2 / 2 * x.square().sum()
    if settings.tv:
        across = x.diff(dim=2).abs().sum() + x.diff(dim=3).abs().sum()
        total = total + settings.tv * across
    return total
