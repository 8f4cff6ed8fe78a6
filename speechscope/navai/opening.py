"""What a command line asks to be averaged: a model's inputs, any network's, or explained ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speechscope.corpus import store
from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.navai.examples import Examples, ItemExamples, StoredExamples
from speechscope.navai.letters import LetterExamples
from speechscope.networks.saved import load_model
from speechscope.networks.subject import subject_of
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.relevance.rules import Settings
from speechscope.store.artifact import Artifact
from speechscope.store.lineage import ancestor, record_at


@dataclass(frozen=True)
class Opened:
    """What is averaged.

    Parameters
    ----------
    examples
        The inputs.
    parent
        Path and kind of the artifact they come from.
    config
        What the record says of it.
    """

    examples: Examples
    parent: tuple[Path, str]
    config: Mapping[str, Any]


def opened(
    given: Path | None,
    *,
    factory: str | None,
    weights: Path | None,
    corpus: Path | None,
    device: torch.device,
    alignments: Sequence[str],
    rule: Settings,
    split: str,
    ranges: list[str] | None,
) -> Opened:
    """Return what a command line asks for.

    Parameters
    ----------
    given
        A model or a `relevance.zarr`; None: ``model.pt``.
    factory, weights, corpus
        See `relevance.subject.subject_of`.
    alignments
        That will be asked for.
    rule
        Of LRP.
    split, ranges
        Which items; `ranges` None: all of the split. A `relevance.zarr` has its own.

    Raises
    ------
    UsageProblem
        Arguments exclude each other, or an artifact is of no use here.
    ArtifactError
        A file is missing, damaged or another.
    """
    if factory is None:
        path = given or Path("model.pt")
        record = record_at(path)
        if record["kind"] == "relevance":
            if ranges is not None:
                raise UsageProblem(f"--items: {path} has items of its own; all are averaged")
            moved = {"corpus": corpus} if corpus else {}
            data = Corpus(ancestor(path, record, "corpus", moved))
            stored = StoredExamples(Artifact(path, "relevance"), data, device)
            return Opened(stored, (path, "relevance"), {})
        if record["kind"] != "model":
            raise UsageProblem(f"{path} is a {record['kind']}; navai takes a model or relevance")
        trained = load_model(path)
        if isinstance(trained.network, Wav2Letter):
            if weights is not None:
                raise UsageProblem("--weights goes with --model package.module:factory")
            moved = {"corpus": corpus} if corpus else {}
            data = Corpus(ancestor(path, record, "corpus", moved))
            items = _items(data, split, ranges)
            letters = LetterExamples(trained.network.to(device), data, items, rule, alignments)
            return Opened(letters, (path, "model"), {})
    subject = subject_of(given, factory, weights, corpus, device)
    items = _items(subject.corpus, split, ranges)
    examples = ItemExamples(subject, items, rule, alignments)
    return Opened(examples, subject.parent, subject.config)


def _items(corpus: Corpus, split: str, ranges: list[str] | None) -> NDArray[np.int64]:
    return corpus.items(split) if ranges is None else store.positions(corpus, split, ranges)
