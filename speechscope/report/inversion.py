"""The chapter of ``inversion.zarr``: what each method restores from each layer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from speechscope.registry import SCORES
from speechscope.report.figures import (
    Cell,
    Chapter,
    Chart,
    Figure,
    Grid,
    Line,
    Plot,
    Row,
    Sound,
    Table,
)
from speechscope.report.look import Look, config_of, look_of
from speechscope.report.request import Request
from speechscope.scores.tables import Row as ScoreRow
from speechscope.store.artifact import Artifact

CASES = 3
"""Items of which every method and layer is shown (fig. B.1 shows one)."""
CELLS = 400
"""Pictures of one grid at most (chosen: about 5 MB with their sounds)."""
BINS = 41
"""Edges of the intensity histograms, as in `speechscope` 0.1's pictures (chosen)."""
MEASURES = {
    "mxcorr": "cross-correlation of waveforms (mxcorr)",
    "mxcorr2": "cross-correlation of spectrograms (mxcorr2)",
    "euclidean": "Euclidean distance of spectrograms",
    "intensity": "intensity over that of the original",
}


def chapter(path: Path, request: Request) -> Chapter:
    """Return the chapter: grids of reconstructions, scores by layer, intensity histograms.

    Raises
    ------
    ArtifactError
        The inversion is damaged.
    UsageProblem
        An item asked for is not in it.
    """
    inversion = Inversion(path, request)
    config = inversion.artifact.record["config"]
    scores = list(SCORES["inversion"](path, request))
    methods, layers = inversion.methods, inversion.layers
    facts = {
        "items": f"{inversion.count:,} of {config.get('input', 'corpus')}",
        "methods": ", ".join(methods),
        "layers": ", ".join(inversion.layer_names),
    }
    width = 1 + len(layers)
    cases = request.chosen(path, inversion.count, min(CASES, request.examples))
    shown = request.chosen(path, inversion.count)
    figures: list[Figure] = [
        inversion.cases(cases[: max(1, CELLS // (width * len(methods)))]),
        inversion.layers_of(shown[: max(1, CELLS // width)], best(scores, methods)),
        by_layer(scores, methods),
        inversion.intensities(shown[0]),
        _table(scores),
    ]
    return Chapter(str(path), "inversion", facts, figures)


class Inversion:
    """An inversion as figures show it.

    Raises
    ------
    ArtifactError
        It is missing, foreign or damaged.
    """

    def __init__(self, path: Path, request: Request) -> None:
        self.artifact = Artifact(path, "inversion")
        self.methods = self.artifact.flags("method")
        self.layers: list[int] = self.artifact.read("layer").tolist()
        names = self.artifact.flags("layer")
        self.layer_names = [
            f"{layer} ({name})" for layer, name in zip(self.layers, names, strict=True)
        ]
        self.count = int(self.artifact.array("original").shape[0])
        self.labels = self.artifact.read("label")
        self.classes = self.artifact.flags("label")
        self.look: Look = look_of(
            self.artifact, config_of(path, self.artifact.record, request.moved)
        )
        self.heard = "waveform" in self.artifact

    def cases(self, items: Sequence[int]) -> Grid:
        """Return every method (rows) and layer (columns) of some items (Churchman 2015, B.1)."""
        rows = []
        for item in items:
            for number, method in enumerate(self.methods):
                cells: list[Cell] = [self.original(item) if number == 0 else None]
                cells += [self.found(number, at, item) for at in range(len(self.layers))]
                rows.append(Row(f"[{self.said(item)}] {method}", cells))
        note = (
            f"{len(items)} of {self.count:,} items: methods down, layers across, the original "
            "first (Churchman 2015, fig. B.1). Each picture has its own loudest point: "
            "reconstructions from deep layers are much softer than their originals."
        )
        columns = ["original", *(f"layer {name}" for name in self.layer_names)]
        return Grid("grid", "Reconstructions by method and layer", note, columns, rows)

    def layers_of(self, items: Sequence[int], method: int) -> Grid:
        """Return every layer (rows) of some items (columns) by one method (fig. 11)."""
        rows = [Row("original", [self.original(item) for item in items])]
        rows += [
            Row(f"layer {name}", [self.found(method, at, item) for item in items])
            for at, name in enumerate(self.layer_names)
        ]
        note = (
            f"{len(items)} of {self.count:,} items by {self.methods[method]}, the method that "
            "scores best; layers down (Churchman 2015, fig. 11)."
        )
        columns = [f"[{self.said(item)}] item {item}" for item in items]
        return Grid("layers", "Reconstructions by item and layer", note, columns, rows)

    def intensities(self, item: int) -> Grid:
        """Return histograms of the values of an item and its reconstructions (fig. 10)."""
        original = self.artifact.read("original", item)
        largest = float(np.abs(original).max()) or 1.0
        edges = np.linspace(-largest, largest, BINS)
        rows = []
        for number, method in enumerate(self.methods):
            found = [
                self.artifact.read("reconstruction", (number, at, item))
                for at in range(len(self.layers))
            ]
            rows.append(Row(method, [_histogram(values, edges) for values in [original, *found]]))
        note = (
            f"Values of item {item}, [{self.said(item)}], and of its reconstructions; those beyond "
            "the original's largest count at the ends, counts are logarithmic (Churchman 2015, "
            "fig. 10)."
        )
        columns = ["original", *(f"layer {name}" for name in self.layer_names)]
        return Grid("intensity", "Intensities", note, columns, rows)

    def said(self, item: int) -> str:
        """Return the name of an item's class."""
        return str(self.classes[self.labels[item]])

    def original(self, item: int) -> Cell:
        """Return the picture of what was put in."""
        sound = self._sound("waveform_original", item)
        return self._cell(self.artifact.read("original", item), sound, f"original, item {item}")

    def found(self, method: int, layer: int, item: int) -> Cell:
        """Return the picture of one reconstruction."""
        where = (method, layer, item)
        alt = f"{self.methods[method]}, layer {self.layers[layer]}, item {item}"
        values = self.artifact.read("reconstruction", where)
        return self._cell(values, self._sound("waveform", where), alt)

    def _cell(self, values: np.ndarray, sound: Sound | None, alt: str) -> Cell:
        if values.shape[1] > 1:
            return self.look.picture(values, sound, alt)
        time = self.look.time
        at = np.linspace(time.low, time.high, values.size)
        return Chart([Line("", at, values.ravel())], time.label, "value", sound=sound, alt=alt)

    def _sound(self, name: str, where: int | tuple[int, int, int]) -> Sound | None:
        if not self.heard:
            return None
        rate = int(self.artifact.attributes(name)["sampling_frequency"])
        return Sound(self.artifact.read(name, where), rate)


def best(scores: Sequence[ScoreRow], methods: Sequence[str]) -> int:
    """Return the method with the highest mean score over the layers."""
    measure = "mxcorr" if _has(scores, "mxcorr") else "mxcorr2"
    means = [
        np.mean([_number(row, measure) for row in scores if row["method"] == method])
        for method in methods
    ]
    return int(np.nanargmax(means)) if np.isfinite(means).any() else 0


def by_layer(scores: Sequence[ScoreRow], methods: Sequence[str]) -> Plot:
    """Return curves of each measure over the layers, one a method (Churchman 2015, fig. 9)."""
    charts = []
    for measure, label in MEASURES.items():
        if not _has(scores, measure):
            continue
        lines = []
        for method in methods:
            mine = [row for row in scores if row["method"] == method and row["layer"] is not None]
            band = measure == "mxcorr" and _has(mine, "mxcorr_low")
            lines.append(
                Line(
                    method,
                    _column(mine, "layer"),
                    _column(mine, measure),
                    _column(mine, "mxcorr_low") if band else None,
                    _column(mine, "mxcorr_high") if band else None,
                    points=True,
                )
            )
        rules = {}
        if measure == "mxcorr":
            limits = [_number(row, "threshold") for row in scores if _has([row], "threshold")]
            rules = {"average waveform": limits[0]} if limits else {}
            trips = [_number(row, measure) for row in scores if row["method"] == "round trip"]
            rules |= {"round trip": trips[0]} if trips else {}
        charts.append(Chart(lines, "layer", label, rules, alt=f"{label} by layer"))
    note = (
        "Means over all items (Churchman 2015, fig. 9 and sec. 7.1); of mxcorr with its 95 % "
        "bootstrap interval, the threshold of the average waveform, and the round trip of the "
        "representation itself."
    )
    return Plot("scores", "Scores by layer", note, charts)


def _table(scores: Sequence[ScoreRow]) -> Table:
    kept = [name for name in scores[0] if name not in ("artifact", "input") and _has(scores, name)]
    rows = [[row[name] for name in kept] for row in scores]
    note = "What `speechscope score` prints."
    return Table("scores-table", "Scores in figures", note, kept, rows, closed=True)


def _histogram(values: np.ndarray, edges: np.ndarray) -> Chart:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return Chart(
        [Line("", edges, np.append(counts, 0))], "value", "values", steps=True, logarithmic=True
    )


def _has(rows: Sequence[ScoreRow], name: str) -> bool:
    return any(row.get(name) is not None for row in rows)


def _column(rows: Sequence[ScoreRow], name: str) -> np.ndarray:
    return np.array([_number(row, name) for row in rows], dtype=np.float64)


def _number(row: ScoreRow, name: str) -> float:
    value = row.get(name)
    return float(value) if isinstance(value, int | float) else float("nan")
