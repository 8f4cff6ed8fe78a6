"""What a network answers, in bounded memory, and how much of it is right."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from speechscope.networks.layers import Network
from speechscope.training.group import ALONE, Group
from speechscope.training.source import Items

BATCH = 1024
Labels = NDArray[np.integer[Any]]


def answers(
    network: Network, source: Items, split: str, group: Group = ALONE
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
