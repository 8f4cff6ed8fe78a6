"""Spectral clustering with a Gaussian affinity (Pellegrini 2016, sec. 3.2, and its refs 16 to 19).

The paper's four references are Ng, Jordan & Weiss 2001 (the algorithm), and Mouysset, Noailles &
Ruiz (the width of the Gaussian, "based on both the distribution and the dimension of the dataset",
and the comparison of blocks of the affinity).
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.clustering.kmeans import Labels, Points, Solver, distance_ratio
from speechscope.registry import CLUSTERING
from speechscope.work.device import there

Array = NDArray[np.float64]

BEYOND = 1e-4
"""How far above 1, the largest eigenvalue there can be, the shift lies (chosen: far enough for the
factorization to be sound, near enough for eigenvalues close to 1 to stand apart)."""


@CLUSTERING.register("spectral")
def spectral(points: NDArray[np.float32], most: int, seed: int) -> Solver:
    """Return spectral clustering into at most so many clusters, judged by `distance_ratio`.

    The distances are those of the embedding. Pellegrini 2016, sec. 3.2, compares blocks of the
    affinity instead; where clusters stand apart, their affinities are 0 for any number of them that
    does not divide one, and of seven isolated blobs that makes 2 to 5 (`benchmarks/criteria.py`).
    """
    on_device = there(points)
    if on_device is not None:
        vectors = _on_device(on_device, most)
    else:
        squared = squared_distances(points)
        vectors = embedding(affinity(squared, width(squared, points.shape[1])), most)

    def solve(count: int) -> tuple[Labels, float]:
        labels, away = spectral_clusters(vectors, count, seed)
        return labels, distance_ratio(away, labels)

    return solve


def _on_device(points: Tensor, count: int) -> Array:
    """Return `embedding` as the functions below do, on a device."""
    centred = points - points.mean(0, dtype=torch.float64).to(points)
    products = (centred @ centred.T).double()
    norms = products.diagonal()
    squared = (norms[:, None] + norms - 2 * products).clamp_(min=0).fill_diagonal_(0)
    sigma = float(squared.max().sqrt()) / len(points) ** (1 / points.shape[1])
    scale = (sigma / 2) ** 2
    weights = (squared * (-1 / scale)).exp_() if scale > 0 else torch.ones_like(squared)
    weights.fill_diagonal_(0)
    root = weights.sum(1).clamp(min=np.finfo(np.float64).tiny).rsqrt()
    vectors = torch.linalg.eigh(weights * root[:, None] * root).eigenvectors
    largest: Array = vectors[:, -count:].flip(1).contiguous().cpu().numpy()
    return largest


def squared_distances(points: NDArray[np.floating[Any]]) -> Array:
    """Return ‖xᵢ − xⱼ‖², (n, n), symmetric, 0 on the diagonal.

    Parameters
    ----------
    points : (n, d); multiplied in their own precision, their mean taken off before.
    """
    centred = points - points.mean(0, dtype=np.float64).astype(points.dtype)
    products: Array = (centred @ centred.T).astype(np.float64)
    norms = np.diag(products).copy()
    products *= -2
    products += norms[:, None]
    products += norms
    np.maximum(products, 0, out=products)
    np.fill_diagonal(products, 0)
    return products


def width(squared: Array, dimension: int) -> float:
    """Return the Gaussian's width, σ = max ‖xᵢ − xⱼ‖ / n^(1/p).

    The edge of the cube that each of n points would have to itself were they spread evenly over one
    of p dimensions as large as the data (Mouysset, Noailles & Ruiz 2008).

    Parameters
    ----------
    squared : (n, n) of `squared_distances`.
    dimension
        p.
    """
    return float(np.sqrt(squared.max()) / len(squared) ** (1 / dimension))


def affinity(squared: Array, sigma: float) -> Array:
    """Return exp(−‖xᵢ − xⱼ‖² / (σ/2)²), 0 on the diagonal, (n, n).

    Source: Ng, Jordan & Weiss 2001, step 1, with the radius σ/2 of Mouysset et al. 2008. Where all
    points are the same, they are all equally near: 1.
    """
    scale = (sigma / 2) ** 2
    weights = np.exp(squared * (-1 / scale)) if scale > 0 else np.ones_like(squared)
    np.fill_diagonal(weights, 0)
    return weights


def embedding(weights: Array, count: int) -> Array:
    """Return the eigenvectors of the `count` largest eigenvalues of D^(−½) A D^(−½), (n, count).

    Largest first, of length 1; D is the diagonal of the row sums of A (Ng, Jordan & Weiss 2001,
    steps 2 and 3). Where many eigenvalues are near 1, as for a narrow Gaussian, they are found by
    inverse iteration about a point just above the largest there can be, for which a Cholesky
    factorization serves; otherwise by products with the matrix alone.

    Parameters
    ----------
    weights : (n, n) of `affinity`.
    """
    from scipy.linalg import cho_factor, cho_solve, eigh
    from scipy.sparse.linalg import LinearOperator, eigsh

    total = np.maximum(weights.sum(1), np.finfo(np.float64).tiny)
    scale = 1 / np.sqrt(total)
    normalised = weights * scale[:, None] * scale
    size = len(weights)
    if size < 4 * count or size < 200:
        return np.ascontiguousarray(eigh(normalised)[1][:, ::-1][:, :count])
    start = np.sqrt(total / total.sum()) + 1e-3 * np.cos(np.arange(size))
    # The sum of the squared eigenvalues: those near 1 are no more than this.
    if np.vdot(normalised, normalised) < count:
        vectors = eigsh(normalised, k=count, which="LA", v0=start, tol=1e-8)[1]
        return np.ascontiguousarray(vectors[:, ::-1])
    shifted = -normalised
    shifted.flat[:: size + 1] += 1 + BEYOND
    factor = cho_factor(shifted, lower=True, overwrite_a=True, check_finite=False)
    inverse = LinearOperator(
        (size, size), matvec=lambda x: cho_solve(factor, x, check_finite=False), dtype=np.float64
    )
    # (1 + ε − λ)⁻¹ is largest where λ is; eigsh gives the largest last.
    vectors = eigsh(inverse, k=count, which="LA", v0=start, tol=1e-6)[1]
    return np.ascontiguousarray(vectors[:, ::-1])


def spectral_clusters(vectors: Array, count: int, seed: int) -> tuple[Labels, Array]:
    """Return the cluster of every point, (n,), and its distances to all centres, (n, count).

    Of the eigenvectors `count` are used. Rows are scaled to length 1 and clustered by k-means (Ng,
    Jordan & Weiss 2001, steps 4 to 6).
    """
    from sklearn.cluster import KMeans

    rows = vectors[:, :count]
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.where(length > 0, length, 1)
    found = KMeans(count, n_init=10, random_state=seed).fit(rows)
    return found.labels_.astype(np.int64), found.transform(rows)


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
