"""The chapter of ``relevance.zarr``: what each answer rests on, seen and heard."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speechscope.corpus.store import Corpus
from speechscope.corpus.units.window import UNLABELLED
from speechscope.errors import ArtifactError, UsageProblem
from speechscope.registry import CHAPTERS
from speechscope.relevance.store import relevance_sounds
from speechscope.relevance.timeline import Recording, recordings, sound
from speechscope.report import figures as fig
from speechscope.report.chapters import corpus_of, score_figures, scores_of, shown_items
from speechscope.report.pictures import (
    DECIBELS,
    axes_of,
    decibels,
    from_onset,
    longest,
    readable,
    sounds,
    style_of,
    waveform_picture,
)
from speechscope.scores.statistics import Row
from speechscope.store.artifact import Artifact

if TYPE_CHECKING:
    from speechscope.stages.report import Report

HOW = {
    "layer": "Summed over maps.",
    "waveform": "The waveform of the input above, its relevance below, each over its own largest "
    "value; ▶ sounds the relevance signal itself (Muckenhirn 2019, sec. 4.3).",
    "spectrogram": "Over the input in grey: red speaks for the class, blue against it; ▶ sounds "
    "the input weighted by relevance (Krug 2018, fig. 2).",
}
"""How relevance is drawn, by what it is of."""
CELLS = 400
"""Pictures at most (chosen: about 5 MB with their sounds)."""
RELEVANCE_DB = replace(DECIBELS, label="relevance below the picture's largest [dB]")
RECORDINGS, LONGEST = 4, 60.0
"""Recordings shown as a whole at most, and seconds of each: a minute is some 4 MB (chosen)."""


@CHAPTERS.register("relevance")
def chapter(path: Path, settings: "Report") -> fig.Chapter:
    """Return the chapter: relevance over its input, of waveforms also its spectrum.

    Raises
    ------
    ArtifactError
        The artifact is damaged.
    UsageProblem
        An item asked for is not in it.
    """
    artifact = Artifact(path, "relevance")
    left_out: list[str] = []
    missing = "units and sounds of the inputs"
    corpus = corpus_of(settings, path, artifact.record, left_out, missing)
    drawn = _Items(artifact, corpus)
    config, layer = artifact.record["config"], drawn.layer
    count = int(artifact.array("input").shape[0])
    most = max(1, CELLS // (1 + 2 * len(drawn.methods)))
    shown = shown_items(settings, path, count)[:most]
    facts = {
        "items": f"{count:,}",
        "methods": ", ".join(drawn.methods),
        "explained": f"the score of the class {config.get('target', 'predicted')}"
        + (f", at what enters {layer}" if layer else ""),
    }
    how = HOW["layer" if layer else "waveform" if drawn.waveform else "spectrogram"]
    note = f"{len(shown)} of {count:,} items, named by class and answer. {how}"
    columns = ["input", *drawn.methods]
    rows = drawn.rows(shown, drawn.relevance)
    figures: list[fig.Figure] = [fig.Grid("overlays", "Relevance", note, columns, rows)]
    if "spectral_relevance" in artifact:
        note = (
            f"{len(shown)} items: short-time spectra of the inputs, and magnitudes of relevance by "
            "frequency (Muckenhirn 2019, eq. 4)."
        )
        rows = drawn.rows(shown, drawn.spectrum)
        figures.append(fig.Grid("spectra", "Spectra of relevance", note, columns, rows))
    if corpus is not None and "looked_at" in config and not layer:
        figures = [*_recordings(artifact, corpus, settings.examples), *figures]
    figures.append(_answers(artifact, shown))
    scores, unscored = _scores(path, settings)
    figures += score_figures(scores)
    looked = (
        f"What in each of {count:,} sounds the network's answer rests on, by "
        f"{', '.join(drawn.methods)}"
    )
    return fig.Chapter(
        str(path), "relevance", facts, figures, left_out, looked, scores, unscored=unscored
    )


def _scores(path: Path, settings: "Report") -> tuple[list[Row], str]:
    """Return the scores, and without the network that they need why there are none."""
    try:
        return scores_of(path, settings), ""
    except (ArtifactError, UsageProblem) as error:
        return [], f"Not scored here: {error}."


def _recordings(artifact: Artifact, corpus: Corpus, most: int) -> Iterator[fig.Recording]:
    """Yield the first recordings as they run, relevance under the spectrogram."""
    every = islice(recordings(artifact, corpus), min(most, RECORDINGS))
    method = artifact.flags("technique")[0]
    for number, heard in enumerate(every):
        samples = sound(corpus, heard.number, round(LONGEST * heard.rate))
        seconds = len(samples) / heard.rate
        spectrum = waveform_picture(samples, heard.rate, heard.name, seconds=None)
        time = fig.Axis("time", "s", 0.0, seconds)
        strips = [("spectrogram", replace(spectrum, x=time, sound=None))]
        along = _along(artifact, heard, seconds)
        colours = "Red speaks for the answer, blue against it"
        if along is not None:
            sides, alt = (time, axes_of(artifact)[0]), f"{method} of {heard.name}"
            if "spectral_relevance" in artifact:
                colours = "Relevance is the size of its spectrum, without a sign"
                shown = fig.Picture(decibels(along), *sides, RELEVANCE_DB, alt=alt)
            else:
                shown = readable(along, *sides, "relevance", alt=alt)
            strips.append((f"relevance, {method}", shown))
        answers = [
            (start / heard.rate, stop / heard.rate, heard.answers[rows.start],
             f"p = {heard.probability[rows].mean():.2f}")
            for start, stop, rows in heard.runs() if stop <= len(samples)
        ]  # fmt: skip
        name = heard.name.removeprefix(f"{UNLABELLED}/")  # of an unknown speaker
        note = (
            f"{name}, {min(seconds, LONGEST):.1f} s of {heard.samples / heard.rate:.1f} s. "
            "Play, or click where to play from. Each answer stands for the time up to halfway to "
            f"the next; point at one for its probability. {colours}; where items overlap, the mean."
        )
        heading = f"Recording {name}"
        whole = fig.Sound(samples, heard.rate)
        yield fig.Recording(f"recording-{number}", heading, note, strips, answers, whole)


def _along(artifact: Artifact, heard: Recording, seconds: float) -> fig.Values | None:
    """Return relevance along a recording (frequency, frame), the mean where items overlap.

    None where its items have no time axis.
    """
    of_waveform = "spectral_relevance" in artifact
    name, axis = ("spectral_relevance", "frame") if of_waveform else ("relevance", "time")
    if axis not in artifact:
        return None
    time = artifact.read(axis)
    step = float(np.median(np.diff(time))) if len(time) > 1 else seconds / len(heard.items)
    total = np.zeros((artifact.array(name).shape[-2], max(1, round(seconds / step))))
    count = np.zeros(total.shape[1])
    for place, middle in zip(heard.items, heard.middle / heard.rate, strict=True):
        if middle > seconds:
            break
        values = artifact.read(name, (0, int(place)))
        values = values if of_waveform else values.sum(0)
        at = np.rint((middle + time - time.mean()) / step - 0.5).astype(int)
        inside = (at >= 0) & (at < total.shape[1])
        np.add.at(total.T, at[inside], values.T[inside])
        np.add.at(count, at[inside], 1)
    return np.asarray(total / np.maximum(count, 1))


Rows = list[tuple[str, list[fig.Cell]]]


class _Items:
    """Items of a relevance artifact as pictures."""

    def __init__(self, artifact: Artifact, corpus: Corpus | None) -> None:
        self.artifact, self.corpus = artifact, corpus
        self.methods = artifact.flags("technique")
        self.layer = artifact.record["config"].get("layer")
        self.waveform = artifact.array("input").ndim == 2
        self.style = style_of(artifact, corpus)
        self.rate = 16000 if corpus is None else int(corpus.config["rate"])
        names, classes = artifact.flags("label"), artifact.flags("target")
        self._names = [names[k] for k in artifact.read("label")]
        self._answers = [classes[k] for k in artifact.read("predicted")]

    def rows(self, items: list[int], draw: Callable[[int, int], fig.Cell]) -> Rows:
        """Return the inputs, and what `draw` makes of them by each method."""
        whole = [self.artifact.read("input", item) for item in items]
        padded = not self.waveform and not self.layer
        frames = longest(whole) if padded else 0
        drawn: Rows = []
        for item, given in zip(items, whole, strict=True):
            heard = self.input(item)
            cells = [heard, *(draw(n, item) for n in range(len(self.methods)))]
            cells = [from_onset(cell, given, frames) if padded else cell for cell in cells]
            drawn.append((self._name(item), [cells[0], *(_beside(c, heard) for c in cells[1:])]))
        return drawn

    def _name(self, item: int) -> str:
        """Return an item's class, and what was answered where that is another."""
        said, answered = self._names[item], self._answers[item]
        return (
            f"[{answered}]" if said in (answered, UNLABELLED) else f"[{said}] heard as [{answered}]"
        )

    def input(self, item: int) -> fig.Picture:
        """Return the picture of an input."""
        values = self.artifact.read("input", item)
        if self.waveform:
            return waveform_picture(values, self.rate, f"input {item}")
        sound = None
        if self.corpus is not None and self.corpus.unit != "utterance":
            (sound,) = sounds(self.corpus, self.artifact.read("item_index", slice(item, item + 1)))
        return self.style.picture(values, sound, f"input {item}")

    def relevance(self, method: int, item: int) -> fig.Cell:
        """Return the relevance of an item, over its input."""
        values = self.artifact.read("relevance", (method, item))
        given = self.artifact.read("input", item)
        alt = f"{self.methods[method]}, item {item}"
        if self.layer:
            return _inner(values, alt)
        if self.waveform:
            time = np.arange(len(values)) * 1e3 / self.rate
            # One below the other: neither hides the other.
            lines = [
                fig.Line(name, time, signal / (2 * float(np.abs(signal).max()) or 1.0) + middle)
                for name, signal, middle in (("input", given, 0.5), ("relevance", values, -0.5))
            ]
            sound = fig.Sound(values, self.rate)
            return fig.Chart(lines, "time [ms]", "input over relevance", sound=sound, alt=alt)
        axes, grey = (self.style.time, self.style.frequency), self.style.grey(given)
        picture = readable(values.sum(axis=0), *axes, "relevance", grey, alt=alt)
        return replace(picture, sound=self._weighted(given, values))

    def _weighted(self, given: fig.Values, values: fig.Values) -> fig.Sound | None:
        """Return what one hears of an input (C, F, T) weighted by its relevance."""
        if self.corpus is None or self.corpus.unit != "segment" or not self.corpus.invertible:
            return None
        return fig.Sound(relevance_sounds(self.corpus, given[None], values[None])[0], self.rate)

    def spectrum(self, method: int, item: int) -> fig.Picture:
        """Return the short-time spectrum of the relevance of a waveform."""
        frequency = fig.axis_of("frequency", "Hz", self.artifact.read("frequency"))
        time = fig.axis_of("time", "ms", self.artifact.read("frame") * 1e3)
        levels = decibels(self.artifact.read("spectral_relevance", (method, item)))
        sound = fig.Sound(self.artifact.read("relevance", (method, item)), self.rate)
        alt = f"{self.methods[method]}, item {item}, spectrum"
        return fig.Picture(levels, time, frequency, RELEVANCE_DB, sound, alt)


