"""The chapter of ``clusters.zarr``: which classes lie together in which layer."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speechscope.corpus.store import Corpus
from speechscope.registry import CHAPTERS
from speechscope.report import figures as fig
from speechscope.report.chapters import corpus_of, score_figures, scores_of
from speechscope.report.pictures import sounds, spread
from speechscope.store.artifact import Artifact

if TYPE_CHECKING:
    from speechscope.stages.report import Report

POINTS = 40
"""Points of the projection, and sounds, for each example asked for (chosen)."""
PLANES = 3
"""Layers whose maps are drawn (chosen: those with maps are few)."""
TRAITS = ("manner", "place", "voicing")
"""Phonological features that points can be coloured by."""
CLASSES_NAMED = 6
"""Classes named for each cluster of a composition table."""
LONG = 20
"""Clusters from which on their table opens on demand (chosen)."""
SHARE = 0.02
"""Share of a cluster below which a class is not named."""
COMPOSITION = ("cluster", "items", "classes")
MEASURES = {"f_measure": "F", "precision": "precision", "recall": "recall"}
Way = tuple[int, ...]
"""To cluster: the reduction and the algorithm."""


@CHAPTERS.register("clusters")
def chapter(path: Path, settings: "Report") -> fig.Chapter:
    """Return the chapter: F by layer, criteria, a projection, compositions and F1-F2 maps.

    Arrays that an artifact does not hold leave their figure out.

    Raises
    ------
    ArtifactError
        The artifact is damaged.
    """
    artifact = Artifact(path, "clusters")
    left_out: list[str] = []
    drawn = _Clusters(artifact)
    facts = {
        "layers": ", ".join(drawn.layers),
        "reductions": ", ".join(drawn.reductions),
        "algorithms": ", ".join(drawn.algorithms),
        "items": f"{artifact.array('cluster').shape[-1]:,}",
    }
    figures: list[fig.Figure] = [drawn.by_layer()]
    if "criterion" in artifact:
        figures += drawn.criteria()
    if "projection" in artifact:
        corpus = corpus_of(settings, path, artifact.record, left_out, "sounds of the projection")
        figures.append(drawn.cloud(corpus, POINTS * settings.examples))
        if "class_projection" in artifact:
            figures.append(drawn.class_cloud(corpus))
    if "composition" in artifact:
        figures += drawn.compositions()
    figures += _planes(artifact)
    held = "dimensions" in artifact and "class_manner" in artifact
    scores = scores_of(path, settings) if held else []
    figures += score_figures(scores)
    looked = (
        f"Whether {artifact.array('cluster').shape[-1]:,} sounds group by phone in what layer "
        f"{', '.join(drawn.layers)} holds of them"
    )
    return fig.Chapter(str(path), "clusters", facts, figures, left_out, looked, scores)


class _Clusters:
    """The arrays of a clustering, by the names of their coordinates."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self.reductions = artifact.flags("reduction")
        self.algorithms = artifact.flags("algorithm")
        self.numbers = np.arange(float(len(artifact.flags("layer"))))
        self.layers = artifact.flags("layer")
        self.classes = artifact.flags("label")
        self.label = artifact.read("label").astype(np.int64)
        self.scores = {name: artifact.read(name) for name in MEASURES}
        self.count = artifact.read("n_clusters")

    @property
    def highest(self) -> int:
        """The layer of the highest F."""
        scores = np.nan_to_num(self.scores["f_measure"], nan=-1.0)
        return int(scores.max(axis=(1, 2)).argmax())

    def best(self, layer: int) -> Way:
        """Return the way of the highest F in a layer."""
        scores = np.nan_to_num(self.scores["f_measure"][layer], nan=-1.0)
        return tuple(int(at) for at in np.unravel_index(int(scores.argmax()), scores.shape))

    def name_of(self, reduction: int, algorithm: int) -> str:
        """Return the name of a way to cluster."""
        reduced = self.reductions[reduction]
        return f"{self.algorithms[algorithm]}{'' if reduced == 'none' else f' after {reduced}'}"

    def by_layer(self) -> fig.Plot:
        """Return F, precision and recall over the layers (Pellegrini 2016, fig. 1)."""
        charts = []
        for name, values in self.scores.items():
            lines = [
                fig.Line(self.name_of(r, a), self.numbers, values[:, r, a], points=True)
                for r, a in np.ndindex(len(self.reductions), len(self.algorithms))
            ]
            up = MEASURES[name]
            charts.append(fig.Chart(lines, "layer", up, alt=f"{up} by layer"))
        names = ", ".join(
            f"{number:g} {name}" for number, name in zip(self.numbers, self.layers, strict=True)
        )
        note = (
            f"How well clusters are phones (Pellegrini 2016, sec. 3 and fig. 1). Layers: {names}."
        )
        return fig.Plot("f-measure", "F by layer", note, charts)

    def criteria(self) -> list[fig.Figure]:
        """Return the criterion over the number of clusters, a chart for each way to cluster."""
        values = self.artifact.read("criterion")
        if values.ndim == 3:  # one for all reductions
            values = values[:, None]
        if values.shape[-1] < 2:
            return []
        numbers = np.arange(values.shape[-1])
        if "k" in self.artifact:
            numbers = self.artifact.read("k")
        charts = []
        for r, a in np.ndindex(*values.shape[1:3]):
            if not np.isfinite(values[:, r, a]).any():
                continue
            way = self.name_of(r, a) if values.shape[1] > 1 else self.algorithms[a]
            lines = [
                fig.Line(name, numbers.astype(np.float64), values[layer, r, a])
                for layer, name in enumerate(self.layers)
            ]
            charts.append(fig.Chart(lines, "clusters", f"criterion of {way}", alt=f"of {way}"))
        note = "What the number of clusters is chosen by, by layer (Pellegrini 2016, sec. 4.3)."
        return [fig.Plot("criterion", "Number of clusters", note, charts)] if charts else []

    def cloud(self, corpus: Corpus | None, most: int) -> fig.Cloud:
        """Return the projections of some items of every class, with what each sounds like."""
        occurring = np.unique(self.label)
        each = max(1, most // max(1, len(occurring)))
        items = [i for k in occurring for i in spread(np.flatnonzero(self.label == k), each)]
        chosen = np.array(sorted(items), dtype=np.int64)[:most]
        projection, cluster = self.artifact.read("projection"), self.artifact.read("cluster")
        views = {name: projection[layer][chosen] for layer, name in enumerate(self.layers)}
        label = self.label[chosen]
        groups = self._traits(label)
        for layer, name in enumerate(self.layers):
            groups[f"clusters of {name}"] = (cluster[(layer, *self.best(layer))][chosen], ())
        captions = [f"[{self.classes[k]}], item {i}" for k, i in zip(label, chosen, strict=True)]
        note = (
            f"{len(chosen)} of {len(self.label):,} items, each class under its name; the first "
            "three components of what each layer holds (Pellegrini 2016, fig. 2)."
        )
        points = (label, groups, captions, self._sounds(corpus, chosen), self.highest)
        return fig.Cloud("projection", "Projection", note, views, self.classes, *points)

    def class_cloud(self, corpus: Corpus | None) -> fig.Cloud:
        """Return the projections of the classes' mean activations (Pellegrini 2016, fig. 2)."""
        projection = self.artifact.read("class_projection")
        there = np.flatnonzero(np.isfinite(projection).all(axis=(0, 1, 3)))
        views = {
            f"{name}, {embedding}": projection[layer, number][there]
            for layer, name in enumerate(self.layers)
            for number, embedding in enumerate(self.artifact.flags("embedding"))
        }
        first = np.array([np.flatnonzero(self.label == k)[0] for k in there], dtype=np.int64)
        captions = [
            f"[{self.classes[k]}], sounding item {i}" for k, i in zip(there, first, strict=True)
        ]
        note = "The mean activation of each class; a point sounds the first of its items."
        title = "Projection of classes"
        best = self.highest * len(self.artifact.flags("embedding"))
        points = (there, self._traits(there), captions, self._sounds(corpus, first), best)
        return fig.Cloud("class-projection", title, note, views, self.classes, *points)

    def _sounds(self, corpus: Corpus | None, samples: fig.Values) -> list[fig.Sound | None]:
        if corpus is None or "item_index" not in self.artifact:
            return [None] * len(samples)
        return list(sounds(corpus, self.artifact.read("item_index")[samples]))

    def _traits(self, label: fig.Values) -> dict[str, tuple[fig.Values, tuple[str, ...]]]:
        """Return the phonological features of classes (n,), where the artifact holds them."""
        return {
            trait: (self.artifact.read(name)[label], self.artifact.flags(name))
            for trait in TRAITS
            if (name := f"class_{trait}") in self.artifact
        }

    def compositions(self) -> list[fig.Figure]:
        """Return what the clusters of each layer are made of, in the way of the highest F."""
        tables: list[fig.Figure] = []
        for layer, name in enumerate(self.layers):
            way = self.best(layer)
            counts = np.nan_to_num(self.artifact.read("composition", (layer, *way)))
            rows: list[list[fig.Entry]] = []
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
            best = self.name_of(*way)
            note = f"By {best}, the best here by F; classes above {100 * SHARE:.0f} %."
            title = f"Composition of the clusters of {name}"
            closed = layer != self.highest or len(rows) > LONG
            figure = f"composition-{name}"
            tables.append(fig.Table(figure, title, note, COMPOSITION, rows, closed=closed))
        return tables


def _planes(artifact: Artifact) -> list[fig.Figure]:
    """Return a map of each of the first layers that have some, at the F1 and F2 of its vowels.

    None where no class is a vowel with known formants.
    """
    if "formant" not in artifact or "activation_map" not in artifact:
        return []
    formants, classes = artifact.read("formant"), artifact.flags("label")
    drawn: list[fig.Figure] = []
    for layer, name in enumerate(artifact.flags("layer")):
        maps = None if name == "input" or len(drawn) == PLANES else _maps(artifact, layer)
        if maps is None:
            continue
        there = np.isfinite(maps).any(axis=(0, 2, 3)) & np.isfinite(formants).all(axis=1)
        vowels = np.flatnonzero(there)
        if not len(vowels):
            continue
        maps = maps[:, vowels]
        number = int(np.nanargmax(maps.std(axis=1).mean(axis=(1, 2))))
        names = [classes[vowel] for vowel in vowels]
        drawn.append(_plane(name, number, maps[number], names, formants[vowels]))
    return drawn


def _maps(artifact: Artifact, layer: int) -> fig.Values | None:
    """Read the maps (map, class, frequency, time) of a layer; None of one of units.

    Where the artifact says how large they are, what pads them is not read: it may be large.
    """
    if artifact.array("activation_map").ndim != 5:
        return None
    if "map_shape" in artifact:
        maps, rows, columns = (int(size) for size in artifact.read("map_shape", layer))
        area = (layer, slice(maps), slice(None), slice(rows), slice(columns))
        return None if rows * columns == 1 else artifact.read("activation_map", area)
    padded = artifact.read("activation_map", layer)
    there = np.isfinite(padded)
    inside = there.any(axis=(0, 1, 3)), there.any(axis=(0, 1, 2))
    whole = padded[there.any(axis=(1, 2, 3))][:, :, inside[0]][..., inside[1]]
    return whole if whole.size and whole.shape[2] * whole.shape[3] > 1 else None


def _plane(
    layer: str, number: int, maps: fig.Values, names: Sequence[str], at: fig.Values
) -> fig.Plane:
    # A few places of a map, such as its edges, are often far from the rest.
    low, high = (float(end) for end in np.nanpercentile(maps, (1, 99)))
    scale = fig.Scale("mean activation", low, high)
    x, y = fig.Axis("frame", "", 0, maps.shape[2]), fig.Axis("bin", "", 0, maps.shape[1])
    places = [
        (name, fig.Picture(values, x, y, scale, alt=name), float(f2), float(f1))
        for name, values, (f1, f2) in zip(names, maps, at, strict=True)
    ]
    # As vowel charts are drawn: front to the left, close at the top.
    least, most = at.min(axis=0), at.max(axis=0)
    room = 0.12 * (most - least) + 30
    f1, f2 = (
        fig.Axis(name, "Hz", float(most[n] + room[n]), float(least[n] - room[n]))
        for n, name in enumerate(("F1", "F2"))
    )
    note = (
        f"Map {number} of {layer}, the one that differs most between vowels: its mean activation "
        "for each, where the vowel lies by F1 and F2 (Pellegrini 2016, fig. 3)."
    )
    return fig.Plane(f"formants-{layer}", f"Map of {layer} by F1 and F2", note, f2, f1, places)
