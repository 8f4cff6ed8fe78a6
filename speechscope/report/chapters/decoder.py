"""The chapter of ``decoder.pt``: how the decoders learned, and what leaks around their codes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speechscope.errors import ArtifactError
from speechscope.registry import CHAPTERS
from speechscope.report import figures as fig
from speechscope.report.chapters import score_figures, scores_of
from speechscope.store.checkpoint import Checkpoint

if TYPE_CHECKING:
    from speechscope.stages.report import Report

LEAKS = {
    "test": "decoded",
    "zeroed": "from zeros",
    "mangled": "first convolution zeroed",
    "silence": "silence",
}
"""Errors of the leak test by their names in the checkpoint."""


@CHAPTERS.register("decoder")
def chapter(path: Path, settings: "Report") -> fig.Chapter:
    """Return the chapter: errors by epoch, and the leak test.

    Raises
    ------
    ArtifactError
        The checkpoint is damaged, or does not hold what a decoder's does.
    """
    checkpoint = Checkpoint(path, "decoder")
    config = checkpoint.record["config"]
    try:
        history, scores = checkpoint.values["history"], checkpoint.values["scores"]
        layers = sorted({int(row["layer"]) for row in scores})
        figures: list[fig.Figure] = [*_curves(history), *_leaks(scores)]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: the decoders do not fit their record ({error})") from error
    scheme = ("encoder", "decoder", "unpool", "stack")
    facts = {
        "layers": ", ".join(map(str, layers)),
        **{name: str(config[name]) for name in scheme if name in config},
    }
    main = None
    if scores:
        best = min(scores, key=lambda row: float(row["test"]) / (float(row["silence"]) or 1.0))
        distance = {"value": float(best["test"]), "chance": float(best["silence"])}
        main = {"measure": "distance to the input", "layer": best["layer"], **distance,
                "ceiling": 0.0, "null": "silence"}  # fmt: skip
    looked = f"Decoders that turn what layer {', '.join(map(str, layers))} holds into a sound"
    rows = scores_of(path, settings)
    return fig.Chapter(
        str(path), "decoder", facts, figures, looked=looked, scores=rows, main=main,
        unscored="Held against silence: a distance below it is better than restoring nothing.",
    )  # fmt: skip


@CHAPTERS.register("inverse")
def inverse_chapter(path: Path, settings: "Report") -> fig.Chapter:
    """Return the chapter of ``inverse.pt``: how near learned spectra are to those of test items.

    Raises
    ------
    ArtifactError
        The checkpoint is damaged.
    """
    rows = scores_of(path, settings)
    layers = ", ".join(dict.fromkeys(str(row["layer"]) for row in rows))
    looked = f"Learned inverses: sound from what layer {layers} holds of it"
    return fig.Chapter(
        str(path), "inverse", {"layers": layers}, score_figures(rows), looked=looked, scores=rows
    )


def _curves(history: Sequence[dict[str, Any]]) -> list[fig.Figure]:
    charts = []
    for layer in sorted({entry["layer"] for entry in history}):
        # Epochs of all phases one after the other: each phase restores a target of its own, so
        # only an error over that of silence can be compared between them.
        epochs = [entry for entry in history if entry["layer"] == layer]
        at = np.arange(1, len(epochs) + 1, dtype=np.float64)
        silence = np.array([float(entry["silence"]) or np.nan for entry in epochs])
        lines = [
            fig.Line(name, at, np.array([float(entry[key]) for entry in epochs]) / silence)
            for key, name in (("train", "training"), ("test", "test"))
        ]
        across, up = f"epoch (layer {layer})", "error over that of silence"
        charts.append(fig.Chart(lines, across, up, {"silence": 1.0}, alt=f"layer {layer}"))
    note = (
        "Mean Euclidean distance to the target of each phase, over the target's distance to zeros; "
        "phases follow each other, the last trains everything together (Churchman 2015, sec. 6.5)."
    )
    return [fig.Plot("curves", "Training", note, charts)] if charts else []


def _leaks(scores: Sequence[dict[str, Any]]) -> list[fig.Figure]:
    if not scores:
        return []
    categories = [f"layer {row['layer']}" for row in scores]
    series = {
        name: [float(row[key]) for row in scores] for key, name in LEAKS.items() if key in scores[0]
    }
    note = (
        "Mean Euclidean distance to the input of what is restored from the code, from zeros in its "
        "place, and with the first decoding convolution set to zero. Where the last two come near "
        "the first, the picture came around the code, by the switches (Churchman 2015, app. A; "
        "Riemens 2015, sec. 4.2.2)."
    )
    headings = list(scores[0])
    rows = [[row.get(name) for name in headings] for row in scores]
    return [
        fig.Bars("leak-test", "Leak test", note, categories, series, "distance", stacked=False),
        fig.Table("leak-test-table", "Leak test in figures", "", headings, rows, closed=True),
    ]
