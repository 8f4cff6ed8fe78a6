import itertools
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import oracles
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.networks.decoders import Decoder, transpose_kernel
from speechscope.networks.layers import (
    Conv,
    Linear,
    MaxPool,
    Network,
    ReLU,
    Table,
)
from speechscope.stages.decode_train import DecodeTrain, consistent
from speechscope.training import decoders
from speechscope.training.decoders import TOGETHER, DecoderTraining, contraction, measure, sparsity
from speechscope.training.source import CorpusSource
from speechscope.work import device

TABLE: Table = (
    Conv(6, (4, 5), "same"),
    ReLU(),
    MaxPool((3, 1), (2, 1)),
    Linear(30),
    ReLU(),
    Linear(None),
)
SETTINGS = DecodeTrain(epochs=2, together=3, per_class=20, test_per_class=8, batch=16, seed=5)


class Patterns(CorpusSource):
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


def train_decoders(
    network: Network,
    source: Patterns,
    layers: list[int | str],
    settings: DecodeTrain,
    **options: Any,
) -> DecoderTraining:
    training = DecoderTraining(network, source, layers, settings)
    training.run(**options)
    return training


def scores(training: DecoderTraining, source: Patterns | None = None) -> list[dict[str, Any]]:
    rows = [
        measure(autoencoder, source or Patterns(), training.settings)
        for _, autoencoder in sorted(training.autoencoders.items())
    ]
    return [
        {**row, "items": {name: held.tolist() for name, held in row["items"].items()}}
        for row in rows
    ]


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network(TABLE, (1, 14, 5), classes=2)


def test_stages_are_trained_from_the_layer_outwards_then_together(network: Network) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    done = train_decoders(network, Patterns(), [3, "fc2", 1], SETTINGS)
    # (layer, stage, target) of every epoch, all decoders of one epoch before the next.
    order = [(r["layer"], r["stage"], r["target"]) for r in done.history]
    first = [(3, 0, 0), (6, 0, 5), (1, 0, 0)]
    second, third = [(6, 1, 3)], [(6, 2, 0)]
    joint = [(3, TOGETHER, 0), (6, TOGETHER, 0), (1, TOGETHER, 0)]
    assert order == first * 2 + second * 2 + third * 2 + joint * 3
    assert [r["epoch"] for r in done.history if r["layer"] == 1] == [0, 1, 0, 1, 2]
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), f"the encoder's {name} changed"


def test_training_lowers_the_error_well_below_silence(network: Network) -> None:
    settings = DecodeTrain(
        epochs=10, together=10, per_class=60, test_per_class=15, batch=16, lr=0.1, lr_together=0.1
    )
    source = Patterns()
    done = train_decoders(network, source, [1, 3, 6], settings)
    errors = {row["layer"]: row["test"] / row["silence"] for row in scores(done, source)}
    # A convolution with six maps is invertible, its pooled maxima are not; the two classes are
    # what the last layer knows, and it leaves the noise.
    assert errors[1] < 0.3
    assert errors[3] < 0.85
    assert errors[6] < 0.6
    # What the history says is what the decoders do: ‖X* − X′‖ of the test items.
    x = source.fetch("test", np.arange(30))
    with torch.no_grad():
        restored = done.autoencoders[6].decoder(network.activation(x, 6))
    distance = float((restored - x).flatten(1).norm(dim=1).mean())
    last = done.history[-1]
    assert last["layer"] == 6
    assert last["test"] == pytest.approx(distance, rel=1e-5)
    assert last["silence"] == pytest.approx(float(x.flatten(1).norm(dim=1).mean()), rel=1e-5)


def test_a_stage_by_itself_leaves_the_others_alone(network: Network) -> None:
    states: list[dict[str, Any]] = []

    def keep(state: dict[str, Any]) -> None:
        weights = {name: value.clone() for name, value in state["decoders"][6].items()}
        states.append(weights)

    train_decoders(network, Patterns(), [6], SETTINGS, on_epoch=keep)
    changed = [
        {name.split(".")[1] for name in old if not torch.equal(old[name], new[name])}
        for old, new in itertools.pairwise(states)
    ]
    assert changed == [{"0"}, {"1"}, {"1"}, {"2"}, {"2"}, *[{"0", "1", "2"}] * 3]


STACKED = replace(
    SETTINGS,
    encoder="random",
    decoder="transpose-tied",
    unpool="switch",
    stack="weak",
    noise=0.1,
    contractive=0.01,
)


