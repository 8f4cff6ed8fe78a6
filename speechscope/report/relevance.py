"""The chapter of ``relevance.zarr``: what each answer rests on, seen and heard."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from speechscope.corpus.store import Corpus
from speechscope.relevance.sound import relevance_sounds
from speechscope.report.figures import (
    Axis,
    Cell,
    Chapter,
    Chart,
    Figure,
    Grid,
    Line,
    Picture,
    Row,
    Sound,
    Table,
    axis_of,
    symmetric,
)
from speechscope.report.look import DECIBELS, RANGE_DB, heard, look_of, waveform_picture
from speechscope.report.request import Request
from speechscope.store.artifact import Artifact

CELLS = 400
"""Pictures at most (chosen: about 5 MB with their sounds)."""
LABEL = "relevance, of the picture's 99th percentile"
TOP = 99.0
"""Percentile of the magnitudes that has the full colour: a few values are far above the rest."""


def chapter(path: Path, request: Request) -> Chapter:
    """Return the chapter: relevance over its input, of waveforms also its spectrum.

    Raises
    ------
    ArtifactError
        The artifact is damaged.
    UsageProblem
        An item asked for is not in it.
    """
    artifact = Artifact(path, "relevance")
    config = artifact.record["config"]
    left_out: list[str] = []
    corpus = request.corpus(path, artifact.record, left_out, "units and sounds of the inputs")
    view = _View(artifact, corpus)
    methods = artifact.flags("method")
    count = int(artifact.array("input").shape[0])
    shown = request.chosen(path, count)[: max(1, CELLS // (1 + 2 * len(methods)))]
    facts = {
        "items": f"{count:,}",
        "methods": ", ".join(methods),
        "explained": f"the score of the class {config.get('target', 'predicted')}"
        + (f", at what enters {config['layer']}" if config.get("layer") else ""),
    }
    figures: list[Figure] = []
    inside = bool(config.get("layer"))
    rows = []
    for item in shown:
        cells: list[Cell] = [view.original(item)]
        cells += [view.relevance(number, item, inside) for number in range(len(methods))]
        rows.append(Row(view.name(item), cells))
    note = (
        f"{len(shown)} of {count:,} items, named by class and answer. "
        + (
            "Summed over maps. "
            if inside
            else "Over the input in grey; blue speaks against the class, red for it. "
        )
        + "The player beside relevance sounds the input weighted by it, or the relevance signal "
        "itself of a waveform (Krug 2018, fig. 2; Muckenhirn 2019, sec. 4.3)."
    )
    figures.append(Grid("overlays", "Relevance", note, ["input", *methods], rows))
    if "spectral_relevance" in artifact:
        figures.append(_spectra(view, shown, methods))
    figures.append(_answers(artifact, shown))
    return Chapter(str(path), "relevance", facts, figures, left_out)


class _View:
    """Items of a relevance artifact as pictures."""

    def __init__(self, artifact: Artifact, corpus: Corpus | None) -> None:
        self.artifact = artifact
        self.corpus = corpus
        self.waveform = artifact.array("input").ndim == 2
        self.look = look_of(artifact, None if corpus is None else corpus.config)
        self.rate = 16000 if corpus is None else int(corpus.config["rate"])
        names, classes = artifact.flags("label"), artifact.flags("target")
        self._names = [names[k] for k in artifact.read("label")]
        self._answers = [classes[k] for k in artifact.read("predicted")]

    def name(self, item: int) -> str:
        """Return an item's class, and what was answered where that is another."""
        said, answered = self._names[item], self._answers[item]
        return f"[{said}]" if said == answered else f"[{said}] heard as [{answered}]"

    def original(self, item: int) -> Picture:
        """Return the picture of an input."""
        values = self.artifact.read("input", item)
        if self.waveform:
            return waveform_picture(values, self.rate, f"input {item}")
        sound = None
        if self.corpus is not None:
            (sound,) = heard(self.corpus, self.artifact.read("item_index", slice(item, item + 1)))
        return self.look.picture(values, sound, f"input {item}")

    def relevance(self, method: int, item: int, inside: bool) -> Cell:
        """Return the relevance of an item, over its input."""
        values = self.artifact.read("relevance", (method, item))
        given = self.artifact.read("input", item)
        alt = f"{self.artifact.flags('method')[method]}, item {item}"
        if inside:
            return _inner(values, alt)
        if self.waveform:
            return self._signal(given, values, alt)
        summed = values.sum(axis=0)
        picture = Picture(
            _scaled(summed), self.look.time, self.look.frequency, symmetric(summed, LABEL, 1.0)
        )
        sound = self._weighted(given[None], values[None])
        return replace(picture, under=self.look.grey(given), sound=sound, alt=alt)

    def _signal(self, given: np.ndarray, values: np.ndarray, alt: str) -> Chart:
        time = np.arange(len(values)) * 1e3 / self.rate
        lines = [
            Line(name, time, signal / (float(np.abs(signal).max()) or 1.0))
            for name, signal in (("input", given), ("relevance", values))
        ]
        return Chart(lines, "time [ms]", "of the largest", sound=Sound(values, self.rate), alt=alt)

    def _weighted(self, given: np.ndarray, values: np.ndarray) -> Sound | None:
        """Return what one hears of an input (1, C, F, T) weighted by its relevance."""
        if self.corpus is None or self.corpus.unit != "segment" or not self.corpus.invertible:
            return None
        return Sound(relevance_sounds(self.corpus, given, values)[0], self.rate)


