"""The chapter of ``inversion.zarr``: what each method restores from each layer."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speechscope.registry import CHAPTERS
from speechscope.report import figures as fig
from speechscope.report.chapters import corpus_of, score_figures, scores_of, shown_items
from speechscope.report.pictures import from_onset, longest, sound_in, style_of
from speechscope.scores.inversion import EUCLIDEAN, SIZE, SPECTROGRAM, WAVEFORM
from speechscope.scores.statistics import Row as Scores
from speechscope.store.artifact import Artifact

if TYPE_CHECKING:
    from speechscope.stages.report import Report

CASES = 3
"""Items of which every method and layer is shown (fig. B.1 shows one)."""
DRAWS = 6
"""Draws that stand in a row at most (chosen: as many as fit across a page)."""
CELLS = 400
"""Pictures of one grid at most (chosen: about 5 MB with their sounds)."""
BINS = 41
"""Edges of the intensity histograms, as in `speechscope` 0.1's pictures (chosen)."""
MEASURES = {
    WAVEFORM: "cross-correlation of waveforms (mxcorr)",
    SPECTROGRAM: "cross-correlation of spectrograms (mxcorr2)",
    EUCLIDEAN: "Euclidean distance of spectrograms",
    SIZE: "size over that of the original",
    "log-mel distance [dB]": "log-mel distance after the best level [dB]",
    "manner of the phone": "share of phones heard with the right manner",
}


