"""k-means with the Manhattan distance: centres are medians (Pellegrini 2016, sec. 3.2)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.registry import CLUSTERING
from speechscope.work.accelerators import fastest
from speechscope.work.device import sent, there

Points = NDArray[np.float32]
Labels = NDArray[np.int64]
Solver = Callable[[int], tuple[Labels, float]]
"""What an algorithm makes of points: their clusters (n,) for a number of them, and the criterion of
that number, of which less is better."""

SHARE = 0.1
"""Of the points, for the preliminary clustering: "based on preliminary clustering 10% of the
data" (sec. 3.2)."""
AT_LEAST = 5
"""Points a cluster in that sample, where 10 % are fewer (chosen)."""
STARTS = 5
"""Preliminary clusterings, the cheapest of which is taken (chosen: they cost half a run)."""
STEPS = 300
"""Most alternations (chosen: runs end at a fixed point before)."""
CACHED = 256 * 1024
"""Bytes of points worked on at once: they stay in the processor's second cache (measured)."""


class Clusters(NamedTuple):
    """The cluster of each point (n,), and the centres (k, d)."""

    labels: Labels
    centres: Points


@CLUSTERING.register("kmeans")
def kmeans(points: Points, most: int, seed: int) -> Solver:
    """Return k-means with Manhattan distances, judged by `distance_ratio`."""

    def solve(count: int) -> tuple[Labels, float]:
        labels, centres = manhattan_kmeans(points, count, seed)
        return labels, distance_ratio(manhattan(points, centres), labels)

    return solve


def manhattan_kmeans(points: Points, count: int, seed: int) -> Clusters:
    """Cluster points as the paper does: preliminary clusters of 10 %, then all of them.

    Parameters
    ----------
    points : (n, d) with n ≥ count.
    count
        Number of clusters.
    """
    rng = np.random.default_rng([seed, count])
    points = np.ascontiguousarray(points, dtype=np.float32)
    return fastest(kmedians)(points, preliminary(points, count, rng))


def preliminary(points: Points, count: int, rng: np.random.Generator) -> Points:
    """Return starting centres from clustering 10 % of the points (sec. 3.2), (count, d).

    Chosen, where the paper is silent: the cheapest of `STARTS` runs on random samples, each seeded
    as k-means++ does (Arthur & Vassilvitskii 2007), by distance instead of its square.
    """
    centres, lowest = points[:count], np.inf
    size = min(len(points), max(round(SHARE * len(points)), AT_LEAST * count))
    for _ in range(STARTS):
        sample = points[np.sort(rng.permutation(len(points))[:size])]
        clusters = fastest(kmedians)(sample, _seeds(sample, count, rng))
        away = np.abs(sample - clusters.centres[clusters.labels]).sum(1, dtype=np.float64)
        if away.sum() < lowest:
            centres, lowest = clusters.centres, away.sum()
    return centres


def _seeds(points: Points, count: int, rng: np.random.Generator) -> Points:
    chosen = [int(rng.integers(len(points)))]
    nearest = manhattan(points, points[chosen])[:, 0].astype(np.float64)
    while len(chosen) < count:
        total = nearest.sum()
        place = rng.random() * total
        drawn = int(np.searchsorted(nearest.cumsum(), place)) if total else len(chosen)
        chosen.append(min(drawn, len(points) - 1))
        away = manhattan(points, points[chosen[-1:]])[:, 0]
        nearest = np.minimum(nearest, away)
    return points[chosen]


def kmedians(points: Points, start: Points) -> Clusters:
    """Cluster points from given centres by Lloyd's alternation, until none changes its cluster.

    A point belongs to the nearest centre, the first of equally near ones; a centre is the median of
    its points on every axis, which is where the sum of their distances is smallest. A cluster that
    is left empty begins again with the point farthest from its centre.

    Parameters
    ----------
    points : (n, d).
    start : (k, d).
    """
    on_device = there(points)
    if on_device is not None:
        return _kmedians_on_device(on_device, start)
    centres = np.array(start, dtype=np.float32)
    distances = manhattan(points, centres)
    labels = distances.argmin(1)
    for _ in range(STEPS):
        refill(labels, distances.min(1), len(centres))
        for number in range(len(centres)):
            centres[number] = median(points[labels == number])
        distances = manhattan(points, centres)
        before, labels = labels, distances.argmin(1)
        if np.array_equal(before, labels):
            break
    return Clusters(labels, centres)


