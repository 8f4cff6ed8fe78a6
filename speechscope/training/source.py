"""Feeding a corpus to training: labels in memory, inputs read when they are asked for.

Items have one shape and a class; utterances are of any length and have letters.
"""

import threading
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.letters import encode
from speechscope.corpus.store import Corpus
from speechscope.corpus.utterances import SPLITS

HELD_BYTES = 1_500_000_000
"""Inputs up to this size are kept in memory; a larger corpus is read again every epoch."""
READ_BYTES = 100_000_000
"""Inputs that are put together at once on the way there."""


class CorpusSource:
    """The items of a corpus as training asks for them.

    Parameters
    ----------
    corpus
        The prepared corpus.
    splits
        The splits that will be asked for.
    device
        Where the inputs are wanted.
    hold
        Whether inputs may be kept in memory; a single pass over them has no use for it.

    Attributes
    ----------
    fold
        Folded class of each class.
    held
        Whether inputs are in memory, where any order of them is as fast as another.
    """

    def __init__(
        self, corpus: Corpus, splits: Sequence[str], device: torch.device, *, hold: bool = True
    ) -> None:
        self._corpus = corpus
        self._device = device
        self._items = {
            split: np.flatnonzero(corpus.splits == index)
            for index, split in enumerate(SPLITS)
            if split in splits
        }
        self.fold = corpus.fold
        size = 4 * int(np.prod(corpus.input_shape)) * len(corpus.splits)
        self.held = hold and size <= HELD_BYTES
        self._kept: dict[str, Tensor] = {}
        self._lock = threading.Lock()

    @property
    def mean(self) -> Tensor:
        """The mean that was removed from every input, (C, F, T)."""
        return torch.from_numpy(self._corpus.mean).to(self._device)

    def labels(self, split: str) -> NDArray[np.int64]:
        """Return the class of every item of a split, (n,)."""
        return self._corpus.labels[self._items[split]]

    def fetch(self, split: str, positions: NDArray[np.integer]) -> Tensor:
        """Return centred inputs, (n, C, F, T), by position within the split."""
        if not self.held:
            return torch.from_numpy(self._corpus.centred(self._items[split][positions])).to(
                self._device
            )
        with self._lock:  # several threads ask
            if split not in self._kept:
                self._kept[split] = self._everything(self._items[split])
        rows = torch.from_numpy(np.asarray(positions, dtype=np.int64)).to(self._device)
        return torch.index_select(self._kept[split], 0, rows)

    def _everything(self, items: NDArray[np.int64]) -> Tensor:
        """Return the inputs of items, put together piece by piece: copies are of pieces alone."""
        held = torch.empty((len(items), *self._corpus.input_shape), device=self._device)
        size = max(READ_BYTES // (4 * int(np.prod(self._corpus.input_shape))), 1)
        for start in range(0, len(items), size):
            part = self._corpus.centred(items[start : start + size])
            held[start : start + size] = torch.from_numpy(part)
        return held


class CorpusUtterances:
    """The utterances of a corpus, their inputs centred; in memory where they fit in `HELD_BYTES`.

    Parameters
    ----------
    corpus
        A corpus of utterances with letters.
    hold
        Whether inputs may be kept in memory; a single pass over them has no use for it.

    Attributes
    ----------
    lengths
        Frames of every item, (items,).
    """

    def __init__(self, corpus: Corpus, *, hold: bool = True) -> None:
        self._corpus = corpus
        self.lengths = np.diff(corpus.artifact.read("input_offset"))
        size = 4 * int(np.prod(corpus.mean.shape)) * int(self.lengths.sum())
        self._held = hold and size <= HELD_BYTES
        self._kept: dict[int, Tensor] = {}

    def utterances(self, split: str) -> NDArray[np.int64]:
        """Return the items of a split, (n,)."""
        return np.flatnonzero(self._corpus.splits == SPLITS.index(split))

    def fetch(self, items: NDArray[np.int64]) -> list[Tensor]:
        """Return the centred inputs (C, F, T) of items."""
        missing = np.array([item for item in items.tolist() if item not in self._kept], np.int64)
        mean = self._corpus.mean[..., None]
        read = {
            int(item): torch.from_numpy(values - mean)
            for item, values in zip(missing, self._corpus.utterance_inputs(missing), strict=True)
        }
        if self._held:
            self._kept.update(read)
        return [read[item] if item in read else self._kept[item] for item in items.tolist()]

    def letters(self, items: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return the labels of items, as `alphabet.encode` makes them."""
        return [encode(letters) for letters in self._corpus.letters(items)]
