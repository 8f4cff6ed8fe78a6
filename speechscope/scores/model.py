"""The scores of `model.pt`: accuracy on the test split, or the letter error rate."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speechscope.corpus.seen import Seen
from speechscope.corpus.store import Corpus
from speechscope.networks.saved import load_model
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.registry import SCORES
from speechscope.scores.tables import Row
from speechscope.store.checkpoint import Checkpoint
from speechscope.store.lineage import ancestor
from speechscope.training.evaluation import (
    accuracy,
    answers,
    balanced_accuracy,
    constant_error,
    letter_answers,
)
from speechscope.training.source import CorpusSource, CorpusUtterances
from speechscope.work.device import choose

if TYPE_CHECKING:
    from speechscope.stages.score import Score


UTTERANCES = 16  # answered at once: a third of a GB at full width, if all are long


@SCORES.register("model")
def model_rows(path: Path, settings: "Score") -> Iterator[Row]:
    """Yield accuracies on the test split, over all classes and over the folded ones.

    Of a letter network: its error rate, beside that of a constant answer. Each row says of which
    epoch the weights are, and on which split that epoch was chosen.

    Raises
    ------
    ArtifactError
        The model or its corpus is missing, damaged or another.
    """
    model = load_model(path)
    corpus = Corpus(ancestor(path, model.checkpoint.record, "corpus", settings.moved()))
    if settings.input is not None and settings.input != corpus.path:
        corpus = Seen(settings.input, corpus)
    device = choose(settings.device)
    values = model.checkpoint.values
    # Whoever reads a score is to know whether the test items helped to choose the weights.
    chosen = {"epoch": values.get("best_epoch"), "chosen_on": values.get("selected_on")}
    if isinstance(model.network, Wav2Letter):
        for row in _letters(path, model.network.to(device), corpus):
            yield {**row, **chosen}
        return
    source = CorpusSource(corpus, ("test",), device, hold=False)
    _, predicted = answers(model.network.to(device), source, "test")
    labels = corpus.labels[corpus.items("test")]
    folded = (model.fold[predicted], model.fold[labels], len(model.classes_folded))
    for measure, score in (
        ("accuracy", accuracy),
        ("class-balanced accuracy", balanced_accuracy),
    ):
        for answered, wanted, classes in ((predicted, labels, len(model.classes)), folded):
            yield {
                "artifact": path.name,
                "network": model.name,
                "split": "test",
                "measure": measure,
                "classes": classes,
                "occurring": len(np.unique(wanted)),
                "items": len(labels),
                "value": score(wanted, answered),
                **chosen,
            }


def _letters(path: Path, network: Wav2Letter, corpus: Corpus) -> Iterator[Row]:
    written = letter_answers(network, CorpusUtterances(corpus, hold=False), "test", UTTERANCES)
    for measure, value in (
        ("letter error rate", written.error),
        ("letter error rate of a constant answer", constant_error(written.texts)),
    ):
        yield {
            "artifact": path.name,
            "network": "wav2letter",
            "split": "test",
            "measure": measure,
            "items": len(written.items),
            "letters": sum(map(len, written.texts)),
            "value": value,
        }


SHOWN = ("encoder", "decoder", "unpool", "stack", "relu")
"""Settings of its training beside each row."""


@SCORES.register("decoder")
def decoder_rows(path: Path, settings: "Score") -> Iterator[Row]:
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
