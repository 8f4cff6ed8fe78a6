import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.networks.decoders import Decoder
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Table
from speechscope.training.decoders import TOGETHER, DecoderSettings, scores, train_decoders

TABLE: Table = (
    Conv(6, (4, 5), "same"),
    ReLU(),
    MaxPool((3, 1), (2, 1)),
    Linear(30),
    ReLU(),
    Linear(None),
)
SETTINGS = DecoderSettings(epochs=2, together=3, per_class=20, test_per_class=8, batch=16, seed=5)


class Patterns:
    """Two classes of noisy patterns; remembers which positions were fetched."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        bases = rng.normal(size=(2, 1, 14, 5))
        self._labels = {"train": np.arange(60) % 2, "test": np.arange(30) % 2}
        self._inputs = {
            split: torch.from_numpy(
                (bases[labels] + 0.3 * rng.normal(size=(len(labels), 1, 14, 5))).astype(np.float32)
            )
            for split, labels in self._labels.items()
        }
        self.fetched: list[tuple[str, list[int]]] = []

    def labels(self, split: str) -> NDArray[np.int64]:
        return self._labels[split]

    def fetch(self, split: str, positions: NDArray[np.integer]) -> Tensor:
        self.fetched.append((split, positions.tolist()))
        return self._inputs[split][torch.from_numpy(positions)]


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network(TABLE, (1, 14, 5), classes=2)


def test_stages_are_trained_from_the_layer_outwards_then_together(network: Network) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    done = train_decoders(network, Patterns(), [3, "fc2", 1], SETTINGS)
    # (layer, stage, target) of every epoch, all decoders of one epoch before the next.
    order = [(r.layer, r.stage, r.target) for r in done.history]
    first = [(3, 0, 0), (6, 0, 5), (1, 0, 0)]
    second, third = [(6, 1, 3)], [(6, 2, 0)]
    joint = [(3, TOGETHER, 0), (6, TOGETHER, 0), (1, TOGETHER, 0)]
    assert order == first * 2 + second * 2 + third * 2 + joint * 3
    assert [r.epoch for r in done.history if r.layer == 1] == [0, 1, 0, 1, 2]
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), f"the encoder's {name} changed"


def test_training_lowers_the_error_well_below_silence(network: Network) -> None:
    settings = DecoderSettings(
        epochs=10, together=10, per_class=60, test_per_class=15, batch=16, lr=0.1, lr_together=0.1
    )
    source = Patterns()
    done = train_decoders(network, source, [1, 3, 6], settings)
    errors = {row["layer"]: row["test"] / row["silence"] for row in scores(done.history)}
    # A convolution with six maps is invertible, its pooled maxima are not; the two classes are
    # what the last layer knows, and it leaves the noise.
    assert errors[1] < 0.3
    assert errors[3] < 0.85
    assert errors[6] < 0.6
    # What the history says is what the decoders do: ‖X* − X′‖ of the test items.
    x = source.fetch("test", np.arange(30))
    with torch.no_grad():
        restored = done.decoders[6](network.activation(x, 6))
    distance = float((restored - x).flatten(1).norm(dim=1).mean())
    last = done.history[-1]
    assert last.layer == 6
    assert last.test == pytest.approx(distance, rel=1e-5)
    assert last.silence == pytest.approx(float(x.flatten(1).norm(dim=1).mean()), rel=1e-5)


def test_a_stage_by_itself_leaves_the_others_alone(network: Network) -> None:
    states: list[dict[str, Any]] = []

    def keep(state: dict[str, Any]) -> None:
        weights = {name: value.clone() for name, value in state["decoders"][6].items()}
        states.append(weights)

    train_decoders(network, Patterns(), [6], SETTINGS, on_stage=keep)
    changed = [
        {name.split(".")[1] for name in old if not torch.equal(old[name], new[name])}
        for old, new in itertools.pairwise(states)
    ]
    assert changed == [{"0"}, {"1"}, {"1"}, {"2"}, {"2"}, *[{"0", "1", "2"}] * 3]


@pytest.mark.parametrize("interrupted", [1, 2, 4, 6, 7, 9])
def test_an_interrupted_training_ends_with_the_same_bits(
    network: Network, interrupted: int, tmp_path: Any
) -> None:
    whole = train_decoders(network, Patterns(), [1, 6], SETTINGS)

    class Stop(Exception):
        pass

    def stop(state: dict[str, Any]) -> None:
        if state["done"] == interrupted:
            torch.save(state, tmp_path / "state.pt")
            raise Stop

    with pytest.raises(Stop):
        train_decoders(network, Patterns(), [1, 6], SETTINGS, on_stage=stop)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed = train_decoders(network, Patterns(), [1, 6], SETTINGS, state=state)
    assert resumed.history == whole.history
    for layer, decoder in whole.decoders.items():
        for name, value in decoder.state_dict().items():
            assert torch.equal(value, resumed.decoders[layer].state_dict()[name])


def test_decoders_do_not_depend_on_those_trained_beside_them(network: Network) -> None:
    alone = train_decoders(network, Patterns(), [3], SETTINGS).decoders[3]
    beside = train_decoders(network, Patterns(), [1, 3, 6], SETTINGS).decoders[3]
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(value, beside.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_a_batch_is_fetched_once_for_all_decoders_and_test_items_stay(network: Network) -> None:
    one, three = Patterns(), Patterns()
    settings = DecoderSettings(epochs=1, together=2, per_class=20, test_per_class=8, batch=16)
    train_decoders(network, one, [6], settings)
    train_decoders(network, three, [1, 3, 6], settings)
    assert three.fetched == one.fetched
    train = [p for split, p in one.fetched if split == "train"]
    assert [len(p) for p in train[:3]] == [16, 16, 8]  # 2 classes of 20
    assert train[:3] != train[-3:]
    tests = [p for split, p in one.fetched if split == "test"]
    assert tests[0] == tests[-1]


def test_first_outputs_are_as_large_as_their_targets(network: Network) -> None:
    # With no step to speak of, only the scale is fitted.
    settings = DecoderSettings(epochs=1, together=0, per_class=60, batch=1000, lr=1e-9)
    source = Patterns()
    done = train_decoders(network, source, [1], settings)
    split, positions = source.fetched[0]
    assert split == "train"
    x = source.fetch("train", np.array(positions))
    code = network.activation(x, 1).detach()
    plain = Decoder(network, 1)(code).detach()
    factor = float(x.norm() / plain.norm())
    torch.testing.assert_close(done.decoders[1](code), factor * plain, rtol=1e-4, atol=1e-5)


def test_nothing_to_train(network: Network) -> None:
    done = train_decoders(network, Patterns(), [], SETTINGS)
    assert done.decoders == {}
    assert done.history == ()
