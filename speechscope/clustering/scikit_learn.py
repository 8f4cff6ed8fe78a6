"""Ways to cluster that are scikit-learn's, beside those of the paper."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from speechscope.clustering.kmeans import Labels, Points, Solver, distance_ratio
from speechscope.registry import CLUSTERING


def _estimator(module: str, name: str, **options: Any) -> Callable[[Points, int, int], Solver]:
    """Return an estimator as an algorithm; its criterion is of distances to means."""

    def algorithm(points: Points, most: int, seed: int) -> Solver:
        make = getattr(import_module(f"sklearn.{module}"), name)
        drawn = {"random_state": seed} if "random_state" in make().get_params() else {}

        def solve(count: int) -> tuple[Labels, float]:
            labels = make(count, **options, **drawn).fit_predict(points)
            labels = np.unique(labels, return_inverse=True)[1]
            centres = [points[labels == number].mean(0) for number in range(labels.max() + 1)]
            away = np.stack([np.linalg.norm(points - centre, axis=1) for centre in centres], 1)
            return labels, distance_ratio(away, labels)

        return solve

    return algorithm


CLUSTERING.register("kmeans-euclidean")(_estimator("cluster", "KMeans", n_init=10))
CLUSTERING.register("bisecting-kmeans")(_estimator("cluster", "BisectingKMeans", n_init=3))
CLUSTERING.register("agglomerative")(_estimator("cluster", "AgglomerativeClustering"))  # Ward's
CLUSTERING.register("agglomerative-cosine")(
    _estimator("cluster", "AgglomerativeClustering", linkage="average", metric="cosine")
)
CLUSTERING.register("gaussian-mixture")(
    _estimator("mixture", "GaussianMixture", covariance_type="diag", reg_covar=1e-4)
)
