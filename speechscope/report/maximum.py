"""The chapter of ``maximum.zarr``: inputs that excite units most."""

from pathlib import Path

import numpy as np

from speechscope.corpus.store import Corpus
from speechscope.report.figures import (
    Axis,
    Cell,
    Chapter,
    Chart,
    Figure,
    Gallery,
    Line,
    Picture,
    Plot,
    Sound,
    symmetric,
)
from speechscope.report.look import look_of
from speechscope.report.request import Request
from speechscope.store.artifact import Artifact

LABEL = "value of the optimum, of its largest"


def chapter(path: Path, request: Request) -> Chapter:
    """Return the chapter: the optimum of each unit, and how its activation climbed.

    Raises
    ------
    ArtifactError
        The artifact is damaged.
    UsageProblem
        A unit asked for is not in it.
    """
    artifact = Artifact(path, "maximum")
    names = artifact.flags("unit")
    config = artifact.record["config"]
    activation = artifact.read("activation")
    shown = request.chosen(path, len(names))
    left_out: list[str] = []
    corpus = request.corpus(path, artifact.record, left_out, "units of the axes")
    shape = artifact.array("optimum").shape[1:]
    axes = _axes(corpus, shape)
    rate = None if corpus is None else int(corpus.config["rate"])
    cells: list[tuple[str, Cell]] = []
    for number in shown:
        sound = _sound(artifact, number)
        values = artifact.read("optimum", number)
        name = f"{names[number]}: activation {activation[number, -1]:.3g}"
        if shape[1] == 1:
            time = np.arange(shape[2]) * (1e3 / rate if rate else 1.0)
            line = Line("", time, values.ravel())
            unit = "time [ms]" if rate else "sample"
            cells.append((name, Chart([line], unit, "value", sound=sound, alt=name)))
            continue
        first = values[0]
        size = float(np.abs(first).max()) or 1.0
        scale = symmetric(first, LABEL, 1.0)
        cells.append((name, Picture(first / size, axes[0], axes[1], scale, sound, name)))
    note = (
        f"{len(shown)} of {len(names)} units of {config.get('layer')}: the input, less the "
        "training mean, that excites each most (Krug 2018, sec. 3.2)."
    )
    lines = [
        Line(names[number], np.arange(activation.shape[1], dtype=np.float64), activation[number])
        for number in shown
    ]
    climb = Chart(lines, "step", "activation", alt="activation by step")
    figures: list[Figure] = [
        Gallery("optima", "Optimal inputs", note, cells),
        Plot("climb", "Activation by step", "Before every step, and after the last.", [climb]),
    ]
    facts = {"layer": str(config.get("layer")), "units": str(len(names))}
    return Chapter(str(path), "maximum", facts, figures, left_out)


def _axes(corpus: Corpus | None, shape: tuple[int, ...]) -> tuple[Axis, Axis]:
    """Return the time and the frequency axis: in ms and Hz where an optimum is a whole input."""
    if corpus is not None and corpus.unit == "segment" and corpus.input_shape == shape:
        look = look_of(corpus.artifact, corpus.config)
        return look.time, look.frequency
    time = Axis("frame", "", 0, float(shape[2]))
    if corpus is not None and corpus.unit != "window":
        hop = (int(corpus.config["window"]) - int(corpus.config["overlap"])) / corpus.config["rate"]
        time = Axis("time", "ms", 0, 1e3 * hop * shape[2])
        if shape[1] == len(corpus.artifact.read("frequency")):
            return time, look_of(corpus.artifact, corpus.config).frequency
    return time, Axis("bin", "", 0, float(shape[1]))


def _sound(artifact: Artifact, number: int) -> Sound | None:
    if "waveform" not in artifact:
        return None
    rate = int(artifact.attributes("waveform")["sampling_frequency"])
    return Sound(artifact.read("waveform", number), rate)
