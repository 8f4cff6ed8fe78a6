"""What another network hears: the phones it names of reconstructions.

A listener is a model of ours (`--listener`), or the small one that is kept beside a corpus: another
architecture, other features and another seed than any network that is looked into, trained on the
same training speakers. It hears log-mel spectra free of level, in 40 bands.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from speechscope.corpus.store import Corpus
from speechscope.corpus.units import Indices
from speechscope.errors import UsageProblem
from speechscope.features.distances import LSD_RANGE, partners, with_others
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Table
from speechscope.networks.saved import Model, load_classifier, model_of, model_values
from speechscope.registry import SCORES
from speechscope.scores.heard import mel_levels
from speechscope.scores.statistics import GUESSED, Score, among, shuffled
from speechscope.store import checkpoint
from speechscope.store.lineage import ancestor, digest_at, entry, record_at
from speechscope.store.record import new_record
from speechscope.store.staging import staged
from speechscope.training.classifier import ClassifierTraining
from speechscope.training.source import CorpusSource, held_out
from speechscope.work.device import choose, sent

if TYPE_CHECKING:
    from speechscope.stages.score import Score as Settings
    from speechscope.stages.train import Train
    from speechscope.store.record import Record

FIRST, FIVE = "phone named by the listener", "phone among the listener's first five"
KIND = "listener"
BANDS = 40
"""Of what it hears (chosen: those of Pellegrini 2016, sec. 2)."""
LEAST = 1000
"""Training segments below which no listener is trained (chosen)."""
WORDS_RATE, LOUDEST = 16000, 20000.0
"""Of what the recogniser of words hears [Hz], and its loudest sample (chosen)."""
BATCH = 256
"""Waveforms heard at a time."""
TABLE: Table = (
    Conv(16, (5, 3), "same"), ReLU(), MaxPool((2, 1), (2, 1)),
    Conv(32, (5, 3), "same"), ReLU(), MaxPool((2, 2), (2, 2)),
    Conv(64, (3, 3), "same"), ReLU(), MaxPool((2, 2), (2, 2)),
    Linear(128), ReLU(), Linear(None),
)  # fmt: skip
"""Chosen: small, and unlike those of the papers."""


def network_of(name: str, input_shape: Sequence[int], classes: int) -> Network:
    """Return the listener, untrained."""
    return Network(TABLE, tuple(input_shape), classes)


def heard(waveforms: NDArray[Any], rate: int) -> NDArray[np.float32]:
    """Return what the listener is given of waveforms (N, samples), (N, 1, band, frame).

    From 0, `LSD_RANGE` below the loudest point of a sound, to 1.
    """
    scaled = mel_levels(waveforms.astype(np.float32), rate, BANDS) / np.float32(LSD_RANGE) + 1
    return np.ascontiguousarray(scaled.transpose(0, 2, 1)[:, None], dtype=np.float32)


class HeardCorpus(Corpus):
    """Segments of a corpus as the listener hears them."""

    def centred(self, items: Indices) -> NDArray[np.float32]:
        """See `Corpus`."""
        return heard(self.waveforms(items), int(self.config["rate"]))

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """See `Corpus`."""
        _, bands, frames = heard(np.ones((1, int(self.config["samples"]))), 16000)[0].shape
        return 1, bands, frames

    @cached_property
    def mean(self) -> NDArray[np.float32]:
        """See `Corpus`: 0 is silence, and nothing is taken away."""
        return np.zeros(self.input_shape, dtype=np.float32)


def beside(corpus: Path) -> Path:
    """Return where the listener of a corpus is kept."""
    return corpus.with_name(f"{corpus.stem}.{KIND}.pt")


def kept(corpus: Path, config: Mapping[str, Any] | None = None) -> Path | None:
    """Return the listener beside a corpus; None where there is none of this corpus, made so."""
    path = beside(corpus)
    if not path.exists():
        return None
    record = record_at(path)
    same = record["parents"] and record["parents"][0]["digest"] == digest_at(corpus)
    made_so = config is None or record["config"] == dict(config)
    return path if record["kind"] == KIND and same and made_so else None


def hears(record: "Record", settings: "Settings") -> bool:
    """Say whether an inversion is heard by the listener beside its corpus.

    It is where no other is asked for, and its items are of that corpus.
    """
    return settings.listener is None and record["config"].get("input", "corpus") == "corpus"


def trainable(corpus: Corpus) -> bool:
    """Say whether a listener can be trained on a corpus: enough segments that are phones."""
    phones = corpus.unit == "segment" and corpus.config["labels"] == "phone"
    return phones and int((corpus.splits == 0).sum()) >= LEAST and (corpus.splits == 2).any()


def train(
    corpus: Path, settings: "Train", config: Mapping[str, Any], progress: Callable[[int, int], None]
) -> tuple[Path, float]:
    """Train the listener of a corpus, and keep it beside that; return what it names right of test.

    The share is a mean over the folded classes.
    """
    path, data, device = beside(corpus), HeardCorpus(corpus), choose(settings.device)
    splits = held_out(data, settings.dev, settings.seed)
    source = CorpusSource(data, ("train", "dev", "test"), device, assigned=splits)
    network = network_of(KIND, data.input_shape, len(data.classes)).to(device)
    training = ClassifierTraining(network, source, settings)
    training.run(progress=progress)
    made = {
        "weights": training.best["weights"],
        "classes": data.classes,
        "classes_folded": data.classes_folded,
        "fold": data.fold,
        "mean": data.mean,
    }
    record = new_record(
        KIND,
        config=config,
        seed=settings.seed,
        device=str(device),
        parents=[entry(corpus, "corpus", path)],
    )
    with staged(path, force=True, directory=False) as unnamed:
        checkpoint.write(unnamed, record, model_values(network, KIND, **made))
    return path, float(training.history[training.best["epoch"] - 1]["balanced_folded"])


class NamedBy:
    """Has a model name the phones of waveforms.

    The metamer test of Feather et al. (2023): what one network cannot tell from the original,
    another one may not know.

    Parameters
    ----------
    path
        The model: one of ours, or a listener that is kept beside a corpus.
    moved
        Where its corpus is, if it moved.
    samples, rate
        Of the waveforms.
    device
        Where it runs.

    Raises
    ------
    UsageProblem
        It hears something else than segments of that length.
    """

    def __init__(
        self,
        path: Path,
        moved: Mapping[str, Path],
        samples: int,
        rate: int,
        device: torch.device,
    ) -> None:
        self._model, self._hear, *wanted = _ears(path, moved)
        self._network, self._device = self._model.network.to(device), device
        if wanted != [samples, rate]:
            raise UsageProblem(
                f"--listener {path}: hears {wanted[0]} samples at {wanted[1]} Hz, not {samples} "
                f"at {rate} Hz"
            )

    def truths(self, classes: Sequence[str], labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the folded class of items as the listener numbers them; -1: it knows none."""
        known = dict(zip(self._model.classes, self._model.fold.tolist(), strict=True))
        return np.array([known.get(name, -1) for name in classes], dtype=np.int64)[labels]

    def named(self, waveforms: NDArray[Any]) -> NDArray[np.int64]:
        """Return the five folded classes it finds most likely, the first first, (N, 5)."""
        with torch.inference_mode():
            scores = self._network(sent(self._hear(waveforms), self._device)).cpu().numpy()
        folded = np.full((len(scores), len(self._model.classes_folded)), -np.inf)
        for column, fold in enumerate(self._model.fold):
            folded[:, fold] = np.maximum(folded[:, fold], scores[:, column])
        return np.argsort(-folded, axis=1)[:, :5]


