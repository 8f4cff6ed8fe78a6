"""Spectral clustering against formulas pair by pair, and against scikit-learn."""

import numpy as np
import oracles
import pytest
from made import blobs

from speechscope.clustering.layer import clustered
from speechscope.clustering.spectral import (
    affinity,
    embedding,
    spectral_clusters,
    squared_distances,
    width,
)


def rings(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Two rings, one in the other: no line divides them."""
    rng = np.random.default_rng(0)
    angle = 2 * np.pi * np.arange(n) / (n / 2)
    labels = (np.arange(n) >= n // 2).astype(int)
    radius = 1 + 4.0 * labels
    points: np.ndarray = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    return points + 0.02 * rng.normal(size=points.shape), labels


def weights_of(points: np.ndarray) -> np.ndarray:
    squared = squared_distances(points)
    found: np.ndarray = affinity(squared, width(squared, points.shape[1]))
    return found


def test_affinity_and_eigenvectors_are_those_of_the_formulas() -> None:
    points = np.random.default_rng(0).normal(size=(30, 3))
    weights, normalised = oracles.normalised_affinity(points)
    np.testing.assert_allclose(weights_of(points), weights, atol=1e-10)
    vectors = np.linalg.eigh(normalised)[1]
    found = embedding(weights, 4)
    signs = np.sign((found * vectors[:, ::-1][:, :4]).sum(0))
    np.testing.assert_allclose(found, vectors[:, ::-1][:, :4] * signs, atol=1e-8)


@pytest.mark.parametrize("size", [40, 2])
def test_large_affinities_have_the_same_eigenvectors(size: int) -> None:
    # In a plane the Gaussian is narrow, and many eigenvalues are near 1.
    count = 6
    points = np.random.default_rng(1).normal(size=(320, size))
    weights = weights_of(points)
    degree = 1 / np.sqrt(weights.sum(1))
    normalised = weights * degree[:, None] * degree
    values = np.linalg.eigvalsh(normalised)[::-1][:count]
    assert ((normalised**2).sum() < count) == (size == 40)
    found = embedding(weights, count)
    np.testing.assert_allclose(normalised @ found, found * values, atol=1e-5)
    np.testing.assert_allclose(found.T @ found, np.eye(count), atol=1e-6)


def test_rings_are_told_apart_as_scikit_learn_does() -> None:
    from sklearn.cluster import SpectralClustering

    points, labels = rings()
    weights = weights_of(points)
    ours = spectral_clusters(embedding(weights, 2), 2, seed=0)[0]
    theirs = SpectralClustering(2, affinity="precomputed", random_state=0).fit(weights).labels_
    for found in (ours, theirs):
        assert len({(int(a), int(b)) for a, b in zip(found, labels, strict=True)}) == 2


def test_the_embedding_spans_what_scikit_learns_does() -> None:
    from sklearn.manifold import spectral_embedding

    points = np.random.default_rng(3).normal(size=(240, 3))
    weights = weights_of(points)
    ours = embedding(weights, 3) / np.sqrt(weights.sum(1))[:, None]
    theirs = spectral_embedding(
        weights, n_components=3, drop_first=False, random_state=0, eigen_tol=1e-10
    )
    for one, other in zip(ours.T, theirs.T, strict=True):
        cosine = abs(one @ other) / np.linalg.norm(one) / np.linalg.norm(other)
        assert cosine == pytest.approx(1, abs=1e-5)


def test_the_true_number_of_clusters_is_chosen() -> None:
    rng = np.random.default_rng(0)
    points = 3 * np.eye(5)[np.arange(150) % 5] + 0.3 * rng.normal(size=(150, 5))
    labels, criterion = clustered("spectral", points.astype(np.float32), range(2, 9), seed=0)
    assert labels.max() + 1 == 2 + criterion.argmin() == 5
    assert np.isfinite(criterion).all() and len(criterion) == 7


@pytest.mark.parametrize("size", [20, 60])
def test_seven_blobs_are_found(size: int) -> None:
    for seed in range(2):
        labels, _ = clustered("spectral", blobs(size, seed), range(2, 15), seed)
        assert labels.max() + 1 == 7


@pytest.mark.parametrize(
    "algorithm",
    ["kmeans-euclidean", "bisecting-kmeans", "agglomerative", "agglomerative-cosine",
     "gaussian-mixture"],
)  # fmt: skip
def test_the_usual_methods_find_what_is_plain(algorithm: str) -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(60) % 3
    points = (5 * np.eye(3)[truth] + 0.1 * rng.normal(size=(60, 3))).astype(np.float32)
    found, _ = clustered(algorithm, points, [3], seed=0)
    assert len(set(zip(found.tolist(), truth.tolist(), strict=True))) == 3


def test_points_that_are_all_the_same_have_an_affinity() -> None:
    squared = squared_distances(np.ones((6, 2)))
    found = affinity(squared, width(squared, 2))
    np.testing.assert_array_equal(found, 1 - np.eye(6))
    assert np.isfinite(embedding(found, 2)).all()


def test_rows_count_by_their_direction() -> None:
    # By place alone, the short rows of one direction would be with those of the other.
    rows = np.repeat([[2.0, 0.0], [0.05, 0.0], [0.0, 0.3]], 10, axis=0)
    found = spectral_clusters(rows, 2, seed=0)[0]
    assert len(set(found[:20])) == len(set(found[20:])) == 1
    assert found[0] != found[20]
