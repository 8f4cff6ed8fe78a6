import copy
import dataclasses
import threading
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Table
from speechscope.stages.train import Train
from speechscope.training import classifier
from speechscope.training.classifier import ClassifierTraining
from speechscope.training.loop import begin_from
from speechscope.training.source import CorpusSource

TABLE: Table = (
    Conv(3, kernel=(4, 6)),
    ReLU(),
    MaxPool((5, 1), stride=(2, 1)),
    Linear(20),
    ReLU(),
    Linear(20),
    ReLU(),
    Linear(None),
)
SETTINGS = Train(epochs=4, per_class=6, test_per_class=4, batch=8, lr=0.03, dropout=0.5, seed=3)


class Blobs(CorpusSource):
    """Items around one centre a class; classes 2 and 3 fold into one."""

    def __init__(self, *, held: bool = True, dev: bool = False) -> None:
        self.held = held
        self.fold = np.array([0, 1, 2, 2])
        self.largest = 0
        self.threads: set[int] = set()
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(4, 1, 16, 6))
        self.y: dict[str, NDArray[np.int64]] = {}
        self.x: dict[str, NDArray[np.float32]] = {}
        for split, count in (("train", 40), ("dev", 20 if dev else 0), ("test", 30)):
            self.y[split] = rng.choice(4, count, p=[0.5, 0.2, 0.2, 0.1])
            noise = rng.normal(size=(count, 1, 16, 6)) * 3.0  # far from separable
            self.x[split] = (centres[self.y[split]] + noise).astype(np.float32)

    @property
    def mean(self) -> Tensor:
        return torch.full((1, 16, 6), 0.5)

    def labels(self, split: str) -> NDArray[np.int64]:
        return self.y[split]

    def fetch(self, split: str, positions: NDArray[np.integer[Any]]) -> Tensor:
        if split == "train":
            self.largest = max(self.largest, len(positions))
            self.threads.add(threading.get_ident())
        return torch.from_numpy(self.x[split][positions])


def network() -> Network:
    return Network(TABLE, input_shape=(1, 16, 6), classes=4)


def train(
    source: Blobs,
    settings: Train = SETTINGS,
    start: dict[str, Tensor] | None = None,
    **options: Any,
) -> ClassifierTraining:
    training = ClassifierTraining(network(), source, settings, start=start)
    training.run(**options)
    return training


def without_seconds(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "seconds": 0} for row in history]


def test_going_on_from_a_state_equals_never_having_stopped() -> None:
    whole = train(Blobs(), SETTINGS)
    states: list[dict[str, Any]] = []
    half = dataclasses.replace(SETTINGS, epochs=2)
    train(Blobs(), half, on_epoch=lambda state: states.append(copy.deepcopy(state)))
    assert len(states) == 2
    again = train(Blobs(), SETTINGS, state=states[-1])
    assert without_seconds(again.history) == without_seconds(whole.history)
    assert again.best["epoch"] == whole.best["epoch"]
    assert again.state()["step"]["count"] == whole.state()["step"]["count"] > 0
    for name, value in whole.state()["weights"].items():
        assert torch.equal(again.state()["weights"][name], value), name
    for name, value in whole.state()["step"]["sums"]["sum"].items():
        assert torch.equal(again.state()["step"]["sums"]["sum"][name], value), name
    for name, value in whole.best["weights"].items():
        assert torch.equal(again.best["weights"][name], value), name