@pytest.mark.parametrize(
    ("settings", "interrupted"),
    [*((SETTINGS, done) for done in (1, 2, 4, 6, 7, 9)), *((STACKED, done) for done in (1, 4, 8))],
)
def test_an_interrupted_training_ends_with_the_same_bits(
    network: Network, settings: DecodeTrain, interrupted: int, tmp_path: Any
) -> None:
    whole = train_decoders(network, Patterns(), [1, 6], settings)

    class Stop(Exception):
        pass

    def stop(state: dict[str, Any]) -> None:
        if state["done"] == interrupted:
            torch.save(state, tmp_path / "state.pt")
            raise Stop

    with pytest.raises(Stop):
        train_decoders(network, Patterns(), [1, 6], settings, on_epoch=stop)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed = train_decoders(network, Patterns(), [1, 6], settings, state=state)
    assert resumed.history == whole.history
    assert scores(resumed) == scores(whole)
    for layer, decoder in whole.autoencoders.items():
        for name, value in decoder.decoder.state_dict().items():
            resumed_value = resumed.autoencoders[layer].decoder.state_dict()[name]
            assert torch.equal(value, resumed_value)


@pytest.mark.parametrize(
    ("epochs", "together", "done", "fits"),
    [
        (3, 3, 1, True),  # still in the first phase: any longer run begins like this one
        (2, 5, 7, True),
        (3, 3, 3, False),  # the second phase was begun after two epochs of the first
        (1, 3, 2, False),
        (2, 1, 9, False),
    ],
)
def test_other_numbers_of_epochs_go_on_only_from_where_they_lead(
    network: Network, epochs: int, together: int, done: int, fits: bool
) -> None:
    states: list[dict[str, Any]] = []
    train_decoders(
        network, Patterns(), [1, 6], SETTINGS, on_epoch=lambda s: states.append(deepcopy(s))
    )
    other = replace(SETTINGS, epochs=epochs, together=together)
    if not fits:
        with pytest.raises(UsageProblem, match=f"--epochs {epochs} --together {together}: "):
            train_decoders(network, Patterns(), [1, 6], other, state=states[done - 1])
        return
    resumed = train_decoders(network, Patterns(), [1, 6], other, state=states[done - 1])
    assert scores(resumed) == scores(train_decoders(network, Patterns(), [1, 6], other))


