"""The criteria for the number of clusters (Pellegrini 2016, sec. 3.2), over seeds and sample sizes.

The paper's text leaves open how its "mean ratios" are taken. Clusters of a layer of each model, or
of blobs of which the number is known, are judged for every number of them by the criteria of
`speechscope cluster` and by others that the text allows; a line says which number each likes best.
Nothing is timed.

    python benchmarks/criteria.py --blobs 7
    python benchmarks/criteria.py model.pt --layer relu5 --per-class 30 100 --seeds 0 1 2

With `--keep CSV --corpus recorded` the lines are added to the figures of docs/results/.
"""

import argparse
import csv
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from speechscope.clustering.kmeans import distance_ratio, manhattan, manhattan_kmeans
from speechscope.clustering.samples import activations, choose
from speechscope.clustering.spectral import (
    affinity,
    embedding,
    spectral_clusters,
    squared_distances,
    width,
)
from speechscope.networks.subject import subject_of
from speechscope.stages.cluster import Cluster

Array = NDArray[np.float64]
Points = NDArray[np.float32]
Labels = NDArray[np.int64]

OURS = "to the nearest other centre (ours)"


def of_blocks(squared_weights: Array, labels: Labels) -> dict[str, float]:
    """Return readings of the paper's criterion for spectral clustering: blocks of the affinity."""
    inside = (labels[:, None] == np.unique(labels)).astype(np.float64)
    blocks = inside.T @ squared_weights @ inside
    norms = np.sqrt(blocks)
    own, above = np.diag(norms), np.triu_indices(len(norms), 1)
    pairs = np.sqrt(blocks / np.outer(inside.sum(0), inside.sum(0)))
    apart = ~np.eye(len(blocks), dtype=bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        both = 2 * norms / (own[:, None] + own)
        each, density = norms / own[:, None], pairs / np.diag(pairs)[:, None]
    return {
        "blocks, both clusters' own": float(both[above].mean()),
        "blocks, to each own": float(each[apart].mean()),
        "blocks, per pair of points": float(density[apart].mean()),
    }


def of_distances(away: Array, labels: Labels) -> dict[str, float]:
    """Return readings of the criterion of k-means, from distances to centres."""
    mine = (labels[:, None] == np.arange(away.shape[1])).astype(np.float64)
    size = mine.sum(0)
    within, between = (away * mine).sum(0), (away * (1 - mine)).sum(0)
    return {
        OURS: distance_ratio(away, labels),
        "to all other points, means": float(np.mean(within / size / between * (len(away) - size))),
        "to all other points, sums": float(np.mean(within / between)),
    }


def judged(points: Points, most: int, seed: int) -> Iterator[tuple[str, str, int]]:
    """Yield (algorithm, criterion, the number of clusters it likes best)."""
    squared = squared_distances(points)
    weights = affinity(squared, width(squared, points.shape[1]))
    vectors = embedding(weights, most)
    np.square(weights, out=weights)
    values: dict[tuple[str, str], list[float]] = {}
    counts = range(2, most + 1)
    for count in counts:
        found = manhattan_kmeans(points, count, seed)
        away = manhattan(points, found.centres).astype(np.float64)
        labels, embedded = spectral_clusters(vectors, count, seed)
        for name, value in of_distances(away, found.labels).items():
            values.setdefault(("kmeans", name), []).append(value)
        spectral = {OURS: distance_ratio(embedded, labels), **of_blocks(weights, labels)}
        for name, value in spectral.items():
            values.setdefault(("spectral", name), []).append(value)
    for (algorithm, name), row in values.items():
        yield algorithm, name, counts[int(np.nanargmin(row))]


def blobs(count: int, size: int, seed: int) -> Points:
    """Return clouds in 20 dimensions, ten times as far apart as they are wide."""
    rng = np.random.default_rng(seed)
    centres = 10 / np.sqrt(2) * rng.standard_normal((count, 20))
    points = centres[np.repeat(np.arange(count), size)]
    points += rng.standard_normal(points.shape)
    return np.asarray(points, dtype=np.float32)


def main() -> None:
    """Write a line of CSV for each source, size, seed and criterion."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="*")
    parser.add_argument("--blobs", type=int, default=0, help="so many blobs instead of a model")
    parser.add_argument("--split", default="test")
    parser.add_argument("--layer", default="relu5")
    parser.add_argument("--per-class", type=int, nargs="+", default=[30])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--most", type=int, default=33)
    parser.add_argument("--keep", type=Path, help="a CSV in docs/results/")
    parser.add_argument("--corpus", default="recorded", help="recorded or synthetic, for --keep")
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines = csv.writer(sys.stdout)
    lines.writerow(["source", "points", "seed", "algorithm", "criterion", "clusters"])
    kept: list[dict[str, object]] = []
    for size in given.per_class:
        for seed in given.seeds:
            sources = (
                {f"{given.blobs} blobs": blobs(given.blobs, size, seed)} if given.blobs else {}
            )
            for model in given.models:
                of = subject_of(model, None, None, None, torch.device("cpu"))
                told = Cluster(split=given.split, per_class=size, seed=seed)
                samples = choose(of, told)
                points = activations(of, samples, given.layer).flatten(1).numpy()
                sources[f"{model.stem} {given.layer}"] = points
            for name, points in sources.items():
                for row in judged(points, min(given.most, len(points) - 1), seed):
                    lines.writerow([name, len(points), seed, *row])
                    kept.append(figure(given.corpus, seed, len(points), *row))
                sys.stdout.flush()
    if given.keep:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
        from keep_results import write

        write(given.keep, kept)


def figure(
    corpus: str, seed: int, points: int, algorithm: str, criterion: str, clusters: int
) -> dict[str, object]:
    """Return a figure as docs/results/ has them; of samples of several sizes one is kept a seed."""
    return {
        "corpus": corpus,
        "artifact": f"criteria-{points}",
        "seed": seed,
        "subject": f"algorithm={algorithm}; criterion={criterion.replace(' (ours)', '')}",
        "measure": "clusters",
        "value": clusters,
        "n": points,
        "command": " ".join(["python", *sys.argv]),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }


if __name__ == "__main__":
    main()
