"""The objective of inversion through a network with fixed weights: 1.7–2.4 times a step of `bp`.

It replaces `speechscope.inversion.problem.Objective` on the CPU
(``tests/inversion/test_objective.py``: equal values and derivatives; ``benchmarks/bp.py``: the
gain): no derivative of weights, no graph, and arrays that are used again.
"""

import torch
from torch import Tensor

from speechscope.fast.frozen import make_block, plan
from speechscope.inversion.problem import complete, squared_norm
from speechscope.networks.layers import Layered, Network
from speechscope.work.accelerators import Unsupported


class FrozenObjective:
    """See `speechscope.inversion.problem.Objective`."""

    def __init__(
        self, network: Layered, layer: int, target: Tensor, l2: float, derived: Tensor | None = None
    ) -> None:
        if not isinstance(network, Network):
            raise Unsupported("frozen passes are for our networks")
        self._blocks = [make_block(network, rows, len(target)) for rows in plan(network, layer)]
        self._target = self._blocks[-1].pack(target).contiguous()
        self._l2, self._derived = l2, derived

    def keep(self, items: Tensor) -> None:
        """See `speechscope.inversion.problem.Objective`."""
        self._target = self._target[items]

    def energy(self, x: Tensor) -> Tensor:
        """See `speechscope.inversion.problem.Objective`."""
        return self._energy(complete(x, self._derived))

    def _energy(self, x: Tensor) -> Tensor:
        count = len(x)
        y = x.permute(0, 2, 3, 1)
        for block in self._blocks:
            block.input(count).copy_(y)
            packed = block.forward(count)
            y = block.unpack(packed)
        residual = self._blocks[-1].output_gradient(count)
        torch.sub(packed, self._target, out=residual)
        energy = squared_norm(residual).mul_(0.5)
        return energy.add_(squared_norm(x).mul_(0.5 * self._l2)) if self._l2 else energy

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `speechscope.inversion.problem.Objective`."""
        count, x = len(x), complete(x, self._derived)
        energy = self._energy(x)
        self._blocks[-1].backward(count)
        for before, block in zip(self._blocks[-2::-1], self._blocks[:0:-1], strict=True):
            before.unpack(before.output_gradient(count)).copy_(block.input_gradient(count))
            before.backward(count)
        gradient = self._blocks[0].input_gradient(count).permute(0, 3, 1, 2)
        if self._l2:
            # In the block's own array: fresh ones cost more than the arithmetic.
            gradient.add_(x, alpha=self._l2)
        if self._derived is None:
            return energy, gradient
        # dE/dS of the static channels S: Σ_o ∂E/∂X_o D_oᵀ, with X_o = S D_o.
        apart = gradient.view(count, len(self._derived), -1, *gradient.shape[2:])
        return energy, torch.einsum("bosft,oit->bsfi", apart, self._derived.to(x))
