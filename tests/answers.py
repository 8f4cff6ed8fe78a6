"""Networks that are hardly trained, and yet answer different inputs differently."""

from pathlib import Path

import numpy as np
import torch

from speechscope.corpus.letters import SPOKEN
from speechscope.corpus.store import Corpus
from speechscope.networks.saved import load_model
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.store import checkpoint
from speechscope.store.checkpoint import Checkpoint


def evened(path: Path, other: Path) -> None:
    """Take from each score what it is on average; of a letter network, no blanks are answered."""
    held, network = Checkpoint(path), load_model(path).network
    letters = isinstance(network, Wav2Letter)
    corpus = Corpus(path.parent / held.record["parents"][0]["path"])
    if letters:
        x = corpus.utterance_inputs(np.array([0]))[0] - corpus.mean[..., None]
        scores = network(torch.from_numpy(x[None]))[0, :, 51:-51]  # without padding
    else:
        scores = network(torch.from_numpy(corpus.centred(corpus.items("train")))).T
    bias = held.values["weights"][network.names[-1] + ".bias"]
    bias -= scores.mean(1)
    if letters:
        bias[len(SPOKEN) :] = -1e9
    values = {name: value for name, value in held.values.items() if name != "speechscope"}
    record = {**held.record, "config": dict(held.record["config"])}
    checkpoint.write(other, record, values)  # type: ignore[arg-type]