def test_decoders_do_not_depend_on_those_trained_beside_them(network: Network) -> None:
    alone = train_decoders(network, Patterns(), [3], SETTINGS).autoencoders[3].decoder
    beside = train_decoders(network, Patterns(), [1, 3, 6], SETTINGS).autoencoders[3].decoder
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(value, beside.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_a_phase_ends_for_each_decoder_where_it_has_levelled(network: Network) -> None:
    settings = replace(SETTINGS, epochs=12, together=40, level=0.02)
    done = train_decoders(network, Patterns(), [1, 6], settings)
    lengths = []
    for layer in (1, 6):
        for stage in {row["stage"] for row in done.history}:
            errors = [
                r["train"] for r in done.history if (r["layer"], r["stage"]) == (layer, stage)
            ]
            gains = [1 - b / a for a, b in zip(errors, errors[3:], strict=False)]
            assert all(gain >= 0.02 for gain in gains[:-1])
            most = 40 if stage == TOGETHER else 12
            assert not errors or gains[-1] < 0.02 or len(errors) == most
            lengths.append((len(errors), most))
    # Some phase ended before its last epoch, and not all of them.
    assert any(0 < length < most for length, most in lengths)
    assert len({length for length, most in lengths if most == 12}) > 1
    alone = train_decoders(network, Patterns(), [6], settings)
    for ours, theirs in zip(
        alone.autoencoders[6].decoder.parameters(),
        done.autoencoders[6].decoder.parameters(),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_levelled_training_goes_on_as_without_a_stop(network: Network) -> None:
    states: list[dict[str, Any]] = []
    settings = replace(SETTINGS, epochs=12, together=40, level=0.02)
    whole = train_decoders(
        network, Patterns(), [1, 6], settings, on_epoch=lambda s: states.append(deepcopy(s))
    )
    for state in states[:: len(states) // 5]:
        resumed = train_decoders(network, Patterns(), [1, 6], settings, state=state)
        assert resumed.history == whole.history
        assert scores(resumed) == scores(whole)


def test_a_batch_is_fetched_once_for_all_decoders_and_test_items_stay(network: Network) -> None:
    one, three = Patterns(), Patterns()
    settings = DecodeTrain(epochs=1, together=2, per_class=20, test_per_class=8, batch=16)
    train_decoders(network, one, [6], settings)
    train_decoders(network, three, [1, 3, 6], settings)
    # After the five epochs every decoder is measured by itself.
    training = 5 * (3 + 1)
    assert three.fetched[:training] == one.fetched[:training]
    assert three.fetched[training:] == 3 * one.fetched[training:]
    train = [p for split, p in one.fetched if split == "train"]
    assert [len(p) for p in train[:3]] == [16, 16, 8]  # 2 classes of 20
    assert train[:3] != train[-3:]
    tests = [p for split, p in one.fetched if split == "test"]
    assert tests[0] == tests[2]


def test_first_outputs_are_as_large_as_their_targets(network: Network) -> None:
    # With no step to speak of, only the scale is fitted.
    settings = DecodeTrain(epochs=1, together=0, per_class=60, batch=1000, lr=1e-9)
    source = Patterns()
    done = train_decoders(network, source, [1], settings)
    split, positions = source.fetched[0]
    assert split == "train"
    x = source.fetch("train", np.array(positions))
    code = network.activation(x, 1).detach()
    plain = Decoder(network, 1)(code).detach()
    factor = float(x.norm() / plain.norm())
    torch.testing.assert_close(
        done.autoencoders[1].decoder(code), factor * plain, rtol=1e-4, atol=1e-5
    )


SCHEMES = [
    (encoder, decoder)
    for encoder in ("fixed", "init", "random", "frozen-random")
    for decoder in ("random", "transpose-init", "transpose-tied", "frozen-random")
]


@pytest.mark.parametrize(("encoder", "decoder"), SCHEMES)
def test_what_training_changes(network: Network, encoder: Any, decoder: Any) -> None:
    scheme: dict[str, Any] = {"encoder": encoder, "decoder": decoder, "unpool": "switch"}
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trained, untrained = (
        train_decoders(
            network,
            Patterns(),
            [3],
            DecodeTrain(epochs=epochs, together=0, per_class=20, stack="none", **scheme),
        ).autoencoders[3]
        for epochs in (2, 0)
    )
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), f"the network's {name} changed"

    def changed(of: Any) -> bool:
        return not torch.equal(of(trained), of(untrained))

    assert changed(lambda a: a.encoder_state()["conv1.weight"]) == (encoder in ("init", "random"))
    for name in ("conv1.weight", "conv1.bias"):
        start = untrained.encoder_state()[name]
        if name == "conv1.weight":
            assert torch.equal(start, before[name]) == (encoder in ("fixed", "init"))
    kernel, encoders = trained.decoder.stage(0).kernel, trained.encoder_state()["conv1.weight"]
    tied = torch.equal(kernel, transpose_kernel(encoders))
    kept = encoder in ("fixed", "frozen-random")
    assert tied == (decoder == "transpose-tied")
    moves = decoder in ("random", "transpose-init") or (tied and not kept)
    assert changed(lambda a: a.decoder.stage(0).kernel) == moves
    assert changed(lambda a: a.decoder.stage(0).bias) == moves


@pytest.mark.parametrize("weak", [True, False])
def test_stacking_keeps_or_goes_on_training_the_units_before(network: Network, weak: bool) -> None:
    states: list[dict[str, Tensor]] = []

    def keep(state: dict[str, Any]) -> None:
        parts = {**state["decoders"][6], **state["encoders"][6]}
        states.append({name: value.clone() for name, value in parts.items()})

    settings = DecodeTrain(
        epochs=1,
        together=0,
        per_class=20,
        encoder="random",
        decoder="random",
        unpool="switch",
        stack="weak" if weak else "strong",
    )
    train_decoders(network, Patterns(), [6], settings, on_epoch=keep)
    changed = [
        {name.removesuffix(".weight") for name in old if not torch.equal(old[name], new[name])}
        for old, new in itertools.pairwise(states)
    ]
    # Three units of which the first is trained in the first epoch; stage 2 inverts conv1.
    second = {"stages.1", "stages.1.bias", "fc1", "fc1.bias"}
    first = {"stages.2", "stages.2.bias", "conv1", "conv1.bias"}
    third = {"stages.0", "stages.0.bias", "fc2", "fc2.bias"}
    assert len(states) == 3
    assert changed == ([first | second, first | second | third] if weak else [second, third])


@pytest.mark.parametrize("size", [100, 3])
def test_an_epoch_is_adagrad_on_the_formula(
    network: Network, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "fitting", lambda *_: size)  # what memory holds
    # One batch, tied weights and switches: both uses of the filters count.
    settings = DecodeTrain(
        epochs=1,
        together=0,
        per_class=30,
        batch=1000,
        lr=0.1,
        encoder="random",
        decoder="transpose-tied",
        unpool="switch",
        stack="none",
    )
    start = train_decoders(network, Patterns(), [3], replace(settings, epochs=0)).autoencoders[3]
    done = train_decoders(network, Patterns(), [3], settings).autoencoders[3]
    old, new = start.encoder_state(), done.encoder_state()
    x = Patterns().fetch("train", np.arange(60))
    tensors = {
        "weight": old["conv1.weight"].double(),
        "encoder": old["conv1.bias"].double(),
        "decoder": start.decoder.stage(0).bias.detach().double(),
    }
    gradients = oracles.autoencoder_gradients(tensors, x.double(), (3, 1), (2, 1), (1, 2, 2, 2))
    step = 0.1 * float(old["conv1.weight"].square().mean().sqrt())
    found = {
        "weight": new["conv1.weight"],
        "encoder": new["conv1.bias"],
        "decoder": done.decoder.stage(0).bias.detach(),
    }
    # AdaGrad's first step has one length: its direction is all the derivatives show.
    for name, gradient in gradients.items():
        expected = tensors[name] - step * gradient.sign()
        torch.testing.assert_close(found[name].double(), expected, rtol=1e-4, atol=1e-6)


def test_the_switches_of_trained_and_of_kept_encoders_are_used(network: Network) -> None:
    def error(encoder: str, unpool: str) -> float:
        settings = DecodeTrain(
            epochs=8,
            together=0,
            per_class=60,
            encoder=encoder,
            decoder="random",
            unpool=unpool,
            stack="none",
        )
        return float(scores(train_decoders(network, Patterns(), [3], settings))[0]["test"])

    for encoder in ("fixed", "random"):
        assert error(encoder, "switch") < 0.9 * error(encoder, "blind")


def test_noise_is_put_on_the_encoders_input_alone(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def constant(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
        return torch.full_like(x, share)

    monkeypatch.setattr(decoders, "gaussian", constant)
    settings = DecodeTrain(
        epochs=1,
        together=0,
        per_class=60,
        batch=1000,
        lr=1e-9,
        noise=0.5,
        decoder="transpose-init",
        stack="none",
    )
    for encoder in ("fixed", "init"):
        source = Patterns()
        done = train_decoders(network, source, [3], replace(settings, encoder=encoder))
        (record,) = done.history
        decoder = Decoder(network, 3)
        for split, noise, found in (("train", 0.5, record["train"]), ("test", 0.0, record["test"])):
            positions = next(np.array(p) for s, p in source.fetched if s == split)
            x = source.fetch(split, positions)
            with torch.no_grad():
                restored = decoder(network.activation(x + noise, 3))
            expected = float((restored - x).flatten(1).norm(dim=1).mean())
            assert found == pytest.approx(expected, rel=1e-4), split


@pytest.mark.parametrize(("sparse", "contractive"), [(3.0, 0.0), (0.0, 3.0)])
def test_penalties_act_on_the_code(network: Network, sparse: float, contractive: float) -> None:
    scheme: dict[str, Any] = {"encoder": "random", "decoder": "random", "unpool": "switch"}
    settings = DecodeTrain(epochs=12, together=0, per_class=60, stack="none", **scheme)
    x = Patterns().fetch("test", np.arange(30))
    sizes = []
    for chosen in (settings, replace(settings, sparse=sparse, contractive=contractive)):
        encoder = train_decoders(network, Patterns(), [3], chosen).autoencoders[3].encoder
        with torch.no_grad():
            code = encoder.activation(x, 3)
            if sparse:
                sizes.append(float(sparsity(code)))
            else:
                generator = torch.Generator().manual_seed(0)
                slope = contraction(lambda x: encoder.activation(x, 3), x, code, generator)  # noqa: B023
                sizes.append(float(slope))
    assert sizes[1] < 0.7 * sizes[0]


def test_settings_that_contradict_each_other() -> None:
    with pytest.raises(UsageProblem, match="--stack decoder restores what a kept encoder does"):
        consistent(DecodeTrain(encoder="random", decoder="random", stack="decoder"))
    with pytest.raises(UsageProblem, match="--sparse shapes the code"):
        consistent(DecodeTrain(encoder="frozen-random", stack="none", sparse=1.0))
    with pytest.raises(UsageProblem, match="--contractive shapes the code"):
        consistent(DecodeTrain(encoder="fixed", stack="none", contractive=1.0))


def test_nothing_to_train(network: Network) -> None:
    done = train_decoders(network, Patterns(), [], SETTINGS)
    assert done.autoencoders == {}
    assert done.history == []
