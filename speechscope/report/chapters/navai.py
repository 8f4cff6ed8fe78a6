"""The chapter of ``navai.zarr``: what is particular to the inputs of each class."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speechscope.registry import CHAPTERS
from speechscope.report import figures as fig
from speechscope.report.chapters import score_figures, scores_of
from speechscope.report.pictures import axes_of, readable
from speechscope.store.artifact import Artifact

if TYPE_CHECKING:
    from speechscope.stages.report import Report

CLASSES = 64
"""Classes shown at most (chosen; the papers have 26 to 48)."""
FAINT = 0.05
"""Of the loudest frame of a mean: what is fainter at its ends is padding (chosen)."""
TITLES = {"none": "not aligned", "max-lrp": "max LRP"}
"""Of alignments whose names are no words."""


@CHAPTERS.register("navai")
def chapter(path: Path, settings: "Report") -> fig.Chapter:
    """Return the chapter: the pattern of each class by alignment, the means behind it, the shifts.

    Raises
    ------
    ArtifactError
        The artifact is damaged.
    """
    artifact = Artifact(path, "navai")
    if artifact.record["config"].get("mode") == "profile":
        missing = "profiles of layers have no figures; speechscope score prints their sizes"
        return fig.Chapter(str(path), "navai", {}, [], [missing])
    alignments, classes = artifact.flags("alignment"), artifact.flags("class")
    count = artifact.read("count")
    shown = [k for k in range(len(classes)) if np.max(count[..., k]) > 0][:CLASSES]
    some = shown[: settings.examples]
    drawn = _Means(artifact, shown)
    titles = [TITLES.get(name, name.replace("-", " ")) for name in alignments]
    note = (
        f"{len(shown)} of {len(classes)} classes, by alignment: the mean over a class's inputs "
        "less the mean over all classes (Krug 2018, fig. 3 and app. A). Not spectrograms: red is "
        "more than in the mean class, blue is less. Of spectrograms time begins and ends with the "
        f"sounds: where a mean is {FAINT:.0%} of what it is at its loudest."
    )
    patterns = [drawn.row("pattern", k) for k in shown]
    means = [drawn.row("normalizer"), *(drawn.row("mean", k) for k in some)]
    before = (
        f"The mean over all classes, and over {len(some)} of them, before it is taken away "
        "(Krug 2018, fig. 3, top)."
    )
    figures: list[fig.Figure] = [
        fig.Grid("patterns", "Patterns by class", note, titles, patterns),
        fig.Grid("means", "Means", before, titles, means),
    ]
    if "shift" in artifact:
        figures.append(_shifts(artifact.read("shift"), drawn.time, drawn.columns, titles))
    averaged = {"inputs": [float(np.max(count[..., k])) for k in shown]}
    averages = "Inputs averaged", "Inputs of each class that went into its mean."
    figures.append(fig.Bars("counts", *averages, [classes[k] for k in shown], averaged, "inputs"))
    scores = scores_of(path, settings) if "pattern_shuffled" in artifact else []
    figures += score_figures(scores)
    facts = {"alignments": ", ".join(alignments), "classes": str(len(classes))}
    looked = f"What the sounds of each of {len(shown)} classes have on average that others have not"
    return fig.Chapter(str(path), "navai", facts, figures, looked=looked, scores=scores)


class _Means:
    """Means of inputs of some classes as pictures, from where the sounds begin to where they end.

    Means of inputs less those of training are never silent: what pads short sounds is faint.
    """

    def __init__(self, artifact: Artifact, shown: Sequence[int]) -> None:
        self.artifact, self.classes = artifact, artifact.flags("class")
        self.rows, self.columns = artifact.array("pattern").shape[2:]
        self.frequency, self.time = axes_of(artifact, self.rows, self.columns)
        size = np.abs(artifact.read("mean")).mean(axis=2)
        loud = size >= FAINT * size.max(axis=2, keepdims=True)
        self.first, self.last = loud.argmax(2), self.columns - loud[..., ::-1].argmax(2)
        of = list(shown) or [0]
        self.begin, self.end = int(self.first[:, of].min()), int(self.last[:, of].max())
        step = (self.time.high - self.time.low) / self.columns
        low, high = (self.time.low + frame * step for frame in (self.begin, self.end))
        self.sounding = replace(self.time, low=low, high=high)

    def row(self, name: str, k: int | None = None) -> tuple[str, list[fig.Cell]]:
        """Return averages by alignment: of spectrograms pictures, of waveforms curves."""
        alt = f"{name} of {'all classes' if k is None else self.classes[k]}"
        cells: list[fig.Cell] = []
        for a in range(len(self.artifact.flags("alignment"))):
            values = self.artifact.read(name, (a,) if k is None else (a, k))
            if self.rows == 1:
                across = np.linspace(self.time.low, self.time.high, self.columns)
                cells.append(fig.curve(values[0], across, self.time.label, "value", alt=alt))
                continue
            first, last = (
                (self.begin, self.end) if k is None else (self.first[a, k], self.last[a, k])
            )
            axes = self.sounding, self.frequency
            cell = readable(values[:, first:last], *axes, "value", alt=alt)
            room = (0, 0), (first - self.begin, self.end - last)
            cells.append(replace(cell, values=np.pad(cell.values, room, constant_values=np.nan)))
        return ("all classes" if k is None else f"[{self.classes[k]}]", cells)


def _shifts(shift: fig.Values, time: fig.Axis, frames: int, titles: Sequence[str]) -> fig.Grid:
    step = (time.high - time.low) / max(1, frames)
    edges = np.linspace(-max(1, frames), max(1, frames), 41) * step
    cells = []
    for row in shift.astype(np.float64):
        counts = np.append(np.histogram(row * step, edges)[0], 0)
        across = f"shift [{time.units or 'frames'}]"
        cells.append(fig.Chart([fig.Line("", edges, counts)], across, "inputs", steps=True))
    note = f"How far inputs were moved to align them, of {shift.shape[1]:,}."
    return fig.Grid("shifts", "Shifts", note, titles, [("", cells)])
