"""Energies at a fully connected layer with nothing after it, for changes of what it reads.

E is a quadratic function of the units h that the layer reads: for a change δ of them,

    E(h + δ) = E(h) + v · δ + ½ δ · G δ,    G = Wᵀ W,    v = Wᵀ (W h + b − Y*),

of which the last term alone takes a product with a matrix. It is at least ½ ‖P δ‖², P being W in
the few directions in which it stretches most. Annealing rejects most proposals, and most of those
by this bound; of the others, G δ is what v changes by as well.
"""

import math

import torch
from torch import Tensor

from speechscope.inversion.objective import squared_norm

SHARE = 16
"""The bound takes one direction of so many."""


class LastDense:
    """The energies of items, and of changes of them.

    Parameters
    ----------
    weight, bias
        (units, inputs) and (units,)
    target
        Y*, (B, units)
    """

    def __init__(self, weight: Tensor, bias: Tensor, target: Tensor) -> None:
        self._weight, self._bias, self._target = weight, bias, target
        gram = weight.double().t() @ weight.double()
        stretches, directions = torch.linalg.eigh(gram)
        few = slice(len(gram) - math.ceil(len(gram) / SHARE), None)
        self._few = (directions[:, few] * stretches[few].clamp(min=0).sqrt()).to(weight)
        self._gram = gram.to(weight)
        self._inputs = self._slope = self._change = self._moved = target.new_empty(0)
        self._undecided = torch.empty(0, dtype=torch.int64)

    def load(self, inputs: Tensor) -> Tensor:
        """Take inputs (B, inputs) and return E (B,) in float64."""
        self._inputs = inputs.clone()
        residual = torch.addmm(self._bias, inputs, self._weight.t()) - self._target
        self._slope = residual @ self._weight
        return squared_norm(residual).mul_(0.5)

    def propose(self, inputs: Tensor, energy: Tensor, limit: Tensor | None) -> Tensor:
        """Return E of other inputs, given that of those before.

        Where it is not below `limit`, it may be anything that is not, either.
        """
        change = inputs - self._inputs
        along = energy + (self._slope * change).sum(1).double()
        bound = along + squared_norm(change @ self._few).mul_(0.5)
        undecided = torch.ones_like(bound, dtype=torch.bool) if limit is None else bound < limit
        items = self._undecided = undecided.nonzero()[:, 0]
        self._change = change[items]
        self._moved = self._change @ self._gram
        bound[items] = along[items] + 0.5 * (self._moved * self._change).sum(1).double()
        return bound

    def settle(self, items: Tensor) -> None:
        """Keep the change in some items, all of which are below the limit."""
        among = torch.searchsorted(self._undecided, items)
        self._inputs.index_add_(0, items, self._change[among])
        self._slope.index_add_(0, items, self._moved[among])
