"""Networks and decoders as they stand in checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.checkpoint import Checkpoint
from speechscope.errors import ArtifactError, UsageProblem
from speechscope.networks.classifiers import TABLES
from speechscope.networks.decoders import Decoder
from speechscope.networks.layers import Network


@dataclass(frozen=True)
class Model:
    """A trained classifier and what is needed to use it.

    Parameters
    ----------
    network
        With the best weights, in evaluation mode.
    name
        Its row in `TABLES`.
    classes, classes_folded
        Names of the units of the last layer, and of the folded classes.
    fold
        Folded class of each class, (class,).
    mean
        What its inputs are centred by, (channel, frequency, time).
    checkpoint
        Where it was read from.
    """

    network: Network
    name: str
    classes: tuple[str, ...]
    classes_folded: tuple[str, ...]
    fold: NDArray[np.int64]
    mean: Tensor
    checkpoint: Checkpoint


def build(name: str, input_shape: Sequence[int], classes: int) -> Network:
    """Return an untrained network by name.

    Raises
    ------
    UsageProblem
        There is no network of that name.
    SpeechscopeError
        The input is too small for it.
    """
    if name not in TABLES:
        raise UsageProblem(f"--network {name}: choose from {', '.join(TABLES)}")
    return Network(TABLES[name], tuple(input_shape), classes)


def model_values(
    network: Network,
    name: str,
    *,
    weights: Mapping[str, Tensor],
    classes: Sequence[str],
    classes_folded: Sequence[str],
    fold: NDArray[np.integer[Any]],
    mean: NDArray[np.floating[Any]],
) -> dict[str, Any]:
    """Return what a model checkpoint holds beside its training state."""
    return {
        "network": {"name": name, "input_shape": list(network.input_shape)},
        "classes": list(classes),
        "classes_folded": list(classes_folded),
        "fold": [int(index) for index in fold],
        "mean": torch.from_numpy(np.array(mean, dtype=np.float32)),
        "weights": dict(weights),
    }


def load_model(path: Path) -> Model:
    """Read a trained classifier.

    Raises
    ------
    ArtifactError
        The checkpoint is missing, damaged, not a model, or its parts do not fit together.
    """
    checkpoint = Checkpoint(path, "model")
    values = checkpoint.values
    try:
        name = values["network"]["name"]
        network = build(name, values["network"]["input_shape"], len(values["classes"]))
        network.load_state_dict(values["weights"])
        return Model(
            network=network.eval().requires_grad_(False),
            name=name,
            classes=tuple(values["classes"]),
            classes_folded=tuple(values["classes_folded"]),
            fold=np.array(values["fold"], dtype=np.int64),
            mean=values["mean"],
            checkpoint=checkpoint,
        )
    except (KeyError, TypeError, ValueError, RuntimeError, UsageProblem) as error:
        reason = " ".join(str(error).split())[:200]
        raise ArtifactError(f"{path}: the model does not fit its record ({reason})") from error


def decoder_values(decoders: Mapping[int, Decoder]) -> dict[str, Any]:
    """Return what a decoder checkpoint holds beside its training state."""
    return {"weights": {layer: decoder.state_dict() for layer, decoder in decoders.items()}}


def load_decoders(path: Path, network: Network) -> dict[int, Decoder]:
    """Read decoders by layer number, for the network they were trained with.

    Raises
    ------
    ArtifactError
        The checkpoint is missing, damaged, not a decoder, or does not fit the network.
    """
    checkpoint = Checkpoint(path, "decoder")
    decoders: dict[int, Decoder] = {}
    try:
        for layer, weights in checkpoint.values["weights"].items():
            decoder = Decoder(network, layer)
            decoder.load_state_dict(weights)
            decoders[layer] = decoder.eval().requires_grad_(False)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, UsageProblem) as error:
        reason = " ".join(str(error).split())[:200]
        raise ArtifactError(f"{path}: the decoders do not fit the network ({reason})") from error
    return decoders
