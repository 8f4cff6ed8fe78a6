"""What networks answer, in bounded memory, and how much of it is right."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from speechscope.corpus.letters import BLANK, decode
from speechscope.networks.layers import Network
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.training.group import ALONE, Group
from speechscope.training.source import CorpusSource, CorpusUtterances, by_length, read_ahead
from speechscope.work.device import sent

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
    frames
        How many of their frames count, (B,), on the device too; None: all.
    outputs
        How many of the network's outputs count, (B,), on the CPU.
    labels
        What they say, B arrays.
    """

    x: Tensor
    frames: Tensor | None
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
        some = sent(frames, device) if int(frames.min()) < x.shape[3] else None
        return UtteranceBatch(sent(x, device), some, outputs, source.letters(items[positions]))

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
            logits = network(part.x, part.frames).cpu()
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


CONSTANT_TEXTS = 200
"""Texts by which a constant answer is chosen (chosen: more change it little)."""
BEAM = 4
"""Beginnings of it that are kept (chosen: it takes seconds)."""


def ctc_loss(logits: Tensor, outputs: Tensor, labels: Sequence[NDArray[np.int64]]) -> Tensor:
    """Return −log p(labels) of every utterance, (B,) [nats].

    p sums the probabilities of all paths, one output a step, that become the labels when repeated
    outputs are merged and blanks are dropped (Graves et al. 2006). An utterance whose labels do
    not fit in its outputs (`outputs_needed`) has an infinite loss.

    Parameters
    ----------
    logits
        (B, letters, outputs), before the softmax.
    outputs
        How many outputs count of each utterance, (B,).
    labels
        The labels of each utterance, without blanks.
    """
    # On the CPU, where the sums have one order: on CUDA the derivative differs between two runs.
    logarithms = functional.log_softmax(logits.float(), 1)
    if logits.device.type != "cpu":
        logarithms = _OnCPU.apply(logarithms)  # type: ignore[no-untyped-call]
    lengths = torch.tensor([len(one) for one in labels])
    wanted = torch.from_numpy(np.concatenate([*labels, np.empty(0, np.int64)]).astype(np.int64))
    return functional.ctc_loss(
        logarithms.permute(2, 0, 1),
        wanted,
        outputs.cpu().long(),
        lengths,
        blank=BLANK,
        reduction="none",
    )


class _OnCPU(torch.autograd.Function):
    """An array on the CPU; the derivative goes back without a wait."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        """Return x there."""
        context.device = x.device
        return x.cpu()

    @staticmethod
    def backward(context: Any, by_x: Tensor) -> Tensor:
        """Return the derivative where x is."""
        return sent(by_x, context.device)


def outputs_needed(labels: NDArray[np.int64]) -> int:
    """Return the fewest outputs that can say these labels: equal neighbours need a blank."""
    return len(labels) + int(np.count_nonzero(labels[1:] == labels[:-1]))


def greedy(logits: Tensor, outputs: Tensor) -> list[NDArray[np.int64]]:
    """Return the labels of the most probable path of every utterance.

    The output with the highest score at every step, repeated ones merged, blanks dropped.

    Parameters
    ----------
    logits, outputs
        As in `ctc_loss`.
    """
    paths = logits.argmax(1).cpu()
    found = []
    for path, count in zip(paths, outputs.tolist(), strict=True):
        merged = torch.unique_consecutive(path[: int(count)])
        found.append(merged[merged != BLANK].numpy())
    return found


def edit_distance(first: str, second: str) -> int:
    """Return the fewest letters to insert, delete or replace that make one text the other.

    Source: Levenshtein (1966), by the dynamic programme of Wagner & Fischer (1974).
    """
    wanted = _codes(second)
    row = np.arange(len(wanted) + 1, dtype=np.int32)
    for letter in _codes(first):
        row = _next_row(row, wanted != letter)
    return int(row[-1])


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)


def _next_row(row: NDArray[np.int32], different: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the edits from one letter more to every beginning of a text, (…, length + 1).

    Parameters
    ----------
    row
        The edits without that letter.
    different
        Where the text has another letter, (…, length).
    """
    places = np.arange(row.shape[-1], dtype=np.int32)
    found: NDArray[np.int32] = row + 1
    np.minimum(found[..., 1:], row[..., :-1] + different, out=found[..., 1:])
    # Insertions: each place takes the least of those before it, plus the way from there.
    found -= places
    np.minimum.accumulate(found, axis=-1, out=found)
    found += places
    return found


def letter_error_rate(pairs: Iterable[tuple[str, str]]) -> float:
    """Return the edits from the answers to the texts as a share of the texts' letters.

    Over all utterances together, spaces counting as letters; above 1 where answers are much too
    long. NaN where there is no letter.

    Parameters
    ----------
    pairs
        (text, answer) of every utterance.
    """
    edits, letters = 0, 0
    for text, answer in pairs:
        edits += edit_distance(text, answer)
        letters += len(text)
    return edits / letters if letters else float("nan")


def constant_answer(texts: Sequence[str]) -> str:
    """Return one text with a low letter error rate as the answer to every one of several.

    Begun empty and made longer letter by letter, the `BEAM` answers with the fewest edits to all
    texts being kept, until there is none that lowers them: what says nothing of its input hardly
    does better.
    """
    codes = [_codes(text) for text in texts]
    lengths = np.array([len(one) for one in codes], dtype=np.int64)
    padded = np.zeros((len(codes), lengths.max(initial=0)), dtype=np.uint32)
    for row, one in zip(padded, codes, strict=True):
        row[: len(one)] = one
    ends = np.arange(len(codes)), lengths
    different = {chr(letter): padded != letter for letter in np.unique(padded[padded > 0])}
    answer, edits = "", int(lengths.sum())
    start = np.arange(padded.shape[1] + 1, dtype=np.int32)
    beam = [(answer, np.tile(start, (len(codes), 1)))]
    while True:
        longer = [
            (int(_next_row(rows, others)[ends].sum()), place, letter)
            for place, (_, rows) in enumerate(beam)
            for letter, others in different.items()
        ]
        longer.sort(key=lambda one: one[0])
        if not longer or longer[0][0] >= edits:
            return answer
        beam = [
            (beam[place][0] + letter, _next_row(beam[place][1], different[letter]))
            for _, place, letter in longer[:BEAM]
        ]
        answer, edits = beam[0][0], longer[0][0]


def constant_error(texts: Sequence[str]) -> float:
    """Return the letter error rate of `constant_answer`, which is chosen by the same texts."""
    answer = constant_answer(texts[:CONSTANT_TEXTS])
    return letter_error_rate((text, answer) for text in texts)
