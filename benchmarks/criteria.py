"""Other readings of the criteria for the number of clusters (Pellegrini 2016, sec. 3.2).

The paper's text leaves open how its "mean ratios" are taken. Clusters of one layer, for every
number of them, are judged by the criteria of `speechscope cluster` and by others that the text
allows; a line says which four numbers each likes best. Nothing is timed.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from speechscope.clustering.kmeans import distance_ratio, manhattan, manhattan_kmeans
from speechscope.clustering.samples import activations, choose
from speechscope.clustering.spectral import (
    affinity,
    block_ratio,
    embedding,
    spectral_labels,
    squared_distances,
    width,
)
from speechscope.networks.subject import subject_of
from speechscope.stages.cluster import Cluster

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


def of_blocks(squared_weights: Array, labels: Labels) -> dict[str, float]:
    """Return readings of the criterion of spectral clustering."""
    inside = (labels[:, None] == np.unique(labels)).astype(np.float64)
    blocks = inside.T @ squared_weights @ inside
    unit = inside.T @ (squared_weights + np.eye(len(labels))) @ inside
    pairs = blocks / np.outer(inside.sum(0), inside.sum(0))
    apart, above = ~np.eye(len(blocks), dtype=bool), np.triu_indices(len(blocks), 1)

    def to_own(values: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Array = np.sqrt(values) / np.sqrt(np.diag(values))[:, None]
        return found

    return {
        "blocks, both clusters' own (ours)": block_ratio(squared_weights, labels),
        "blocks, to each own": float(to_own(blocks)[apart].mean()),
        "blocks, to the first's own": float(to_own(blocks)[above].mean()),
        "blocks, points like themselves": float(to_own(unit)[apart].mean()),
        "blocks, per pair of points": float(to_own(pairs)[apart].mean()),
    }


def of_distances(
    points: NDArray[np.float32], centres: NDArray[np.float32], labels: Labels
) -> dict[str, float]:
    """Return readings of the criterion of k-means."""
    away = manhattan(points, centres).astype(np.float64)
    mine = (labels[:, None] == np.arange(len(centres))).astype(np.float64)
    size = mine.sum(0)
    within, between = (away * mine).sum(0), (away * (1 - mine)).sum(0)
    others = mine.T @ away
    others = others.sum(1) - np.diag(others)
    apart = manhattan(centres, centres)
    np.fill_diagonal(apart, np.inf)
    most = len(centres) - 1
    return {
        "distances, means (ours)": distance_ratio(away, labels),
        "distances, sums": float(np.mean(within / between)),
        "distances, over all": float(within.sum() / between.sum() * most),
        "distances, to other centres": float(np.mean(within / others * most)),
        "distances, to the nearest centre": float(np.mean(within / size / apart.min(1))),
    }


def main() -> None:
    """Print a line a reading."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--corpus", type=Path, default=None)
    parser.add_argument("--split", default="test")
    parser.add_argument("--layer", default="relu5")
    parser.add_argument("--per-class", type=int, default=30)
    given = parser.parse_args()
    torch.set_num_threads(1)
    of = subject_of(given.model, None, None, given.corpus, torch.device("cpu"))
    told = Cluster(split=given.split, per_class=given.per_class)
    samples = choose(of, told)
    points = activations(of, samples, given.layer).flatten(1).numpy()
    classes = len(np.unique(samples.labels))
    print(f"{len(points)} samples of {classes} classes, {given.layer}")
    squared = squared_distances(points)
    weights = affinity(squared, width(squared, points.shape[1]))
    vectors = embedding(weights, classes)
    np.square(weights, out=weights)
    values: dict[str, list[float]] = {}
    counts = range(2, classes + 1)
    for count in counts:
        found = manhattan_kmeans(points, count, 0)
        judged = {
            **of_distances(points, found.centres, found.labels),
            **of_blocks(weights, spectral_labels(vectors, count, 0)),
        }
        for name, value in judged.items():
            values.setdefault(name, []).append(value)
    for name, row in values.items():
        best = ", ".join(str(counts[place]) for place in np.argsort(row)[:4])
        print(f"  {name:36} {best}")


if __name__ == "__main__":
    main()
