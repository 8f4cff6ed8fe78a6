"""The chapter of ``clusters.zarr``: which classes lie together in which layer."""

from pathlib import Path

import numpy as np

from speechscope.corpus.store import Corpus
from speechscope.report.figures import (
    Chapter,
    Chart,
    Cloud,
    Entry,
    Figure,
    Line,
    Plot,
    Sound,
    Table,
    Values,
)
from speechscope.report.formants import planes
from speechscope.report.look import heard
from speechscope.report.request import Request, spread
from speechscope.store.artifact import Artifact

POINTS = 40
"""Points of the projection, and sounds, for each example asked for (chosen)."""
TRAITS = ("manner", "place", "voicing")
"""Phonological features that points can be coloured by."""
CLASSES_NAMED = 6
"""Classes named for each cluster of a composition table."""
SHARE = 0.02
"""Share of a cluster below which a class is not named."""
MEASURES = {"f_measure": "F", "precision": "precision", "recall": "recall"}


def chapter(path: Path, request: Request) -> Chapter:
    """Return the chapter: F by layer, criteria, a projection, compositions and F1-F2 maps.

    Arrays that an artifact does not hold leave their figure out.

    Raises
    ------
    ArtifactError
        The artifact is damaged.
    """
    artifact = Artifact(path, "clusters")
    left_out: list[str] = []
    clusters = _Clusters(artifact)
    facts = {
        "layers": ", ".join(clusters.layers),
        "reductions": ", ".join(clusters.reductions),
        "algorithms": ", ".join(clusters.algorithms),
        "items": f"{artifact.array('cluster').shape[-1]:,}",
    }
    figures: list[Figure] = [clusters.by_layer()]
    if "criterion" in artifact:
        figures += clusters.criteria()
    if "projection" in artifact:
        corpus = request.corpus(path, artifact.record, left_out, "sounds of the projection")
        figures.append(clusters.cloud(corpus, POINTS * request.examples))
        if "class_projection" in artifact:
            figures.append(clusters.class_cloud(corpus))
    if "composition" in artifact:
        figures += clusters.compositions()
    figures += planes(artifact)
    figures.append(clusters.table())
    return Chapter(str(path), "clusters", facts, figures, left_out)