@CHAPTERS.register("inversion")
def chapter(path: Path, settings: "Report") -> fig.Chapter:
    """Return the chapter: grids of reconstructions, scores by layer, intensity histograms.

    Raises
    ------
    ArtifactError
        The inversion is damaged.
    UsageProblem
        An item asked for is not in it.
    """
    drawn = _Inversion(path, settings)
    scores = scores_of(path, settings)
    methods, layers, count = drawn.methods, drawn.layers, drawn.count
    given = drawn.artifact.record["config"].get("input", "corpus")
    facts = {
        "items": f"{count:,} of {given}",
        "methods": ", ".join(methods),
        "layers": ", ".join(layers),
    }
    width = 1 + len(layers)
    cases = shown_items(settings, path, count, min(CASES, settings.examples))
    shown = shown_items(settings, path, count)
    figures: list[fig.Figure] = [
        drawn.cases(cases[: max(1, CELLS // (width * len(methods)))]),
        drawn.by_layer(shown[: max(1, CELLS // width)], methods[_best(scores, methods)]),
        *([_score_curves(scores, methods)] if len(layers) > 1 else []),
    ]
    # One method alone shows the same items in both grids.
    figures = [*score_figures(scores), *drawn.draws(cases), *figures[len(methods) == 1 :]]
    figures.insert(1 if width == 2 else len(figures), drawn.intensities(shown[0]))
    looked = (
        f"{count:,} sounds, rebuilt from what layer {', '.join(layers)} of the "
        f"network holds of them by {', '.join(methods)}"
    )
    return fig.Chapter(str(path), "inversion", facts, figures, looked=looked, scores=scores)


class _Inversion:
    """Items of an inversion as pictures, in grids."""

    def __init__(self, path: Path, settings: "Report") -> None:
        self.artifact = artifact = Artifact(path, "inversion")
        self.place = {name: at for at, name in enumerate(artifact.flags("technique"))}
        self.methods = [name for name in self.place if "#" not in name] or list(self.place)
        numbers = artifact.read("layer_number").tolist()
        self.numbers = numbers
        self.layers = [
            f"{k} ({name})" for k, name in zip(numbers, artifact.flags("layer"), strict=True)
        ]
        self.columns = ["original", *(f"layer {name}" for name in self.layers)]
        self.count = int(artifact.array("original").shape[0])
        classes = artifact.flags("label")
        self.labels = [classes[k] for k in artifact.read("label")]
        items = shown_items(settings, path, self.count)
        self.frames = longest(artifact.read("original", item) for item in items)
        self.style = style_of(artifact, corpus_of(settings, path, artifact.record, [], ""))

    def cases(self, items: Sequence[int]) -> fig.Grid:
        """Return every method (rows) and layer (columns) of some items (Churchman 2015, B.1)."""
        rows = [self._row(item, method, method) for item in items for method in self.methods]
        note = (
            f"{len(items)} of {self.count:,} items: methods down, layers across, the original "
            "first (Churchman 2015, fig. B.1). Each picture has its own loudest point: "
            "reconstructions from deep layers are much softer than their originals. Time counts "
            "from where the sound begins; the silence that pads it is left out."
        )
        title = "Reconstructions by method and layer"
        return fig.Grid("grid", title, note, self.columns, rows)

    def _row(self, item: int, method: str, name: str) -> tuple[str, list[fig.Cell]]:
        cells = [self.restored(method, at, item) for at in range(len(self.layers))]
        return f"[{self.labels[item]}] {name}", [self.original(item), *cells]

    def draws(self, items: Sequence[int]) -> list[fig.Grid]:
        """Return what an activity leaves open: in a row the original, the answer, and draws."""
        methods = list(dict.fromkeys(n.partition("#")[0] for n in self.place if "#" in n))
        figures = []
        for number, method in enumerate(methods):
            drawn = [name for name in self.place if name.startswith(f"{method}#")]
            shown = [*([method] if method in self.place else []), *drawn[:DRAWS]]
            rows = []
            for item in items:
                for at, layer in enumerate(self.layers):
                    cells = [self.restored(name, at, item) for name in shown]
                    name = f"[{self.labels[item]}] layer {layer}"
                    rows.append((name, [self.original(item), *cells]))
            note = (
                f"{len(items)} of {self.count:,} items, {min(DRAWS, len(drawn))} of {len(drawn)} "
                "draws: sounds that the layer takes for the original, as far as it tells. What "
                "they share it knows; by what they differ it does not. ▶▶ plays the row."
            )
            title = f"What the layer leaves open, by {method}"
            name = "draws" if number == 0 else f"draws-{number + 1}"
            figures.append(fig.Grid(name, title, note, ["original", *shown], rows))
        return figures

    def by_layer(self, items: Sequence[int], method: str) -> fig.Grid:
        """Return some items (rows) from every layer (columns) by one method (fig. 11)."""
        rows = [self._row(item, method, f"item {item}") for item in items]
        best = ", the method that scores best" if len(self.methods) > 1 else ""
        note = (
            f"{len(items)} of {self.count:,} items by {method}{best}; layers across, "
            "the original first (Churchman 2015, fig. 11)."
        )
        return fig.Grid("layers", "Reconstructions by item and layer", note, self.columns, rows)

    def intensities(self, item: int) -> fig.Grid:
        """Return histograms of the values of an item and its reconstructions (fig. 10)."""
        original = self.artifact.read("original", item)
        largest = float(np.abs(original).max()) or 1.0
        edges = np.linspace(-largest, largest, BINS)
        rows = []
        for method in self.methods:
            restored = [
                self.artifact.read("reconstruction", (self.place[method], at, item))
                for at in range(len(self.layers))
            ]
            cells = [_histogram(values, edges) for values in [original, *restored]]
            rows.append((method, cells))
        note = (
            f"Values of item {item}, [{self.labels[item]}], and of its reconstructions; those "
            "beyond the original's largest count at the ends, counts are logarithmic (Churchman "
            "2015, fig. 10)."
        )
        return fig.Grid("intensity", "Intensities", note, self.columns, rows)

    def original(self, item: int) -> fig.Cell:
        """Return the picture of what was put in."""
        return self._cell("original", "waveform_original", item, f"original, item {item}")

    def restored(self, method: str, layer: int, item: int) -> fig.Cell:
        """Return the picture of one reconstruction."""
        alt = f"{method}, layer {self.numbers[layer]}, item {item}"
        return self._cell("reconstruction", "waveform", (self.place[method], layer, item), alt)

    def _cell(self, name: str, waveform: str, at: int | tuple[int, ...], alt: str) -> fig.Cell:
        values = self.artifact.read(name, at)
        item = at if isinstance(at, int) else at[-1]
        given = self.artifact.read("original", item)
        sound = sound_in(self.artifact, waveform, at)
        shown: fig.Picture | fig.Chart
        if values.shape[1] > 1:
            shown = self.style.picture(values, sound, alt)
        else:
            time = self.style.time
            across = np.linspace(time.low, time.high, values.size)
            shown = fig.curve(values.ravel(), across, time.label, "value", sound=sound, alt=alt)
        if name != "original":
            shown = replace(shown, original=sound_in(self.artifact, "waveform_original", item))
        return from_onset(shown, given, self.frames)


def _histogram(values: fig.Values, edges: fig.Values) -> fig.Chart:
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    line = fig.Line("", edges, np.append(counts, 0))
    return fig.Chart([line], "value", "values", steps=True, logarithmic=True)


def _best(scores: Sequence[Scores], methods: Sequence[str]) -> int:
    """Return the method with the highest mean score over the layers."""
    known = {row["measure"] for row in scores}
    measure = WAVEFORM if WAVEFORM in known else SPECTROGRAM
    means = [np.nanmean(_column(_of(scores, measure, m), "value")) for m in methods]
    return int(np.nanargmax(means)) if np.isfinite(means).any() else 0


def _of(scores: Sequence[Scores], measure: str, method: str | None = None) -> list[Scores]:
    return [
        row for row in scores if row.get("measure") == measure and method in (None, row["method"])
    ]


def _score_curves(scores: Sequence[Scores], methods: Sequence[str]) -> fig.Plot:
    """Return curves of each measure over the layers, one a method (Churchman 2015, fig. 9)."""
    charts = []
    for measure, label in MEASURES.items():
        every = _of(scores, measure)
        if not np.isfinite(_column(every, "value")).any():
            continue
        lines = []
        for method in methods:
            rows = _of(scores, measure, method)
            layer, mean, low, high = (
                _column(rows, name) for name in ("layer", "value", "low", "high")
            )
            lines.append(fig.Line(method, layer, mean, low, high, points=True))
        levels = {"chance": _column(every, "chance"), "at best": _column(every, "ceiling")}
        rules = {
            name: float(np.nanmedian(column))
            for name, column in levels.items()
            if np.isfinite(column).any()
        }
        charts.append(fig.Chart(lines, "layer", label, rules, alt=f"{label} by layer"))
    note = (
        "Means over all items with their 95 % bootstrap intervals (Churchman 2015, fig. 9 and sec. "
        "7.1). Lines: what chance gives, the median over methods and layers, and what the round "
        "trip of the representation itself gives."
    )
    return fig.Plot("scores", "Scores by layer", note, charts)


def _column(rows: Sequence[Scores], name: str) -> fig.Values:
    """Return a column of numbers, NaN where there is none."""
    return np.array([row.get(name) for row in rows], dtype=np.float64)
