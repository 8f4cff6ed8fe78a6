"""Training the letter network on whole utterances, with a state to go on from."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.training.acceleration import PLAIN, Acceleration
from speechscope.training.bucketing import batches
from speechscope.training.ctc import ctc_loss, outputs_needed
from speechscope.training.keeping import copied_weights, is_over
from speechscope.training.pretrained import begin_from
from speechscope.training.utterances import Utterances, answers, loaded


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
    schedule
        What becomes of it: ``constant``, or ``cosine``, on which it falls to 0 over all epochs.
    patience
        Epochs without a lower letter error rate after which training stops; 0: never.
    seed
        For weights and batches.
    acceleration
        What a CUDA device may do to be faster.
    """

    epochs: int
    batch: int
    padding: float
    lr: float
    schedule: str
    patience: int
    seed: int
    acceleration: Acceleration = PLAIN


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


def train_letters(
    network: Wav2Letter,
    source: Utterances,
    settings: LetterSettings,
    *,
    start: Mapping[str, Tensor] | None = None,
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
    start
        First weights, by their names, in place of drawn ones.
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
    UsageProblem
        The state is of a falling learning rate over another number of epochs.
    """
    run = LetterTrainer(network, source, settings, start)
    if state is not None:
        run.load(state)
    while not run.done:
        run.epoch(len(run.history), progress)
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


class LetterTrainer:
    """Letter training between two epochs."""

    def __init__(
        self,
        network: Wav2Letter,
        source: Utterances,
        settings: LetterSettings,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.network, self.source, self.settings = network, source, settings
        device = next(network.parameters()).device
        network.cpu().reset_parameters(torch.Generator().manual_seed(settings.seed))
        begin_from(network, start or {})
        network.to(device)
        self._answer = settings.acceleration.compile(network)
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
        self.best: dict[str, Any] = {
            "epoch": 0,
            "error": np.inf,
            "weights": copied_weights(self.network),
        }

    def state(self) -> dict[str, Any]:
        """Return everything the rest of the training depends on."""
        moments = {
            name: {key: value.cpu().clone() for key, value in self._optimizer.state[p].items()}
            for name, p in self.network.named_parameters()
        }
        return {
            "weights": copied_weights(self.network),
            "moments": moments,
            "best": dict(self.best),
            "history": [asdict(epoch) for epoch in self.history],
            "epochs": self.settings.epochs,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to a state."""
        planned, wanted = state["epochs"], self.settings.epochs
        if self.settings.schedule != "constant" and planned != wanted:
            raise UsageProblem(
                f"--epochs {wanted}: the learning rate was to fall over {planned} epochs; "
                "go on with these, or run without --resume"
            )
        self.network.load_state_dict(state["weights"])
        for name, parameter in self.network.named_parameters():
            self._optimizer.state[parameter] = {
                key: value.to(parameter.device, copy=True)
                for key, value in state["moments"][name].items()
            }
        self.best = dict(state["best"])
        self.history = [LetterEpoch(**epoch) for epoch in state["history"]]

    @property
    def done(self) -> bool:
        """Whether all epochs are over, or the error has not fallen for too many."""
        settings = self.settings
        return is_over(len(self.history), settings.epochs, self.best["epoch"], settings.patience)

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
            self.best = {
                "epoch": number + 1,
                "error": score,
                "weights": copied_weights(self.network),
            }

    def _train(self, number: int, progress: Callable[[int, int], None] | None) -> float:
        rng = np.random.default_rng([self.settings.seed, number])
        lengths = self.source.lengths[self.items]
        order = batches(lengths, self.settings.batch, self.settings.padding, rng)
        total, letters, done = 0.0, 0, number * len(self.items)
        accelerated = self.settings.acceleration
        self.network.train()
        for part in loaded(self.network, self.source, self.items, order):
            count = max(sum(map(len, part.labels)), 1)
            with accelerated.products(), accelerated.convolutions(part.x.device):
                logits = self._answer(part.x, part.frames)
            losses = ctc_loss(logits, part.outputs, part.labels)
            value = float(losses.detach().sum())
            if not np.isfinite(value):
                raise SpeechscopeError(
                    f"epoch {number + 1}: the loss is no longer finite; train with a lower --lr"
                )
            share = done / (self.settings.epochs * len(self.items))
            for group in self._optimizer.param_groups:
                group["lr"] = rate(self.settings.lr, self.settings.schedule, share)
            self._optimizer.zero_grad()
            (losses.sum() / count).backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            total, letters, done = total + value, letters + count, done + len(part.labels)
            if progress is not None:
                progress(done, self.settings.epochs * len(self.items))
        self.network.eval()
        return total / letters


def rate(lr: float, schedule: str, share: float) -> float:
    """Return the learning rate when a share of the training is over.

    ``constant``: η. ``cosine``: η (1 + cos π share) / 2 (Loshchilov & Hutter 2017, eq. 5, without
    restarts).
    """
    return lr if schedule == "constant" else lr * (1 + math.cos(math.pi * share)) / 2
