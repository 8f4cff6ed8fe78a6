"""Δ channels, which follow from the static ones and are no unknowns of their own."""

import numpy as np
import torch
from torch import Tensor

from speechscope.corpus.store import Corpus
from speechscope.features.representations import SCOPES, delta
from speechscope.inversion.objective import Objective


def derivation(corpus: Corpus) -> Tensor | None:
    """Return the matrices (orders, T, T) that make a corpus' channels from its static ones.

    The channels of order o are static @ matrices[o]; the first is the identity. None where there
    are no Δ, and where every channel of an item is z-normalised by itself: then no fixed matrix
    leads from one to the other, and channels are reconstructed as if they were free.
    """
    orders = int(corpus.config["deltas"]) + 1 if corpus.unit == "segment" else 1
    if orders == 1 or corpus.config["normalize"] in SCOPES:
        return None
    frames = corpus.input_shape[2]
    matrices = [np.eye(frames, dtype=np.float32)]
    for _ in range(1, orders):
        matrices.append(delta(matrices[-1]))
    return torch.from_numpy(np.stack(matrices))


def static_channels(x: Tensor, derived: Tensor | None) -> Tensor:
    """Return the static channels of inputs (B, C, F, T)."""
    return x if derived is None else x[:, : x.shape[1] // len(derived)]


def complete(static: Tensor, derived: Tensor | None) -> Tensor:
    """Return inputs (B, C, F, T) with their derived channels, from the static ones."""
    if derived is None:
        return static
    channels = torch.einsum("bsfi,oit->bosft", static, derived.to(static))
    return channels.flatten(1, 2)


class DerivedObjective:
    """E of the static channels S: E(X(S)) and dE/dS = Σ_o ∂E/∂X_o D_oᵀ, with X_o = S D_o."""

    def __init__(self, whole: Objective, derived: Tensor) -> None:
        self._whole, self._derived = whole, derived

    def keep(self, items: Tensor) -> None:
        """See `Objective`."""
        self._whole.keep(items)

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `Objective`."""
        energy, gradient = self._whole.evaluate(complete(x, self._derived))
        apart = gradient.reshape(len(x), len(self._derived), *x.shape[1:])
        return energy, torch.einsum("bosft,oit->bsfi", apart, self._derived.to(x))
