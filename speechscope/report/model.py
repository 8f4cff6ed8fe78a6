"""The chapter of ``model.pt``: how it learned, what it confuses, what its first layer looks for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from speechscope.networks.saved import load_model
from speechscope.report import confusion, filters
from speechscope.report.figures import Chapter, Chart, Figure, Line, Plot
from speechscope.report.request import Request, number

LOSSES = {"loss": "training", "test_loss": "test"}
SHARES = {
    "train_accuracy": "training, as trained on",
    "accuracy": "test, all classes",
    "accuracy_folded": "test, folded classes",
    "balanced_folded": "test, mean over folded classes",
    "error": "test, letter error rate",
}
"""The figures of an epoch, and what the curves are called."""


def chapter(path: Path, request: Request) -> Chapter:
    """Return the chapter: training curves, confusion matrix, first-layer filters and responses.

    Raises
    ------
    ArtifactError
        The model is damaged.
    """
    model = load_model(path)
    record, values = model.checkpoint.record, model.checkpoint.values
    history: Sequence[Mapping[str, float]] = values.get("history", [])
    best = int(values.get("best_epoch", 0))
    weights = sum(parameter.numel() for parameter in model.network.parameters())
    facts = {
        "network": f"{model.name}, {weights:,} weights, {len(model.classes)} classes",
        "training": f"{len(history)} epochs; the best, {best}, chosen on "
        f"{values.get('selected_on', 'test')}",
        **{f"test, {name}": number(score) for name, score in values.get("test", {}).items()},
    }
    left_out: list[str] = []
    corpus = request.corpus(path, record, left_out, "confusions and first-layer responses")
    figures: list[Figure] = [curves(history, best)] if history else []
    if corpus is not None:
        figures += confusion.figures(model, corpus, request.device, request.examples)
    figures += filters.figures(model, corpus)
    return Chapter(str(path), "model", facts, figures, left_out)


def curves(history: Sequence[Mapping[str, Any]], best: int) -> Plot:
    """Return the losses and the accuracies of every epoch side by side."""
    epochs = np.array([entry["epoch"] for entry in history], dtype=np.float64)
    charts = [
        Chart(lines, "epoch", label, alt=f"{label} by epoch")
        for names, label in ((LOSSES, "loss [nats]"), (SHARES, "share of items"))
        if (
            lines := [
                _line(history, epochs, key, name)
                for key, name in names.items()
                if key in history[0]
            ]
        )
    ]
    note = (
        "Training figures are means over the batches as they were trained on, with dropout where "
        f"there is some. The weights kept are those of epoch {best}."
    )
    return Plot("curves", "Training", note, charts)


def _line(history: Sequence[Mapping[str, Any]], epochs: Any, key: str, name: str) -> Line:
    return Line(name, epochs, np.array([entry[key] for entry in history], dtype=np.float64))
