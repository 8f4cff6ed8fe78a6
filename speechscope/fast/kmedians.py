"""k-means with the Manhattan distance: centres are medians (Pellegrini 2016, sec. 3.2).

Lloyd's alternation of assignment and centres. The assignment is nearly all the work, and most of
it can be seen to be needless: Elkan (2003, "Using the triangle inequality to accelerate k-means")
keeps a lower bound of every distance to a centre, which falls by no more than the centre moves, and
works out only distances that could be the smallest. This holds in any metric and changes no result.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]
Labels = NDArray[np.int64]

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
SLACK = 1e-5
"""Relative rounding of a distance, which the bounds allow for."""


@dataclass(frozen=True)
class Clustering:
    """Points in clusters.

    Parameters
    ----------
    labels
        Cluster of each point, (n,).
    centres
        (k, d).
    cost
        Sum of the distances to the centres.
    """

    labels: Labels
    centres: Points
    cost: float


def manhattan(points: Points, centres: Points, threads: int = 1) -> NDArray[np.float32]:
    """Return the distances Σ|x − c|, (n, k).

    Parameters
    ----------
    points, centres
        (n, d) and (k, d).
    threads
        That share the points; results do not depend on it.
    """
    out = np.empty((len(points), len(centres)), dtype=np.float32)
    rows = max(1, CACHED // (4 * max(1, points.shape[1])))
    ones = np.ones(points.shape[1], dtype=np.float32)

    def work(start: int, stop: int) -> None:
        space = np.empty((rows, points.shape[1]), dtype=np.float32)
        for first in range(start, stop, rows):
            block = points[first : min(first + rows, stop)]
            away = space[: len(block)]
            for number, centre in enumerate(centres):
                np.subtract(block, centre, out=away)
                np.abs(away, out=away)
                out[first : first + len(block), number] = away @ ones

    _spread(work, len(points), rows, threads)
    return out


def _spread(work: Callable[[int, int], None], count: int, rows: int, threads: int) -> None:
    """Call `work` on stretches of whole blocks of rows, so that they do not depend on `threads`."""
    blocks = -(-count // rows)
    if threads < 2 or blocks < 2:
        work(0, count)
        return
    each = -(-blocks // threads) * rows
    with ThreadPoolExecutor(threads) as pool:
        tasks = [pool.submit(work, s, min(s + each, count)) for s in range(0, count, each)]
        for task in tasks:
            task.result()


def kmedians(points: Points, start: Points, *, threads: int = 1, steps: int = STEPS) -> Clustering:
    """Cluster points from given centres, until no point changes its cluster.

    A point belongs to the nearest centre, the first of equally near ones; a centre is the median of
    its points on every axis, which is where the sum of their distances is smallest. A cluster that
    is left empty begins again with the point farthest from its centre.

    Parameters
    ----------
    points : (n, d).
    start : (k, d).
    """
    points = np.ascontiguousarray(points, dtype=np.float32)
    centres = np.array(start, dtype=np.float32)
    lower = manhattan(points, centres, threads)
    labels = lower.argmin(1)
    upper = lower.min(1)
    changed = np.ones(len(centres), dtype=bool)
    for _ in range(steps):
        _refill(labels, upper, changed, len(centres))
        moved = np.zeros(len(centres), dtype=np.float32)
        for number in np.flatnonzero(changed):
            centre = _median(points[labels == number])
            moved[number] = np.abs(centre - centres[number]).sum() * (1 + SLACK)
            centres[number] = centre
        lower -= moved
        upper += moved[labels]
        before = labels.copy()
        _assign(points, centres, lower, upper, labels, threads)
        different = before != labels
        if not different.any():
            break
        changed[:] = False
        changed[before[different]] = changed[labels[different]] = True
    away = (
        np.abs(points - centres[labels]).sum(1, dtype=np.float64)
        if points.size < 1e7
        else (_own(points, centres, labels, np.arange(len(points))).astype(np.float64))
    )
    return Clustering(labels, centres, float(away.sum()))


def _assign(
    points: Points,
    centres: Points,
    lower: NDArray[np.float32],
    upper: NDArray[np.float32],
    labels: Labels,
    threads: int,
) -> None:
    """Move points to their nearest centres, working out distances that could be the smallest."""
    own = np.arange(len(points)), labels
    lower[own] = np.inf
    rows = np.flatnonzero(lower.min(1) <= upper * (1 + SLACK))
    upper[rows] = _own(points, centres, labels, rows)
    lower[own] = upper
    limit = upper[rows] * (1 + SLACK)
    near = lower[rows] <= limit[:, None]
    near[np.arange(len(rows)), labels[rows]] = False

    def work(first: int, last: int) -> None:
        for number in range(first, last):
            wanted = rows[near[:, number]]
            if len(wanted):
                lower[wanted, number] = _to_one(points, wanted, centres[number])

    _spread(work, len(centres), 1, threads)
    labels[rows] = lower[rows].argmin(1)
    upper[rows] = lower[rows, labels[rows]]


def _to_one(points: Points, rows: NDArray[np.integer[Any]], centre: Points) -> Points:
    step = max(1, CACHED // (4 * points.shape[1]))
    ones = np.ones(points.shape[1], dtype=np.float32)
    out = np.empty(len(rows), dtype=np.float32)
    for first in range(0, len(rows), step):
        away = points[rows[first : first + step]]
        away -= centre
        np.abs(away, out=away)
        out[first : first + step] = away @ ones
    return out


def _own(
    points: Points, centres: Points, labels: Labels, rows: NDArray[np.integer[Any]]
) -> NDArray[np.float32]:
    out = np.empty(len(rows), dtype=np.float32)
    mine = labels[rows]
    for number in np.unique(mine):
        place = np.flatnonzero(mine == number)
        out[place] = _to_one(points, rows[place], centres[number])
    return out


def _median(points: Points) -> Points:
    """Return the median on every axis, the mean of the middle two of an even number."""
    middle = len(points) // 2
    # Along the last axis, where values are neighbours in memory: 10 times as fast.
    columns = np.ascontiguousarray(points.T)
    places = [middle] if len(points) % 2 else [middle - 1, middle]
    columns.partition(places, axis=1)
    found: Points = columns[:, places].mean(1, dtype=np.float32)
    return found


def _refill(labels: Labels, upper: NDArray[np.float32], changed: NDArray[Any], count: int) -> None:
    """Give every empty cluster the point farthest from its centre, of a cluster of several."""
    sizes = np.bincount(labels, minlength=count)
    for number in np.flatnonzero(sizes == 0):
        far = np.where(sizes[labels] > 1, upper, -np.inf).argmax()
        sizes[labels[far]] -= 1
        changed[labels[far]] = changed[number] = True
        labels[far], sizes[number], upper[far] = number, 1, np.inf


def preliminary(points: Points, count: int, rng: np.random.Generator) -> Points:
    """Return starting centres from clustering 10 % of the points (sec. 3.2), (count, d).

    Chosen, where the paper is silent: the cheapest of `STARTS` runs on random samples, each seeded
    as k-means++ does (Arthur & Vassilvitskii 2007), by distance instead of its square.
    """
    best: Clustering | None = None
    size = min(len(points), max(round(SHARE * len(points)), AT_LEAST * count))
    for _ in range(STARTS):
        sample = points[np.sort(rng.permutation(len(points))[:size])]
        found = kmedians(sample, _seeds(sample, count, rng))
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None
    return best.centres


def _seeds(points: Points, count: int, rng: np.random.Generator) -> Points:
    chosen = [int(rng.integers(len(points)))]
    nearest = manhattan(points, points[chosen])[:, 0].astype(np.float64)
    while len(chosen) < count:
        total = nearest.sum()
        place = rng.random() * total
        one = int(np.searchsorted(nearest.cumsum(), place)) if total else len(chosen)
        chosen.append(min(one, len(points) - 1))
        away = manhattan(points, points[chosen[-1:]])[:, 0]
        nearest = np.minimum(nearest, away)
    return points[chosen]


def manhattan_kmeans(points: Points, count: int, seed: int, threads: int = 1) -> Clustering:
    """Cluster points as the paper does: preliminary clusters of 10 %, then all of them.

    Parameters
    ----------
    points : (n, d) with n ≥ count.
    count
        Number of clusters.
    """
    rng = np.random.default_rng([seed, count])
    points = np.ascontiguousarray(points, dtype=np.float32)
    return kmedians(points, preliminary(points, count, rng), threads=threads)


def distance_ratio(distances: NDArray[np.floating[Any]], labels: Labels) -> float:
    """Return the mean over clusters of the ratio of distances within to distances between.

    1/k Σⱼ mean_{i ∈ j} d(xᵢ, cⱼ) / mean_{i ∉ j} d(xᵢ, cⱼ): small where clusters are tight and far
    from the other points. Pellegrini 2016, sec. 3.2, has "within- and between-cluster sums of
    point-to-centroïd distances" and their "mean ratios"; chosen: both sums are divided by their
    number of distances, without which the largest number of clusters would always win.

    Parameters
    ----------
    distances : (n, k) of every point to every centre.
    labels : (n,) in 0 … k − 1, of at least two clusters.
    """
    ratios = []
    for number in np.unique(labels):
        mine = labels == number
        between = distances[~mine, number].mean(dtype=np.float64)
        within = distances[mine, number].mean(dtype=np.float64)
        ratios.append(within / between if between > 0 else np.inf)
    return float(np.mean(ratios))
