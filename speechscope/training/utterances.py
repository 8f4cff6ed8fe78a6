"""Utterances as letter training asks for them, and what a network answers to them."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.letters import decode, encode
from speechscope.corpus.store import Corpus
from speechscope.corpus.utterances import SPLITS
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.training.bucketing import batches
from speechscope.training.ctc import ctc_loss, greedy, letter_error_rate
from speechscope.training.source import HELD_BYTES


class Utterances(Protocol):
    """Utterances by item number.

    Attributes
    ----------
    lengths
        Frames of every item, (items,).
    """

    lengths: NDArray[np.int64]

    def utterances(self, split: str) -> NDArray[np.int64]:
        """Return the items of a split, (n,)."""

    def fetch(self, items: NDArray[np.int64]) -> Sequence[Tensor]:
        """Return the normalised inputs (C, F, T) of items."""

    def letters(self, items: NDArray[np.int64]) -> Sequence[NDArray[np.int64]]:
        """Return the labels of items, as `alphabet.encode` makes them."""


class CorpusUtterances:
    """The utterances of a corpus, their inputs centred; in memory where they fit in `HELD_BYTES`.

    Parameters
    ----------
    corpus
        A corpus of utterances with letters.
    hold
        Whether inputs may be kept in memory; a single pass over them has no use for it.
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


@dataclass(frozen=True)
class Batch:
    """Utterances padded at their ends to one length.

    Parameters
    ----------
    x
        Inputs (B, C, F, T), on the network's device.
    frames, outputs
        How many of their frames, and of the network's outputs, count: (B,) each.
    labels
        What they say, B arrays.
    """

    x: Tensor
    frames: Tensor
    outputs: Tensor
    labels: Sequence[NDArray[np.int64]]


def loaded(
    network: Wav2Letter,
    source: Utterances,
    items: NDArray[np.int64],
    order: Sequence[NDArray[np.int64]],
) -> Iterator[Batch]:
    """Yield batch after batch, each read while the one before is worked on."""
    device = next(network.parameters()).device

    def load(positions: NDArray[np.int64]) -> Batch:
        inputs = source.fetch(items[positions])
        frames = torch.tensor([one.shape[2] for one in inputs])
        x = inputs[0].new_zeros(len(inputs), *inputs[0].shape[:2], int(frames.max()))
        for place, one in zip(x, inputs, strict=True):
            place[..., : one.shape[2]] = one
        outputs = network.output_frames(frames)
        return Batch(x.to(device), frames, outputs, source.letters(items[positions]))

    with ThreadPoolExecutor(1) as pool:
        pending: Future[Batch] | None = None
        for positions in [*order, None]:
            ready = pending
            pending = pool.submit(load, positions) if positions is not None else None
            if ready is not None:
                yield ready.result()


@dataclass(frozen=True)
class Answers:
    """What a letter network answers to a split.

    Parameters
    ----------
    items
        The items, (n,).
    texts, answers
        What was said and what was answered, n each.
    loss
        −log p of the texts over their letters [nats]; items whose text does not fit left out.
    error
        The letter error rate.
    """

    items: NDArray[np.int64]
    texts: tuple[str, ...]
    answers: tuple[str, ...]
    loss: float
    error: float


def answers(network: Wav2Letter, source: Utterances, split: str, batch: int) -> Answers:
    """Return what a network answers to every utterance of a split.

    The network is to be in evaluation mode; no answer depends on the batch an utterance is in.
    """
    items = source.utterances(split)
    texts, found = [""] * len(items), [""] * len(items)
    loss, letters = 0.0, 0
    order = batches(source.lengths[items], batch, padding=0.5)
    with torch.inference_mode():
        for positions, part in zip(order, loaded(network, source, items, order), strict=True):
            logits = network(part.x, part.frames)
            losses = ctc_loss(logits, part.outputs, part.labels)
            written = greedy(logits, part.outputs)
            for position, labels, one, answer in zip(
                positions.tolist(), part.labels, losses.tolist(), written, strict=True
            ):
                texts[position], found[position] = decode(labels), decode(answer)
                if np.isfinite(one):
                    loss, letters = loss + one, letters + len(labels)
    return Answers(
        items=items,
        texts=tuple(texts),
        answers=tuple(found),
        loss=loss / letters if letters else float("nan"),
        error=letter_error_rate(zip(texts, found, strict=True)),
    )
