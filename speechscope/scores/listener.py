"""What another network hears: the phones it names of reconstructions."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.features.distances import lost, partners
from speechscope.networks.saved import load_classifier
from speechscope.scores.statistics import Score, shuffled
from speechscope.store.lineage import ancestor

FIRST, FIVE = "phone named by the listener", "phone among the listener's first five"
GUESSED = "answers to other items"


class NamedBy:
    """Has a model of ours name the phones of waveforms.

    The metamer test of Feather et al. (2023): what one network cannot tell from the original,
    another one may not know. A listener of another architecture, other features and another seed
    tells most.

    Parameters
    ----------
    path
        The model.
    moved
        Where its corpus is, if it moved.
    samples
        Length of the waveforms.

    Raises
    ------
    UsageProblem
        It hears something else than segments of that length.
    """

    def __init__(self, path: Path, moved: Mapping[str, Path], samples: int) -> None:
        self._model = model = load_classifier(path)
        self._corpus = corpus = Corpus(ancestor(path, model.checkpoint.record, "corpus", moved))
        if corpus.unit != "segment" or corpus.config.get("duration"):
            raise UsageProblem(f"--listener {path}: it does not hear segments by their sound alone")
        if int(corpus.config["samples"]) != samples:
            raise UsageProblem(
                f"--listener {path}: hears {corpus.config['samples']} samples, not {samples}"
            )

    def truths(self, classes: Sequence[str], labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the folded class of items as the listener numbers them; -1: it knows none."""
        known = dict(zip(self._model.classes, self._model.fold.tolist(), strict=True))
        return np.array([known.get(name, -1) for name in classes], dtype=np.int64)[labels]

    def named(self, waveforms: NDArray[Any]) -> NDArray[np.int64]:
        """Return the five folded classes it finds most likely, the first first, (N, 5)."""
        values = self._corpus.representation.segments(waveforms.astype(np.float32))
        with torch.inference_mode():
            scores = self._model.network(torch.from_numpy(values - self._corpus.mean)).numpy()
        folded = np.full((len(scores), len(self._model.classes_folded)), -np.inf)
        for column, fold in enumerate(self._model.fold):
            folded[:, fold] = np.maximum(folded[:, fold], scores[:, column])
        return np.argsort(-folded, axis=1)[:, :5]

    def scores(self, truth: NDArray[np.int64], named: NDArray[np.int64]) -> Iterator[Score]:
        """Yield how often it names the right phone, first, and among five."""
        there = truth >= 0
        true, found = truth[there], named[there]
        pairs = partners(len(true))

        def right(answers: NDArray[np.int64]) -> NDArray[np.float64]:
            return np.asarray((answers == true[:, None]).any(1), dtype=np.float64)

        others = np.array([right(found[pair]) for pair in pairs])
        for name, items, chance in (
            (FIRST, right(found[:, :1]), shuffled(found[:, 0], true)),
            (FIVE, right(found), lost(others, pairs)),
        ):
            values, null = (np.full(len(truth), np.nan) for _ in range(2))
            values[there], null[there] = items, chance
            yield Score({"measure": name}, values, {GUESSED: null})
