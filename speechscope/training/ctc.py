"""Connectionist temporal classification: its loss, its greedy answer, and how wrong that is."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from speechscope.networks.alphabet import BLANK


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
    logarithms = functional.log_softmax(logits.float(), 1).permute(2, 0, 1).cpu()
    lengths = torch.tensor([len(one) for one in labels])
    wanted = torch.from_numpy(np.concatenate([*labels, np.empty(0, np.int64)]).astype(np.int64))
    return functional.ctc_loss(
        logarithms, wanted, outputs.cpu().long(), lengths, blank=BLANK, reduction="none"
    )


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
    wanted = np.frombuffer(second.encode("utf-32-le"), dtype=np.uint32)
    places = np.arange(len(wanted) + 1)
    row = places
    for number, letter in enumerate(first, start=1):
        replaced = row[:-1] + (wanted != ord(letter))
        row = np.concatenate([[number], np.minimum(row[1:] + 1, replaced)])
        # Insertions: each place takes the least of those before it, plus the way from there.
        row = np.minimum.accumulate(row - places) + places
    return int(row[-1])


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
