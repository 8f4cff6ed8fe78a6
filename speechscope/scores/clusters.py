"""The scores of `clusters.zarr`: clusters against classes, and what layers hold."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from speechscope.clustering.geometry import halves
from speechscope.clustering.measures import (
    composition,
    grouping,
    mutual_information,
    precision_recall,
    purity,
)
from speechscope.corpus.phones import FEATURES
from speechscope.registry import SCORES
from speechscope.scores.statistics import Done, Row, Whole
from speechscope.store.artifact import Artifact

if TYPE_CHECKING:
    from speechscope.stages.score import Score as Settings

CHANCES = HALVES = 50
"""Random labels and groups of phones, and half-samples (chosen: a normal distribution is fitted to
what they give)."""
AGREEMENT = ("precision", "recall", "f_measure")


@SCORES.register("clusters")
def cluster_scores(path: Path, settings: "Settings") -> Iterator[Whole | Row | Done]:
    """Yield the scores of `clusters.zarr`, and what linear probes and likeness say of its layers.

    Clusters against classes by layer, reduction and algorithm, by chance: the classes of other
    samples. The purity of clusters in each phonological feature, by chance: that for phones grouped
    at random. What linear probes read of each feature, beside their control; likeness of layers.

    Raises
    ------
    ArtifactError
        It is missing, damaged or another.
    """
    artifact = Artifact(path, "clusters")
    axes = {key: artifact.flags(key) for key in ("layer", "reduction", "algorithm")}
    labels, dimensions = artifact.read("label"), artifact.read("dimensions")
    features = {
        feature: np.array(artifact.flags(f"class_{feature}"))[artifact.read(f"class_{feature}")]
        for feature in FEATURES
    }
    ways = list(np.ndindex(*map(len, axes.values())))
    for number, way in enumerate(ways):
        yield Done(number, len(ways))
        names = {key: names[at] for (key, names), at in zip(axes.items(), way, strict=True)}
        clusters = artifact.read("cluster", way).astype(np.int64)
        beside = {"dimensions": int(dimensions[way[:2]]), "clusters": int(clusters.max()) + 1}
        for score in (*_agreement(clusters, labels), *_purity(clusters, labels, features)):
            yield replace(score, names={**names, **score.names}, beside=beside)
    yield from _probes(artifact)
    yield from _likeness(artifact)


def _agreement(clusters: NDArray[np.int64], labels: NDArray[np.integer]) -> Iterator[Whole]:
    """Yield how well clusters are the classes."""
    count, shape = len(labels), (int(clusters.max()) + 1, int(labels.max()) + 1)

    def measured(samples: NDArray[np.int64], classes: NDArray[np.integer]) -> tuple[float, ...]:
        found = precision_recall(composition(samples, classes, shape))
        return (*found, mutual_information(samples, classes))

    rng = np.random.default_rng(0)
    chance = np.array([measured(clusters, rng.permutation(labels)) for _ in range(CHANCES)])
    some = halves(np.arange(count), HALVES, 0)
    spread = np.array([measured(clusters[rows], labels[rows]) for rows in some])
    null = "the classes of other samples"
    for column, value in enumerate(measured(clusters, labels)):
        names = {"measure": (*AGREEMENT, "ami")[column]}
        yield Whole(names, value, chance[:, column], null, spread[:, column], count)


def _purity(
    clusters: NDArray[np.int64],
    labels: NDArray[np.integer],
    features: Mapping[str, NDArray[np.str_]],
) -> Iterator[Whole]:
    """Yield how pure clusters are in each phonological feature of their phones."""
    shape = (int(clusters.max()) + 1, len(next(iter(features.values()))))
    counts = composition(clusters, labels, shape)
    for row, (feature, values) in enumerate(features.items()):
        groups = grouping(values.tolist())
        have = np.flatnonzero(groups.any(1) & (counts.sum(0) > 0))
        if groups.shape[-1] < 2 or not len(have):
            continue
        rng = np.random.default_rng([0, row])
        chance = np.full(CHANCES, np.nan)
        for draw in range(CHANCES):
            other = np.zeros_like(groups)
            other[have] = groups[rng.permutation(have)]
            chance[draw] = purity(counts, other)
        some = rng.multivariate_hypergeometric(counts.ravel(), counts.sum() // 2, HALVES)
        spread = np.array([purity(half, groups) for half in some.reshape(-1, *counts.shape)])
        items = int(counts[:, have].sum())
        names = {"measure": f"purity in {feature}"}
        null = "phones grouped at random"
        yield Whole(names, purity(counts, groups), chance, null, spread, items)


def _probes(artifact: Artifact) -> Iterator[Row]:
    if "probe" not in artifact:
        return
    probe, there = artifact.read("probe"), artifact.read("count") > 0
    for layer, row in zip(artifact.flags("layer"), probe, strict=True):
        for feature, (accuracy, control) in zip(FEATURES, row, strict=True):
            # The values of the feature that phones with samples have.
            values = artifact.flags(f"class_{feature}")
            occurring = {values[place] for place in artifact.read(f"class_{feature}")[there]}
            yield {
                "layer": layer,
                "probe": feature,
                "accuracy": _number(accuracy),
                "control": _number(control),
                "values": len(occurring - {"-"}),
            }


def _likeness(artifact: Artifact) -> Iterator[Row]:
    for measure, others in (("cka", "layer"), ("cka_against", "against_layer")):
        if measure not in artifact:
            continue
        for layer, row in zip(artifact.flags("layer"), artifact.read(measure), strict=True):
            yield {
                "layer": layer,
                "measure": measure,
                **dict(zip(artifact.flags(others), map(_number, row), strict=True)),
            }


def _number(value: np.floating) -> float | None:
    return float(value) if np.isfinite(value) else None
