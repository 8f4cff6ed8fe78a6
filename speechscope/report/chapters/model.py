"""The chapter of ``model.pt``: how it learned, what it confuses, what its first layer looks for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.store import Corpus
from speechscope.corpus.utterances import SPLITS
from speechscope.networks.layers import Conv
from speechscope.networks.saved import Model, load_model
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.registry import CHAPTERS
from speechscope.relevance.waveforms import cumulative_response
from speechscope.report import figures as fig
from speechscope.report.chapters import corpus_of, score_figures, scores_of
from speechscope.report.pictures import example_items, hop, names_of, reach
from speechscope.scores.statistics import Row
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
}
ERRORS = {"error": "test"}
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
    epochs = f"{len(history)} epoch{'s' * (len(history) != 1)}"
    facts = {
        "network": f"{model.name}, {weights:,} weights, {len(model.classes)} classes",
        "training": f"{epochs}; the best, {best}, chosen on "
        f"{values.get('selected_on') or 'nothing, it is the last'}",
        **{f"test, {name}": _short(score) for name, score in values.get("test", {}).items()},
    }
    left_out: list[str] = []
    missing = "confusions and first-layer responses"
    corpus = corpus_of(settings, path, record, left_out, missing)
    figures: list[fig.Figure] = [_curves(history, best)] if history else []
    scores: Sequence[Row] = []
    if corpus is not None:
        figures += confusions(model, corpus, settings)
        if (corpus.splits == SPLITS.index("test")).any():
            scores = scores_of(path, settings)
            figures += score_figures(scores)
    figures += filter_figures(model, corpus)
    looked = (
        f"A network of {weights:,} weights ({model.name}), trained for {epochs} to name "
        f"{len(model.classes)} classes"
    )
    return fig.Chapter(str(path), "model", facts, figures, left_out, looked, scores)


def _curves(history: Sequence[Mapping[str, Any]], best: int) -> fig.Plot:
    """Return the losses and the accuracies of every epoch side by side."""
    epochs = np.array([entry["epoch"] for entry in history], dtype=np.float64)
    charts = []
    kinds = (LOSSES, "loss [nats]"), (SHARES, "share of items"), (ERRORS, "letter error rate")
    for names, label in kinds:
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


MOST = 48
"""Filters shown, whatever is asked (chosen: the eye does not take in more)."""
POINTS = 1024
"""Of the transform of a filter for raw waveforms (chosen: 16 Hz apart at 16 kHz)."""


def filter_figures(model: Model, corpus: Corpus | None) -> list[fig.Figure]:
    """Return the filters, and their responses.

    Of a network for waveforms: each filter with its magnitude response, and the cumulative response
    of all (Muckenhirn 2019, eq. 1). Of one for spectrograms: each filter, and what it makes of one
    test item, which needs the corpus.
    """
    if not isinstance(model.network.table[0], Conv):
        return []
    kernels = model.network.get_parameter(f"{model.network.names[0]}.weight").detach().cpu()
    if kernels.shape[1] == kernels.shape[2] == 1 and model.network.input_shape[1] == 1:
        return _of_waveforms(kernels[:, 0, 0], corpus)
    filters = _of_spectrograms(model, kernels.numpy(), corpus)
    if corpus is None or not len(corpus.splits):
        return [filters]
    return [filters, _responses(model, corpus)]


def _of_waveforms(kernels: Tensor, corpus: Corpus | None) -> list[fig.Figure]:
    rate = None if corpus is None else int(corpus.config["rate"])
    points = max(POINTS, 1 << (kernels.shape[1] - 1).bit_length())
    frequency = np.arange(points // 2 + 1) * (rate or 1) / points
    time = np.arange(kernels.shape[1]) * (1e3 / rate if rate else 1)
    across, along = (
        ("time [ms]", "frequency [Hz]") if rate else ("sample", "frequency [of the rate]")
    )
    spectra = torch.fft.rfft(kernels, points).abs().numpy()
    order = np.argsort(spectra.argmax(1), kind="stable")[:MOST]
    cells: list[tuple[str, fig.Cell]] = []
    for index in order:
        peak = f"peak {frequency[spectra[index].argmax()]:.4g}{' Hz' if rate else ''}"
        wave = fig.curve(kernels[index].numpy(), time, across, "weight", alt=peak)
        cells.append((f"filter {index}, {peak}", wave))
    note = f"{len(cells)} of {len(kernels)} filters, by the frequency they pass best."
    passed = fig.Chart(
        [fig.Line("all filters", frequency, cumulative_response(kernels, points).numpy())],
        along,
        "cumulative response",
        alt="cumulative frequency response of the first layer",
    )
    each = [fig.Line(f"filter {index}", frequency, spectra[index]) for index in order[:6]]
    single = fig.Chart(each, along, "magnitude", alt="magnitude responses of the first filters")
    response = (
        "The sum of the filters' magnitude spectra, each over its norm (Muckenhirn 2019, eq. 1), "
        "and those of the first few filters."
    )
    return [
        fig.Gallery("filters", "First-layer filters", note, cells),
        fig.Plot("responses", "What the first layer passes", response, [passed, single]),
    ]


def _of_spectrograms(
    model: Model, weights: NDArray[np.float32], corpus: Corpus | None
) -> fig.Gallery:
    count, channels, bins, frames = weights.shape
    frequency, time = reach(corpus, bins, frames)
    label = "weight, of the filter's largest"
    cells: list[tuple[str, fig.Cell]] = []
    for index, kernel in enumerate(weights[:MOST]):
        # Of several input channels, the first: the values, not their derivatives.
        name = f"filter {index}"
        cells.append((name, fig.signed(kernel[0], time, frequency, label, alt=name)))
    channel = "" if channels == 1 else f" The first of {channels} channels."
    note = (
        f"{len(cells)} of {count} filters of {model.network.names[0]}, "
        f"{bins} × {frames} (frequency × time).{channel}"
    )
    return fig.Gallery("filters", "First-layer filters", note, cells)


def _responses(model: Model, corpus: Corpus) -> fig.Gallery:
    items = example_items(corpus, 3)[:1]
    (name,) = names_of(corpus, items)
    maps = model.network.cpu().activation(_input(corpus, items), 1)[0].numpy()
    cells: list[tuple[str, fig.Cell]] = []
    for index, values in enumerate(maps[:MOST]):
        rows, columns = values.shape
        alt = f"response of filter {index}"
        cell: fig.Cell
        if 1 in values.shape:
            at = np.arange(values.size, dtype=np.float64)
            across = "frame" if rows == 1 else "bin"
            cell = fig.curve(values.ravel(), at, across, "activation", alt=alt)
        else:
            x, y = fig.Axis("frame", "", 0, columns), fig.Axis("bin", "", 0, rows)
            label = "activation before the ReLU, of the map's largest"
            cell = fig.signed(values, x, y, label, alt=alt)
        cells.append((f"filter {index}", cell))
    note = f"What each filter makes of {name}: {len(cells)} of {len(maps)} maps."
    return fig.Gallery("responses", "First-layer responses", note, cells)


def _input(corpus: Corpus, items: NDArray[np.int64]) -> Tensor:
    if corpus.unit != "utterance":
        return torch.from_numpy(corpus.centred(items))
    (values,) = corpus.utterance_inputs(items)
    shown = values[..., : int(fig.SECONDS / hop(corpus))] - corpus.mean[..., None]
    return torch.from_numpy(np.ascontiguousarray(shown)[None])
