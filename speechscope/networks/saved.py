"""Networks and decoders as they stand in checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.checkpoint import Checkpoint
from speechscope.errors import ArtifactError, UsageProblem
from speechscope.networks.autoencoders import Autoencoder, Scheme
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


def decoder_values(autoencoders: Mapping[int, Autoencoder]) -> dict[str, Any]:
    """Return what a decoder checkpoint holds beside its training state.

    ``weights`` of the decoders by layer, the ``scheme`` they were made by, and the ``encoders``
    by layer where they are not the model's.
    """
    schemes = [autoencoder.scheme for autoencoder in autoencoders.values()]
    scheme = schemes[0] if schemes else Scheme()
    own = scheme.encoder != "fixed"
    return {
        "scheme": asdict(scheme),
        "weights": {layer: a.decoder.state_dict() for layer, a in autoencoders.items()},
        "encoders": {layer: a.encoder_state() for layer, a in autoencoders.items() if own},
    }


def saved_scheme(checkpoint: Checkpoint) -> Scheme:
    """Return how the decoders of a checkpoint were made; those of older files were of one kind."""
    return Scheme(**checkpoint.values.get("scheme", {}))


def load_decoders(path: Path, network: Network) -> dict[int, Decoder]:
    """Read decoders by layer number, to restore inputs from the network's activations alone.

    Raises
    ------
    ArtifactError
        The checkpoint is missing, damaged, not a decoder, or does not fit the network.
    UsageProblem
        The decoders need more than activations, or are for another encoder than the network.
    """
    checkpoint = Checkpoint(path, "decoder")
    decoders: dict[int, Decoder] = {}
    try:
        scheme = saved_scheme(checkpoint)
        for layer, weights in checkpoint.values["weights"].items():
            decoder = Autoencoder(network, layer, scheme).decoder
            decoder.load_state_dict(weights)
            decoders[layer] = decoder.eval().requires_grad_(False)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, UsageProblem) as error:
        reason = " ".join(str(error).split())[:200]
        raise ArtifactError(f"{path}: the decoders do not fit the network ({reason})") from error
    if scheme.encoder != "fixed":
        raise UsageProblem(
            f"{path} decodes an encoder of its own (--encoder {scheme.encoder}), not the model's; "
            "train decoders for the model with decode-train --encoder fixed"
        )
    if scheme.unpool == "switch":
        raise UsageProblem(
            f"{path} unpools by the encoder's switches, which the activations of one layer do not "
            "hold; train decoders with decode-train --unpool blind"
        )
    return decoders


def encoder_weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the encoder's weights from a decoder checkpoint, to initialise a classifier.

    Riemens 2015, sec. 4.4: "take only the encoder part of a trained autoencoder, and use it to
    initialise the filters of part of a forward network".

    Returns
    -------
    Weights by their names in the network (``conv1.weight``, …), of the deepest autoencoder.

    Raises
    ------
    UsageProblem
        The checkpoint is no decoder's, or its encoder is the model it was made from.
    """
    if checkpoint.kind != "decoder":
        raise UsageProblem(f"{checkpoint.path} is a {checkpoint.kind}; --from takes a decoder.pt")
    encoders: Mapping[int, dict[str, Tensor]] = checkpoint.values.get("encoders", {})
    if not encoders:
        raise UsageProblem(
            f"{checkpoint.path} holds no encoder but its model's; --from takes an autoencoder "
            "(decode-train --encoder random or init)"
        )
    return encoders[max(encoders)]
