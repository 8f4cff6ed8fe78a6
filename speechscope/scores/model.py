"""The scores of `model.pt`: accuracy on the test split, or the letter error rate."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.store import Corpus
from speechscope.networks.layers import Network
from speechscope.networks.saved import Model, load_model
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.registry import SCORES
from speechscope.scores.statistics import ENOUGH, FEW, LEVEL, Row, Score, shuffled
from speechscope.store.checkpoint import Checkpoint
from speechscope.store.lineage import ancestor, record_at
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


@dataclass(frozen=True)
class Answers:
    """What a classifier answers to the test items, what they are, and where, (N,) each."""

    model: Model
    predicted: NDArray[np.int64]
    labels: NDArray[np.int64]
    speakers: NDArray[np.int64]
    speaker_names: tuple[str, ...]
    places: list[tuple[str, int, int]]

    @property
    def right(self) -> NDArray[np.float64]:
        """1 where the folded class is right, else 0."""
        fold = self.model.fold
        return np.asarray(fold[self.predicted] == fold[self.labels], dtype=np.float64)


@SCORES.register("model")
def model_scores(path: Path, settings: "Settings") -> Iterator[Score | Row]:
    """Yield accuracies on the test split, over all classes and over the folded ones.

    By chance: the same answers given to other items. Of a letter network: its error rate, beside a
    constant answer's. Each row has the epoch of the weights and the split that chose it. With
    ``by``, each phone's or speaker's too; and by how much each is better than the first model.

    Raises
    ------
    ArtifactError
        The model or its corpus is missing, damaged or another.
    """
    if settings.layers:  # these alone: `speechscope.scores.layers`
        return
    model = load_model(path)
    values = model.checkpoint.values
    # Whoever reads a score is to know whether the test items helped to choose the weights.
    chosen = {"epoch": values.get("best_epoch"), "chosen_on": values.get("selected_on")}
    if isinstance(model.network, Wav2Letter):
        network = model.network.to(choose(settings.device))
        score = _letters(path, network, _corpus_of(path, model, settings))
        yield replace(score, beside={**score.beside, **chosen})
        return
    found = _answers(path, model, settings)
    fold, predicted, labels = model.fold, found.predicted, found.labels
    names = {"network": model.name, "split": "test"}
    ways = {len(model.classes): (predicted, labels)}  # once, where nothing is folded
    ways[len(model.classes_folded)] = fold[predicted], fold[labels]
    for measure in ("accuracy", "class-balanced accuracy"):
        for classes, (answered, wanted) in ways.items():
            occurring, of, counts = np.unique(wanted, return_inverse=True, return_counts=True)
            yield Score(
                {**names, "measure": measure, "classes": classes, "occurring": len(occurring)},
                (answered == wanted).astype(np.float64),
                {"the answers to other items": shuffled(answered, wanted)},
                1.0,
                speakers=found.speakers,
                # Every class counts the same, however often it occurs.
                weights=None if measure == "accuracy" else 1.0 / counts[of],
                beside=chosen,
            )
    chance = shuffled(fold[predicted], fold[labels])
    groups = {"phone": (fold[labels], model.classes_folded)}
    groups["speaker"] = found.speakers, found.speaker_names
    for what in settings.by:
        of, words = groups[what]
        for number in np.unique(of):
            own = of == number
            yield Score(
                {**names, "measure": "folded accuracy", what: words[number]},
                found.right[own],
                {"the answers to other items": chance[own]},
                1.0,
                speakers=found.speakers[own],
            )
    first = (settings.artifacts or (path,))[0]  # report may name none
    if first != path and record_at(first)["kind"] == "model":
        other = load_model(first)
        if not isinstance(other.network, Wav2Letter):
            yield from _compared(names, found, first, _answers(first, other, settings))


def _corpus_of(path: Path, model: Model, settings: "Settings") -> Corpus:
    """Return the corpus a model is scored with: its own, or another as it takes it."""
    corpus = Corpus(ancestor(path, model.checkpoint.record, "corpus", settings.moved()))
    return settings.speech(corpus, path)


def _answers(path: Path, model: Model, settings: "Settings") -> Answers:
    corpus = _corpus_of(path, model, settings)
    device = choose(settings.device)
    source = CorpusSource(corpus, ("test",), device, hold=False)
    assert isinstance(model.network, Network)
    _, predicted = answers(model.network.to(device), source, "test")
    items = corpus.items("test")
    speakers = corpus.artifact.read("speaker")[items].astype(np.int64)
    recordings, read = corpus.names("utterance"), corpus.artifact.read
    of, start, stop = (read(name)[items].tolist() for name in ("utterance", "start", "stop"))
    places = [(recordings[k], a, b) for k, a, b in zip(of, start, stop, strict=True)]
    names = corpus.names("speaker")
    return Answers(model, predicted, corpus.labels[items], speakers, names, places)


def _compared(names: Row, found: Answers, path: Path, first: Answers) -> Iterator[Row]:
    """Yield by how much a model is better than the first of several, of the same items.

    The difference is taken item by item, its interval and its test over speakers.
    """
    there = {place: number for number, place in enumerate(first.places)}
    pairs = [(n, there[place]) for n, place in enumerate(found.places) if place in there]
    if not pairs:
        return  # of other items a difference says nothing
    ours, theirs = (np.array(side) for side in zip(*pairs, strict=True))
    better = found.right[ours] - first.right[theirs]
    groups = Score(names, better, speakers=found.speakers[ours]).sums(better)
    low, high = groups.interval() if len(groups.values) > 1 else (None, None)
    worse = replace(groups, values=-groups.values)
    enough = len(better) >= ENOUGH and len(groups.values) > 1
    p = min(1.0, 2 * min(groups.test()[0], worse.test()[0])) if enough else None
    word = "better" if groups.mean > 0 else "worse"
    yield {
        **names,
        "measure": f"folded accuracy over {path.name}",
        "items": len(better),
        "value": groups.mean,
        "low": low,
        "high": high,
        "p": p,
        "verdict": FEW if p is None else word if p < LEVEL else "no difference seen",
    }


def _letters(path: Path, network: Wav2Letter, corpus: Corpus) -> Score:
    written = letter_answers(network, CorpusUtterances(corpus, hold=False), "test", UTTERANCES)
    constant = constant_answer(written.texts[:CONSTANT_TEXTS])
    letters = np.array([len(text) for text in written.texts], dtype=np.float64)

    def errors(answers: Sequence[str]) -> NDArray[np.float64]:
        edits = [edit_distance(*pair) for pair in zip(written.texts, answers, strict=True)]
        return np.where(letters > 0, edits / np.maximum(letters, 1), np.nan)

    return Score(
        {"network": "wav2letter", "split": "test", "measure": "letter error rate"},
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
def decoder_rows(path: Path, settings: "Settings") -> Iterator[Score | Row]:
    """Yield a row a layer: see `speechscope.training.decoders.measure`.

    Then a verdict each: whether it restores test items better than silence does. Decoders of
    earlier versions hold no more than means, and have none.

    Raises
    ------
    ArtifactError
        The checkpoint is missing or damaged.
    """
    checkpoint = Checkpoint(path, "decoder")
    config = checkpoint.record["config"]
    made = {name: config[name] for name in SHOWN if name in config}
    rows = [dict(row) for row in checkpoint.values["scores"]]
    items = {row["layer"]: row.pop("items", {}) for row in rows}
    for row in rows:
        yield {**made, **row}
    for layer, found in items.items():
        if found:
            yield Score(
                {"layer": layer, "measure": "Euclidean distance"},
                found["test"].double().numpy(),
                {"silence": found["silence"].double().numpy()},
                0.0,
                higher=False,
            )


@SCORES.register("inverse")
def inverse_scores(path: Path, settings: "Settings") -> Iterator[Score]:
    """Yield how far learned spectra are from those of test items [dB], a layer each.

    By chance: the mean of training items.

    Raises
    ------
    ArtifactError
        The checkpoint is missing or damaged.
    """
    checkpoint = Checkpoint(path, "inverse")
    for row in checkpoint.values["scores"]:
        yield Score(
            {"layer": row["layer"], "measure": "log bands [dB]"},
            row["error"].double().numpy(),
            {"the mean spectrum": row["mean"].double().numpy()},
            0.0,
            higher=False,
            speakers=row["speaker"].numpy(),
        )
