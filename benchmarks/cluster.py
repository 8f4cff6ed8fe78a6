"""Clustering against pyclustering's compiled k-medians, scipy, PyTorch and scikit-learn.

Points are like a layer's activations: clouds, rectified. Results are compared before anything is
timed; rounds alternate and the medians count. Ours uses one thread, like scipy and scikit-learn;
pyclustering uses what its library takes.

pyclustering is tried in the interpreter that --peer names, so that it can live in an environment of
its own (python -m venv peer; peer/bin/pip install pyclustering).
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.cluster import SpectralClustering
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import adjusted_rand_score, pairwise_distances_argmin
from threadpoolctl import threadpool_limits

from speechscope.clustering.kmeans import kmedians as plain_kmedians
from speechscope.clustering.kmeans import manhattan
from speechscope.clustering.reduction import principal_components, tsne
from speechscope.clustering.spectral import (
    affinity,
    embedding,
    spectral_clusters,
    squared_distances,
    width,
)
from speechscope.fast.kmedians import kmedians

Array = NDArray[Any]

PEER = """
import sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from pyclustering.cluster.kmedians import kmedians
from pyclustering.utils.metric import distance_metric, type_metric
held = np.load(sys.argv[1])
points, start = held["points"].tolist(), held["start"].tolist()
metric = distance_metric(type_metric.MANHATTAN)
begun = time.perf_counter()
found = kmedians(points, start, ccore=True, metric=metric)
found.process()
print(time.perf_counter() - begun)
print(*[cluster for group in enumerate(found.get_clusters()) for cluster in
        [f"{group[0]}:{','.join(map(str, group[1]))}"]])
