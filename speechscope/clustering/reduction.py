"""Fewer dimensions before clustering: none, PCA or t-SNE (Pellegrini 2016, sec. 3.1)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.registry import REDUCTIONS

Points = NDArray[np.float32]

SPECTRUM = 0.9
"""Of the covariance matrix's spectrum, what is kept (sec. 3.1: "at least 90%")."""
DIRECT = 1500
"""Largest matrix whose eigenvectors are all worked out."""
FIRST = 64
"""Components looked for at first in larger ones; twice as many each time they do not do."""
PLANE = 2
"""Dimensions of t-SNE (chosen: the paper does not say)."""
PERPLEXITY = 30.0
"""Of t-SNE (chosen: scikit-learn's and the inventors' usual value)."""


@dataclass(frozen=True)
class Components:
    """Principal components.

    Parameters
    ----------
    scores
        Points in the components, the one of largest variance first, (n, r) float32.
    explained
        Share of the variance in each, (r,).
    """

    scores: NDArray[np.float32]
    explained: NDArray[np.float64]


def principal_components(
    points: NDArray[np.floating[Any]], share: float = SPECTRUM, at_least: int = 1
) -> Components:
    """Return the fewest principal components that hold a share of the variance.

    Eigenvectors of the covariance (d × d) or of the inner products (n × n), whichever is smaller;
    each component's sign is such that its largest score is positive.

    Parameters
    ----------
    points : (n, d).
    share
        Of the variance.
    at_least
        Components returned in any case, as far as there are so many.
    """
    from scipy.linalg import eigh
    from scipy.sparse.linalg import eigsh

    centred = points - points.mean(0, dtype=np.float64).astype(points.dtype)
    count, size = centred.shape
    wide = size > count
    matrix = (centred @ centred.T if wide else centred.T @ centred).astype(np.float64)
    total = float(np.trace(matrix))
    rank = min(count, size)
    if total <= 0:  # all points are the same
        return Components(np.zeros((count, 1), dtype=np.float32), np.zeros(1))
    wanted = FIRST
    while True:
        if rank <= DIRECT or 4 * wanted > rank:
            values, vectors = eigh(matrix)
        else:
            values, vectors = eigsh(matrix, k=wanted, which="LA", v0=np.cos(np.arange(rank)))
        order = np.argsort(-values, kind="stable")
        values, vectors = np.maximum(values[order], 0), vectors[:, order]
        held = values.cumsum() / total
        if len(values) == rank or (held[-1] >= share and len(values) >= at_least):
            break
        wanted *= 2
    # Rounding may leave all of them a hair below 1.
    enough = int(np.searchsorted(held, min(share, held[-1]) * (1 - 1e-12))) + 1
    kept = min(max(enough, at_least), rank)
    vectors = vectors[:, :kept]
    scores = vectors * np.sqrt(values[:kept]) if wide else centred.astype(np.float64) @ vectors
    largest = np.abs(scores).argmax(0)
    scores *= np.where(scores[largest, np.arange(kept)] < 0, -1, 1)
    return Components(scores.astype(np.float32), values[:kept] / total)


def tsne(
    scores: NDArray[np.float32],
    seed: int,
    *,
    dimensions: int = PLANE,
    perplexity: float = PERPLEXITY,
) -> NDArray[np.float32]:
    """Return t-SNE of points already reduced by PCA, (n, dimensions), by scikit-learn.

    "For the initialization of the algorithm, a PCA is first performed to reduce the dimensionality
    of the initial data" (sec. 3.1); the layout begins with the first components.

    Parameters
    ----------
    scores : (n, r) of `principal_components`.
    perplexity
        Lowered to a third of the points where there are few.
    """
    from sklearn.manifold import TSNE

    few = max(1.0, (len(scores) - 1) / 3)
    start = np.zeros((len(scores), dimensions), dtype=np.float32)
    usable = min(dimensions, scores.shape[1])
    spread = float(scores[:, 0].std()) or 1.0
    start[:, :usable] = scores[:, :usable] / spread * 1e-4
    method = TSNE(
        dimensions,
        perplexity=min(perplexity, few),
        init=start,
        random_state=seed,
        n_jobs=1,
        method="exact" if len(scores) <= 50 else "barnes_hut",
    )
    found: NDArray[np.float32] = method.fit_transform(scores)
    return found


@REDUCTIONS.register("none")
def _as_they_are(points: Points, components: Components, seed: int) -> Points:
    return points


@REDUCTIONS.register("pca")
def _principal(points: Points, components: Components, seed: int) -> Points:
    return components.scores


@REDUCTIONS.register("tsne")
def _embedded(points: Points, components: Components, seed: int) -> Points:
    return tsne(components.scores, seed)
