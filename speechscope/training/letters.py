"""Training the letter network on whole utterances, with a state to go on from."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.errors import SpeechscopeError
from speechscope.networks.alphabet import decode
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.recipes import Table, Value
from speechscope.training.bucketing import batches
from speechscope.training.ctc import ctc_loss, greedy, letter_error_rate, outputs_needed

KRUG_2018_TRAIN: Table = {
    "network": Value("wav2letter", "Krug 2018, sec. 3.1", ("wav2letter",)),
    "width": Value(1.0, "sec. 3.1: 256 and 2048 maps"),
    "epochs": Value(100, "chosen: the paper gives none; of LibriSpeech's 960 h far fewer do"),
    "batch": Value(64, "the code Kunze et al. 2017 published, to whom sec. 3.1 refers"),
    "padding": Value(0.1, "chosen: the batches are still of many lengths"),
    "lr": Value(1e-4, "the code Kunze et al. 2017 published: Adam"),
}


class Utterances(Protocol):
    """Utterances by item number.

    Attributes
    ----------
    lengths
        Frames of every item, (items,).
    """

    lengths: NDArray[np.int64]

    def utterances(self, split: str) -> NDArray[np.int64]:
        """Return the items of a split, (n,)."""

    def fetch(self, items: NDArray[np.int64]) -> Sequence[Tensor]:
        """Return the normalised inputs (C, F, T) of items."""

    def letters(self, items: NDArray[np.int64]) -> Sequence[NDArray[np.int64]]:
        """Return the labels of items, as `alphabet.encode` makes them."""


@dataclass(frozen=True)
class LetterSettings:
    """Settings of letter training; `speechscope.recipes` holds the defaults.

    Parameters
    ----------
    epochs
        Passes over the training utterances.
    batch
        The most utterances a batch.
    padding
        The most padding of a batch, as a share of its frames.
    lr
        Adam's learning rate.
    seed
        For weights and batches.
    """

    epochs: int
    batch: int
    padding: float
    lr: float
    seed: int


@dataclass(frozen=True)
class LetterEpoch:
    """What one epoch gave.

    `loss` is the mean over the batches as they were trained on, `test_loss` that of the test
    utterances after it [nats a letter]; `error` is the letter error rate on them.
    """

    epoch: int
    loss: float
    test_loss: float
    error: float
    seconds: float


@dataclass(frozen=True)
class LetterResult:
    """A finished training.

    Parameters
    ----------
    best
        The weights of the epoch with the lowest letter error rate on `selected_on`.
    best_epoch
        That epoch, from 1.
    selected_on
        The split it was chosen on: dev where there is one, else test.
    history
        One entry an epoch.
    left_out
        Training items whose text does not fit in their outputs.
    state
        Everything the rest of the training would depend on: tensors and plain types.
    """

    best: dict[str, Tensor]
    best_epoch: int
    selected_on: str
    history: tuple[LetterEpoch, ...]
    left_out: tuple[int, ...]
    state: dict[str, Any]


@dataclass(frozen=True)
class Answers:
    """What a letter network answers to a split.

    Parameters
    ----------
    items
        The items, (n,).
    texts, answers
        What was said and what was answered, n each.
    loss
        −log p of the texts over their letters [nats]; items whose text does not fit left out.
    error
        The letter error rate.
    """

    items: NDArray[np.int64]
    texts: tuple[str, ...]
    answers: tuple[str, ...]
    loss: float
    error: float


def train_letters(
    network: Wav2Letter,
    source: Utterances,
    settings: LetterSettings,
    *,
    state: Mapping[str, Any] | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LetterResult:
    """Train a letter network to write down what is said.

    Minimises −log p of the texts (`ctc.ctc_loss`) over the letters of a batch, by Adam (Krug 2018,
    sec. 3.1, and Kunze et al. 2017, to whom it refers).

    Parameters
    ----------
    network
        The network, on the device to train on; its weights are drawn anew from the seed.
    source
        Its splits "train" and "test", and "dev" where that has items.
    settings
        How to train.
    state
        What `on_epoch` was last given, to go on from there: the result is the same as without
        the interruption.
    on_epoch
        Called after every epoch with the state.
    progress
        Called with (utterances done, utterances in all).

    Raises
    ------
    SpeechscopeError
        There is nothing to train on, or the loss is no longer finite.
    """
    run = LetterTrainer(network, source, settings)
    if state is not None:
        run.load(state)
    for epoch in range(len(run.history), settings.epochs):
        run.epoch(epoch, progress)
        if on_epoch is not None:
            on_epoch(run.state())
    return LetterResult(
        best=run.best["weights"],
        best_epoch=run.best["epoch"],
        selected_on=run.selected_on,
        history=tuple(run.history),
        left_out=tuple(int(item) for item in run.left_out),
        state=run.state(),
    )


def answers(network: Wav2Letter, source: Utterances, split: str, batch: int) -> Answers:
    """Return what a network answers to every utterance of a split.

    The network is to be in evaluation mode; no answer depends on the batch an utterance is in.
    """
    items = source.utterances(split)
    texts, found = [""] * len(items), [""] * len(items)
    loss, letters = 0.0, 0
    order = batches(source.lengths[items], batch, padding=0.5)
    with torch.inference_mode():
        for positions, part in zip(order, _loaded(network, source, items, order), strict=True):
            logits = network(part.x, part.frames)
            losses = ctc_loss(logits, part.outputs, part.labels)
            written = greedy(logits, part.outputs)
            for position, labels, one, answer in zip(
                positions.tolist(), part.labels, losses.tolist(), written, strict=True
            ):
                texts[position], found[position] = decode(labels), decode(answer)
                if np.isfinite(one):
                    loss, letters = loss + one, letters + len(labels)
    return Answers(
        items=items,
        texts=tuple(texts),
        answers=tuple(found),
        loss=loss / letters if letters else float("nan"),
        error=letter_error_rate(zip(texts, found, strict=True)),
    )


class LetterTrainer:
    """Letter training between two epochs."""

    def __init__(self, network: Wav2Letter, source: Utterances, settings: LetterSettings) -> None:
        self.network, self.source, self.settings = network, source, settings
        device = next(network.parameters()).device
        network.cpu().reset_parameters(torch.Generator().manual_seed(settings.seed))
        network.to(device)
        self._optimizer = torch.optim.Adam(network.parameters(), lr=settings.lr, fused=True)
        items = source.utterances("train")
        outputs = network.output_frames(torch.from_numpy(source.lengths[items])).tolist()
        labels = source.letters(items)
        fits = np.array(
            [outputs_needed(one) <= room for one, room in zip(labels, outputs, strict=True)],
            dtype=bool,
        )
        self.items, self.left_out = items[fits], items[~fits]
        if not len(self.items):
            raise SpeechscopeError("no training utterance has a text that fits in its frames")
        self.selected_on = "dev" if len(source.utterances("dev")) else "test"
        self.history: list[LetterEpoch] = []
        self.best: dict[str, Any] = {"epoch": 0, "error": np.inf, "weights": self._weights()}

    def _weights(self) -> dict[str, Tensor]:
        weights = self.network.state_dict()
        return {name: value.detach().cpu().clone() for name, value in weights.items()}

    def state(self) -> dict[str, Any]:
        """Return everything the rest of the training depends on."""
        moments = {
            name: {key: value.cpu().clone() for key, value in self._optimizer.state[p].items()}
            for name, p in self.network.named_parameters()
        }
        return {
            "weights": self._weights(),
            "moments": moments,
            "best": dict(self.best),
            "history": [asdict(epoch) for epoch in self.history],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to a state."""
        self.network.load_state_dict(state["weights"])
        for name, parameter in self.network.named_parameters():
            self._optimizer.state[parameter] = {
                key: value.to(parameter.device, copy=True)
                for key, value in state["moments"][name].items()
            }
        self.best = dict(state["best"])
        self.history = [LetterEpoch(**epoch) for epoch in state["history"]]

    def epoch(self, number: int, progress: Callable[[int, int], None] | None) -> None:
        """Train on every utterance once and measure the network."""
        begun = time.perf_counter()
        loss = self._train(number, progress)
        test = answers(self.network, self.source, "test", self.settings.batch)
        score = test.error
        if self.selected_on == "dev":
            score = answers(self.network, self.source, "dev", self.settings.batch).error
        seconds = time.perf_counter() - begun
        self.history.append(LetterEpoch(number + 1, loss, test.loss, test.error, seconds))
        # Where there is nothing to choose by, the score is NaN and the last epoch is taken.
        if not score >= self.best["error"]:
            self.best = {"epoch": number + 1, "error": score, "weights": self._weights()}

    def _train(self, number: int, progress: Callable[[int, int], None] | None) -> float:
        rng = np.random.default_rng([self.settings.seed, number])
        lengths = self.source.lengths[self.items]
        order = batches(lengths, self.settings.batch, self.settings.padding, rng)
        total, letters, done = 0.0, 0, number * len(self.items)
        self.network.train()
        for part in _loaded(self.network, self.source, self.items, order):
            count = max(sum(map(len, part.labels)), 1)
            losses = ctc_loss(self.network(part.x, part.frames), part.outputs, part.labels)
            value = float(losses.detach().sum())
            if not np.isfinite(value):
                raise SpeechscopeError(
                    f"epoch {number + 1}: the loss is no longer finite; train with a lower --lr"
                )
            self._optimizer.zero_grad()
            (losses.sum() / count).backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            total, letters, done = total + value, letters + count, done + len(part.labels)
            if progress is not None:
                progress(done, self.settings.epochs * len(self.items))
        self.network.eval()
        return total / letters


