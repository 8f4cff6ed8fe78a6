"""What one output of a letter network sees, wherever in an utterance it answers a letter.

Krug 2018, sec. 3.3: frames "of width 206", "without padding", "which are predicted as only one
letter", 'a' to 'z'.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.letters import NAMES, SPOKEN
from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.navai.block import Block
from speechscope.navai.examples import ALL, at_once, moved
from speechscope.navai.passes import Passes
from speechscope.navai.times import Times, times_of
from speechscope.networks.layers import Network
from speechscope.networks.receptive_field import ReceptiveField, receptive_field
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.relevance.explain import Explained, graph_of
from speechscope.relevance.maximize import on_its_window
from speechscope.relevance.rules import Settings

UTTERANCES = 8
"""Utterances that are one process's to work on (chosen)."""


class LetterExamples:
    """Windows of utterances, one for every letter answered.

    Parameters
    ----------
    network
        The letter network, on its device.
    corpus
        The utterances.
    items
        Which of them, (N,).
    rule
        Of LRP.
    alignments
        That will be asked for.

    Raises
    ------
    UsageProblem
        The corpus holds no utterances.
    """

    task = UTTERANCES

    def __init__(
        self,
        network: Wav2Letter,
        corpus: Corpus,
        items: NDArray[np.int64],
        rule: Settings,
        alignments: Sequence[str],
    ) -> None:
        if corpus.unit != "utterance":
            raise UsageProblem(
                f"{corpus.path} holds items of unit {corpus.unit}; a letter network takes whole "
                "utterances (speechscope prepare --recipe krug2018)"
            )
        self.corpus, self.classes, self.items = corpus, NAMES, items
        self.device = next(network.parameters()).device
        self._given = network, corpus, items, rule, alignments
        self._network = network
        last = len(network.table)
        window = on_its_window(network, last)
        self.field: ReceptiveField = receptive_field(network.table, last)
        self.shape = (window.seen[0], window.seen[1], window.seen[2])
        assert isinstance(window.run, Network) and self.field.frames == self.shape[2]
        self.network: Network = window.run
        graph = graph_of(self.network, torch.empty(0))
        of = Explained(self.network, lambda x: x, lambda: graph)
        self._passes = Passes.of_alignments(of, rule, alignments)

    def __reduce__(self) -> tuple[Any, ...]:
        return LetterExamples, self._given

    @cached_property
    def times(self) -> Times:
        """Where in their recordings windows lie."""
        return times_of(self.corpus, self.shape, step=self.field.step, before=self.field.before)

    def blocks(self, alignments: Sequence[str], rows: slice = ALL) -> Iterator[Block]:
        """Yield all of some items, in order, in blocks of one size whatever their lengths."""
        step = at_once(self.shape)
        held = _Windows.none(self.shape, self.device)
        items = self.items[rows]
        for number, item in enumerate(items, start=1):
            x, found = self._answered(int(item))
            for start in range(0, len(found.output), step):  # an utterance may be hours long
                held = held.and_then(self._windows(x, found, slice(start, start + step)))
                while len(held.item) >= step:
                    yield self._block(held.part(slice(step)), alignments, number)
                    held = held.part(slice(step, None))
        if len(held.item):
            yield self._block(held, alignments, len(items))

    def answers(self, item: int) -> NDArray[np.int64]:
        """Return the class of every output of an utterance, (outputs,), padded ones included."""
        with torch.no_grad():
            scores = self._network(self._inputs(item)[None])[0]
        return np.asarray(scores.argmax(0).cpu())

    def _inputs(self, item: int) -> Tensor:
        values = self.corpus.utterance_inputs(np.array([item]))[0]
        return torch.from_numpy(values - self.corpus.mean[..., None]).to(self.device)

    def _answered(self, item: int) -> tuple[Tensor, "_Answers"]:
        """Return an utterance (C, F, N), and the letters that are answered without padding.

        Without padding the network gives those outputs alone that see none in training.
        """
        x = self._inputs(item)
        field = self.field
        first = -(-field.before // field.step)
        inside = x[None, :, :, first * field.step - field.before :]
        if inside.shape[3] < field.frames:
            return x, _Answers(item, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
        with torch.no_grad():
            answer = self.network(inside)[0, :, 0].argmax(0).cpu().numpy()
        found = np.flatnonzero(answer < len(SPOKEN))
        return x, _Answers(item, first + found, answer[found])

    def _windows(self, x: Tensor, found: "_Answers", rows: slice) -> "_Windows":
        place = found.output[rows] * self.field.step - self.field.before
        views = x.unfold(2, self.field.frames, 1).permute(2, 0, 1, 3)
        return _Windows(
            views[torch.from_numpy(place).to(self.device)],
            torch.from_numpy(found.target[rows]).to(self.device),
            np.full(len(place), found.item),
            found.output[rows],
        )

    def _block(self, held: "_Windows", alignments: Sequence[str], done: int) -> Block:
        _, relevance = self._passes(held.x, held.target)
        shift = moved(alignments, relevance, held.x)
        return Block(held.x, held.target, shift, held.item, held.output, done)


@dataclass(frozen=True)
class _Answers:
    """The outputs of one utterance that are letters, (n,) each."""

    item: int
    output: NDArray[np.int64]
    target: NDArray[np.int64]


@dataclass(frozen=True)
class _Windows:
    """Windows (n, C, F, T) that wait until there are enough of them."""

    x: Tensor
    target: Tensor
    item: NDArray[np.int64]
    output: NDArray[np.int64]

    @staticmethod
    def none(shape: tuple[int, int, int], device: torch.device) -> "_Windows":
        empty = np.empty(0, dtype=np.int64)
        target = torch.empty(0, dtype=torch.int64, device=device)
        return _Windows(torch.empty(0, *shape, device=device), target, empty, empty)

    def and_then(self, other: "_Windows") -> "_Windows":
        if not len(self.item):
            return other
        return _Windows(
            torch.cat([self.x, other.x]),
            torch.cat([self.target, other.target]),
            np.concatenate([self.item, other.item]),
            np.concatenate([self.output, other.output]),
        )

    def part(self, rows: slice) -> "_Windows":
        return _Windows(self.x[rows], self.target[rows], self.item[rows], self.output[rows])