class _Clusters:
    """The arrays of a clustering, by the names of their coordinates."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self.reductions = artifact.flags("reduction")
        self.algorithms = artifact.flags("algorithm")
        self.numbers = artifact.read("layer").astype(np.float64)
        self.layers = artifact.flags("layer")
        self.classes = artifact.flags("label")
        self.scores = {name: artifact.read(name) for name in MEASURES}
        self.count = artifact.read("n_clusters")

    def best(self, layer: int) -> tuple[int, int]:
        """Return the reduction and the algorithm of the highest F in a layer."""
        found = np.nan_to_num(self.scores["f_measure"][layer], nan=-1.0)
        reduction, algorithm = np.unravel_index(int(found.argmax()), found.shape)
        return int(reduction), int(algorithm)

    def said(self, reduction: int, algorithm: int) -> str:
        """Return the name of a way to cluster."""
        reduced = self.reductions[reduction]
        return f"{self.algorithms[algorithm]}{'' if reduced == 'none' else f' after {reduced}'}"

    def by_layer(self) -> Plot:
        """Return F, precision and recall over the layers (Pellegrini 2016, fig. 1)."""
        ways = list(np.ndindex(len(self.reductions), len(self.algorithms)))
        charts = [
            Chart(
                [
                    Line(self.said(*way), self.numbers, values[(slice(None), *way)], points=True)
                    for way in ways
                ],
                "layer",
                MEASURES[name],
                alt=f"{MEASURES[name]} by layer",
            )
            for name, values in self.scores.items()
        ]
        names = ", ".join(
            f"{number:g} {name}" for number, name in zip(self.numbers, self.layers, strict=True)
        )
        note = (
            f"How well clusters are phones (Pellegrini 2016, sec. 3 and fig. 1). Layers: {names}."
        )
        return Plot("f-measure", "F by layer", note, charts)

    def criteria(self) -> list[Figure]:
        """Return the criterion over the number of clusters, a chart for each way to cluster."""
        values = self.artifact.read("criterion")
        if values.ndim == 3:  # one for all reductions
            values = values[:, None]
        if values.shape[-1] < 2:
            return []
        numbers = (
            self.artifact.read("k").astype(np.float64)
            if "k" in self.artifact
            else np.arange(values.shape[-1], dtype=np.float64)
        )
        charts = []
        for way in np.ndindex(*values.shape[1:3]):
            if not np.isfinite(values[(slice(None), *way)]).any():
                continue
            said = self.said(*way) if values.shape[1] > 1 else self.algorithms[way[1]]
            lines = [
                Line(name, numbers, values[(layer, *way)]) for layer, name in enumerate(self.layers)
            ]
            charts.append(Chart(lines, "clusters", f"criterion of {said}", alt=f"of {said}"))
        note = "What the number of clusters is chosen by, by layer (Pellegrini 2016, sec. 4.3)."
        return [Plot("criterion", "Number of clusters", note, charts)] if charts else []

    def cloud(self, corpus: Corpus | None, most: int) -> Cloud:
        """Return the projections of some items of every class, with what each sounds like."""
        label = self.artifact.read("label").astype(np.int64)
        occurring = np.unique(label)
        each = max(1, most // max(1, len(occurring)))
        chosen = np.sort(
            np.array([i for k in occurring for i in spread(np.flatnonzero(label == k), each)])
        ).astype(np.int64)[:most]
        projection = self.artifact.read("projection")
        views = {name: projection[layer][chosen] for layer, name in enumerate(self.layers)}
        cluster = self.artifact.read("cluster")
        groups = self._traits(label[chosen])
        for layer, name in enumerate(self.layers):
            groups[f"clusters of {name}"] = (cluster[(layer, *self.best(layer))][chosen], ())
        sounds: list[Sound | None] = [None] * len(chosen)
        if corpus is not None and "item_index" in self.artifact:
            sounds = list(heard(corpus, self.artifact.read("item_index")[chosen]))
        said = [f"[{self.classes[label[i]]}], item {i}" for i in chosen]
        note = (
            f"{len(chosen)} of {len(label):,} items, each class under its name; the first three "
            "components of what each layer holds (Pellegrini 2016, fig. 2)."
        )
        names = list(self.classes)
        return Cloud(
            "projection", "Projection", note, views, names, label[chosen], groups, said, sounds
        )

    def class_cloud(self, corpus: Corpus | None) -> Cloud:
        """Return the projections of the classes' mean activations (Pellegrini 2016, fig. 2)."""
        projection = self.artifact.read("class_projection")
        label = self.artifact.read("label").astype(np.int64)
        there = np.flatnonzero(np.isfinite(projection).all(axis=(0, 1, 3)))
        embeddings = self.artifact.flags("embedding")
        views = {
            f"{name}, {embedding}": projection[layer, number][there]
            for layer, name in enumerate(self.layers)
            for number, embedding in enumerate(embeddings)
        }
        first = np.array([np.flatnonzero(label == k)[0] for k in there], dtype=np.int64)
        sounds: list[Sound | None] = [None] * len(there)
        if corpus is not None and "item_index" in self.artifact:
            sounds = list(heard(corpus, self.artifact.read("item_index")[first]))
        groups = self._traits(there)
        said = [
            f"[{self.classes[k]}], sounding item {i}" for k, i in zip(there, first, strict=True)
        ]
        note = "The mean activation of each class; a point sounds the first of its items."
        names = list(self.classes)
        return Cloud(
            "class-projection",
            "Projection of classes",
            note,
            views,
            names,
            there,
            groups,
            said,
            sounds,
        )

    def _traits(self, label: Values) -> dict[str, tuple[Values, tuple[str, ...]]]:
        """Return the phonological features of classes (n,), where the artifact holds them."""
        return {
            trait: (self.artifact.read(name)[label], self.artifact.flags(name))
            for trait in TRAITS
            if (name := f"class_{trait}") in self.artifact
        }

    def compositions(self) -> list[Figure]:
        """Return what the clusters of each layer are made of, in the way of the highest F."""
        found: list[Figure] = []
        highest = np.nan_to_num(self.scores["f_measure"], nan=-1.0).max(axis=(1, 2)).argmax()
        for layer, name in enumerate(self.layers):
            way = self.best(layer)
            counts = np.nan_to_num(self.artifact.read("composition", (layer, *way)))
            rows: list[list[Entry]] = []
            for number, row in enumerate(counts):
                total = float(row.sum())
                if total <= 0:
                    continue
                order = np.argsort(-row, kind="stable")[:CLASSES_NAMED]
                named = [
                    f"{self.classes[k]} {100 * row[k] / total:.0f} %"
                    for k in order
                    if row[k] / total >= SHARE
                ]
                rows.append([number, int(total), ", ".join(named)])
            note = f"By {self.said(*way)}, the best here by F; classes above {100 * SHARE:.0f} %."
            title = f"Composition of the clusters of {name}"
            headings = ("cluster", "items", "classes")
            found.append(
                Table(f"composition-{name}", title, note, headings, rows, closed=layer != highest)
            )
        return found

    def table(self) -> Table:
        """Return every score."""
        headings = ("layer", "reduction", "algorithm", "clusters", *MEASURES.values())
        rows: list[list[Entry]] = [
            [
                self.layers[layer],
                self.reductions[reduction],
                self.algorithms[algorithm],
                int(self.count[layer, reduction, algorithm]),
                *(float(values[layer, reduction, algorithm]) for values in self.scores.values()),
            ]
            for layer, reduction, algorithm in np.ndindex(self.count.shape)
        ]
        return Table("scores-table", "Scores in figures", "", headings, rows, closed=True)
