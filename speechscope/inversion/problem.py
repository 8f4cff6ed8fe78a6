"""What a reconstruction method is given, and what it gives back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from speechscope.inversion.derived import DerivedObjective
from speechscope.inversion.objective import Objective, make_objective
from speechscope.networks.layered import Layered


class Restorer(Protocol):
    """A trained inverse of the network up to a layer."""

    def __call__(self, code: Tensor) -> Tensor:
        """Return inputs (B, C, F, T) for activations (B, …)."""


@dataclass(frozen=True)
class Problem:
    """Reconstruct inputs of a network from the activations of one layer.

    Parameters
    ----------
    network
        The network, with its weights as they are to stay.
    layer
        Number of the layer.
    target
        Its activations (B, …), one row an item.
    seeds
        One seed an item, for methods that draw random numbers.
    l2
        λ of the objective ½ ‖Y* − Y‖² + λ/2 ‖X‖².
    restorers
        What restores inputs from the layer's activations, by the method that uses it.
    derived
        Where further channels are linear in the first ones, as Δ are: the channels of order o are
        static @ derived[o], (orders, T, T).
    noise
        Noise σ added to the activations by methods that are deterministic without it, as a share
        of their root mean square; 0 for none.
    """

    network: Layered
    layer: int
    target: Tensor
    seeds: Sequence[int]
    l2: float
    restorers: Mapping[str, Restorer] = field(default_factory=dict)
    derived: Tensor | None = None
    noise: float = 0.0

    def noisy_target(self) -> Tensor:
        """Return the activations with the noise of each item's seed."""
        if not self.noise:
            return self.target
        noise = torch.stack(
            [
                torch.randn(self.target.shape[1:], generator=torch.Generator().manual_seed(seed))
                for seed in self.seeds
            ]
        ).to(self.target)
        size = self.target.flatten(1).square().mean(1).sqrt() * self.noise
        return self.target + size.view(-1, *(1 for _ in self.target.shape[1:])) * noise

    def objective(self) -> Objective:
        """Return the objective of the items, of all their channels."""
        return make_objective(self.network, self.layer, self.target, self.l2)

    def static_objective(self) -> Objective:
        """Return the objective of the static channels alone; the others follow them."""
        whole = self.objective()
        return whole if self.derived is None else DerivedObjective(whole, self.derived)


@dataclass(frozen=True)
class Found:
    """What a method found.

    Parameters
    ----------
    x
        Reconstructions (B, C, F, T).
    objective
        E (B, most steps + 1) in float64: of the start, then after each step; NaN after an item's
        last.
    steps
        Steps of each item (B,).
    """

    x: Tensor
    objective: Tensor
    steps: Tensor

    def then(self, following: "Found") -> "Found":
        """Return this and a method that began where this ended as one.

        The histories follow each other; the second's start is the best of the first.
        """
        steps = self.steps + following.steps
        width = int(steps.max()) + 1 if len(steps) else 1
        joined = self.objective.new_full((len(steps), width), torch.nan)
        for item, (first, second) in enumerate(
            zip(self.steps.tolist(), following.steps.tolist(), strict=True)
        ):
            joined[item, : first + 1] = self.objective[item, : first + 1]
            joined[item, first + 1 : first + second + 1] = following.objective[item, 1 : second + 1]
        return Found(following.x, joined, steps)


class Method(Protocol):
    """A way to reconstruct."""

    def __call__(self, problem: Problem, start: Tensor | None) -> Found:
        """Reconstruct every item, from `start` (B, C, F, T) or from the method's own start."""
