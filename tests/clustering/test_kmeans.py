"""k-means with the Manhattan distance, plain and fast, against loops and scikit-learn."""

import numpy as np
import oracles
import pytest
from made import blobs

from speechscope.clustering import kmeans
from speechscope.clustering.kmeans import (
    distance_ratio,
    kmedians,
    manhattan,
    manhattan_kmeans,
    preliminary,
)
from speechscope.clustering.layer import clustered
from speechscope.fast.kmedians import kmedians as fast_kmedians

FORMS = {"plain": kmedians, "fast": fast_kmedians}


def clouds(n: int = 90, d: int = 5, k: int = 4, spread: float = 1.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = 4 * rng.normal(size=(k, d))
    points: np.ndarray = centres[np.arange(n) % k] + spread * rng.normal(size=(n, d))
    return points.astype(np.float32)


def test_distances_are_sums_of_absolute_differences() -> None:
    points = np.random.default_rng(0).normal(size=(401, 700)).astype(np.float32)
    centres = points[:3]
    wanted = np.abs(points[:, None].astype(float) - centres).sum(2)
    np.testing.assert_allclose(manhattan(points, centres), wanted, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(8))
def test_clusters_are_those_of_plain_loops(seed: int, form: str) -> None:
    # Overlapping clouds and poor starts: many alternations, in which most bounds are used.
    points = clouds(spread=3.0, seed=seed)
    start = points[np.random.default_rng(seed).permutation(len(points))[:6]]
    found = FORMS[form](points, start)
    labels, centres = oracles.manhattan_lloyd(points, start)
    assert found.labels.tolist() == labels.tolist()
    np.testing.assert_allclose(found.centres, centres, rtol=1e-6)


def test_far_clouds_are_found_as_scikit_learn_finds_them() -> None:
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    points = clouds(120, 6, 5, spread=0.2)
    theirs = KMeans(5, n_init=10, random_state=0).fit(points).labels_
    ours = manhattan_kmeans(points, 5, seed=0).labels
    assert adjusted_rand_score(ours, theirs) == 1.0


@pytest.mark.parametrize("form", FORMS)
def test_an_empty_cluster_takes_the_farthest_point(form: str) -> None:
    points = np.array([[0.0], [1.0], [2.0], [10.0]], dtype=np.float32)
    start = np.array([[1.0], [1.0]], dtype=np.float32)  # the second is never the first nearest
    found = FORMS[form](points, start)
    assert found.labels.tolist() == [0, 0, 0, 1]
    assert found.centres.tolist() == [[1.0], [10.0]]


def test_the_preliminary_clustering_uses_a_tenth_of_the_points(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def spy(points: np.ndarray, start: np.ndarray) -> kmeans.Clusters:
        seen.append(len(points))
        return kmedians(points, start)

    monkeypatch.setattr(kmeans, "kmedians", spy)
    centres = preliminary(clouds(400), 4, np.random.default_rng(0))
    assert set(seen) == {40} and centres.shape == (4, 5)


def test_identical_points_can_be_clustered() -> None:
    found = manhattan_kmeans(np.ones((20, 3), dtype=np.float32), 3, seed=0)
    assert (found.centres == 1).all()


def test_the_ratio_of_distances_by_hand() -> None:
    points = np.array([[0.0], [2.0], [9.0], [11.0], [13.0], [20.0]], dtype=np.float32)
    centres = np.array([[1.0], [11.0], [20.0]], dtype=np.float32)
    labels = np.array([0, 0, 1, 1, 1, 2])
    # Of 13 the third centre is nearer than the first.
    wanted = np.mean([1 / ((11 + 9) / 2), (2 + 0 + 2) / 3 / ((8 + 9 + 7) / 3), 0 / 9])
    assert distance_ratio(manhattan(points, centres), labels) == pytest.approx(wanted)


def test_a_ratio_without_another_place_is_infinite() -> None:
    points = np.ones((4, 2), dtype=np.float32)
    assert distance_ratio(manhattan(points, points[:2]), np.array([0, 0, 1, 1])) == np.inf


@pytest.mark.parametrize("size", [20, 100])
def test_seven_blobs_are_found(size: int) -> None:
    chosen = []
    for seed in range(3):
        found, _ = clustered("kmeans", blobs(size, seed), range(2, 25), seed)
        chosen.append(found.max() + 1)
    assert set(chosen) <= {6, 7, 8} and sorted(chosen)[1] == 7, chosen
