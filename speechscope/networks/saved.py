"""Networks and decoders as they stand in checkpoints."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.letters import LETTERS
from speechscope.errors import ArtifactError, SpeechscopeError, UsageProblem
from speechscope.networks.autoencoders import Autoencoder, Scheme
from speechscope.networks.decoders import Decoder
from speechscope.networks.layers import Network
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.registry import NETWORKS
from speechscope.store.checkpoint import Checkpoint


@dataclass(frozen=True)
class Model:
    """A trained network and what is needed to use it.

    Parameters
    ----------
    network
        With the best weights, in evaluation mode.
    name
        Under which it is registered.
    classes, classes_folded
        Names of the units of the last layer, and of the folded classes; for the letter network,
        the letters (twice).
    fold
        Folded class of each class, (class,).
    mean
        What its inputs are centred by, (channel, frequency, time); for the letter network without
        time.
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
        There is no network of that name, or the input is too small for it.
    """
    if name not in NETWORKS:
        raise UsageProblem(f"--network {name}: choose from {', '.join(NETWORKS.names())}")
    shape = tuple(input_shape)
    try:
        network: Network = NETWORKS[name](shape, classes)
    except SpeechscopeError as error:
        items = " × ".join(map(str, shape))
        fitting = [other for other in NETWORKS.names() if _fits(other, shape, classes)]
        raise UsageProblem(
            f"--network {name} does not take inputs of {items} (channels × frequency × time); "
            f"of the networks these do: {', '.join(fitting) or 'none'}"
        ) from error
    return network


def _fits(name: str, shape: tuple[int, ...], classes: int) -> bool:
    try:
        with torch.device("meta"):
            return not isinstance(NETWORKS[name](shape, classes), Wav2Letter)
    except SpeechscopeError:
        return False


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


def letter_values(
    network: Wav2Letter,
    width: float,
    *,
    weights: Mapping[str, Tensor],
    mean: NDArray[np.floating[Any]],
) -> dict[str, Any]:
    """Return what a model checkpoint holds of a letter network beside its training state."""
    channels, bins, _ = network.input_shape
    made = {"bins": bins, "width": width, "padding": network.padding, "channels": channels}
    return {
        "network": {"name": "wav2letter", **made},
        "classes": list(LETTERS),
        "mean": torch.from_numpy(np.array(mean, dtype=np.float32)),
        "weights": dict(weights),
    }


def load_classifier(path: Path) -> Model:
    """Read a trained classifier: what `load_model` reads, but for the letter network.

    Raises
    ------
    ArtifactError
        See `load_model`.
    UsageProblem
        It is a letter network.
    """
    model = load_model(path)
    if isinstance(model.network, Wav2Letter):
        raise UsageProblem(
            f"{path} is a letter network, which gives letters of whole utterances; this takes a "
            "classifier (speechscope train --recipe churchman2015)"
        )
    return model


def load_model(path: Path) -> Model:
    """Read a trained network.

    Raises
    ------
    ArtifactError
        The checkpoint is missing, damaged, not a model, or its parts do not fit together.
    """
    return model_of(Checkpoint(path, "model"))


def model_of(checkpoint: Checkpoint, made_by: Callable[..., Network] = build) -> Model:
    """Return the network of a model's checkpoint; `made_by` takes what `build` does.

    Raises
    ------
    ArtifactError
        Its parts do not fit together.
    """
    values = checkpoint.values
    try:
        made = dict(values["network"])
        name, classes = made.pop("name"), values["classes"]
        with torch.device("meta"):
            if name == "wav2letter":
                network: Network = Wav2Letter(**made)
            else:
                network = made_by(name, made["input_shape"], len(classes))
        network.load_state_dict(_fitting(network, values["weights"]), assign=True)
        return Model(
            network=network.eval().requires_grad_(False),
            name=name,
            classes=tuple(classes),
            classes_folded=tuple(values.get("classes_folded", classes)),
            fold=np.array(values.get("fold", range(len(classes))), dtype=np.int64),
            mean=values["mean"],
            checkpoint=checkpoint,
        )
    except (
        KeyError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError, UsageProblem
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())[:200]
        raise ArtifactError(
            f"{checkpoint.path}: the model does not fit its record ({reason})"
        ) from error


def _fitting(network: Network, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies of a checkpoint's weights for a network without values.

    Shapes are compared before memory is taken for what the checkpoint describes.

    Raises
    ------
    ValueError
        Weights are missing, or have another shape.
    """
    expected = network.state_dict()
    for name, value in expected.items():
        found, shape = tuple(weights[name].shape), tuple(value.shape)
        if found != shape:
            raise ValueError(f"{name} has the shape {found}, not {shape}")
    kinds = {name: expected[name].dtype for name in weights if name in expected}
    return {name: value.to(kinds.get(name), copy=True) for name, value in weights.items()}


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


def load_decoders(path: Path, network: Network) -> dict[int, Decoder]:
    """Read decoders by layer number, to restore inputs from the network's activations alone.

    They are on the network's device.

    Raises
    ------
    ArtifactError
        The checkpoint is missing, damaged, not a decoder, or does not fit the network.
    UsageProblem
        The decoders need more than activations, or are for another encoder than the network.
    """
    checkpoint = Checkpoint(path, "decoder")
    decoders: dict[int, Decoder] = {}
    device = next(network.parameters()).device
    try:
        scheme = Scheme(**checkpoint.values.get("scheme", {}))  # older files have one kind alone
        for layer, weights in checkpoint.values["weights"].items():
            decoder = Autoencoder(network, layer, scheme).decoder
            decoder.load_state_dict(weights)
            decoders[layer] = decoder.to(device).eval().requires_grad_(False)
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


def first_weights(checkpoint: Checkpoint, classes: Sequence[str]) -> dict[str, Tensor]:
    """Return weights to begin a training with, by their names in the network (``conv1.weight``, …).

    Of a model all of them, but for the last layer if its classes are others than `classes`; of
    autoencoders the deepest one's encoder. Riemens 2015, sec. 4.4: "take only the encoder part of
    a trained autoencoder, and use it to initialise the filters of part of a forward network".

    Raises
    ------
    UsageProblem
        The checkpoint is neither, or its encoder is the model it was made from.
    """
    if checkpoint.kind == "model":
        model = model_of(checkpoint)
        last = model.network.names[-1] if model.classes != tuple(classes) else None
        weights = model.network.state_dict()
        return {name: value for name, value in weights.items() if name.split(".")[0] != last}
    if checkpoint.kind != "decoder":
        raise UsageProblem(
            f"{checkpoint.path} is a {checkpoint.kind}; --from takes a model.pt or a decoder.pt"
        )
    encoders: Mapping[int, dict[str, Tensor]] = checkpoint.values.get("encoders", {})
    if not encoders:
        raise UsageProblem(
            f"{checkpoint.path} holds no encoder but its model's; --from takes an autoencoder "
            "(decode-train --encoder random or init)"
        )
    return encoders[max(encoders)]