def _beside(shown: fig.Cell, original: fig.Picture) -> fig.Cell:
    """Return a cell whose sound is heard beside that of its input."""
    return None if shown is None else replace(shown, original=original.sound)


def _inner(values: fig.Values, alt: str) -> fig.Cell:
    """Return relevance of what enters a layer: of maps their sum, of units one value each."""
    summed = values.sum(axis=0) if values.ndim == 3 else values
    if values.ndim == 3 and values.shape[1] > 1:
        rows, columns = summed.shape
        axes = fig.Axis("frame", "", 0, columns), fig.Axis("bin", "", 0, rows)
        return readable(summed, *axes, "relevance", alt=alt)
    at = np.arange(summed.size, dtype=np.float64)
    return fig.curve(summed.ravel(), at, "unit", "relevance", alt=alt)


def _answers(artifact: Artifact, shown: list[int]) -> fig.Table:
    labels, classes = artifact.flags("label"), artifact.flags("target")
    label, target = artifact.read("label"), artifact.read("target")
    predicted, score = artifact.read("predicted"), artifact.read("score")
    rows = [
        [item, labels[label[item]], classes[predicted[item]], classes[target[item]],
         float(score[item])]
        for item in shown
    ]  # fmt: skip
    right = [labels[a] == classes[b] for a, b in zip(label, predicted, strict=True)]
    note = "The score of the class explained is before softmax."
    if UNLABELLED not in {labels[number] for number in label}:
        share = 100 * float(np.mean(right))
        note += f" Of all {len(right):,} items {share:.1f} % were answered right."
    headings = ("item", "said", "answered", "explained", "score")
    return fig.Table("answers", "Answers", note, headings, rows, closed=True)
