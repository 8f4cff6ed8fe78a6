from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.features import distances
from speechscope.networks.autoencoders import Autoencoder, Scheme
from speechscope.networks.layers import Conv, MaxPool, Network, ReLU, Table
from speechscope.stages.decode_train import DecodeTrain
from speechscope.training.decoders import decodings, measure
from speechscope.training.source import CorpusSource

TABLE: Table = (
    *(Conv(4, (4, 2), "same"), ReLU(), MaxPool((3, 2), (2, 2))),
    *(Conv(5, (3, 1), "same"), ReLU(), MaxPool((3, 1), (2, 1))),
    *(Conv(6, (3, 1), "same"), ReLU(), MaxPool((3, 1), (2, 1))),
)


class Noise(CorpusSource):
    """Items that share nothing."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        sizes = {"train": 12, "test": 10}
        self.inputs = {s: torch.randn(n, 1, 41, 4, generator=generator) for s, n in sizes.items()}

    def labels(self, split: str) -> NDArray[np.int64]:
        return np.arange(len(self.inputs[split])) % 2

    def fetch(self, split: str, positions: NDArray[np.integer[Any]]) -> Tensor:
        return self.inputs[split][torch.from_numpy(positions)]


def made(unpool: Any, layer: int) -> Autoencoder:
    torch.manual_seed(1)
    network = Network(TABLE, (1, 41, 4))
    autoencoder = Autoencoder(network, layer, Scheme(decoder="random", unpool=unpool))
    for index in range(len(autoencoder.decoder.stages)):
        autoencoder.decoder.stage(index).bias.data.normal_()
    return autoencoder


@pytest.mark.parametrize(
    ("unpool", "layer", "leaks"),
    [
        ("blind", 9, set()),
        ("switch", 3, set()),  # one unit: zeros are put where the switches say
        ("switch", 6, {"zeroed"}),
        ("switch", 9, {"zeroed", "mangled"}),
    ],
)
def test_what_reaches_the_output_around_the_code(unpool: Any, layer: int, leaks: set[str]) -> None:
    autoencoder = made(unpool, layer)
    x = Noise().inputs["test"]
    found, switches = autoencoder.encode(x)
    restored = decodings(autoencoder, found[layer], switches)
    for name in ("zeroed", "mangled"):
        depends = bool((restored[name].detach() - restored[name][:1].detach()).abs().max() > 1e-5)
        assert depends == (name in leaks), name
    # Mangled is what it says: filters and biases of the first decoding convolution set to zero.
    for parameter in autoencoder.decoder.stage(0).parameters():
        parameter.data.zero_()
    expected = autoencoder.decoder(found[layer], switches)
    torch.testing.assert_close(restored["mangled"], expected)


def test_what_is_measured() -> None:
    source, autoencoder = Noise(), made("switch", 6)
    row = measure(autoencoder, source, DecodeTrain(test_per_class=5, batch=4))
    # Five of each of two classes: every test item once, and ten of the twelve training items.
    x = source.inputs["test"]
    with torch.no_grad():
        found, switches = autoencoder.encode(x)
        decoded = autoencoder.decoder(found[6], switches)
        zeroed = autoencoder.decoder(torch.zeros_like(found[6]), switches)
    assert row["layer"] == 6
    for name, restored in (("test", decoded), ("zeroed", zeroed), ("silence", torch.zeros_like(x))):
        expected = float((restored - x).flatten(1).norm(dim=1).mean())
        assert row[name] == pytest.approx(expected, rel=1e-5), name
    pairs = (("correlation", decoded), ("zeroed_correlation", zeroed))
    for name, restored in pairs:
        correlations = distances.max_cross_correlation(x.numpy(), restored.numpy())
        assert row[name] == pytest.approx(correlations.mean(), rel=1e-5), name
    x = source.inputs["train"]
    with torch.no_grad():
        found, switches = autoencoder.encode(x)
        away = (autoencoder.decoder(found[6], switches) - x).flatten(1).norm(dim=1)
    assert away.min() < row["train"] < away.max()
    assert row["train"] != row["test"]


def test_nothing_to_measure() -> None:
    source = Noise()
    source.inputs["train"] = source.inputs["test"] = torch.empty(0, 1, 41, 4)
    row = measure(made("blind", 3), source, DecodeTrain(test_per_class=5, batch=4))
    assert row["test"] == row["train"] == row["silence"] == 0
