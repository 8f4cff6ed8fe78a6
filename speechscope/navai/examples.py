"""Inputs of one size with the class each is predicted as, block by block."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.artifact import Artifact
from speechscope.artifact_writer import CHUNK_BYTES
from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.navai.alignment import NEEDS, shifts
from speechscope.navai.passes import Passes
from speechscope.subject import Subject

MOST = 256
"""Most inputs worked on at a time."""


def at_once(shape: Sequence[int]) -> int:
    """Return how many inputs of a shape are worked on at a time: some 4 MB of them."""
    return max(16, min(MOST, CHUNK_BYTES // (4 * prod(shape))))


@dataclass(frozen=True)
class Block:
    """Some inputs.

    Parameters
    ----------
    inputs
        (B, C, F, T), centred.
    target
        The class each is predicted as, (B,).
    shift
        (A, B) [frames], by alignment.
    item
        The item of the corpus each comes from, (B,).
    output
        Which of the item's outputs it is, (B,); 0 where it has one.
    done
        How many items of the corpus are done with, this block included.
    """

    inputs: Tensor
    target: Tensor
    shift: Tensor
    item: NDArray[np.int64]
    output: NDArray[np.int64]
    done: int

    def kept(self, which: Tensor) -> "Block":
        """Return those inputs for which `which` (B,) is true."""
        rows = which.cpu().numpy()
        return Block(
            self.inputs[which],
            self.target[which],
            self.shift[:, which],
            self.item[rows],
            self.output[rows],
            self.done,
        )


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
    device
        Where they are worked on.
    """

    corpus: Corpus
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    items: NDArray[np.int64]
    device: torch.device

    def blocks(self, alignments: Sequence[str]) -> Iterator[Block]:
        """Yield all, in the order of the corpus."""
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
    passes
        Through that network.
    """

    def __init__(self, subject: Subject, items: NDArray[np.int64], passes: Passes) -> None:
        self._subject = subject
        self._passes = passes
        self.corpus, self.classes = subject.corpus, subject.classes
        self.shape, self.items, self.device = subject.corpus.input_shape, items, subject.device

    def blocks(self, alignments: Sequence[str]) -> Iterator[Block]:
        """Yield all, in order."""
        step = at_once(self.shape)
        mean = torch.from_numpy(self.corpus.mean).to(self.device)
        for start in range(0, len(self.items), step):
            part = self.items[start : start + step]
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

    def blocks(self, alignments: Sequence[str]) -> Iterator[Block]:
        """Yield all, in order.

        Raises
        ------
        UsageProblem
            It lacks the relevance an alignment needs.
        """
        artifact, methods = self._artifact, self._artifact.flags("method")
        needed = {NEEDS[name]: name for name in alignments if name in NEEDS}
        for method, name in needed.items():
            if method not in methods:
                raise UsageProblem(
                    f"--align {name}: {artifact.path} holds {', '.join(methods)}; it needs "
                    f"{method} (speechscope relevance --method gradient,lrp)"
                )
        mean = self.corpus.mean
        step = at_once(self.shape)
        for start in range(0, len(self.items), step):
            rows = slice(start, min(start + step, len(self.items)))
            part = self.items[rows]
            size = (len(part), *self.shape)
            x = torch.from_numpy(artifact.read("input", rows).reshape(size) - mean).to(self.device)
            relevance = {
                method: torch.from_numpy(
                    artifact.read("relevance", (methods.index(method), rows)).reshape(size)
                ).to(self.device)
                for method in needed
            }
            target = torch.from_numpy(artifact.read("target", rows).astype(np.int64))
            same = target == torch.from_numpy(artifact.read("predicted", rows).astype(np.int64))
            block = Block(
                x,
                target.to(self.device),
                moved(alignments, relevance, x),
                part,
                np.zeros(len(part), dtype=np.int64),
                rows.stop,
            )
            yield block.kept(same.to(self.device))