def _scaled(values: np.ndarray) -> np.ndarray:
    return values / (
        float(np.percentile(np.abs(values), TOP)) or float(np.abs(values).max()) or 1.0
    )


def _inner(values: np.ndarray, alt: str) -> Cell:
    """Return relevance of what enters a layer: of maps their sum, of units one value each."""
    if values.ndim == 3 and values.shape[1] > 1:
        summed = values.sum(axis=0)
        x, y = (
            Axis("frame", "", 0, summed.shape[1]),
            Axis("bin", "", 0, summed.shape[0]),
        )
        return Picture(_scaled(summed), x, y, symmetric(summed, LABEL, 1.0), alt=alt)
    flat = values.sum(axis=0).ravel() if values.ndim == 3 else values.ravel()
    at = np.arange(len(flat), dtype=np.float64)
    return Chart([Line("", at, flat)], "unit", "relevance", alt=alt)


def _spectra(view: _View, shown: list[int], methods: tuple[str, ...]) -> Grid:
    frequency = axis_of("frequency", "Hz", view.artifact.read("frequency"))
    time = axis_of("time", "ms", view.artifact.read("frame") * 1e3)
    scale = replace(DECIBELS, label="relevance below the picture's largest [dB]")
    rows = []
    for item in shown:
        cells: list[Cell] = [view.original(item)]
        for number, method in enumerate(methods):
            size = np.abs(view.artifact.read("spectral_relevance", (number, item)))
            floor = 10 ** (-RANGE_DB / 20)
            levels = 20 * np.log10(np.maximum(size / (size.max() or 1.0), floor))
            sound = Sound(view.artifact.read("relevance", (number, item)), view.rate)
            alt = f"{method}, item {item}, spectrum"
            cells.append(Picture(levels, time, frequency, scale, sound, alt))
        rows.append(Row(view.name(item), cells))
    note = (
        f"{len(shown)} items: short-time spectra of the inputs, and magnitudes of relevance by "
        "frequency (Muckenhirn 2019, eq. 4)."
    )
    return Grid("spectra", "Spectra of relevance", note, ["input", *methods], rows)


def _answers(artifact: Artifact, shown: list[int]) -> Table:
    labels, classes = artifact.flags("label"), artifact.flags("target")
    label, target = artifact.read("label"), artifact.read("target")
    predicted, score = artifact.read("predicted"), artifact.read("score")
    rows = [
        [item, labels[label[item]], classes[predicted[item]], classes[target[item]],
         float(score[item])]
        for item in shown
    ]  # fmt: skip
    right = [labels[a] == classes[b] for a, b in zip(label, predicted, strict=True)]
    note = (
        f"The score of the class explained is before softmax. Of all {len(right):,} items "
        f"{100 * float(np.mean(right)):.1f} % were answered right."
    )
    headings = ("item", "said", "answered", "explained", "score")
    return Table("answers", "Answers", note, headings, rows, closed=True)
