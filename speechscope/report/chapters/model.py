"""The chapter of ``model.pt``: how it learned, what it confuses, what its first layer looks for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speechscope.networks.saved import load_model
from speechscope.registry import CHAPTERS
from speechscope.report import figures as fig
from speechscope.report.chapters import confusions, corpus_of, filters

if TYPE_CHECKING:
    from speechscope.stages.report import Report

LOSSES = {"loss": "training", "test_loss": "test"}
SHARES = {
    "train_accuracy": "training, as trained on",
    "accuracy": "test, all classes",
    "accuracy_folded": "test, folded classes",
    "balanced_folded": "test, mean over folded classes",
    "error": "test, letter error rate",
}
"""The figures of an epoch, and what the curves are called."""


@CHAPTERS.register("model")
def chapter(path: Path, settings: "Report") -> fig.Chapter:
    """Return the chapter: training curves, confusion matrix, first-layer filters and responses.

    Raises
    ------
    ArtifactError
        The model is damaged.
    """
    model = load_model(path)
    record, values = model.checkpoint.record, model.checkpoint.values
    history: Sequence[Mapping[str, Any]] = values.get("history", [])
    best = int(values.get("best_epoch", 0))
    weights = sum(parameter.numel() for parameter in model.network.parameters())
    facts = {
        "network": f"{model.name}, {weights:,} weights, {len(model.classes)} classes",
        "training": f"{len(history)} epochs; the best, {best}, chosen on "
        f"{values.get('selected_on', 'test')}",
        **{f"test, {name}": _short(score) for name, score in values.get("test", {}).items()},
    }
    left_out: list[str] = []
    missing = "confusions and first-layer responses"
    corpus = corpus_of(settings, path, record, left_out, missing)
    figures: list[fig.Figure] = [_curves(history, best)] if history else []
    if corpus is not None:
        figures += confusions.figures(model, corpus, settings)
    figures += filters.figures(model, corpus)
    return fig.Chapter(str(path), "model", facts, figures, left_out)


def _curves(history: Sequence[Mapping[str, Any]], best: int) -> fig.Plot:
    """Return the losses and the accuracies of every epoch side by side."""
    epochs = np.array([entry["epoch"] for entry in history], dtype=np.float64)
    charts = []
    for names, label in ((LOSSES, "loss [nats]"), (SHARES, "share of items")):
        lines = [
            fig.Line(name, epochs, np.array([entry[key] for entry in history], dtype=np.float64))
            for key, name in names.items()
            if key in history[0]
        ]
        if lines:
            charts.append(fig.Chart(lines, "epoch", label, alt=f"{label} by epoch"))
    note = (
        "Training figures are means over the batches as they were trained on, with dropout where "
        f"there is some. The weights kept are those of epoch {best}."
    )
    return fig.Plot("curves", "Training", note, charts)


def _short(score: object) -> str:
    if isinstance(score, bool) or not isinstance(score, int | float):
        return str(score)
    return f"{score:,}" if isinstance(score, int) else f"{score:.4g}"
