"""The scores of `clusters.zarr`."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np

from speechscope.corpus.phonology import FEATURES
from speechscope.scores.tables import Row
from speechscope.store.artifact import Artifact


def cluster_rows(path: Path) -> Iterator[Row]:
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
    layers = artifact.flags("layer")
    reductions, algorithms = artifact.flags("reduction"), artifact.flags("algorithm")
    cells = list(product(enumerate(layers), enumerate(reductions), enumerate(algorithms)))
    names = ("precision", "recall", "f_measure", "mutual_information", "n_clusters")
    values = {name: artifact.read(name) for name in names}
    dimensions = artifact.read("dimensions")
    items = len(artifact.read("label"))
    for (l, layer), (r, reduction), (a, algorithm) in cells:  # noqa: E741
        yield {
            "artifact": path.name,
            "layer": layer,
            "reduction": reduction,
            "algorithm": algorithm,
            "items": items,
            "dimensions": int(dimensions[l, r]),
            "clusters": int(values["n_clusters"][l, r, a]),
            "precision": float(values["precision"][l, r, a]),
            "recall": float(values["recall"][l, r, a]),
            "f_measure": float(values["f_measure"][l, r, a]),
            "ami": float(values["mutual_information"][l, r, a]),
        }
    purity = artifact.read("purity")
    for (l, layer), (r, reduction), (a, algorithm) in cells:  # noqa: E741
        yield {
            "artifact": path.name,
            "layer": layer,
            "reduction": reduction,
            "algorithm": algorithm,
            "clusters": int(values["n_clusters"][l, r, a]),
            **{
                f"{name}{what}": _number(purity[l, r, a, f, column])
                for f, name in enumerate(FEATURES)
                for column, what in enumerate(("", "_chance"))
            },
        }
    if "probe" in artifact:
        probe = artifact.read("probe")
        for l, layer in enumerate(layers):  # noqa: E741
            for f, name in enumerate(FEATURES):
                yield {
                    "artifact": path.name,
                    "layer": layer,
                    "probe": name,
                    "accuracy": _number(probe[l, f, 0]),
                    "control": _number(probe[l, f, 1]),
                    "values": len(_values(artifact, name)),
                }
    for name, others in (("cka", "layer"), ("cka_against", "against_layer")):
        if name in artifact:
            found = artifact.read(name)
            for l, layer in enumerate(layers):  # noqa: E741
                yield {
                    "artifact": path.name,
                    "layer": layer,
                    "measure": name,
                    **{
                        other: _number(found[l, column])
                        for column, other in enumerate(artifact.flags(others))
                    },
                }


def _values(artifact: Artifact, feature: str) -> set[str]:
    """Return the values of a feature that phones with samples have."""
    names = artifact.flags(f"class_{feature}")
    there = artifact.read("count") > 0
    return {names[place] for place in artifact.read(f"class_{feature}")[there]} - {"-"}


def _number(value: np.floating) -> float | None:
    return float(value) if np.isfinite(value) else None
