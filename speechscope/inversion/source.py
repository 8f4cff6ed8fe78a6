"""The network that is inverted, ours or another, the corpus behind it, and trained decoders."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.inversion.problem import Restorer
from speechscope.networks.layered import Layered
from speechscope.networks.saved import load_classifier, load_decoders
from speechscope.networks.subject import elsewhere
from speechscope.store.lineage import ancestor, record_at


@dataclass(frozen=True)
class Source:
    """What is inverted.

    Parameters
    ----------
    path, kind
        The artifact it was read from.
    network
        On its device, for inputs with the training mean removed.
    corpus
        Whose mean that is.
    decoders
        Trained decoders by layer, where they were asked for.
    config
        What the record says of the network.
    """

    path: Path
    kind: str
    network: Layered
    corpus: Corpus
    decoders: Mapping[int, Restorer] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


def of_checkpoint(
    path: Path, method: str, moved: Mapping[str, Path], device: torch.device
) -> Source:
    """Return one of our networks.

    Parameters
    ----------
    path
        ``model.pt`` or ``decoder.pt``.
    method
        Names of methods or chains, comma-separated.
    moved
        Parents that moved, by kind.

    Raises
    ------
    UsageProblem
        ``decode`` is used and the checkpoint holds no decoders.
    ArtifactError
        It or a parent is missing, damaged or another.
    """
    record, decodes = record_at(path), "decode" in re.split("[+,]", method)
    if decodes and record["kind"] != "decoder":
        raise UsageProblem(
            f"{path} is a {record['kind']}; --method {method} needs a decoder "
            "(speechscope decode-train)"
        )
    model = ancestor(path, record, "model", moved)
    trained = load_classifier(model)
    corpus = Corpus(ancestor(model, trained.checkpoint.record, "corpus", moved))
    network = trained.network.to(device)
    decoders = load_decoders(path, network) if decodes else {}
    return Source(path, record["kind"], network, corpus, decoders)


def of_factory(
    factory: str,
    weights: Path | None,
    corpus: Path | None,
    method: str,
    device: torch.device,
) -> Source:
    """Return any network, as `speechscope.networks.subject.elsewhere` does.

    Raises
    ------
    UsageProblem
        ``decode`` is used, whose decoders are trained for our networks.
    """
    if "decode" in re.split("[+,]", method):
        raise UsageProblem(
            f"--model {factory}: decode needs decode-train, which takes our own models; "
            "choose from anneal, bp, align"
        )
    subject = elsewhere(factory, weights, corpus or Path("corpus.zarr"), device)
    found = subject.corpus
    return Source(found.path, "corpus", subject.of_centred, found, config=subject.config)
