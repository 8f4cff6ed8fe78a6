"""The chapter of ``navai.zarr``: what is particular to the inputs of each class."""

from pathlib import Path

import numpy as np

from speechscope.report.figures import (
    Axis,
    Bars,
    Cell,
    Chapter,
    Chart,
    Figure,
    Grid,
    Line,
    Picture,
    Row,
    axis_of,
    symmetric,
)
from speechscope.report.request import Request
from speechscope.store.artifact import Artifact

CLASSES = 64
"""Classes shown at most (chosen; the papers have 26 to 48)."""
LABEL = "value, of the picture's largest"


def chapter(path: Path, request: Request) -> Chapter:
    """Return the chapter: the pattern of each class by alignment, the means behind it, the shifts.

    Raises
    ------
    ArtifactError
        The artifact is damaged.
    """
    artifact = Artifact(path, "navai")
    alignments, classes = artifact.flags("alignment"), artifact.flags("class")
    count = artifact.read("count")
    shown = [k for k in range(len(classes)) if np.max(count[..., k]) > 0][:CLASSES]
    view = _View(artifact)
    note = (
        f"{len(shown)} of {len(classes)} classes, by alignment: the mean over a class's inputs "
        "less the mean over all classes (Krug 2018, fig. 3 and app. A). Not spectrograms: red is "
        "more than in the mean class, blue is less."
    )
    columns = [_said(name) for name in alignments]
    patterns = Grid(
        "patterns",
        "Patterns by class",
        note,
        columns,
        [
            Row(
                f"[{classes[k]}]",
                [view.cell("pattern", (a, k), classes[k]) for a in range(len(alignments))],
            )
            for k in shown
        ],
    )
    normalizer = [view.cell("normalizer", (a,), "all classes") for a in range(len(alignments))]
    means = [
        Row(
            f"[{classes[k]}]",
            [view.cell("mean", (a, k), classes[k]) for a in range(len(alignments))],
        )
        for k in shown[: request.examples]
    ]
    said = (
        f"The mean over all classes, and over {len(means)} of them, before it is taken away "
        "(Krug 2018, fig. 3, top)."
    )
    figures: list[Figure] = [
        patterns,
        Grid("means", "Means", said, columns, [Row("all classes", normalizer), *means]),
    ]
    if "shift" in artifact:
        figures.append(_shifts(artifact, view, columns))
    figures.append(
        Bars(
            "counts",
            "Inputs averaged",
            "Inputs of each class that went into its mean.",
            [classes[k] for k in shown],
            {"inputs": [float(np.max(count[..., k])) for k in shown]},
            "inputs",
        )
    )
    facts = {"alignments": ", ".join(alignments), "classes": str(len(classes))}
    return Chapter(str(path), "navai", facts, figures)


def _said(alignment: str) -> str:
    return (
        "not aligned" if alignment == "none" else alignment.replace("-", " ").replace("lrp", "LRP")
    )


class _View:
    """The axes of the patterns, and their pictures."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        shape = artifact.array("pattern").shape
        self.frequency = Axis("bin", "", 0, float(shape[2]))
        self.time = Axis("frame", "", 0, float(shape[3]))
        if "frequency" in artifact and shape[2] > 1:
            units = str(artifact.attributes("frequency").get("units", "Hz"))
            name = "frequency" if units == "Hz" else "coefficient"
            self.frequency = axis_of(
                name, units if units == "Hz" else "", artifact.read("frequency")
            )
        if "time" in artifact:
            self.time = axis_of("time", "ms", artifact.read("time") * 1e3)

    def cell(self, name: str, where: tuple[int, ...], alt: str) -> Cell:
        """Return one average: of spectrograms a picture, of waveforms a curve."""
        values = self.artifact.read(name, where)
        if values.shape[0] == 1:
            at = np.linspace(self.time.low, self.time.high, values.shape[1])
            return Chart([Line("", at, values[0])], self.time.label, "value", alt=alt)
        largest = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
        scale = symmetric(values, LABEL, 1.0)
        return Picture(values / largest, self.time, self.frequency, scale, alt=f"{name} of {alt}")


def _shifts(artifact: Artifact, view: _View, columns: list[str]) -> Grid:
    shift = artifact.read("shift").astype(np.float64)
    frames = max(1, artifact.array("pattern").shape[3])
    step = (view.time.high - view.time.low) / frames
    edges = np.linspace(-frames, frames, 41) * step
    cells: list[Cell] = [
        Chart(
            [Line("", edges, np.append(np.histogram(row * step, edges)[0], 0))],
            f"shift [{view.time.units or 'frames'}]",
            "inputs",
            steps=True,
        )
        for row in shift
    ]
    note = f"How far inputs were moved to align them, of {shift.shape[1]:,}."
    return Grid("shifts", "Shifts", note, columns, [Row("", cells)])
