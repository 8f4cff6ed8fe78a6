"""What networks answer, in bounded memory, and how much of it is right."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from speechscope.corpus.letters import BLANK, decode
from speechscope.networks.layers import Network, bytes_each
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.training.group import ALONE, Group
from speechscope.training.source import CorpusSource, CorpusUtterances, by_length, read_ahead
from speechscope.work.device import fetched, fitting, sent

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
    mine, device = group.part(len(labels)), next(network.parameters()).device
    size = fitting(BATCH, bytes_each(network, network.input_shape), device)
    with torch.inference_mode():
        for start in range(mine.start, mine.stop, size):
            part = np.arange(start, min(start + size, mine.stop))
            logits = network(source.fetch(split, part))
            wanted = sent(labels[part], logits.device)
            loss = functional.cross_entropy(logits, wanted, reduction="none")
            losses[part], predicted[part] = fetched([loss, logits.argmax(1)])
    return (
        group.add_up(sent(losses, device)).cpu().numpy(),
        group.add_up(sent(predicted, device)).cpu().numpy(),
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

    return read_ahead(read, order, device)


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
            values, paths = fetched([losses, logits.argmax(1)])
            written = greedy(paths.astype(np.int64), part.outputs)
            for position, labels, value, answer in zip(
                positions.tolist(), part.labels, values.tolist(), written, strict=True
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
    lengths = [len(one) for one in labels]
    if logits.device.type == "cpu":
        wanted = torch.from_numpy(np.concatenate([*labels, np.empty(0, np.int64)]).astype(np.int64))
        y = functional.log_softmax(logits.float(), 1).permute(2, 0, 1)
        given = outputs.long(), torch.tensor(lengths)
        loss: Tensor = functional.ctc_loss(y, wanted, *given, blank=BLANK, reduction="none")
        return loss
    found: Tensor = _CTC.apply(logits, outputs.tolist(), labels)  # type: ignore[no-untyped-call]
    return found


class _CTC(torch.autograd.Function):
    """CTC with a derivative whose sums have one order: CUDA's own differs between two runs.

    By the softmax y of the outputs it is y − Σ_s γ(t, s) over the places s of a label, γ(t, s) =
    α(t, s) β(t, s) / (y(t) p) (Graves et al. 2006, eq. 16). β is α of everything turned round.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, outputs: list[int], labels: Sequence[Any]) -> Tensor:
        """Return −log p; labels (L,) of every utterance."""
        device, lengths = logits.device, [len(one) for one in labels]
        padded = np.zeros((4, len(labels), max([*lengths, 1])), np.int64)
        for row, one in enumerate(labels):
            padded[0, row, : len(one)], padded[1, row, : len(one)] = one, one[::-1]
        padded[2:, :, 0] = outputs, lengths
        there = sent(padded, device)
        y = functional.log_softmax(logits.float(), 1).permute(2, 0, 1)
        ctx.run = partial(
            torch._ctc_loss, input_lengths=outputs, target_lengths=lengths, blank=BLANK
        )
        loss: Tensor
        loss, alpha = ctx.run(y, there[0])
        ctx.save_for_backward(y, alpha, loss, there)
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """Return the derivative by the logits."""
        y, alpha, loss, there = ctx.saved_tensors
        steps, _, classes = y.shape
        outputs, places = there[2, :, :1], 2 * there[3, :, :1] + 1
        t, s = (torch.arange(size, device=y.device) for size in (steps, alpha.shape[2]))
        inside = (t < outputs)[:, :, None] & (s < places)[:, None]
        back_t, back_s = (outputs - 1 - t).clamp(min=0), (places - 1 - s).clamp(min=0)
        turned = y.gather(0, back_t.T[:, :, None].expand_as(y))
        beta = ctx.run(turned, there[1])[1]
        beta = beta.gather(1, back_t[:, :, None].expand_as(beta))
        beta = beta.gather(2, back_s[:, None].expand_as(beta))
        said = torch.full_like(back_s, BLANK)
        said[:, 1::2] = there[0, :, : alpha.shape[2] // 2]
        own = y.transpose(0, 1).gather(2, said[:, None].expand_as(alpha))
        share = torch.where(inside, alpha + beta - own + loss[:, None, None], -torch.inf).exp()
        of_class = (said[:, :, None] == torch.arange(classes, device=y.device)).to(share)
        slope = torch.where(inside[:, :, :1], y.transpose(0, 1).exp() - share @ of_class, 0)
        return (slope * grads[0][:, None, None]).transpose(1, 2), None, None


def outputs_needed(labels: NDArray[np.int64]) -> int:
    """Return the fewest outputs that can say these labels: equal neighbours need a blank."""
    return len(labels) + int(np.count_nonzero(labels[1:] == labels[:-1]))


def greedy(paths: NDArray[np.int64], outputs: Tensor) -> list[NDArray[np.int64]]:
    """Return the labels of the most probable path of every utterance.

    The output with the highest score at every step, repeated ones merged, blanks dropped.

    Parameters
    ----------
    paths
        These outputs, (B, steps).
    outputs
        As in `ctc_loss`.
    """
    found = []
    for path, count in zip(paths, outputs.tolist(), strict=True):
        own = path[:count]
        found.append(own[(own != BLANK) & (np.diff(own, prepend=-1) != 0)])
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