@dataclass(frozen=True)
class _Part:
    """A batch: inputs (B, C, F, T), the frames and outputs that count (B,), and the labels."""

    x: Tensor
    frames: Tensor
    outputs: Tensor
    labels: Sequence[NDArray[np.int64]]


def _loaded(
    network: Wav2Letter,
    source: Utterances,
    items: NDArray[np.int64],
    order: Sequence[NDArray[np.int64]],
) -> Iterator[_Part]:
    """Yield batch after batch, each read while the one before is worked on."""
    device = next(network.parameters()).device

    def load(positions: NDArray[np.int64]) -> _Part:
        inputs = source.fetch(items[positions])
        frames = torch.tensor([one.shape[2] for one in inputs])
        x = inputs[0].new_zeros(len(inputs), *inputs[0].shape[:2], int(frames.max()))
        for place, one in zip(x, inputs, strict=True):
            place[..., : one.shape[2]] = one
        outputs = network.output_frames(frames)
        return _Part(x.to(device), frames, outputs, source.letters(items[positions]))

    with ThreadPoolExecutor(1) as pool:
        pending: Future[_Part] | None = None
        for positions in [*order, None]:
            ready = pending
            pending = pool.submit(load, positions) if positions is not None else None
            if ready is not None:
                yield ready.result()