"""


def clouds(count: int, size: int, clusters: int) -> Array:
    """Return rectified clouds, (count, size) float32."""
    rng = np.random.default_rng(0)
    centres = 0.5 * rng.normal(size=(clusters, size))
    points = centres[np.arange(count) % clusters] + rng.normal(size=(count, size))
    return np.maximum(points, 0).astype(np.float32)


def cost_of(points: Array, labels: Array) -> float:
    """Return the sum of the distances to the medians of the clusters."""
    parts = [points[labels == n].astype(np.float64) for n in np.unique(labels)]
    return sum(float(np.abs(part - np.median(part, axis=0)).sum()) for part in parts)


def plain(points: Array, start: Array) -> Array:
    """Return the labels of Lloyd's alternation with scipy's distances, all of them every time."""
    centres = start.astype(np.float64)
    labels = np.full(len(points), -1)
    while True:
        new = cdist(points, centres, "cityblock").argmin(1)
        if (new == labels).all():
            return labels
        labels = new
        centres = np.stack([np.median(points[labels == n], axis=0) for n in range(len(start))])


def peer(python: str, points: Array, start: Array) -> tuple[float, Array]:
    """Return what pyclustering takes [s], its data already in its form, and its labels."""
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder) / "held.npz"
        np.savez(held, points=points, start=start)
        done = subprocess.run(
            [python, "-c", PEER, str(held)], capture_output=True, text=True, check=True
        )
    seconds, groups = done.stdout.strip().splitlines()
    labels = np.empty(len(points), dtype=np.int64)
    for group in groups.split():
        number, _, items = group.partition(":")
        labels[[int(item) for item in items.split(",") if item]] = int(number)
    return float(seconds), labels


def medians(runs: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Return the median seconds of alternating rounds."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            taken[name].append(run())
    return {name: statistics.median(values) for name, values in taken.items()}


def timer(run: Callable[[], object]) -> Callable[[], float]:
    """Return a function that runs another and says how long it took [s]."""

    def timed() -> float:
        begun = time.perf_counter()
        run()
        return time.perf_counter() - begun

    return timed


def shown(title: str, taken: dict[str, float]) -> None:
    """Print each in milliseconds and as a multiple of the first, which is ours."""
    print(title)
    first = next(iter(taken.values()))
    for name, seconds in taken.items():
        print(f"  {name:28} {seconds * 1e3:10.1f} ms  {seconds / first:7.2f} × ours")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", default=None, help="python with pyclustering")
    parser.add_argument("--points", type=int, default=3300)
    parser.add_argument("--size", type=int, default=1792)
    parser.add_argument("--peer-points", type=int, default=1000)
    parser.add_argument("--peer-size", type=int, default=256)
    parser.add_argument("--clusters", type=int, default=33)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", default="kmeans,spectral,tsne")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for part in given.parts.split(","):
            PARTS[part](given)


def kmeans_part(given: argparse.Namespace) -> None:
    """Compare k-means with Manhattan distances, whole and its assignment step."""
    points = clouds(given.points, given.size, given.clusters)
    rng = np.random.default_rng(1)
    start = points[rng.permutation(len(points))[: given.clusters]]
    if not np.array_equal(kmedians(points, start).labels, plain(points, start)):
        sys.exit("k-means: bounds changed the result")
    both = torch.from_numpy(points), torch.from_numpy(start)
    title = f"{given.points} × {given.size} points, {given.clusters} clusters"
    whole = {
        "ours": timer(lambda: kmedians(points, start)),
        "ours, plain": timer(lambda: plain_kmedians(points, start)),
        "scipy, all distances": timer(lambda: plain(points, start)),
    }
    shown(f"k-means, Manhattan: {title}", medians(whole, given.rounds))
    step = {
        "ours, all distances": timer(lambda: manhattan(points, start)),
        "scipy cdist": timer(lambda: cdist(points, start, "cityblock")),
        "scikit-learn argmin": timer(
            lambda: pairwise_distances_argmin(points, start, metric="manhattan")
        ),
        "torch.cdist": timer(lambda: torch.cdist(*both, p=1.0)),
    }
    shown("one assignment step", medians(step, given.rounds))
    if given.peer is None:
        return
    points = clouds(given.peer_points, given.peer_size, given.clusters)
    start = points[rng.permutation(len(points))[: given.clusters]]
    ours = cost_of(points, kmedians(points, start).labels)
    _, labels = peer(given.peer, points, start)
    theirs = cost_of(points, labels)
    compared = {
        "ours": timer(lambda: kmedians(points, start)),
        "pyclustering, compiled": lambda: peer(given.peer, points, start)[0],
    }
    shown(
        f"{given.peer_points} × {given.peer_size} points; cost ours {ours:.6g}, "
        f"pyclustering {theirs:.6g}",
        medians(compared, given.rounds),
    )


def spectral_part(given: argparse.Namespace) -> None:
    """Compare spectral clustering of activations, and of points of a plane as t-SNE gives them."""
    spectral_case("activations", clouds(given.points, given.size, given.clusters), given)
    rng = np.random.default_rng(2)
    places = 20 * rng.normal(size=(given.clusters, 2))
    plane = places[np.arange(given.points) % given.clusters] + rng.normal(size=(given.points, 2))
    spectral_case("plane", plane, given)


def spectral_case(name: str, points: Array, given: argparse.Namespace) -> None:
    """Compare spectral clustering of one affinity."""
    squared = squared_distances(points)
    weights = affinity(squared, width(squared, points.shape[1]))
    count = given.clusters
    theirs = SpectralClustering(count, affinity="precomputed", random_state=0)
    found, _ = spectral_clusters(embedding(weights, count), count, 0)
    same = adjusted_rand_score(found, theirs.fit(weights).labels_)
    taken = medians(
        {
            "ours": timer(lambda: spectral_clusters(embedding(weights, count), count, 0)),
            "scikit-learn": timer(lambda: theirs.fit(weights)),
        },
        given.rounds,
    )
    shown(f"spectral clustering, {name}: adjusted Rand index {same:.3f}", taken)


def tsne_part(given: argparse.Namespace) -> None:
    """Compare t-SNE, whose principal components we find, with scikit-learn's PCA and t-SNE."""
    points = clouds(given.points // 3, given.size, given.clusters)

    def theirs() -> object:
        reduced = PCA(0.9, svd_solver="full").fit_transform(points)
        return TSNE(2, init="pca", random_state=0, n_jobs=1).fit_transform(reduced)

    taken = medians(
        {
            "ours": timer(lambda: tsne(principal_components(points), 0)),
            "scikit-learn": timer(theirs),
        },
        1,
    )
    shown(f"PCA and t-SNE, {len(points)} points", taken)


PARTS = {"kmeans": kmeans_part, "spectral": spectral_part, "tsne": tsne_part}


if __name__ == "__main__":
    main()
