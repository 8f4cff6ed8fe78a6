"""What a network answers, in bounded memory."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from speechscope.networks.layers import Network
from speechscope.training.source import Items

BATCH = 1024


def answers(
    network: Network, source: Items, split: str
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the log-loss and the class with the largest output of every item, each (n,).

    The network has to be in evaluation mode, on the device the inputs come to.
    """
    labels = source.labels(split)
    losses = np.empty(len(labels), dtype=np.float32)
    predicted = np.empty(len(labels), dtype=np.int64)
    with torch.inference_mode():
        for start in range(0, len(labels), BATCH):
            part = np.arange(start, min(start + BATCH, len(labels)))
            logits = network(source.fetch(split, part))
            wanted = torch.from_numpy(labels[part]).to(logits.device)
            loss = functional.cross_entropy(logits, wanted, reduction="none")
            losses[part] = loss.cpu().numpy()
            predicted[part] = logits.argmax(1).cpu().numpy()
    return losses, predicted