def _kmedians_on_device(points: Tensor, start: Points) -> Clusters:
    """Return what `kmedians` does of points on a device; one wait an alternation."""
    centres, count = sent(torch.tensor(start), points.device), len(start)
    distances = torch.cdist(points, centres, p=1)
    labels = distances.argmin(1)
    for _ in range(STEPS):
        mine = labels.cpu().numpy()
        if np.bincount(mine, minlength=count).min() == 0:
            refill(mine, distances.amin(1).cpu().numpy(), count)
            labels = sent(mine, points.device)
        sizes = np.bincount(mine, minlength=count).tolist()
        by_cluster = torch.split(points[labels.argsort(stable=True)], sizes)
        for number, (size, part) in enumerate(zip(sizes, by_cluster, strict=True)):
            middle = part.sort(0).values[(size - 1) // 2 : size // 2 + 1]
            centres[number] = middle.mean(0)
        distances = torch.cdist(points, centres, p=1)
        before, labels = labels, distances.argmin(1)
        if torch.equal(before, labels):
            break
    return Clusters(labels.cpu().numpy(), centres.cpu().numpy())


def manhattan(points: Points, centres: Points) -> NDArray[np.float32]:
    """Return the distances Σ|x − c|, (n, k), of points (n, d) to centres (k, d)."""
    on_device, others = there(points), there(centres)
    if on_device is not None and others is not None:
        found: NDArray[np.float32] = torch.cdist(on_device, others, p=1).cpu().numpy()
        return found
    out = np.empty((len(points), len(centres)), dtype=np.float32)
    rows = max(1, CACHED // (4 * max(1, points.shape[1])))
    ones = np.ones(points.shape[1], dtype=np.float32)
    space = np.empty((rows, points.shape[1]), dtype=np.float32)
    for first in range(0, len(points), rows):
        block = points[first : first + rows]
        away = space[: len(block)]
        for number, centre in enumerate(centres):
            np.subtract(block, centre, out=away)
            np.abs(away, out=away)
            out[first : first + len(block), number] = away @ ones
    return out


def median(points: Points) -> Points:
    """Return the median on every axis (d,), the mean of the middle two of an even number."""
    middle = len(points) // 2
    # Along the last axis, where values are neighbours in memory: 10 times as fast.
    columns = np.ascontiguousarray(points.T)
    places = [middle] if len(points) % 2 else [middle - 1, middle]
    columns.partition(places, axis=1)
    medians: Points = columns[:, places].mean(1, dtype=np.float32)
    return medians


def refill(labels: Labels, distances: NDArray[np.float32], count: int) -> list[int]:
    """Give every empty cluster the point farthest from its centre, of a cluster of several.

    Parameters
    ----------
    labels : (n,), changed in place.
    distances : (n,) of each point to its centre; that of a point that is taken becomes infinite.

    Returns
    -------
    The clusters that were changed.
    """
    sizes = np.bincount(labels, minlength=count)
    changed: list[int] = []
    for number in np.flatnonzero(sizes == 0):
        far = np.where(sizes[labels] > 1, distances, -np.inf).argmax()
        sizes[labels[far]] -= 1
        changed += [int(labels[far]), int(number)]
        labels[far], sizes[number], distances[far] = number, 1, np.inf
    return changed


def distance_ratio(distances: NDArray[np.floating[Any]], labels: Labels) -> float:
    """Return the mean over clusters of the ratio of distances within to distances between.

    1/k Σⱼ mean_{i ∈ j} d(xᵢ, cⱼ) / mean_{i ∈ j} d(xᵢ, c'ᵢ), c'ᵢ the nearest centre that is not the
    point's own: small where clusters are tight and their neighbours far. Pellegrini 2016, sec. 3.2,
    has "within- and between-cluster sums of point-to-centroïd distances" and their "mean ratios";
    chosen: between is to the nearest other cluster. With the distances to all other points in its
    place the ratio falls on, and of seven isolated blobs makes 10 to 31 clusters.

    Parameters
    ----------
    distances : (n, k) of every point to every centre.
    labels : (n,) in 0 … k − 1, of at least two clusters.
    """
    rows = np.arange(len(labels))
    within = distances[rows, labels].astype(np.float64)
    others = distances.astype(np.float64)
    others[rows, labels] = np.inf
    between = others.min(1)
    ratios = []
    for number in np.unique(labels):
        mine = labels == number
        apart = between[mine].mean()
        ratios.append(within[mine].mean() / apart if apart > 0 else np.inf)
    return float(np.mean(ratios))
