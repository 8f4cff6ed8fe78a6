"""The scores of `clusters.zarr`: clusters against classes, and what layers hold."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speechscope.corpus.phones import FEATURES
from speechscope.registry import SCORES
from speechscope.scores.tables import Row
from speechscope.store.artifact import Artifact

if TYPE_CHECKING:
    from speechscope.stages.score import Score

AGREEMENT = {
    "precision": "precision",
    "recall": "recall",
    "f_measure": "f_measure",
    "ami": "mutual_information",
}
"""Columns, and the arrays they are from."""


@SCORES.register("clusters")
def cluster_rows(path: Path, settings: "Score") -> Iterator[Row]:
    """Yield the tables of `clusters.zarr`, one after the other.

    Clusters against classes by layer, reduction and algorithm; the purity of clusters in each
    phonological feature, beside that for phones grouped at random; what linear probes read of each
    feature, beside their control; and the likeness of layers.

    Raises
    ------
    ArtifactError
        It is missing, damaged or another.
    """
    artifact = Artifact(path, "clusters")
    axes = {key: artifact.flags(key) for key in ("layer", "reduction", "algorithm")}
    ways = {
        way: {key: names[at] for (key, names), at in zip(axes.items(), way, strict=True)}
        for way in np.ndindex(*map(len, axes.values()))
    }
    values = {column: artifact.read(name) for column, name in AGREEMENT.items()}
    clusters, dimensions = artifact.read("n_clusters"), artifact.read("dimensions")
    items = len(artifact.read("label"))
    for way, names in ways.items():
        yield {
            "artifact": path.name,
            **names,
            "items": items,
            "dimensions": int(dimensions[way[:2]]),
            "clusters": int(clusters[way]),
            **{column: float(scores[way]) for column, scores in values.items()},
        }
    purity = artifact.read("purity")
    for way, names in ways.items():
        yield {
            "artifact": path.name,
            **names,
            "clusters": int(clusters[way]),
            **{
                f"{feature}{suffix}": _number(purity[way][f, column])
                for f, feature in enumerate(FEATURES)
                for column, suffix in enumerate(("", "_chance"))
            },
        }
    yield from _probes(artifact)
    yield from _likeness(artifact)


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
                "artifact": artifact.path.name,
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
                "artifact": artifact.path.name,
                "layer": layer,
                "measure": measure,
                **dict(zip(artifact.flags(others), map(_number, row), strict=True)),
            }


def _number(value: np.floating) -> float | None:
    return float(value) if np.isfinite(value) else None
