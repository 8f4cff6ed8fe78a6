"""The chapter of ``navai.zarr``: what is particular to the inputs of each class."""

from collections.abc import Sequence
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
    rows, columns = artifact.array("pattern").shape[2:]
    frequency, time = axes_of(artifact, rows, columns)

    def row(name: str, k: int | None = None) -> tuple[str, list[fig.Cell]]:
        """Return averages by alignment: of spectrograms pictures, of waveforms curves."""
        cells: list[fig.Cell] = []
        for a in range(len(alignments)):
            values = artifact.read(name, (a,) if k is None else (a, k))
            alt = f"{name} of {'all classes' if k is None else classes[k]}"
            if rows > 1:
                cells.append(readable(values, time, frequency, "value", alt=alt))
                continue
            across = np.linspace(time.low, time.high, columns)
            cells.append(fig.curve(values[0], across, time.label, "value", alt=alt))
        return ("all classes" if k is None else f"[{classes[k]}]", cells)

    titles = [TITLES.get(name, name.replace("-", " ")) for name in alignments]
    note = (
        f"{len(shown)} of {len(classes)} classes, by alignment: the mean over a class's inputs "
        "less the mean over all classes (Krug 2018, fig. 3 and app. A). Not spectrograms: red is "
        "more than in the mean class, blue is less."
    )
    patterns = [row("pattern", k) for k in shown]
    means = [row("normalizer"), *(row("mean", k) for k in some)]
    before = (
        f"The mean over all classes, and over {len(some)} of them, before it is taken away "
        "(Krug 2018, fig. 3, top)."
    )
    figures: list[fig.Figure] = [
        fig.Grid("patterns", "Patterns by class", note, titles, patterns),
        fig.Grid("means", "Means", before, titles, means),
    ]
    if "shift" in artifact:
        figures.append(_shifts(artifact.read("shift"), time, columns, titles))
    averaged = {"inputs": [float(np.max(count[..., k])) for k in shown]}
    averages = "Inputs averaged", "Inputs of each class that went into its mean."
    figures.append(fig.Bars("counts", *averages, [classes[k] for k in shown], averaged, "inputs"))
    scores = scores_of(path, settings) if "pattern_shuffled" in artifact else []
    figures += score_figures(scores)
    facts = {"alignments": ", ".join(alignments), "classes": str(len(classes))}
    looked = f"What the sounds of each of {len(shown)} classes have on average that others have not"
    return fig.Chapter(str(path), "navai", facts, figures, looked=looked, scores=scores)


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
