"""The chapter of ``model.pt``: how it learned, what it confuses, what its first layer looks for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.store import Corpus
from speechscope.corpus.utterances import SPLITS
from speechscope.networks.saved import Model, load_model
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.registry import CHAPTERS
from speechscope.report import figures as fig
from speechscope.report.chapters import corpus_of, filters
from speechscope.training import evaluation
from speechscope.training.source import CorpusSource, CorpusUtterances
from speechscope.work.device import choose

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


TOP = 15
"""Confusions named in the table (chosen)."""
NOTHING = "–"
"""Stands for a letter that was left out or put in."""


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
        figures += confusions(model, corpus, settings)
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


def confusions(model: Model, corpus: Corpus, settings: "Report") -> list[fig.Figure]:
    """Return the confusion matrix of the test split and its largest entries.

    Of a letter network, of the letters of the cheapest alignment, with examples of its answers.
    """
    if not (corpus.splits == SPLITS.index("test")).any():
        return []
    device = choose(settings.device)
    if isinstance(model.network, Wav2Letter):
        return _letters(model.network.to(device), corpus, settings.examples)
    source = CorpusSource(corpus, ("test",), device, hold=False)
    _, predicted = evaluation.answers(model.network.to(device), source, "test")
    labels, names = source.labels("test"), model.classes_folded
    counts = count(model.fold[labels], model.fold[predicted], len(names))
    right = float(np.trace(counts) / max(1, counts.sum()))
    folded = " folded" if len(names) < len(model.classes) else ""
    note = (
        f"Test items of each of {len(names)}{folded} classes by the class answered: "
        f"{counts.sum():,} items, {100 * right:.1f} % on the diagonal. Colours are shares of a row."
    )
    return _shown(counts, names, note)


def count(
    labels: NDArray[np.integer], predicted: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """Return how many items of each class (row) were answered as each class (column)."""
    pairs = np.asarray(labels, dtype=np.int64) * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def aligned(said: str, answered: str) -> list[tuple[str, str]]:
    """Return the pairs of letters of the cheapest alignment; `NOTHING` pairs what has no partner.

    Substitution, deletion and insertion cost 1 each (Levenshtein 1966).
    """
    cost = [list(range(len(answered) + 1))]
    for i, letter in enumerate(said, start=1):
        row, before = [i], cost[-1]
        for j, other in enumerate(answered, start=1):
            row.append(min(before[j - 1] + (letter != other), before[j] + 1, row[j - 1] + 1))
        cost.append(row)
    pairs = []
    i, j = len(said), len(answered)
    while i or j:
        if i and j and cost[i][j] == cost[i - 1][j - 1] + (said[i - 1] != answered[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((said[i], answered[j]))
        elif i and cost[i][j] == cost[i - 1][j] + 1:
            i -= 1
            pairs.append((said[i], NOTHING))
        else:
            j -= 1
            pairs.append((NOTHING, answered[j]))
    return pairs[::-1]


def _letters(network: Wav2Letter, corpus: Corpus, examples: int) -> list[fig.Figure]:
    source = CorpusUtterances(corpus, hold=False)
    test = evaluation.letter_answers(network, source, "test", batch=16)
    texts = list(zip(test.texts, test.answers, strict=True))
    pairs = [pair for text in texts for pair in aligned(*text)]
    letters = [*sorted({letter for pair in pairs for letter in pair} - {NOTHING}), NOTHING]
    place = {letter: index for index, letter in enumerate(letters)}
    places = np.array([[place[letter] for letter in pair] for pair in pairs], dtype=np.int64)
    said, wrote = places.reshape(-1, 2).T
    counts = count(said, wrote, len(letters))
    note = (
        f"Letters said (rows) by letters written (columns) in the cheapest alignment of "
        f"{len(texts):,} test utterances; {NOTHING} is no letter: the last column were left "
        f"out, the last row put in. Letter error rate {100 * test.error:.1f} %."
    )
    names = [letter if letter.strip() else "␣" for letter in letters]
    some = f"{min(examples, len(texts))} of {len(texts):,} test utterances."
    written = fig.Table("written", "What it writes", some, ("said", "written"), texts[:examples])
    return [*_shown(counts, names, note), written]


def _shown(counts: NDArray[np.int64], names: Sequence[str], note: str) -> list[fig.Figure]:
    """Return the matrix of the classes that occur, and its largest entries off the diagonal."""
    kept = np.flatnonzero(counts.sum(0) + counts.sum(1))
    counts, names = counts[np.ix_(kept, kept)], [names[int(index)] for index in kept]
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:TOP]
    rows: list[list[fig.Entry]] = []
    for row, column in zip(*np.unravel_index(order, counts.shape), strict=True):
        if wrong[row, column]:
            share = 100 * wrong[row, column] / counts[row].sum()
            rows.append([names[row], names[column], int(wrong[row, column]), f"{share:.1f} %"])
    title, headings = "The most frequent confusions", ("said", "answered", "items", "of the class")
    return [
        fig.Matrix("confusion", "Confusions", note, counts, names, names, "said", "answered"),
        fig.Table("confusion-table", title, "", headings, rows, closed=True),
    ]