def _ears(
    path: Path, moved: Mapping[str, Path]
) -> tuple[Model, Callable[[NDArray[Any]], NDArray[np.float32]], int, int]:
    """Return a listener, what it is given of waveforms, and their length and rate."""
    if record_at(path)["kind"] == KIND:
        held = checkpoint.Checkpoint(path, KIND)
        rate = int(held.record["config"]["rate"])
        listener = model_of(held, network_of)
        return listener, lambda w: heard(w, rate), int(held.record["config"]["samples"]), rate
    model = load_classifier(path)
    corpus = Corpus(ancestor(path, model.checkpoint.record, "corpus", moved))
    if corpus.unit != "segment" or corpus.config.get("duration"):
        raise UsageProblem(f"--listener {path}: it does not hear segments by their sound alone")

    def given(waveforms: NDArray[Any]) -> NDArray[np.float32]:
        return corpus.representation.segments(waveforms.astype(np.float32)) - corpus.mean

    return model, given, int(corpus.config["samples"]), int(corpus.config["rate"])


def words(samples: NDArray[Any]) -> list[str]:
    """Return the English words that PocketSphinx hears in samples (n,) at `WORDS_RATE`."""
    from pocketsphinx import Decoder

    loudest = float(np.abs(samples).max()) or 1.0
    pcm = np.asarray(samples / loudest * LOUDEST, dtype="<i2").tobytes()
    decoder = Decoder(samprate=WORDS_RATE, loglevel="FATAL")
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return [] if hypothesis is None else str(hypothesis.hypstr).split()


