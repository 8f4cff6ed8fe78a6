"""The ways to cluster, by name, and the number of clusters (Pellegrini 2016, sec. 3.2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.clustering.spectral import (
    affinity,
    block_ratio,
    embedding,
    spectral_labels,
    squared_distances,
    width,
)
from speechscope.fast.kmedians import distance_ratio, manhattan, manhattan_kmeans
from speechscope.registry import CLUSTERING

Points = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Found:
    """What an algorithm found.

    Parameters
    ----------
    labels
        Cluster of each point, (n,), numbered from 0 without gaps.
    criterion
        The criterion for each number of clusters tried, NaN for others, (most + 1,).
    """

    labels: Labels
    criterion: NDArray[np.float64]


Solver = Callable[[int], tuple[Labels, float]]
"""Labels for a number of clusters, and how good the number is: less is better."""


@CLUSTERING.register("kmeans")
def _kmeans(points: Points, most: int, seed: int) -> Solver:
    def solve(count: int) -> tuple[Labels, float]:
        found = manhattan_kmeans(points, count, seed)
        distances = manhattan(points, found.centres)
        return found.labels, distance_ratio(distances, found.labels)

    return solve


@CLUSTERING.register("spectral")
def _spectral(points: Points, most: int, seed: int) -> Solver:
    squared = squared_distances(points)
    weights = affinity(squared, width(squared, points.shape[1]))
    del squared
    vectors = embedding(weights, most)
    np.square(weights, out=weights)

    def solve(count: int) -> tuple[Labels, float]:
        labels = spectral_labels(vectors, count, seed)
        return labels, block_ratio(weights, labels)

    return solve


def _of(make: Callable[[int, int], Any]) -> Callable[[Points, int, int], Solver]:
    """Return a solver of a scikit-learn estimator; its criterion is of distances to means."""

    def solver(points: Points, most: int, seed: int) -> Solver:
        def solve(count: int) -> tuple[Labels, float]:
            labels = np.asarray(make(count, seed).fit_predict(points), dtype=np.int64)
            centres = np.stack([points[labels == n].mean(0) for n in np.unique(labels)])
            away = np.stack([np.linalg.norm(points - centre, axis=1) for centre in centres], 1)
            return labels, distance_ratio(away, np.unique(labels, return_inverse=True)[1])

        return solve

    return solver


def _euclidean(count: int, seed: int) -> Any:
    from sklearn.cluster import KMeans

    return KMeans(count, n_init=10, random_state=seed)


def _bisecting(count: int, seed: int) -> Any:
    from sklearn.cluster import BisectingKMeans

    return BisectingKMeans(count, n_init=3, random_state=seed)


def _ward(count: int, seed: int) -> Any:
    from sklearn.cluster import AgglomerativeClustering

    return AgglomerativeClustering(count, linkage="ward")


def _average(count: int, seed: int) -> Any:
    from sklearn.cluster import AgglomerativeClustering

    return AgglomerativeClustering(count, linkage="average", metric="cosine")


def _mixture(count: int, seed: int) -> Any:
    from sklearn.mixture import GaussianMixture

    return GaussianMixture(count, covariance_type="diag", reg_covar=1e-4, random_state=seed)


# Those of scikit-learn: k-means by squared distance, its bisecting form, agglomerative clustering
# by Ward's criterion or the average cosine, a mixture of Gaussians with diagonal covariance.
CLUSTERING.register("kmeans-euclidean")(_of(_euclidean))
CLUSTERING.register("bisecting-kmeans")(_of(_bisecting))
CLUSTERING.register("agglomerative")(_of(_ward))
CLUSTERING.register("agglomerative-cosine")(_of(_average))
CLUSTERING.register("gaussian-mixture")(_of(_mixture))


def clustered(
    algorithm: str,
    points: Points,
    counts: Sequence[int],
    seed: int,
) -> Found:
    """Cluster points into that one of several numbers of clusters which the criterion prefers.

    Parameters
    ----------
    algorithm
        A name in `CLUSTERING`.
    points : (n, d).
    counts
        Numbers of clusters to try; one is an imposed number.
    """
    most = max(counts)
    solve = CLUSTERING[algorithm](points, most, seed)
    criterion = np.full(most + 1, np.nan)
    best: Labels | None = None
    lowest = np.inf
    for count in counts:
        labels, criterion[count] = solve(count)
        if best is None or criterion[count] < lowest:
            best, lowest = labels, criterion[count]
    assert best is not None
    return Found(np.unique(best, return_inverse=True)[1], criterion)
