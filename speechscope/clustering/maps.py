"""Mean activations of classes, and where classes and samples lie (Pellegrini 2016, sec. 4.2)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.clustering.reduction import principal_components, tsne

SPACE = 3
"""Dimensions of projections: "a 3-d PCA projection" (fig. 2)."""
EMBEDDINGS = ("pca", "tsne")
"""The paper has both online (sec. 4.2, notes 2 and 3)."""


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
    found = principal_components(points, 0.0, SPACE).scores[:, :SPACE]
    return np.pad(found, ((0, 0), (0, SPACE - found.shape[1])))


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
        scores = principal_components(points).scores
        perplexity = max(2.0, len(points) / 10)
        out[1, there] = tsne(scores, seed, dimensions=SPACE, perplexity=perplexity)
    return out
