"""What a method of inversion is given, what it gives back, and the objective that all share.

Churchman 2015, sec. 6.4: E = ½ ‖Y* − Y‖² + λ/2 ‖X‖², one E for each item.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.errors import SpeechscopeError
from speechscope.networks.layers import Layered
from speechscope.work.accelerators import fastest

if TYPE_CHECKING:
    from speechscope.inversion.analysis import Analysis
    from speechscope.stages.invert import Invert


Restorer = Callable[[Tensor], Tensor]
"""A trained inverse of the network up to a layer: inputs (B, C, F, T) of activations (B, …)."""


class Pool(Protocol):
    """Training items that controls choose from.

    Attributes
    ----------
    labels, speakers
        Of each item, (n,).
    mean
        What inputs are centred by (C, F, T).
    deviation
        Standard deviation of every value of the inputs (C, F, T).
    signed
        Whether inputs are real parts, whose signs can be drawn.
    """

    labels: NDArray[np.int64]
    speakers: NDArray[np.int64]
    mean: Tensor
    signed: bool

    @property
    def deviation(self) -> Tensor:
        """See above."""

    def inputs(self, places: NDArray[np.int64]) -> Tensor:
        """Return centred inputs (N, C, F, T) of items by their places."""


@dataclass(frozen=True)
class Known:
    """What controls are told, and no other method is.

    Parameters
    ----------
    inputs
        What is to be reconstructed, (B, C, F, T).
    labels, speakers
        Class and speaker of each item (B,), in the training corpus' numbers; -1 for others.
    pool
        Training items.
    """

    inputs: Tensor
    labels: NDArray[np.int64]
    speakers: NDArray[np.int64]
    pool: Pool

    def at(self, block: slice) -> "Known":
        """Return what is known of some of the items."""
        return Known(self.inputs[block], self.labels[block], self.speakers[block], self.pool)


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
    known
        For controls, and for what must leave out items of the same speaker.
    analysis
        What makes inputs from waveforms, for methods that look for those.
    heard
        Waveforms (B, samples) of the start, where the method before gave them.
    draw
        Which draw from what the activity leaves open; 0: none, the most likely.
    """

    network: Layered
    layer: int
    target: Tensor
    seeds: Sequence[int]
    l2: float
    restorers: Mapping[str, Restorer] = field(default_factory=dict)
    derived: Tensor | None = None
    noise: float = 0.0
    known: Known | None = None
    analysis: "Analysis | None" = None
    heard: Tensor | None = None
    draw: int = 0

    def objective(self) -> "Objective":
        """Return E of the items, as a function of the static channels where others follow."""
        make = fastest(Objective)
        return make(self.network, self.layer, self.target, self.l2, self.derived)

    def objective_of_all(self, l2: float | None = None) -> "Objective":
        """Return E as a function of all channels, none following from others."""
        return replace(self, derived=None, l2=self.l2 if l2 is None else l2).objective()


@dataclass(frozen=True)
class Reconstruction:
    """What a method answers.

    Parameters
    ----------
    x
        Reconstructions (B, C, F, T).
    objective
        E (B, most steps + 1) in float64: of the start, then after each step; NaN after an item's
        last.
    steps
        Steps of each item (B,).
    waveform
        The waveforms (B, samples) that x is the analysis of, where sounds were looked for; of
        several runs, the means of both.
    """

    x: Tensor
    objective: Tensor
    steps: Tensor
    waveform: Tensor | None = None

    def then(self, following: "Reconstruction") -> "Reconstruction":
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
        return Reconstruction(following.x, joined, steps, following.waveform)


Method = Callable[[Problem, Tensor | None, "Invert"], Reconstruction]
"""A method: it reconstructs every item, from a start (B, C, F, T) or from one of its own.

It takes at most ``settings.steps`` steps, or as many as `at_most` says.
"""
M = TypeVar("M", bound=Method)


def at_most(steps: Callable[["Invert"], int]) -> Callable[[M], M]:
    """Return a decorator that says how many steps a method takes at most."""

    def mark(method: M) -> M:
        method.most_steps = steps  # type: ignore[attr-defined]
        return method

    return mark


class Objective:
    """E of one layer's activations for a batch of items, the weights as they are now.

    Parameters
    ----------
    network, layer
        Y is what this layer of the network makes of X.
    target
        Y*, (B, …)
    l2
        λ
    derived
        See `Problem`; X is then what follows from its static channels, which alone are given.
    """

    def __init__(
        self, network: Layered, layer: int, target: Tensor, l2: float, derived: Tensor | None = None
    ) -> None:
        self._network, self._layer = network, layer
        self._target, self._l2, self._derived = target, l2, derived

    def energy(self, x: Tensor) -> Tensor:
        """Return E (B,) in float64 at x (B, C, F, T)."""
        x = complete(x, self._derived)
        return self._energy(self._network.activation(x, self._layer) - self._target, x)

    def _energy(self, residual: Tensor, x: Tensor) -> Tensor:
        energy = 0.5 * squared_norm(residual)
        return energy + 0.5 * self._l2 * squared_norm(x) if self._l2 else energy

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return E (B,) in float64 and dE/dX (B, C, F, T) at x (B, C, F, T).

        The derivative is valid until the next call.
        """
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            whole = complete(x, self._derived)
            y = self._network.activation(whole, self._layer)
            if not y.requires_grad:
                raise SpeechscopeError(
                    f"no slope leads from layer {self._layer} to the input: the network stops it "
                    "(a detach, a threshold, a rounding, no_grad); --method anneal needs none"
                )
            residual = y.detach() - self._target
            # ∂E/∂Y = Y − Y*, and of the penalty ∂E/∂X = λ X.
            outputs, by_outputs = [y], [residual]
            if self._l2:
                outputs, by_outputs = [y, whole], [residual, self._l2 * whole.detach()]
            (gradient,) = torch.autograd.grad(outputs, x, by_outputs)
        return self._energy(residual, whole.detach()), gradient

    def keep(self, items: Tensor) -> None:
        """Drop all items but those at these positions."""
        self._target = self._target[items]


def squared_norm(x: Tensor) -> Tensor:
    """Return Σ x² of each item, in float64.

    Early steps of the bold driver change E by parts in 10⁷; its decisions need the sum, if not
    the terms, in double precision. Rows are summed first, in one pass and as they come.
    """
    rows: Tensor = torch.linalg.vector_norm(x, dim=-1, dtype=torch.float64)
    return rows.flatten(1).square().sum(1) if rows.dim() > 1 else rows.square()


def static_channels(x: Tensor, derived: Tensor | None) -> Tensor:
    """Return the static channels of inputs (B, C, F, T)."""
    return x if derived is None else x[:, : x.shape[1] // len(derived)]


def complete(static: Tensor, derived: Tensor | None) -> Tensor:
    """Return inputs (B, C, F, T) with their derived channels, from the static ones."""
    if derived is None:
        return static
    channels = torch.einsum("bsfi,oit->bosft", static, derived.to(static))
    return channels.flatten(1, 2)
