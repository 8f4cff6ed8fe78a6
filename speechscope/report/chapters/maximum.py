"""The chapter of ``maximum.zarr``: inputs that excite units most."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speechscope.corpus.store import Corpus
from speechscope.registry import CHAPTERS
from speechscope.report import figures as fig
from speechscope.report.chapters import corpus_of, shown_items
from speechscope.report.pictures import axes_of, reach, sound_in
from speechscope.store.artifact import Artifact

if TYPE_CHECKING:
    from speechscope.stages.report import Report

LABEL = "value of the optimum, of its largest"


@CHAPTERS.register("maximum")
def chapter(path: Path, settings: "Report") -> fig.Chapter:
    """Return the chapter: the optimum of each unit, and how its activation climbed.

    Raises
    ------
    ArtifactError
        The artifact is damaged.
    UsageProblem
        A unit asked for is not in it.
    """
    artifact = Artifact(path, "maximum")
    names, layer = artifact.flags("unit"), artifact.record["config"].get("layer")
    activation = artifact.read("activation")
    shown = shown_items(settings, path, len(names))
    left_out: list[str] = []
    corpus = corpus_of(settings, path, artifact.record, left_out, "units of the axes")
    cells: list[tuple[str, fig.Cell]] = []
    for number in shown:
        name = f"{names[number]}: activation {activation[number, -1]:.3g}"
        cells.append((name, _optimum(artifact, corpus, number, name)))
    note = (
        f"{len(shown)} of {len(names)} units of {layer}: the input, less the "
        "training mean, that excites each most (Krug 2018, sec. 3.2)."
    )
    steps = np.arange(activation.shape[1], dtype=np.float64)
    lines = [fig.Line(names[number], steps, activation[number]) for number in shown]
    climb = fig.Chart(lines, "step", "activation", alt="activation by step")
    figures: list[fig.Figure] = [
        fig.Gallery("optima", "Optimal inputs", note, cells),
        fig.Plot("climb", "Activation by step", "Before every step, and after the last.", [climb]),
    ]
    facts = {"layer": str(layer), "units": str(len(names))}
    looked = f"Inputs made to excite {len(names)} units of {layer} as much as can be"
    return fig.Chapter(str(path), "maximum", facts, figures, left_out, looked)


def _optimum(artifact: Artifact, corpus: Corpus | None, number: int, alt: str) -> fig.Cell:
    """Return the optimum of a unit: a curve where the network hears waveforms."""
    values = artifact.read("optimum", number)
    sound = sound_in(artifact, "waveform", number)
    if values.shape[1] == 1:
        factor, unit = (
            (1.0, "sample") if corpus is None else (1e3 / corpus.config["rate"], "time [ms]")
        )
        time = np.arange(values.shape[2]) * factor
        return fig.curve(values.ravel(), time, unit, "value", sound=sound, alt=alt)
    whole = corpus is not None and corpus.unit == "segment" and corpus.input_shape == values.shape
    axes = axes_of(corpus.artifact) if corpus and whole else reach(corpus, *values.shape[1:])
    return fig.signed(values[0], axes[1], axes[0], LABEL, sound=sound, alt=alt)
