"""What a network answers, in bounded memory."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speechscope.corpus.store import Corpus
from speechscope.networks.layers import Network

BATCH = 1024


def predict(
    network: Network, corpus: Corpus, items: NDArray[np.integer[Any]], device: torch.device
) -> NDArray[np.int64]:
    """Return the class with the largest output for every item, (n,)."""
    network = network.to(device).eval()
    found = np.empty(len(items), dtype=np.int64)
    with torch.inference_mode():
        for start in range(0, len(items), BATCH):
            part = items[start : start + BATCH]
            x = torch.from_numpy(corpus.centred(part)).to(device)
            found[start : start + len(part)] = network(x).argmax(1).cpu().numpy()
    return found
