"""Choosing items of a corpus: one per class, by position, or all."""

import re

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem

_RANGE = re.compile(r"(\d*):(\d*)|(\d+)")


def choose(
    corpus: Corpus,
    split: str,
    *,
    ranges: list[str] | None,
    everything: bool,
    count: int,
    seed: int,
) -> NDArray[np.int64]:
    """Return the items of a split: all, those that `ranges` name, or `count` a class.

    Raises
    ------
    UsageProblem
        A range is malformed or names an item that is not there.
    """
    if everything:
        return corpus.items(split)
    if ranges is not None:
        return positions(corpus, split, ranges)
    return per_class(corpus, split, count, seed)


def per_class(corpus: Corpus, split: str, count: int, seed: int) -> NDArray[np.int64]:
    """Return up to `count` random items of every class of a split, in order of class.

    Churchman 2015, sec. 7: "only one randomly chosen example from each of the 48 phone classes".
    Each class has its own stream of random numbers, so that more classes or a larger `count`
    leave the first choices as they were.
    """
    items = corpus.items(split)
    labels = corpus.labels[items]
    chosen = []
    for label in np.unique(labels):
        rng = np.random.default_rng([seed, int(label)])
        chosen.append(rng.permutation(items[labels == label])[:count])
    return np.concatenate(chosen)


def positions(corpus: Corpus, split: str, texts: list[str]) -> NDArray[np.int64]:
    """Return the items that ranges name, counted within a split: ``0:100``, ``7``, ``90:``.

    Raises
    ------
    UsageProblem
        A range is malformed or names an item that is not there.
    """
    items = corpus.items(split)
    found = []
    for text in texts:
        match = _RANGE.fullmatch(text)
        if match is None or text == ":":
            raise UsageProblem(f"--items {text}: give positions such as 0:100 or 7")
        first, last, single = match.groups()
        start = int(single or first or 0)
        stop = start + 1 if single else int(last or len(items))
        if start >= stop or stop > len(items):
            raise UsageProblem(f"--items {text}: the {split} split has items 0 to {len(items) - 1}")
        found.append(items[start:stop])
    return np.concatenate(found)
