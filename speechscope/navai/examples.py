"""Inputs of one size with the class each is predicted as, block by block."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.navai.alignment import needed, shifts
from speechscope.navai.block import Block
from speechscope.navai.passes import Passes
from speechscope.navai.times import Times, times_of
from speechscope.networks.layers import Network
from speechscope.networks.subject import Subject
from speechscope.relevance.explain import explained
from speechscope.relevance.rules import Settings
from speechscope.store.artifact import Artifact
from speechscope.store.writer import CHUNK_BYTES

MOST = 256
"""Most inputs worked on at a time."""
BATCHES = 8
"""As many times that are one process's to work on (chosen)."""
ALL = slice(None)


def at_once(shape: Sequence[int]) -> int:
    """Return how many inputs of a shape are worked on at a time: some 4 MB of them."""
    return max(16, min(MOST, CHUNK_BYTES // (4 * prod(shape))))


class Examples(Protocol):
    """Inputs of one size from a corpus.

    Attributes
    ----------
    corpus
        Where they are from.
    classes
        What can be predicted.
    shape
        (C, F, T) of one.
    items
        Items of the corpus they come from, (N,).
    task
        Of which so many are one process's to work on at a time.
    device
        Where they are worked on.
    """

    corpus: Corpus
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    items: NDArray[np.int64]
    task: int
    device: torch.device

    @property
    def network(self) -> Network | None:
        """One of ours that runs on the inputs; None: not ours, or not there."""
        ...

    @property
    def times(self) -> Times:
        """Where in their recordings inputs lie."""
        ...

    @property
    def answers(self) -> Callable[[int], NDArray[np.int64]] | None:
        """Of a letter network: its answers, by utterance."""
        ...

    def blocks(self, alignments: Sequence[str], rows: slice = ALL) -> Iterator[Block]:
        """Yield all of some items, in the order of the corpus."""
        ...


def moved(alignments: Sequence[str], relevance: dict[str, Tensor], x: Tensor) -> Tensor:
    """Return the shifts (A, B) of inputs."""
    return torch.stack([shifts(name, relevance, x) for name in alignments])


class ItemExamples:
    """The items of a corpus of segments, frames or windows, as one network answers them.

    Parameters
    ----------
    subject
        Network and corpus.
    items
        Which of its items, (N,).
    rule
        Of LRP.
    alignments
        That will be asked for.
    """

    answers = None

    def __init__(
        self,
        subject: Subject,
        items: NDArray[np.int64],
        rule: Settings,
        alignments: Sequence[str],
    ) -> None:
        self._given = subject, items, rule, alignments
        self._subject = subject
        of = explained(subject.network, subject.inputs(items[:1]), None)
        self._passes = Passes.of_alignments(of, rule, alignments)
        self.corpus, self.classes = subject.corpus, subject.classes
        self.shape, self.items, self.device = subject.corpus.input_shape, items, subject.device
        self.task = BATCHES * at_once(self.shape)
        self.network = subject.network if isinstance(subject.network, Network) else None

    def __reduce__(self) -> tuple[Any, ...]:
        return ItemExamples, self._given

    @cached_property
    def times(self) -> Times:
        """Where in their recordings inputs lie."""
        return times_of(self.corpus, self.shape)

    def blocks(self, alignments: Sequence[str], rows: slice = ALL) -> Iterator[Block]:
        """Yield all of some items, in order."""
        step = at_once(self.shape)
        mean = torch.from_numpy(self.corpus.mean).to(self.device)
        items = self.items[rows]
        for start in range(0, len(items), step):
            part = items[start : start + step]
            x = self._subject.inputs(part)
            target, relevance = self._passes(x)
            yield Block(
                x if self._subject.centred else x - mean,
                target,
                moved(alignments, relevance, x),
                part,
                np.zeros(len(part), dtype=np.int64),
                start + len(part),
            )


class StoredExamples:
    """The items of a `relevance.zarr`, with the relevance that it holds.

    Items whose relevance is for another class than the one predicted are left out.

    Parameters
    ----------
    artifact
        The relevance.
    corpus
        That it is of.
    device
        Where to work.

    Raises
    ------
    UsageProblem
        It is of a layer inside the network, or of windows of utterances.
    """

    network = answers = None

    def __init__(self, artifact: Artifact, corpus: Corpus, device: torch.device) -> None:
        layer = artifact.record["config"].get("layer")
        if layer is not None:
            raise UsageProblem(
                f"{artifact.path} explains what enters {layer}; inputs are aligned by relevance "
                "of inputs (speechscope relevance without --layer)"
            )
        if corpus.unit == "utterance":
            raise UsageProblem(
                f"{artifact.path} explains windows of utterances; navai takes the letter network "
                "itself (speechscope navai model.pt)"
            )
        self._artifact = artifact
        self.corpus, self.classes = corpus, artifact.flags("target")
        self.shape, self.device = corpus.input_shape, device
        self.items = artifact.read("item_index").astype(np.int64)
        self.task = BATCHES * at_once(self.shape)

    def __reduce__(self) -> tuple[Any, ...]:
        path = self._artifact.path.resolve()
        return _stored, (path, self.corpus, self.device)

    @cached_property
    def times(self) -> Times:
        """Where in their recordings inputs lie."""
        return times_of(self.corpus, self.shape)

    def blocks(self, alignments: Sequence[str], rows: slice = ALL) -> Iterator[Block]:
        """Yield all of some items, in order.

        Raises
        ------
        UsageProblem
            It lacks the relevance an alignment needs.
        """
        artifact, methods = self._artifact, self._artifact.flags("method")
        methods_needed = needed(tuple(alignments))
        for method, name in methods_needed.items():
            if method not in methods:
                raise UsageProblem(
                    f"--align {name}: {artifact.path} holds {', '.join(methods)}; it needs "
                    f"{method} (speechscope relevance --method gradient,lrp)"
                )
        mean = self.corpus.mean
        step = at_once(self.shape)
        first, last, _ = rows.indices(len(self.items))
        for start in range(first, last, step):
            some = slice(start, min(start + step, last))
            part = self.items[some]
            size = (len(part), *self.shape)
            x = torch.from_numpy(artifact.read("input", some).reshape(size) - mean).to(self.device)
            relevance = {
                method: torch.from_numpy(
                    artifact.read("relevance", (methods.index(method), some)).reshape(size)
                ).to(self.device)
                for method in methods_needed
            }
            target = torch.from_numpy(artifact.read("target", some).astype(np.int64))
            same = target == torch.from_numpy(artifact.read("predicted", some).astype(np.int64))
            block = Block(
                x,
                target.to(self.device),
                moved(alignments, relevance, x),
                part,
                np.zeros(len(part), dtype=np.int64),
                some.stop - first,
            )
            yield block.kept(same.to(self.device))


def _stored(path: Path, corpus: Corpus, device: torch.device) -> StoredExamples:
    return StoredExamples(Artifact(path, "relevance"), corpus, device)
