"""How alike two layers are: centred kernel alignment (Kornblith et al. 2019)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ITEMS = 1000
"""Most samples compared (chosen: their inner products are 8 MB a layer)."""


def inner_products(points: NDArray[np.floating[Any]]) -> Array:
    """Return the inner products of points, their mean taken off, (n, n)."""
    centred = np.asarray(points, dtype=np.float64)
    centred = centred - centred.mean(0)
    found: Array = centred @ centred.T
    return found


def independence(first: Array, second: Array) -> float:
    """Return the unbiased estimate of the Hilbert-Schmidt independence criterion.

    [tr(KL) + 1ᵀK1 · 1ᵀL1 / (n − 1)(n − 2) − 2 · 1ᵀKL1 / (n − 2)] / n(n − 3), K and L without their
    diagonals: 0 on average for layers that have nothing to do with each other, however many units
    they have (Song et al. 2012, eq. 5; Nguyen et al. 2021, eq. 3).

    Parameters
    ----------
    first, second : (n, n) of `inner_products`, n > 3.
    """
    n = len(first)
    k, l = first.copy(), second.copy()  # noqa: E741
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    rows, columns = k.sum(1), l.sum(1)
    found = np.vdot(k, l) + rows.sum() * columns.sum() / ((n - 1) * (n - 2))
    return float(found - 2 * (rows @ columns) / (n - 2)) / (n * (n - 3))


def alignment(first: Array, second: Array) -> float:
    """Return the linear centred kernel alignment, HSIC(K, L) / √(HSIC(K, K) HSIC(L, L)).

    1 for layers that are the same but for rotation and scale. Kornblith et al. 2019, eq. 4, with
    the unbiased `independence`, without which layers with many units look alike.

    Returns
    -------
    NaN where one of them is constant, or there are fewer than four samples.
    """
    if len(first) < 4:
        return np.nan
    own = independence(first, first) * independence(second, second)
    return independence(first, second) / float(np.sqrt(own)) if own > 0 else np.nan


def alignments(first: list[Array], second: list[Array]) -> Array:
    """Return the alignment of every layer of one list with every layer of another."""
    return np.array([[alignment(k, l) for l in second] for k in first])  # noqa: E741
