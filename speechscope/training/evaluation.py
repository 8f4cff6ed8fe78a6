"""What networks answer, in bounded memory, and how much of it is right."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from speechscope.corpus.letters import decode
from speechscope.networks.layers import Network
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.training.batches import by_length, read_ahead
from speechscope.training.ctc import ctc_loss, greedy, letter_error_rate
from speechscope.training.group import ALONE, Group
from speechscope.training.source import CorpusSource, CorpusUtterances

BATCH = 1024
Labels = NDArray[np.integer[Any]]


def answers(
    network: Network, source: CorpusSource, split: str, group: Group = ALONE
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the log-loss and the class with the largest output of every item, each (n,).

    The network has to be in evaluation mode, on the device the inputs come to. Every process of a
    group works on its part and has all answers in the end.
    """
    labels = source.labels(split)
    losses = np.zeros(len(labels), dtype=np.float32)
    predicted = np.zeros(len(labels), dtype=np.int64)
    mine = group.part(len(labels))
    with torch.inference_mode():
        for start in range(mine.start, mine.stop, BATCH):
            part = np.arange(start, min(start + BATCH, mine.stop))
            logits = network(source.fetch(split, part))
            wanted = torch.from_numpy(labels[part]).to(logits.device)
            loss = functional.cross_entropy(logits, wanted, reduction="none")
            losses[part] = loss.cpu().numpy()
            predicted[part] = logits.argmax(1).cpu().numpy()
    device = next(network.parameters()).device
    return (
        group.add_up(torch.from_numpy(losses).to(device)).cpu().numpy(),
        group.add_up(torch.from_numpy(predicted).to(device)).cpu().numpy(),
    )


def accuracy(labels: Labels, predicted: Labels) -> float:
    """Return the share of items whose prediction is their label."""
    return float(np.mean(labels == predicted))


def balanced_accuracy(labels: Labels, predicted: Labels) -> float:
    """Return the mean over the classes that occur of the share of their items found (recall)."""
    hits = np.bincount(labels[labels == predicted], minlength=int(labels.max()) + 1)
    counts = np.bincount(labels)
    occurring = counts > 0
    return float(np.mean(hits[: len(counts)][occurring] / counts[occurring]))


@dataclass(frozen=True)
class UtteranceBatch:
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


def utterance_batches(
    network: Wav2Letter,
    source: CorpusUtterances,
    items: NDArray[np.int64],
    order: Sequence[NDArray[np.int64]],
) -> Iterator[UtteranceBatch]:
    """Yield batch after batch, each read while the one before is worked on.

    Parameters
    ----------
    network
        What they are for.
    source, items
        Where they are from, and which.
    order
        Positions among the items, batch by batch.
    """
    device = next(network.parameters()).device

    def read(positions: NDArray[np.int64]) -> UtteranceBatch:
        inputs = source.fetch(items[positions])
        frames = torch.tensor([utterance.shape[2] for utterance in inputs])
        x = inputs[0].new_zeros(len(inputs), *inputs[0].shape[:2], int(frames.max()))
        for place, utterance in zip(x, inputs, strict=True):
            place[..., : utterance.shape[2]] = utterance
        outputs = network.output_frames(frames)
        return UtteranceBatch(x.to(device), frames, outputs, source.letters(items[positions]))

    return read_ahead(read, order)


@dataclass(frozen=True)
class LetterAnswers:
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


def letter_answers(
    network: Wav2Letter, source: CorpusUtterances, split: str, batch: int
) -> LetterAnswers:
    """Return what a network answers to every utterance of a split.

    The network is to be in evaluation mode; no answer depends on the batch an utterance is in.
    """
    items = source.utterances(split)
    texts, found = [""] * len(items), [""] * len(items)
    loss, letters = 0.0, 0
    order = by_length(source.lengths[items], batch, padding=0.5)
    with torch.inference_mode():
        for positions, part in zip(
            order, utterance_batches(network, source, items, order), strict=True
        ):
            logits = network(part.x, part.frames)
            losses = ctc_loss(logits, part.outputs, part.labels)
            written = greedy(logits, part.outputs)
            for position, labels, value, answer in zip(
                positions.tolist(), part.labels, losses.tolist(), written, strict=True
            ):
                texts[position], found[position] = decode(labels), decode(answer)
                if np.isfinite(value):
                    loss, letters = loss + value, letters + len(labels)
    return LetterAnswers(
        items=items,
        texts=tuple(texts),
        answers=tuple(found),
        loss=loss / letters if letters else float("nan"),
        error=letter_error_rate(zip(texts, found, strict=True)),
    )
