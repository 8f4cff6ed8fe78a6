"""The network a command looks into, ours or another, and the corpus it does so with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.networks.foreign import ForeignNetwork, fitted, load_module
from speechscope.networks.layers import Network, unpadded
from speechscope.networks.letter_windows import LetterWindows
from speechscope.networks.saved import load_model
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.store.lineage import ancestor
from speechscope.store.record import file_digest


@dataclass(frozen=True)
class Subject:
    """A network with the items that are explained.

    Parameters
    ----------
    network
        On its device, in evaluation mode.
    classes
        Names of its scores.
    corpus
        The items.
    centred
        Whether it takes inputs with the training mean removed, as ours do.
    parent
        Path and kind of the artifact it comes from.
    config
        What the record says of it.
    """

    network: Network | ForeignNetwork
    classes: tuple[str, ...]
    corpus: Corpus
    centred: bool
    parent: tuple[Path, str]
    config: Mapping[str, Any]

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next((p.device for p in self.network.parameters()), torch.device("cpu"))

    @property
    def of_centred(self) -> Network | ForeignNetwork:
        """The network for inputs with the training mean removed, whatever its own inputs are."""
        if self.centred or isinstance(self.network, Network):
            return self.network
        return self.network.shifted(torch.from_numpy(self.corpus.mean).to(self.device))

    def inputs(self, items: NDArray[np.integer[Any]]) -> Tensor:
        """Read the inputs of items as the network takes them, (N, C, F, T), on its device."""
        values = self.corpus.centred(items)
        if not self.centred:
            values += self.corpus.mean
        return torch.from_numpy(values).to(self.device)

    def whole(self, inputs: Tensor) -> NDArray[np.float32]:
        """Return inputs with the training mean, as the corpus holds them."""
        values: NDArray[np.float32] = inputs.cpu().numpy()
        return values + self.corpus.mean if self.centred else values


def subject_of(
    model: Path | None,
    factory: str | None,
    weights: Path | None,
    corpus: Path | None,
    device: torch.device,
) -> Subject:
    """Return what a command line asks for: a model of ours, or, with a factory, any network.

    Parameters
    ----------
    model
        None: ``model.pt``.
    factory, weights
        See `foreign.load_module`.
    corpus
        None: the model's own, or ``corpus.zarr``.

    Raises
    ------
    UsageProblem
        They exclude each other, or one of them is unusable.
    ArtifactError
        A file is missing, damaged or another.
    """
    if factory is None:
        if weights is not None:
            raise UsageProblem("--weights goes with --model package.module:factory")
        return _trained_here(model or Path("model.pt"), corpus, device)
    if model is not None:
        raise UsageProblem(f"{model} and --model {factory} exclude each other")
    return elsewhere(factory, weights, corpus or Path("corpus.zarr"), device)


def _trained_here(model: Path, corpus: Path | None, device: torch.device) -> Subject:
    """Return one of our models with its corpus, which may have moved to `corpus`.

    A letter network is taken without padding, on what single answers of it rest on.
    """
    trained = load_model(model)
    moved = {"corpus": corpus} if corpus else {}
    path = ancestor(model, trained.checkpoint.record, "corpus", moved)
    network = trained.network.to(device)
    if isinstance(network, Wav2Letter):
        windows = LetterWindows(path, network)
        part = unpadded(network, len(network.table), windows.input_shape)
        return Subject(part, windows.classes, windows, True, (model, "model"), {})
    return Subject(network, trained.classes, Corpus(path), True, (model, "model"), {})


def elsewhere(factory: str, weights: Path | None, corpus: Path, device: torch.device) -> Subject:
    """Return any network with the corpus it is to be looked into with.

    It is given inputs as the corpus holds them, mean included. Its scores have the names of the
    corpus's classes where there are as many, and numbers otherwise.

    Raises
    ------
    UsageProblem, ArtifactError
        See `foreign.load_module`, `foreign.fitted` and `Corpus`.
    """
    data = Corpus(corpus)
    network, scores = fitted(load_module(factory, weights).to(device), data.input_shape)
    same = scores == len(data.classes)
    classes = data.classes if same else tuple(str(number) for number in range(scores))
    config = {
        "model": factory,
        "weights": None if weights is None else file_digest(weights),
        "form": network.form,
    }
    return Subject(network, classes, data, False, (corpus, "corpus"), config)
