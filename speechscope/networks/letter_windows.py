"""Utterances as the stretches that single answers of a letter network rest on.

Krug 2018, sec. 3.3: "spectrogram frames of width 206", "predicted as letters 'a' to 'z'", "without
padding".
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speechscope.corpus.letters import NAMES, SPOKEN
from speechscope.corpus.store import Corpus
from speechscope.corpus.utterances import SPLITS
from speechscope.errors import UsageProblem
from speechscope.networks.layers import receptive_field
from speechscope.networks.wav2letter import Wav2Letter


class LetterWindows(Corpus):
    """A corpus of utterances whose items are windows that are answered with a letter.

    An item's index is that of its first frame in ``input``. Its label is the answer itself: the
    text says which letters were spoken, not when.

    Parameters
    ----------
    path
        Of a corpus of utterances.
    network
        The letter network, on its device.

    Raises
    ------
    UsageProblem
        The corpus holds no utterances.
    """

    def __init__(self, path: Path, network: Wav2Letter) -> None:
        super().__init__(path)
        self._need("utterance")
        self._network = network
        self._field = receptive_field(network.table, len(network.table))
        self._answers: dict[str, dict[int, int]] = {}

    @property
    def unit(self) -> str:
        """``utterance``: what its artifact holds."""
        return "utterance"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the network's answers."""
        return NAMES

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channel, frequency, time) of a window."""
        channels, bins, _ = self._network.input_shape
        return channels, bins, self._field.frames

    @cached_property
    def mean(self) -> NDArray[np.float32]:
        """Mean over the training split, (channel, frequency, 1)."""
        return self.artifact.read("mean")[..., None]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The answer to every window asked for by `items`, by index; -1 elsewhere."""
        found = np.full(int(self.artifact.array("input").shape[0]), -1, dtype=np.int64)
        for answers in self._answers.values():
            found[list(answers)] = list(answers.values())
        return found

    def items(self, split: str) -> NDArray[np.int64]:
        """Return the windows of a split's utterances that are answered with a letter, in order.

        Raises
        ------
        UsageProblem
            There are none.
        """
        if split not in self._answers:
            utterances = np.flatnonzero(self.splits == SPLITS.index(split))
            self._answers[split] = {
                start: answer for utterance in utterances for start, answer in self._read(utterance)
            }
            self.__dict__.pop("labels", None)
        found = np.array(sorted(self._answers[split]), dtype=np.int64)
        if not len(found):
            raise UsageProblem(f"{self.path} has no {split} utterance answered with a letter")
        return found

    def centred(self, items: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        """Read windows with the training mean removed, (N, channel, frequency, time)."""
        frames = self._field.frames
        parts = [self.artifact.read("input", slice(int(i), int(i) + frames)) for i in items]
        stacked = np.stack([part.reshape(frames, *self.input_shape[:2]) for part in parts])
        values: NDArray[np.float32] = stacked.transpose(0, 2, 3, 1) - self.mean
        return np.ascontiguousarray(values)

    def _read(self, utterance: np.integer[Any]) -> list[tuple[int, int]]:
        """Return first frame and answer of the windows of one utterance that are letters."""
        values = self.utterance_inputs(np.array([utterance]))[0] - self.mean
        if values.shape[2] < self._field.frames:
            return []
        device = next(self._network.parameters()).device
        with torch.no_grad():
            scores = self._network(torch.from_numpy(values)[None].to(device))
        begin = int(self.artifact.read("input_offset")[utterance])
        found = []
        for output, answer in enumerate(scores[0].argmax(0).tolist()):
            first, last = self._field.span(output)
            if answer < len(SPOKEN) and first >= 0 and last <= values.shape[2]:
                found.append((begin + first, answer))
        return found
