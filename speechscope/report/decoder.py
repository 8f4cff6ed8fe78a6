"""The chapter of ``decoder.pt``: how the decoders learned, and what leaks around their codes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from speechscope.errors import ArtifactError
from speechscope.report.figures import Bars, Chapter, Chart, Figure, Line, Plot, Table
from speechscope.report.request import Request
from speechscope.store.checkpoint import Checkpoint

LEAKS = {
    "test": "decoded",
    "zeroed": "from zeros",
    "mangled": "first convolution zeroed",
    "silence": "silence",
}
"""Errors of the leak test by their names in the checkpoint."""


def chapter(path: Path, request: Request) -> Chapter:
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
        figures: list[Figure] = [*_curves(history), *_leaks(scores)]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: the decoders do not fit their record ({error})") from error
    scheme = ("encoder", "decoder", "unpool", "stack")
    facts = {
        "layers": ", ".join(map(str, layers)),
        **{name: str(config[name]) for name in scheme if name in config},
    }
    return Chapter(str(path), "decoder", facts, figures)


def _curves(history: Sequence[dict[str, Any]]) -> list[Figure]:
    charts = []
    for layer in sorted({entry["layer"] for entry in history}):
        mine = [entry for entry in history if entry["layer"] == layer]
        # Epochs of all phases one after the other: each phase restores a target of its own, so
        # only an error over that of silence can be compared between them.
        at = np.arange(1, len(mine) + 1, dtype=np.float64)
        lines = [
            Line(name, at, np.array([_over_silence(entry, key) for entry in mine]))
            for key, name in (("train", "training"), ("test", "test"))
        ]
        label = "error over that of silence"
        charts.append(
            Chart(lines, f"epoch (layer {layer})", label, {"silence": 1.0}, alt=f"layer {layer}")
        )
    note = (
        "Mean Euclidean distance to the target of each phase, over the target's distance to zeros; "
        "phases follow each other, the last trains everything together (Churchman 2015, sec. 6.5)."
    )
    return [Plot("curves", "Training", note, charts)] if charts else []


def _over_silence(entry: dict[str, Any], key: str) -> float:
    return float(entry[key]) / float(entry["silence"]) if entry["silence"] else float("nan")


def _leaks(scores: Sequence[dict[str, Any]]) -> list[Figure]:
    if not scores:
        return []
    names = [key for key in LEAKS if key in scores[0]]
    categories = [f"layer {row['layer']}" for row in scores]
    series = {LEAKS[key]: [float(row[key]) for row in scores] for key in names}
    note = (
        "Mean Euclidean distance to the input of what is restored from the code, from zeros in its "
        "place, and with the first decoding convolution set to zero. Where the last two come near "
        "the first, the picture came around the code, by the switches (Churchman 2015, app. A; "
        "Riemens 2015, sec. 4.2.2)."
    )
    headings = list(scores[0])
    rows = [[row.get(name) for name in headings] for row in scores]
    return [
        Bars("leak-test", "Leak test", note, categories, series, "distance", stacked=False),
        Table("leak-test-table", "Leak test in figures", "", headings, rows, closed=True),
    ]
