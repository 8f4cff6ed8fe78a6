from pathlib import Path
from typing import Any

import pytest
import torch

from speechscope.errors import ArtifactError, UsageProblem
from speechscope.networks.autoencoders import Autoencoder, Scheme, make_encoder
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Table
from speechscope.networks.saved import decoder_values, first_weights, load_decoders
from speechscope.store import checkpoint
from speechscope.store.checkpoint import Checkpoint
from speechscope.store.record import new_record

TABLE: Table = (
    Conv(3, (4, 2), "same"),
    ReLU(),
    MaxPool((3, 2), (2, 2)),
    Conv(4, (3, 1), "same"),
    ReLU(),
    MaxPool((3, 1), (2, 1)),
    Linear(None),
)


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network(TABLE, (1, 21, 4), classes=3)


def write(path: Path, values: dict[str, Any], kind: str = "decoder") -> Path:
    record = new_record(kind, config={}, seed=0, device="cpu", parents=[])
    checkpoint.write(path, record, values)
    return path


def made(network: Network, scheme: Scheme, *layers: int) -> dict[int, Autoencoder]:
    encoder = make_encoder(network, scheme.encoder, torch.Generator().manual_seed(5))
    return {layer: Autoencoder(encoder, layer, scheme) for layer in layers}


@pytest.mark.parametrize("weights", ["random", "transpose-tied"])
@pytest.mark.parametrize("relu", [True, False])
def test_decoders_come_back_as_they_were(
    network: Network, tmp_path: Path, weights: Any, relu: bool
) -> None:
    autoencoders = made(network, Scheme(decoder=weights, relu=relu), 3, 6)
    autoencoders[6].decoder.stage(0).bias.data.normal_()
    path = write(tmp_path / "decoder.pt", decoder_values(autoencoders))
    code = network.activation(torch.randn(2, 1, 21, 4), 6)
    restored = load_decoders(path, network)
    assert set(restored) == {3, 6}
    assert torch.equal(restored[6](code), autoencoders[6].decoder(code))


def test_decoders_of_older_files_are_blind_ones_for_the_model(
    network: Network, tmp_path: Path
) -> None:
    values = decoder_values(made(network, Scheme(decoder="random"), 6))
    path = write(tmp_path / "decoder.pt", {"weights": values["weights"]})
    code = network.activation(torch.randn(2, 1, 21, 4), 6)
    decoder = load_decoders(path, network)[6]
    assert decoder(code).shape == (2, 1, 21, 4)
    assert torch.equal(decoder.stage(0).kernel, values["weights"][6]["stages.0.weight"])


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        (Scheme(unpool="switch"), "unpools by the encoder's switches"),
        (Scheme(encoder="init"), "encoder of its own"),
        (Scheme(encoder="frozen-random"), "encoder of its own"),
    ],
)
def test_decoders_that_activations_do_not_suffice_for_are_refused(
    network: Network, tmp_path: Path, scheme: Scheme, message: str
) -> None:
    path = write(tmp_path / "decoder.pt", decoder_values(made(network, scheme, 3)))
    with pytest.raises(UsageProblem, match=message):
        load_decoders(path, network)


def test_a_scheme_of_another_release_is_refused(network: Network, tmp_path: Path) -> None:
    values = decoder_values(made(network, Scheme(), 3))
    values["scheme"]["tea"] = "green"
    with pytest.raises(ArtifactError, match=r"do not fit the network .*tea"):
        load_decoders(write(tmp_path / "decoder.pt", values), network)


@pytest.mark.parametrize("encoder", ["init", "random", "frozen-random"])
def test_the_encoder_of_the_deepest_autoencoder(
    network: Network, tmp_path: Path, encoder: Any
) -> None:
    autoencoders = made(network, Scheme(encoder=encoder, decoder="random"), 3, 6)
    path = write(tmp_path / "decoder.pt", decoder_values(autoencoders))
    weights = first_weights(Checkpoint(path), ())
    assert list(weights) == ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"]
    classifier = Network(TABLE, (1, 21, 4), classes=3)
    classifier.load_state_dict(weights, strict=False)
    x = torch.randn(2, 1, 21, 4)
    assert torch.equal(classifier.activation(x, 6), autoencoders[6].encoder.activation(x, 6))


def test_no_encoder_to_start_from(network: Network, tmp_path: Path) -> None:
    path = write(tmp_path / "decoder.pt", decoder_values(made(network, Scheme(), 3)))
    with pytest.raises(UsageProblem, match="no encoder but its model's"):
        first_weights(Checkpoint(path), ())
    path = write(tmp_path / "other.pt", {"weights": {}}, "other")
    with pytest.raises(UsageProblem, match=r"is a other; --from takes a model.pt or a decoder"):
        first_weights(Checkpoint(path), ())
