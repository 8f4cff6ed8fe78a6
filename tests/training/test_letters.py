import copy
import dataclasses
import threading
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.letters import OUTPUTS, encode, letters_of
from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.stages.train import Train
from speechscope.store.checkpoint import _plain
from speechscope.training.evaluation import ctc_loss, letter_answers
from speechscope.training.letters import LetterTraining, rate
from speechscope.training.optimizers import Adam
from speechscope.training.source import CorpusUtterances
from speechscope.work import device

BINS = 12
SETTINGS = Train(epochs=4, batch=3, padding=0.2, lr=3e-3, seed=5)


class Spelled(CorpusUtterances):
    """Utterances in which every label is a few noisy frames of its own spectrum."""

    def __init__(self, texts: list[str], *, dev: int = 0, bins: int = BINS) -> None:
        rng = np.random.default_rng(0)
        spectra = rng.normal(size=(OUTPUTS, bins))
        self.texts = texts
        self.inputs: list[Tensor] = []
        for text in texts:
            frames = [
                np.repeat(spectra[k][None], rng.integers(5, 9), 0) for k in encode(letters_of(text))
            ]
            x = np.concatenate([*frames, rng.normal(size=(2, bins))])
            x = x + 0.1 * rng.normal(size=x.shape)
            self.inputs.append(torch.from_numpy(x.T[None].astype(np.float32)))
        self.lengths = np.array([x.shape[2] for x in self.inputs])
        self.dev = dev
        self.fetched_in: set[int] = set()

    def utterances(self, split: str) -> NDArray[np.int64]:
        items = np.arange(len(self.texts))
        return items[: self.dev] if split == "dev" else items

    def fetch(self, items: NDArray[np.int64]) -> list[Tensor]:
        self.fetched_in.add(threading.get_ident())
        return [self.inputs[item] for item in items]

    def letters(self, items: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return [encode(letters_of(self.texts[item])) for item in items]


def spelled(**options: int) -> Spelled:
    texts = ["see the moon", "dog", "it's all", "no", "bbb see", "a dog sees", "the all", "moon no"]
    return Spelled(texts, **options)


def network(bins: int = BINS, width: float = 1 / 32) -> Wav2Letter:
    return Wav2Letter(bins, width=width)


def train_letters(
    model: Wav2Letter, source: Spelled, settings: Train, **options: Any
) -> LetterTraining:
    training = LetterTraining(model, source, settings)
    training.run(**options)
    return training


def test_eight_utterances_are_learnt_by_heart() -> None:
    source = spelled()
    model = Wav2Letter(BINS, width=1 / 16)
    settings = dataclasses.replace(SETTINGS, epochs=30, batch=4)
    result = train_letters(model, source, settings)
    assert result.history[0]["error"] > 0.9
    assert min(epoch["error"] for epoch in result.history) == 0.0
    # By guessing alone: log 31 = 3.4 nats a letter, and more.
    assert result.history[-1]["loss"] < 0.05
    model.load_state_dict(result.best["weights"])
    found = letter_answers(model.eval(), source, "test", batch=3)
    assert found.answers == found.texts == tuple(source.texts)
    assert threading.get_ident() not in source.fetched_in


def test_going_on_from_a_state_equals_never_having_stopped() -> None:
    whole = train_letters(network(), spelled(), SETTINGS)
    states: list[dict[str, Any]] = []
    train_letters(
        network(),
        spelled(),
        dataclasses.replace(SETTINGS, epochs=2),
        on_epoch=lambda state: states.append(copy.deepcopy(state)),
    )
    assert len(states) == 2
    _plain(states[-1], "state")
    again = train_letters(network(), spelled(), SETTINGS, state=states[-1])
    histories = [[{**row, "seconds": 0} for row in t.history] for t in (whole, again)]
    assert histories[0] == histories[1]
    assert again.best["epoch"] == whole.best["epoch"]
    for name, value in whole.state()["weights"].items():
        assert torch.equal(again.state()["weights"][name], value), name
        assert torch.equal(again.best["weights"][name], whole.best["weights"][name]), name
    for name, moments in whole.state()["moments"].items():
        for key, value in moments.items():
            assert torch.equal(again.state()["moments"][name][key], value), (name, key)


def test_the_seed_decides_the_weights_and_the_batches() -> None:
    first, same, other = (
        train_letters(network(), spelled(), dataclasses.replace(SETTINGS, epochs=1, seed=seed))
        for seed in (5, 5, 6)
    )
    name = "conv2.weight"
    assert torch.equal(first.state()["weights"][name], same.state()["weights"][name])
    assert not torch.equal(first.state()["weights"][name], other.state()["weights"][name])


@pytest.mark.parametrize("size", [8, 3])
def test_one_epoch_equals_plain_adam_on_the_loss_per_letter(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "fitting", lambda *_: size)  # what memory holds
    source = spelled()
    settings = dataclasses.replace(SETTINGS, epochs=1, batch=8, padding=0.9)  # one batch
    result = train_letters(network(), source, settings)
    reference = network()
    reference.reset_parameters(torch.Generator().manual_seed(settings.seed))
    optimizer = torch.optim.Adam(reference.parameters(), lr=settings.lr)
    items = np.argsort(source.lengths)
    frames = torch.from_numpy(source.lengths[items])
    x = torch.zeros(8, 1, BINS, int(frames.max()))
    for place, item in zip(x, items, strict=True):
        place[..., : source.lengths[item]] = source.inputs[item]
    labels = source.letters(items)
    places, outputs = range(0, 8, size), reference.output_frames(frames)
    parts = [slice(place, place + size) for place in places]
    heard = [reference.train()(x[part], frames[part]) for part in parts]
    losses = torch.cat(
        [ctc_loss(y, outputs[p], labels[p]) for y, p in zip(heard, parts, strict=True)]
    )
    letters = sum(len(one) for one in labels)
    (losses.sum() / letters).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert result.history[0]["loss"] == pytest.approx(
        float(losses.detach().sum()) / letters, rel=1e-5
    )
    moved = result.state()["weights"]
    for name, value in reference.named_parameters():
        # Adam's first step is the derivative's sign, be it as small as rounding.
        different = (moved[name] - value.detach()).abs() > 1e-5
        assert float(different.float().mean()) < 0.02, name


def test_the_best_epoch_is_chosen_on_dev_where_there_is_one() -> None:
    last = train_letters(network(), spelled(), SETTINGS)
    assert last.selected_on is None and last.best["epoch"] == SETTINGS.epochs
    result = train_letters(network(), spelled(dev=2), dataclasses.replace(SETTINGS, epochs=12))
    assert result.selected_on == "dev"
    model = network()
    model.load_state_dict(result.best["weights"])
    found = letter_answers(model.eval(), spelled(dev=2), "dev", batch=2)
    assert found.error == result.state()["best"]["error"]
    assert found.items.tolist() == [0, 1]


def test_texts_that_do_not_fit_are_left_out_and_named() -> None:
    source = spelled()
    source.inputs[3] = source.inputs[3][..., :2]  # one output for the two letters of "no"
    source.lengths[3] = 2
    result = train_letters(network(), source, dataclasses.replace(SETTINGS, epochs=1))
    assert result.left_out == [3]
    assert np.isfinite(result.history[0]["test_loss"])
    only = Spelled(["aha"])
    only.inputs[0], only.lengths[0] = only.inputs[0][..., :2], 2
    with pytest.raises(SpeechscopeError, match="no training utterance"):
        train_letters(network(), only, SETTINGS)


def test_a_loss_that_runs_away_is_an_error() -> None:
    source = spelled()
    source.inputs[0] = source.inputs[0] * torch.nan
    with pytest.raises(SpeechscopeError, match="epoch 1: the loss is no longer finite"):
        train_letters(network(), source, SETTINGS)


def test_progress_counts_utterances() -> None:
    seen: list[tuple[int, int]] = []
    train_letters(
        network(),
        spelled(),
        dataclasses.replace(SETTINGS, epochs=2),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (16, 16)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_mixed_precision_trains_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    # On the CPU, where the command refuses it: what is left of the passes is the same on CUDA.
    kinds = []
    convolution = torch.nn.functional.conv1d

    def noted(x: Tensor, *arguments: Any) -> Tensor:
        found = convolution(x, *arguments)
        kinds.append(found.dtype)
        return found

    monkeypatch.setattr(torch.nn.functional, "conv1d", noted)
    settings = dataclasses.replace(SETTINGS, epochs=1, precision="bf16")
    # With 16 channels: PyTorch's kernels for fewer are wrong in bfloat16 on processors with
    # AMX (tests/networks/test_kernels.py).
    mixed = train_letters(network(16, 1 / 16), spelled(bins=16), settings)
    assert torch.bfloat16 in kinds and mixed.history[0]["loss"] > 0
    plain = train_letters(
        network(16, 1 / 16), spelled(bins=16), dataclasses.replace(SETTINGS, epochs=1)
    )
    assert mixed.history[0]["loss"] == pytest.approx(plain.history[0]["loss"], rel=0.02)
    assert all(v.dtype != torch.bfloat16 for v in mixed.best["weights"].values())


def test_the_learning_rate_falls_as_the_formula_says() -> None:
    assert [rate(0.4, "constant", share) for share in (0.0, 0.5, 0.9)] == [0.4] * 3
    found = [rate(0.4, "cosine", share) for share in (0.0, 1 / 3, 0.5, 2 / 3, 1.0)]
    assert found == pytest.approx([0.4, 0.3, 0.2, 0.1, 0.0])


def test_the_schedule_is_that_of_plain_adam_with_cosine_annealing() -> None:
    # One batch an epoch: PyTorch's schedule counts steps, ours the share of all utterances.
    settings = dataclasses.replace(SETTINGS, epochs=3, batch=8, padding=0.9, schedule="cosine")
    rates: list[float] = []
    update = Adam.__call__

    def noted(self: Adam, *arguments: Any) -> None:
        rates.append(self.lr)
        update(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Adam, "__call__", noted)
        train_letters(network(), spelled(), settings)
    rates = rates[:: len(rates) // 3]  # of every parameter
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=settings.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=3)
    expected = []
    for _ in range(3):
        expected.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx(expected)


def test_a_falling_rate_goes_on_over_the_same_epochs_only() -> None:
    settings = dataclasses.replace(SETTINGS, schedule="cosine", epochs=2)
    whole = train_letters(network(), spelled(), settings)
    states: list[dict[str, Any]] = []
    train_letters(
        network(), spelled(), settings, on_epoch=lambda s: states.append(copy.deepcopy(s))
    )
    again = train_letters(network(), spelled(), settings, state=states[0])
    for name, value in whole.state()["weights"].items():
        assert torch.equal(again.state()["weights"][name], value), name
    with pytest.raises(UsageProblem, match="--epochs 5: the learning rate was to fall over 2"):
        train_letters(
            network(), spelled(), dataclasses.replace(settings, epochs=5), state=states[0]
        )


def test_training_stops_when_the_error_no_longer_falls() -> None:
    settings = dataclasses.replace(SETTINGS, epochs=40, lr=0.0, patience=2)
    result = train_letters(network(), spelled(dev=2), settings)
    assert len(result.history) == result.best["epoch"] + 2 < 40
