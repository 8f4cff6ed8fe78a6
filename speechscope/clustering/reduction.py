"""Fewer dimensions, to cluster in (Pellegrini 2016, sec. 3.1) and to look at (sec. 4.2)."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speechscope.registry import REDUCTIONS
from speechscope.work.device import there

Points = NDArray[np.float32]

SPECTRUM = 0.9
"""Of the covariance matrix's spectrum, what is kept (sec. 3.1: "at least 90%")."""
DIRECT = 1500
"""Largest matrix whose eigenvectors are all worked out."""
FIRST = 64
"""Components looked for at first in larger ones; twice as many each time they do not do."""
SPACE = 3
"""Dimensions of projections: "a 3-d PCA projection" (fig. 2)."""
EMBEDDINGS = ("pca", "tsne")
"""Of class means; the paper has both online (sec. 4.2, notes 2 and 3)."""
PLANE = 2
"""Dimensions of t-SNE (chosen: the paper does not say)."""
PERPLEXITY = 30.0
"""Of t-SNE (chosen: scikit-learn's and the inventors' usual value)."""


def principal_components(
    points: NDArray[np.floating[Any]], share: float = SPECTRUM, at_least: int = 1
) -> Points:
    """Return the fewest principal components that hold a share of the variance, (n, r).

    The one of largest variance first. Eigenvectors of the covariance (d × d) or of the inner
    products (n × n), whichever is smaller; the sign of each is such that its largest score is
    positive.

    Parameters
    ----------
    points : (n, d).
    share
        Of the variance.
    at_least
        Components returned in any case, as far as there are so many.
    """
    centred = points - points.mean(0, dtype=np.float64).astype(points.dtype)
    count, size = centred.shape
    wide, rank = size > count, min(count, size)
    on_device = there(centred)
    if on_device is None:
        matrix = (centred @ centred.T if wide else centred.T @ centred).astype(np.float64)
        total = float(np.trace(matrix))
        values, vectors = _leading(matrix, share * total, at_least)
    else:
        products = (on_device @ on_device.T if wide else on_device.T @ on_device).double()
        total = float(products.trace())
        found = torch.linalg.eigh(products)
        values = found.eigenvalues.flip(0).clamp(min=0).cpu().numpy()
        vectors = found.eigenvectors.flip(1).cpu().numpy()
    if total <= 0:  # all points are the same
        return np.zeros((count, 1), dtype=np.float32)
    explained = values.cumsum() / total
    # Rounding may leave all of them a hair below 1.
    enough = int(np.searchsorted(explained, min(share, explained[-1]) * (1 - 1e-12))) + 1
    kept = min(max(enough, at_least), rank)
    vectors = vectors[:, :kept]
    scores = vectors * np.sqrt(values[:kept]) if wide else centred.astype(np.float64) @ vectors
    largest = np.abs(scores).argmax(0)
    scores *= np.where(scores[largest, np.arange(kept)] < 0, -1, 1)
    components: Points = scores.astype(np.float32)
    return components


def _leading(
    matrix: NDArray[np.float64], wanted: float, at_least: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the largest eigenvalues (r,) whose sum is that wanted, or more, and their vectors."""
    from scipy.linalg import eigh
    from scipy.sparse.linalg import eigsh

    rank, tried = len(matrix), FIRST
    while True:
        if rank <= DIRECT or 4 * tried > rank:
            values, vectors = eigh(matrix)
        else:
            values, vectors = eigsh(matrix, k=tried, which="LA", v0=np.cos(np.arange(rank)))
        order = np.argsort(-values, kind="stable")
        values, vectors = np.maximum(values[order], 0), vectors[:, order]
        if len(values) == rank or (values.sum() >= wanted and len(values) >= at_least):
            return values, vectors
        tried *= 2


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
    embedded: NDArray[np.float32] = method.fit_transform(scores)
    return embedded


# What is clustered, of points (n, d), their principal components and a seed.
REDUCTIONS.register("none")(lambda points, components, seed: points)
REDUCTIONS.register("pca")(lambda points, components, seed: components)
REDUCTIONS.register("tsne")(lambda points, components, seed: tsne(components, seed))


def class_means(
    values: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], classes: int
) -> NDArray[np.float32]:
    """Return the mean of the samples of every class, (class, …); NaN for one without samples."""
    out = np.full((classes, *values.shape[1:]), np.nan, dtype=np.float32)
    for label in np.unique(labels):
        out[label] = values[labels == label].mean(0, dtype=np.float64)
    return out


def projected(points: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return the first three principal components of points, (n, 3); 0 where there are fewer."""
    components = principal_components(points, 0.0, SPACE)[:, :SPACE]
    return np.pad(components, ((0, 0), (0, SPACE - components.shape[1])))


def class_projections(means: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Return class means (class, d) in three dimensions, (embedding, class, 3), NaN as there.

    By PCA of the means (fig. 2: "activations averaged over 100 examples per phone"), and by t-SNE
    of the means reduced so, its perplexity a tenth of the classes (chosen).
    """
    there = ~np.isnan(means).any(1)
    out = np.full((len(EMBEDDINGS), len(means), SPACE), np.nan, dtype=np.float32)
    points = means[there]
    out[0, there] = projected(points)
    if len(points) > SPACE:
        scores = principal_components(points)
        perplexity = max(2.0, len(points) / 10)
        out[1, there] = tsne(scores, seed, dimensions=SPACE, perplexity=perplexity)
    return out