def misheard(wanted: Sequence[str], found: Sequence[str]) -> NDArray[np.float64]:
    """Return the errors at each word wanted, (N,), whose mean is the word error rate.

    A word is deleted or replaced, or words are inserted: they count at the word before, or at the
    first. Of the ways with the fewest errors (Levenshtein 1966) one is taken.
    """
    cost = np.zeros((len(wanted) + 1, len(found) + 1))
    cost[:, 0], cost[0] = np.arange(len(wanted) + 1), np.arange(len(found) + 1)
    for i, word in enumerate(wanted):
        for j, other in enumerate(found):
            swapped = cost[i, j] + (word != other)
            cost[i + 1, j + 1] = min(swapped, cost[i, j + 1] + 1, cost[i + 1, j] + 1)
    errors, (i, j) = np.zeros(len(wanted)), (len(wanted), len(found))
    while len(wanted) and i + j:
        if i and j and cost[i, j] == cost[i - 1, j - 1] + (wanted[i - 1] != found[j - 1]):
            errors[i - 1] += wanted[i - 1] != found[j - 1]
            i, j = i - 1, j - 1
        elif i and cost[i, j] == cost[i - 1, j] + 1:
            errors[i - 1], i = errors[i - 1] + 1, i - 1
        else:
            errors[max(0, i - 1)], j = errors[max(0, i - 1)] + 1, j - 1
    return errors


def naming(truth: NDArray[np.int64], named: NDArray[np.int64]) -> Iterator[Score]:
    """Yield how often the right phone (N,) is named first, and among five (N, 5)."""
    there = truth >= 0
    true, found = truth[there], named[there]

    def right(answers: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray((answers == true[:, None]).any(1), dtype=np.float64)

    others = with_others(lambda pair: right(found[pair]), partners(len(true)))
    for name, items, chance in (
        (FIRST, right(found[:, :1]), shuffled(found[:, 0], true)),
        (FIVE, right(found), others),
    ):
        values, null = (among(of, there, len(truth)) for of in (items, chance))
        yield Score({"measure": name}, values, {GUESSED: null}, 1.0)


@SCORES.register("listener")
def listener_scores(path: Path, settings: "Settings") -> Iterator[Score]:
    """Yield how often a listener names the phones of the test split of its corpus.

    Raises
    ------
    ArtifactError
        It or its corpus is missing, damaged or another.
    """
    corpus = HeardCorpus(ancestor(path, record_at(path), "corpus", settings.moved()))
    items = corpus.items("test")
    sizes = int(corpus.config["samples"]), int(corpus.config["rate"])
    listener = NamedBy(path, settings.moved(), *sizes, choose(settings.device))
    parts = [corpus.waveforms(items[n : n + BATCH]) for n in range(0, len(items), BATCH)]
    found = np.concatenate([listener.named(part) for part in parts])
    truth = listener.truths(corpus.classes, corpus.labels[items])
    speakers = corpus.artifact.read("speaker")[items]
    for score in naming(truth, found):
        yield replace(score, speakers=speakers)
