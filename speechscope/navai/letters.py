"""What one output of a letter network sees, wherever in an utterance it answers a letter.

Krug 2018, sec. 3.3: frames "of width 206", "without padding", "which are predicted as only one
letter", 'a' to 'z'.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.letters import NAMES, SPOKEN
from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.navai.alignment import answered
from speechscope.navai.examples import ALL, Batch, Examples
from speechscope.networks.layers import Network, receptive_field
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.relevance.explain import Explained, graph_of
from speechscope.relevance.maximize import on_its_window

if TYPE_CHECKING:
    from speechscope.stages.navai import Navai

UTTERANCES = 8
"""Utterances of a block (chosen)."""


class LetterExamples(Examples):
    """Windows of utterances, one for every letter answered.

    Parameters
    ----------
    network
        The letter network, on its device.
    corpus
        The utterances.
    items
        Which of them, (N,).

    Raises
    ------
    UsageProblem
        The corpus holds no utterances.
    """

    block = UTTERANCES

    def __init__(
        self, network: Wav2Letter, corpus: Corpus, items: NDArray[np.int64], settings: "Navai"
    ) -> None:
        if corpus.unit != "utterance":
            raise UsageProblem(
                f"{corpus.path} holds items of unit {corpus.unit}; a letter network takes whole "
                "utterances (speechscope prepare --recipe krug2018)"
            )
        last = len(network.table)
        window = on_its_window(network, last)
        channels, bins, frames = window.seen
        device = next(network.parameters()).device
        super().__init__(corpus, NAMES, items, (channels, bins, frames), device, settings)
        self._whole, self._field = network, receptive_field(network.table, last)
        assert isinstance(window.run, Network) and self._field.frames == frames
        self.network = window.run
        graph = graph_of(window.run, torch.empty(0))
        self._explained = Explained(window.run, lambda x: x, lambda: graph)

    def __reduce__(self) -> tuple[Any, ...]:
        return LetterExamples, (self._whole, self.corpus, self.items, self.settings)

    def batches(self, rows: slice = ALL) -> Iterator[Batch]:
        """Yield all of some items, in order, in batches of one size whatever their lengths."""
        step = self.at_once
        waiting: list[Batch] = []
        for done, item in enumerate(self.items[rows].tolist(), start=1):
            for windows in self._windows(item, done):
                waiting = [_together([*waiting, windows])]
                while len(waiting[0]) >= step:
                    yield self._aligned(waiting[0].take(slice(step)), done)
                    waiting = [waiting[0].take(slice(step, None))]
        if waiting and len(waiting[0]):
            yield self._aligned(waiting[0], len(self.items[rows]))

    def answers(self, item: int) -> NDArray[np.int64]:
        """Return the class of every output of an utterance, (outputs,), padded ones included."""
        with torch.no_grad():
            scores = self._whole(self._inputs(item)[None])[0]
        return np.asarray(scores.argmax(0).cpu())

    def middles(self, batch: Batch) -> NDArray[np.int64]:
        """See `Examples`."""
        config, field = self.corpus.config, self._field
        window, hop = int(config["window"]), int(config["window"]) - int(config["overlap"])
        frame = batch.shift.cpu().numpy() + self.shape[2] // 2
        first = batch.output * field.step - field.before
        return np.asarray((first + frame) * hop + window // 2)

    def _inputs(self, item: int) -> Tensor:
        values = self.corpus.utterance_inputs(np.array([item]))[0]
        return torch.from_numpy(values - self.corpus.mean[..., None]).to(self.device)

    def _windows(self, item: int, done: int) -> Iterator[Batch]:
        """Yield the windows of an utterance that are answered with letters without padding.

        Without padding the network gives those outputs alone that see none in training.
        """
        x, field = self._inputs(item), self._field
        first = -(-field.before // field.step)
        inside = x[None, :, :, first * field.step - field.before :]
        if inside.shape[3] < field.frames:
            return
        with torch.no_grad():
            answer = self._explained.scores(inside)[0, :, 0].argmax(0)
        place = torch.nonzero(answer < len(SPOKEN))[:, 0]
        views = x.unfold(2, field.frames, 1).permute(2, 0, 1, 3)
        none = torch.empty(0, len(place), dtype=torch.int64, device=self.device)
        for start in range(0, len(place), self.at_once):  # an utterance may be hours long
            some = place[start : start + self.at_once]
            windows = views[(first + some) * field.step - field.before]
            output = (first + some).cpu().numpy()
            items = np.full(len(output), item)
            yield Batch(windows, answer[some], none[:, : len(some)], items, output, done)

    def _aligned(self, batch: Batch, done: int) -> Batch:
        _, shift = answered(self._explained, self.settings, batch.inputs, batch.target)
        return replace(batch, shift=shift, done=done)


def _together(batches: list[Batch]) -> Batch:
    """Return batches that are not aligned yet as one."""
    batches = [batch for batch in batches if len(batch)] or batches[-1:]
    if len(batches) == 1:
        return batches[0]
    return Batch(
        torch.cat([batch.inputs for batch in batches]),
        torch.cat([batch.target for batch in batches]),
        torch.cat([batch.shift for batch in batches], 1),
        np.concatenate([batch.item for batch in batches]),
        np.concatenate([batch.output for batch in batches]),
        batches[-1].done,
    )