def test_the_seed_decides_everything() -> None:
    first, same, other = (
        train(Blobs(), dataclasses.replace(SETTINGS, epochs=1, seed=seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(
        first.state()["weights"]["fc2.weight"], same.state()["weights"]["fc2.weight"]
    )
    assert not torch.equal(
        first.state()["weights"]["fc2.weight"], other.state()["weights"]["fc2.weight"]
    )


def test_a_corpus_read_ahead_gives_the_same_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "AHEAD_BATCHES", 1)
    held, read = Blobs(), Blobs(held=False)
    results = [train(source, SETTINGS) for source in (held, read)]
    for name, value in results[0].state()["weights"].items():
        assert torch.equal(results[1].state()["weights"][name], value), name
    assert read.largest <= SETTINGS.batch  # never more than asked for at once
    assert threading.get_ident() not in read.threads  # read in the background


def test_it_learns_and_measures_what_it_learned() -> None:
    source = Blobs()
    settings = dataclasses.replace(SETTINGS, epochs=12, per_class=20, dropout=0.0)
    result = train(source, settings)
    first, last = result.history[0], result.history[-1]
    assert last["loss"] < 0.7 * first["loss"] and last["train_accuracy"] > 0.7
    trained = network().eval()
    trained.load_state_dict(result.state()["weights"])
    with torch.no_grad():
        predicted = trained(torch.from_numpy(source.x["test"])).argmax(1).numpy()
    truth, folded = source.fold[source.y["test"]], source.fold[predicted]
    assert last["balanced_folded"] < 1
    recalls = [float((folded[truth == c] == c).mean()) for c in range(3)]
    assert last["balanced_folded"] == pytest.approx(sum(recalls) / 3)
    assert 0 <= last["accuracy"] <= last["accuracy_folded"] <= 1
    assert [epoch["epoch"] for epoch in result.history] == list(range(1, 13))


def test_the_best_epoch_is_chosen_on_dev_and_without_it_the_last_is_taken() -> None:
    last = train(Blobs(), SETTINGS)
    assert last.selected_on is None and last.best["epoch"] == SETTINGS.epochs
    for name, value in last.best["weights"].items():
        assert torch.equal(last.state()["weights"][name], value), name
    source = Blobs(dev=True)
    on_dev = train(source, SETTINGS)
    assert on_dev.selected_on == "dev"
    trained = network().eval()
    trained.load_state_dict(on_dev.best["weights"])
    with torch.no_grad():
        predicted = source.fold[trained(torch.from_numpy(source.x["dev"])).argmax(1).numpy()]
    truth = source.fold[source.y["dev"]]
    score = np.mean([(predicted[truth == c] == c).mean() for c in np.unique(truth)])
    assert on_dev.state()["best"]["score"] == pytest.approx(score)


def test_progress_counts_items() -> None:
    seen: list[tuple[int, int]] = []
    train(Blobs(), SETTINGS, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(8 * i + 8, 96) for i in range(12)]  # 4 · 6 items in batches of 8, 4 epochs


def test_every_epoch_draws_its_own_items() -> None:
    training = ClassifierTraining(network(), Blobs(), SETTINGS)
    first, again = (np.concatenate(training.batches()) for _ in range(2))
    assert (first == again).all()
    training.made = 1
    # Other members of the large class, not only another order.
    assert sorted(first.tolist()) != sorted(np.concatenate(training.batches()).tolist())


def test_every_epoch_leaves_out_its_own_units() -> None:
    training = ClassifierTraining(network(), Blobs(), SETTINGS)
    kept = []
    training.run(on_epoch=lambda state: kept.append(torch.cat(training.step.kept).tolist()))
    assert kept[0] != kept[1]


def test_training_stops_when_the_score_stalls_and_stays_stopped() -> None:
    patient = dataclasses.replace(SETTINGS, epochs=40, patience=3)
    with pytest.raises(UsageProblem, match="--patience: without a dev split"):
        train(Blobs(), patient)
    done = train(Blobs(dev=True), patient)
    assert len(done.history) == done.best["epoch"] + 3 < 40
    again = train(Blobs(dev=True), patient, state=done.state())
    assert len(again.history) == len(done.history)


def test_plain_epochs_take_every_item_once() -> None:
    settings = dataclasses.replace(SETTINGS, sampling="plain")
    training = ClassifierTraining(network(), Blobs(), settings)
    first = np.concatenate(training.batches()).tolist()
    training.made = 1
    second = np.concatenate(training.batches()).tolist()
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second


@pytest.mark.parametrize("held", [True, False])
def test_varied_inputs_are_repeatable_and_change_the_result(held: bool) -> None:
    varied = dataclasses.replace(SETTINGS, augment="stretch=0.3,gain=0.3,noise=0.1")
    losses = [
        train(Blobs(held=held), settings).history[-1]["loss"]
        for settings in (SETTINGS, varied, varied)
    ]
    assert losses[1] == losses[2] != losses[0]


def test_training_begins_from_given_convolutions_and_may_keep_them() -> None:
    rng = torch.Generator().manual_seed(1)
    start = {
        "conv1.weight": torch.randn(3, 1, 4, 6, generator=rng),
        "conv1.bias": torch.randn(3, generator=rng),
    }
    one = dataclasses.replace(SETTINGS, epochs=1)
    kept = train(Blobs(), dataclasses.replace(one, freeze_encoder=True), start)
    trained = train(Blobs(), one, start)
    drawn = train(Blobs(), one)
    for name, value in start.items():
        assert torch.equal(kept.state()["weights"][name], value)
        assert not torch.equal(trained.state()["weights"][name], value)
        near = (trained.state()["weights"][name] - value).norm()
        assert near < (drawn.state()["weights"][name] - value).norm()
    assert not torch.equal(
        kept.state()["weights"]["fc1.weight"], drawn.best["weights"]["fc1.weight"]
    )


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageProblem, match=r"conv1\.weight is \(3, 1, 4, 6\) in the network"):
        begin_from(network(), {"conv1.weight": torch.zeros(8, 1, 4, 6)})
    with pytest.raises(UsageProblem, match=r"no conv7\.weight to begin from"):
        begin_from(network(), {"conv7.weight": torch.zeros(8, 1, 4, 6)})
