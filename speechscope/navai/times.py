"""Where in their recordings the chosen frames of inputs lie."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.store import Corpus
from speechscope.navai.block import Block


class Times(Protocol):
    """Where in its recording an input's chosen frame lies."""

    def __call__(self, block: Block) -> NDArray[np.int64]:
        """Return the middle of the chosen frames, (A, B) [samples]."""


def times_of(corpus: Corpus, shape: Sequence[int], *, step: int = 0, before: int = 0) -> Times:
    """Return where the chosen frames of inputs of a corpus lie in their recordings.

    Parameters
    ----------
    shape
        (C, F, T) of an input.
    step, before
        Of utterances: output t sees the frames from t · step − before on.
    """
    config = corpus.config
    window, hop = int(config["window"]), int(config["window"]) - int(config["overlap"])
    middle = shape[2] // 2

    def times(block: Block) -> NDArray[np.int64]:
        frame = block.shift.cpu().numpy() + middle
        if corpus.unit == "utterance":
            return np.asarray((block.output * step - before + frame) * hop + window // 2)
        start, stop = (corpus.artifact.read_items(n, block.item) for n in ("start", "stop"))
        if corpus.unit == "window":
            return np.asarray(start + frame)
        centre = (start.astype(np.int64) + stop) // 2
        if corpus.unit == "frame":
            return np.asarray(centre + (frame - middle) * hop)
        return np.asarray(centre + frame * hop + window // 2 - int(config["samples"]) // 2)

    return times
