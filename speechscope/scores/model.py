"""The scores of `model.pt`: accuracy on the test split, or the letter error rate."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.seen import Seen
from speechscope.corpus.store import Corpus
from speechscope.networks.saved import load_model
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.registry import SCORES
from speechscope.scores.statistics import Row, Score, shuffled
from speechscope.store.checkpoint import Checkpoint
from speechscope.store.lineage import ancestor
from speechscope.training.evaluation import (
    CONSTANT_TEXTS,
    answers,
    constant_answer,
    edit_distance,
    letter_answers,
)
from speechscope.training.source import CorpusSource, CorpusUtterances
from speechscope.work.device import choose

if TYPE_CHECKING:
    from speechscope.stages.score import Score as Settings


UTTERANCES = 16  # answered at once: a third of a GB at full width, if all are long


@SCORES.register("model")
def model_scores(path: Path, settings: "Settings") -> Iterator[Score]:
    """Yield accuracies on the test split, over all classes and over the folded ones.

    By chance: the same answers given to other items. Of a letter network: its error rate, beside
    that of a constant answer. Each row says of which epoch the weights are, and on which split that
    epoch was chosen.

    Raises
    ------
    ArtifactError
        The model or its corpus is missing, damaged or another.
    """
    model = load_model(path)
    corpus = Corpus(ancestor(path, model.checkpoint.record, "corpus", settings.moved()))
    given = getattr(settings, "input", None)  # report has none
    if given is not None and given != corpus.path:
        corpus = Seen(given, corpus)
    device = choose(settings.device)
    values = model.checkpoint.values
    # Whoever reads a score is to know whether the test items helped to choose the weights.
    chosen = {"epoch": values.get("best_epoch"), "chosen_on": values.get("selected_on")}
    if isinstance(model.network, Wav2Letter):
        score = _letters(path, model.network.to(device), corpus)
        yield replace(score, beside={**score.beside, **chosen})
        return
    source = CorpusSource(corpus, ("test",), device, hold=False)
    _, predicted = answers(model.network.to(device), source, "test")
    items = corpus.items("test")
    labels, speakers = corpus.labels[items], corpus.artifact.read("speaker")[items]
    folded = (model.fold[predicted], model.fold[labels], len(model.classes_folded))
    for measure in ("accuracy", "class-balanced accuracy"):
        for answered, wanted, classes in ((predicted, labels, len(model.classes)), folded):
            names = {"artifact": path.name, "network": model.name, "split": "test"}
            occurring, of, counts = np.unique(wanted, return_inverse=True, return_counts=True)
            yield Score(
                {**names, "measure": measure, "classes": classes, "occurring": len(occurring)},
                (answered == wanted).astype(np.float64),
                {"the answers to other items": shuffled(answered, wanted)},
                1.0,
                speakers=speakers,
                # Every class counts the same, however often it occurs.
                weights=None if measure == "accuracy" else 1.0 / counts[of],
                beside=chosen,
            )


def _letters(path: Path, network: Wav2Letter, corpus: Corpus) -> Score:
    written = letter_answers(network, CorpusUtterances(corpus, hold=False), "test", UTTERANCES)
    constant = constant_answer(written.texts[:CONSTANT_TEXTS])
    letters = np.array([len(text) for text in written.texts], dtype=np.float64)

    def errors(answers: Sequence[str]) -> NDArray[np.float64]:
        edits = [edit_distance(*pair) for pair in zip(written.texts, answers, strict=True)]
        return np.where(letters > 0, edits / np.maximum(letters, 1), np.nan)

    return Score(
        {"artifact": path.name, "network": "wav2letter", "split": "test"}
        | {"measure": "letter error rate"},
        errors(written.answers),
        {"a constant answer": errors([constant] * len(letters))},
        0.0,
        higher=False,
        speakers=corpus.artifact.read("speaker")[written.items],
        weights=letters,
        beside={"letters": int(letters.sum())},
    )


SHOWN = ("encoder", "decoder", "unpool", "stack", "relu")
"""Settings of its training beside each row."""


@SCORES.register("decoder")
def decoder_rows(path: Path, settings: "Settings") -> Iterator[Row]:
    """Yield a row a layer: see `speechscope.training.decoders.measure`.

    Raises
    ------
    ArtifactError
        The checkpoint is missing or damaged.
    """
    checkpoint = Checkpoint(path, "decoder")
    config = checkpoint.record["config"]
    made = {name: config[name] for name in SHOWN if name in config}
    for row in checkpoint.values["scores"]:
        yield {"artifact": path.name, **made, **row}
