"""The objective that reconstruction minimises, and its derivative by the input.

Churchman 2015, sec. 6.4: E = ½ ‖Y* − Y‖² + λ/2 ‖X‖², one E for each item.
"""

from contextlib import suppress
from typing import Protocol

import torch
from torch import Tensor

from speechscope.fast.frozen import make_block, plan
from speechscope.networks.layered import Layered
from speechscope.networks.layers import Network
from speechscope.work.accelerators import Unsupported


class Objective(Protocol):
    """E of one layer's activations for a batch of items."""

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return E (B,) in float64 and dE/dX (B, C, F, T) at x (B, C, F, T).

        The derivative is valid until the next call.
        """

    def keep(self, items: Tensor) -> None:
        """Drop all items but those at these positions."""


def make_objective(network: Layered, layer: int | str, target: Tensor, l2: float) -> Objective:
    """Return the objective of reaching `target`, the activations (B, …) of a layer.

    The weights are taken as they are now. Networks whose layers have no fast form are
    differentiated automatically; the numbers are the same up to rounding.
    """
    number = network.resolve(layer)
    with suppress(Unsupported):
        if isinstance(network, Network):
            return FrozenObjective(network, number, target, l2)
    return AutogradObjective(network, number, target, l2)


def squared_norm(x: Tensor) -> Tensor:
    """Return Σ x² of each item, in float64.

    Early steps of the bold driver change E by parts in 10⁷; its decisions need the sum, if not
    the terms, in double precision. Rows are summed first, in one pass and as they come.
    """
    rows: Tensor = torch.linalg.vector_norm(x, dim=-1).to(torch.float64)
    return rows.flatten(1).square().sum(1) if rows.dim() > 1 else rows.square()


class FrozenObjective:
    """The objective through `networks.frozen`: no derivative of weights, no graph."""

    def __init__(self, network: Network, layer: int, target: Tensor, l2: float) -> None:
        self._blocks = [make_block(network, rows, len(target)) for rows in plan(network, layer)]
        self._target = self._blocks[-1].pack(target).contiguous()
        self._l2 = l2

    def keep(self, items: Tensor) -> None:
        """See `Objective`."""
        self._target = self._target[items]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
        count = len(x)
        last = self._blocks[-1]
        y = x.permute(0, 2, 3, 1)
        for block in self._blocks:
            block.input(count).copy_(y)
            packed = block.forward(count)
            y = block.unpack(packed)
        residual = last.output_gradient(count)
        torch.sub(packed, self._target, out=residual)
        energy = squared_norm(residual).mul_(0.5)
        last.backward(count)
        for before, block in zip(self._blocks[-2::-1], self._blocks[:0:-1], strict=True):
            before.unpack(before.output_gradient(count)).copy_(block.input_gradient(count))
            before.backward(count)
        gradient = self._blocks[0].input_gradient(count).permute(0, 3, 1, 2)
        if self._l2:
            energy += squared_norm(x).mul_(0.5 * self._l2)
            # In the block's own array: fresh ones cost more than the arithmetic.
            gradient.add_(x, alpha=self._l2)
        return energy, gradient


class AutogradObjective:
    """The objective by automatic differentiation, for any network."""

    def __init__(self, network: Layered, layer: int, target: Tensor, l2: float) -> None:
        self._network, self._layer = network, layer
        self._target, self._l2 = target, l2

    def keep(self, items: Tensor) -> None:
        """See `Objective`."""
        self._target = self._target[items]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            residual = self._network.activation(x, self._layer) - self._target
            energy = 0.5 * squared_norm(residual) + 0.5 * self._l2 * squared_norm(x)
            (gradient,) = torch.autograd.grad(energy.sum(), x)
        return energy.detach(), gradient
