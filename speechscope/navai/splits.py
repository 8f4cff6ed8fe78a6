"""By what the inputs of a class are split further: what was said, by whom, and in what context."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.letters import BLANK, NAMES
from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.navai.examples import MOST, Batch, Examples, LetterExamples

EDGE = "edge"
"""Stands for what comes before the first and after the last of a recording."""


class Split(NamedTuple):
    """How inputs are split: the names of parts, and the number of each input's part.

    That is given by alignment, (A, B), or for all alignments alike, (B,); −1: none.
    """

    names: Sequence[str]
    of: Callable[[Batch], NDArray[np.int64]]


def split_by(by: str, examples: Examples, phones: Corpus | None = None) -> Split | None:
    """Return how inputs are split by what ``--by`` names; None: not at all.

    ``phone``: what was said, the item's label or, of recordings that have no phones, what `phones`
    has at the chosen frame. ``speaker``. ``before``, ``after``, ``context``: the neighbouring label
    in the recording, or both; of letters, the neighbouring letter that the network answers.

    Source: Krug 2018, sec. 5, which leaves "particular contexts or pronunciation" for later.

    Parameters
    ----------
    phones
        A corpus with the phones of the same recordings.

    Raises
    ------
    UsageProblem
        The corpus does not have that.
    """
    corpus = examples.corpus
    if by == "none":
        return None
    if by == "speaker":
        speakers = corpus.artifact.read("speaker").astype(np.int64)
        return Split(corpus.names("speaker"), lambda batch: speakers[batch.item])
    if by == "phone":
        return _by_phone(examples, phones)
    if isinstance(examples, LetterExamples):
        names, sides = (*NAMES, EDGE), _answers_beside(examples)
    else:
        names, sides = (*corpus.classes, EDGE), _labels_beside(corpus)
    if by != "context":
        side = ("before", "after").index(by)
        return Split(names, lambda batch: sides(batch)[side])
    both = [f"{before}_{after}" for before in names for after in names]
    return Split(both, lambda batch: sides(batch)[0] * len(names) + sides(batch)[1])


def _by_phone(examples: Examples, phones: Corpus | None) -> Split:
    corpus = examples.corpus
    if phones is not None:
        marks = PhoneMarks(phones, corpus)
        return Split(
            phones.classes,
            lambda batch: np.stack([marks.at(batch.item, at) for at in examples.middles(batch)]),
        )
    if "label" not in corpus.artifact or corpus.config.get("labels", "phone") != "phone":
        raise UsageProblem(
            f"--by phone: {corpus.path} has no phones; name a corpus that has those of its "
            "recordings with --phones (speechscope prepare --unit frame --labels phone)"
        )
    labels = corpus.labels
    return Split(corpus.classes, lambda batch: labels[batch.item])


def _labels_beside(corpus: Corpus) -> Callable[[Batch], NDArray[np.int64]]:
    """Return what gives the labels before and after each input, (2, B)."""
    recording = corpus.artifact.read("utterance")
    beside = np.stack(neighbours(corpus.labels, recording, len(corpus.classes)))
    return lambda batch: beside[:, batch.item]


def _answers_beside(examples: LetterExamples) -> Callable[[Batch], NDArray[np.int64]]:
    """Return what gives the letters a network answers before and after each input, (2, B)."""

    @lru_cache(maxsize=MOST)  # a batch has inputs of no more utterances
    def of(item: int) -> NDArray[np.int64]:
        answers = examples.answers(item)
        return np.stack(neighbours(answers, np.zeros_like(answers), len(NAMES), skip=BLANK))

    def beside(batch: Batch) -> NDArray[np.int64]:
        pairs = zip(batch.item.tolist(), batch.output, strict=True)
        return np.stack([of(item)[:, output] for item, output in pairs], axis=1)

    return beside


def neighbours(
    labels: NDArray[np.integer], recording: NDArray[np.integer], edge: int, skip: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the label before and the one after each run of equal labels, (N,) each.

    Parameters
    ----------
    labels
        (N,), in the order in which they were said.
    recording
        What each belongs to, (N,); a run does not go on into another.
    edge
        Stands beyond the ends.
    skip
        A label that parts runs and is no neighbour, as the blank of CTC.
    """
    before = np.full(len(labels), edge, dtype=np.int64)
    after = before.copy()
    if not len(labels):
        return before, after
    starts = np.flatnonzero((np.diff(labels) != 0) | (np.diff(recording) != 0)) + 1
    edges = [0, *starts.tolist(), len(labels)]
    runs = [run for run in pairwise(edges) if labels[run[0]] != skip]
    for first, second in pairwise(runs):
        if recording[first[0]] == recording[second[0]]:
            before[slice(*second)] = labels[first[0]]
            after[slice(*first)] = labels[second[0]]
    return before, after


class PhoneMarks:
    """What phone is said when, in the recordings of another corpus.

    Parameters
    ----------
    phones
        A corpus with phones.
    corpus
        The other, of the same recordings.

    Raises
    ------
    UsageProblem
        The first has no phones, or not one recording of the other.
    """

    def __init__(self, phones: Corpus, corpus: Corpus) -> None:
        labels = phones.labels
        if phones.config["rate"] != corpus.config["rate"]:
            raise UsageProblem(
                f"--phones {phones.path} is sampled at {phones.config['rate']} Hz, "
                f"{corpus.path} at {corpus.config['rate']} Hz"
            )
        start, stop = phones.artifact.read("start"), phones.artifact.read("stop")
        if phones.unit in ("frame", "window"):  # they overlap; each speaks for a hop
            hop, _ = phones.framing
            start = (start + stop) // 2 - hop // 2
            stop = start + hop
        names = {name: number for number, name in enumerate(phones.names("utterance"))}
        speakers = phones.names("speaker")
        theirs = phones.artifact.read("utterance")
        spoken = phones.artifact.read("speaker")
        speaker_of = {int(u): speakers[int(s)] for u, s in zip(theirs, spoken, strict=True)}
        order = np.lexsort((start, theirs))
        self._start, self._stop, self._label = start[order], stop[order], labels[order]
        bounds = np.searchsorted(theirs[order], np.arange(len(names) + 1))
        mine, my_speakers = corpus.names("utterance"), corpus.names("speaker")
        utterance = corpus.artifact.read("utterance")
        speaker = corpus.artifact.read("speaker")
        self._rows: dict[int, tuple[int, int]] = {}
        for item in range(len(utterance)):
            number = names.get(mine[int(utterance[item])])
            if number is not None and speaker_of.get(number) == my_speakers[int(speaker[item])]:
                self._rows[item] = int(bounds[number]), int(bounds[number + 1])
        if not self._rows:
            raise UsageProblem(f"--phones {phones.path} has no recording of {corpus.path}")

    def at(self, items: NDArray[np.int64], samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the phone at a sample of each item's recording, (B,); −1 where there is none."""
        phones = np.full(len(items), -1, dtype=np.int64)
        for row, (item, sample) in enumerate(zip(items.tolist(), samples.tolist(), strict=True)):
            first, last = self._rows.get(item, (0, 0))
            place = first + int(np.searchsorted(self._start[first:last], sample, "right")) - 1
            if place >= first and sample < self._stop[place]:
                phones[row] = self._label[place]
        return phones
