"""By what the inputs of a class are split further: what was said, by whom, and in what context."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.letters import BLANK, NAMES
from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.navai.averages import Group
from speechscope.navai.block import Block
from speechscope.navai.times import Times

BY = ("none", "phone", "speaker", "before", "after", "context")
EDGE = "edge"
"""Stands for what comes before the first and after the last of a recording."""


@dataclass
class Split:
    """How inputs are split.

    Parameters
    ----------
    names
        What they are split by; grows as it is met.
    of
        Gives the number of each input's part by alignment, (A, B); −1: none.
    """

    names: list[str]
    of: Callable[[Block], NDArray[np.int64]]

    def groups(self, block: Block, wanted: NDArray[np.bool_]) -> list[list[Group | None]]:
        """Return each input's group by alignment; None where its class is not wanted."""
        target = block.target.cpu().numpy()
        return [
            [
                (int(label), int(part)) if wanted[label] and part >= 0 else None
                for label, part in zip(target, row, strict=True)
            ]
            for row in self.of(block)
        ]


def split_by(
    by: str,
    corpus: Corpus,
    *,
    phones: Corpus | None = None,
    times: Times | None = None,
    answers: Callable[[int], NDArray[np.int64]] | None = None,
) -> Split | None:
    """Return how inputs are split by what ``--by`` names; None: not at all.

    ``phone``: what was said, the item's label or, of recordings that have no phones, what `phones`
    has at the chosen frame. ``speaker``. ``before``, ``after``, ``context``: the neighbouring label
    in the recording, or both; of letters, the neighbouring letter that the network answers.

    Source: Krug 2018, sec. 5, which leaves "particular contexts or pronunciation" for later.

    Parameters
    ----------
    phones
        A corpus with the phones of the same recordings.
    times
        Where inputs lie in them.
    answers
        The answers of a letter network, by utterance.

    Raises
    ------
    UsageProblem
        The corpus does not have that.
    """
    if by == "none":
        return None
    if by not in BY:
        raise UsageProblem(f"--by {by}: choose from {', '.join(BY)}")
    if by == "speaker":
        speakers = corpus.artifact.read("speaker")
        return Split(list(corpus.names("speaker")), lambda block: _same(block, speakers))
    if by == "phone":
        return _by_phone(corpus, phones, times)
    if answers is not None:
        return _by_answers(by, answers)
    labels = corpus.labels
    names = [*corpus.classes, EDGE]
    before, after = neighbours(labels, corpus.artifact.read("utterance"), len(names) - 1)
    return _by_context(by, names, lambda block: (before[block.item], after[block.item]))


def _same(block: Block, values: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return a value of each item for all alignments, (A, B)."""
    return np.broadcast_to(values[block.item].astype(np.int64), tuple(block.shift.shape))


def _by_phone(corpus: Corpus, phones: Corpus | None, times: Times | None) -> Split:
    said = "label" in corpus.artifact and str(corpus.config.get("labels", "phone")) == "phone"
    if phones is None:
        if not said:
            raise UsageProblem(
                f"--by phone: {corpus.path} has no phones; name a corpus that has those of its "
                "recordings with --phones (speechscope prepare --unit frame --labels phone)"
            )
        labels = corpus.labels
        return Split(list(corpus.classes), lambda block: _same(block, labels))
    assert times is not None
    marks = PhoneMarks(phones, corpus)
    return Split(
        list(phones.classes),
        lambda block: np.stack([marks.at(block.item, at) for at in times(block)]),
    )


def _by_context(
    by: str,
    names: list[str],
    sides: Callable[[Block], tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> Split:
    if by == "context":
        count = len(names)
        both = [f"{first}_{second}" for first in names for second in names]
        return Split(both, lambda block: _spread(block, sides(block)[0] * count + sides(block)[1]))
    side = 0 if by == "before" else 1
    return Split(names, lambda block: _spread(block, sides(block)[side]))


def _spread(block: Block, values: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.broadcast_to(values, tuple(block.shift.shape))


def _by_answers(by: str, answers: Callable[[int], NDArray[np.int64]]) -> Split:
    names = [*NAMES, EDGE]
    held: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}

    def sides(block: Block) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        mine = {int(item) for item in block.item}
        for item in set(held) - mine:
            del held[item]
        for item in mine - set(held):
            found = answers(item)
            held[item] = neighbours(
                found, np.zeros(len(found), dtype=np.int64), len(names) - 1, skip=BLANK
            )
        pairs = [
            [held[int(item)][side][output] for side in (0, 1)]
            for item, output in zip(block.item, block.output, strict=True)
        ]
        before, after = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        return before, after

    return _by_context(by, names, sides)


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
            config = phones.config
            hop = int(config["window"]) - int(config["overlap"])
            start = (start + stop) // 2 - hop // 2
            stop = start + hop
        names = {name: number for number, name in enumerate(phones.names("utterance"))}
        speakers = phones.names("speaker")
        theirs = phones.artifact.read("utterance")
        spoken = phones.artifact.read("speaker")
        who = {int(u): speakers[int(s)] for u, s in zip(theirs, spoken, strict=True)}
        order = np.lexsort((start, theirs))
        self._start, self._stop, self._label = start[order], stop[order], labels[order]
        bounds = np.searchsorted(theirs[order], np.arange(len(names) + 1))
        mine, my_speakers = corpus.names("utterance"), corpus.names("speaker")
        utterance = corpus.artifact.read("utterance")
        speaker = corpus.artifact.read("speaker")
        self._rows: dict[int, tuple[int, int]] = {}
        for item in range(len(utterance)):
            number = names.get(mine[int(utterance[item])])
            if number is not None and who.get(number) == my_speakers[int(speaker[item])]:
                self._rows[item] = int(bounds[number]), int(bounds[number + 1])
        if not self._rows:
            raise UsageProblem(f"--phones {phones.path} has no recording of {corpus.path}")

    def at(self, items: NDArray[np.int64], samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the phone at a sample of each item's recording, (B,); −1 where there is none."""
        found = np.full(len(items), -1, dtype=np.int64)
        for row, (item, sample) in enumerate(zip(items.tolist(), samples.tolist(), strict=True)):
            first, last = self._rows.get(item, (0, 0))
            place = first + int(np.searchsorted(self._start[first:last], sample, "right")) - 1
            if place >= first and sample < self._stop[place]:
                found[row] = self._label[place]
        return found
