"""Training a classifier: resampled epochs, AdaGrad, and a state to go on from.

Churchman 2015, sec. 3.3 (resampling, mini-batches of 128), sec. 5.1 (the next epoch is loaded
while this one is trained on), sec. 5.2 (AdaGrad), sec. 5.3 (L2), sec. 2.1.4 (dropout).
"""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.fast.step import Step, Take
from speechscope.networks.layers import Network
from speechscope.training.evaluation import accuracy, answers, balanced_accuracy
from speechscope.training.group import ALONE, Group
from speechscope.training.keeping import copied_weights, is_over
from speechscope.training.outcome import Epoch, TrainResult, TrainSettings
from speechscope.training.pretrained import begin_from
from speechscope.training.resampling import resample
from speechscope.training.source import Source
from speechscope.work.tasks import mixed

AHEAD_BATCHES = 64
"""Batches of a corpus on disk that are read at once: 105 MB of spectrograms, twice."""


def train(
    network: Network,
    source: Source,
    settings: TrainSettings,
    *,
    start: Mapping[str, Tensor] | None = None,
    freeze: bool = False,
    state: Mapping[str, Any] | None = None,
    on_epoch: Callable[[dict[str, Any]], None] | None = None,
    group: Group = ALONE,
    progress: Callable[[int, int], None] | None = None,
) -> TrainResult:
    """Train a network to name the class of its input.

    Minimises the softmax log-loss (Churchman 2015, sec. 2.1.6), averaged over a batch.

    Parameters
    ----------
    network
        The network, on the device to train on; its weights are drawn anew from the seed.
    source
        Its splits "train" and "test", and "dev" where that has items.
    settings
        How to train.
    start
        First weights of some convolutions, by their names, in place of drawn ones (Riemens 2015,
        sec. 4.4).
    freeze
        Whether these stay as they are.
    state
        What `on_epoch` was last given, to go on from there: the result is the same as without
        the interruption.
    on_epoch
        Called after every epoch with the state.
    group
        The processes that train together; all have the same result, up to the order of sums.
    progress
        Called with (batches done, batches in all).
    """
    run = Trainer(network, source, settings, start=start, freeze=freeze, group=group)
    if state is not None:
        run.load(state)
    while not run.done:
        run.epoch(len(run.history), progress)
        if on_epoch is not None:
            on_epoch(run.state())
    return TrainResult(
        best=run.best["weights"],
        best_epoch=run.best["epoch"],
        selected_on=run.selected_on,
        history=tuple(run.history),
        state=run.state(),
    )


class Trainer:
    """Training between two epochs."""

    def __init__(
        self,
        network: Network,
        source: Source,
        settings: TrainSettings,
        *,
        start: Mapping[str, Tensor] | None = None,
        freeze: bool = False,
        group: Group = ALONE,
    ) -> None:
        self.network, self.source, self.settings = network, source, settings
        self._group = group
        self.device = next(network.parameters()).device
        network.cpu().reset_parameters(torch.Generator().manual_seed(settings.seed))
        begin_from(network, start or {})
        network.to(self.device)
        self.step = Step(
            network,
            settings.rule,
            l2=settings.l2,
            dropout=settings.dropout,
            smoothing=settings.smoothing,
            frozen=tuple(start or ()) if freeze else (),
            group=group,
            batch=settings.batch,
            acceleration=settings.acceleration,
        )
        self.labels = source.labels("train")
        self._mean = source.mean
        self.selected_on = "dev" if len(source.labels("dev")) else "test"
        self.history: list[Epoch] = []
        self.best: dict[str, Any] = {
            "epoch": 0,
            "score": -1.0,
            "weights": copied_weights(self.network),
        }

    def state(self) -> dict[str, Any]:
        """Return everything the rest of the training depends on."""
        return {
            "weights": copied_weights(self.network),
            "step": self.step.state(),
            "best": dict(self.best),
            "history": [asdict(epoch) for epoch in self.history],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to a state."""
        self.network.load_state_dict(state["weights"])
        self.step.load(state["step"])
        self.best = dict(state["best"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]

    @property
    def done(self) -> bool:
        """Whether all epochs are over, or the score has not risen for too many."""
        settings = self.settings
        return is_over(len(self.history), settings.epochs, self.best["epoch"], settings.patience)

    def epoch(self, number: int, progress: Callable[[int, int], None] | None) -> None:
        """Train on one resampled set and measure the network."""
        begun = time.perf_counter()
        loss, trained = self._train(number, progress)
        losses, predicted = answers(self.network, self.source, "test", self._group)
        labels, fold = self.source.labels("test"), self.source.fold
        rng = np.random.default_rng([self.settings.seed, number, 1])
        sample = resample(labels, self.settings.test_per_class, rng)
        balanced = balanced_accuracy(fold[labels], fold[predicted])
        self.history.append(
            Epoch(
                epoch=number + 1,
                loss=loss,
                train_accuracy=trained,
                test_loss=float(losses[sample].mean()),
                accuracy=accuracy(labels[sample], predicted[sample]),
                accuracy_folded=accuracy(fold[labels[sample]], fold[predicted[sample]]),
                balanced_folded=balanced,
                seconds=time.perf_counter() - begun,
            )
        )
        score = balanced
        if self.selected_on == "dev":
            wanted = fold[self.source.labels("dev")]
            score = balanced_accuracy(
                wanted, fold[answers(self.network, self.source, "dev", self._group)[1]]
            )
        if score > self.best["score"]:
            self.best = {
                "epoch": number + 1,
                "score": score,
                "weights": copied_weights(self.network),
            }

    def positions(self, number: int) -> NDArray[np.int64]:
        """Return the shuffled training items of an epoch."""
        rng = np.random.default_rng([self.settings.seed, number, 0])
        if not self.settings.resampled:
            return rng.permutation(len(self.labels))
        return rng.permutation(resample(self.labels, self.settings.per_class, rng))

    def _train(
        self, number: int, progress: Callable[[int, int], None] | None
    ) -> tuple[float, float]:
        """Train on an epoch's items; return the mean loss and the accuracy."""
        positions = self.positions(number)
        targets = torch.from_numpy(self.labels[positions]).to(self.device)
        batches = -(-len(positions) // self.settings.batch)
        generator = torch.Generator().manual_seed(mixed(self.settings.seed, number, 2))
        loss_sum = torch.zeros((), device=self.device)
        hits = torch.zeros((), device=self.device, dtype=torch.int64)
        self.network.train()
        for index, (batch, take) in enumerate(self._inputs(positions)):
            wanted = targets[batch]
            if self.settings.augment:
                take = self._varied(take, len(wanted), generator)
            loss, right = self.step(take, wanted, generator)
            # Summed on the device: asking for the number would wait for every batch.
            loss_sum += loss * len(wanted)
            hits += right
            if progress is not None:
                progress(number * batches + index + 1, self.settings.epochs * batches)
        self.network.eval()
        self._group.add_up(loss_sum), self._group.add_up(hits)
        return float(loss_sum) / len(positions), float(hits) / len(positions)

    def _varied(self, take: Take, count: int, generator: torch.Generator) -> Take:
        """Return what gives varied inputs; everything is drawn now, for the whole batch."""
        augment, mean = self.settings.augment, self._mean
        draws = augment.draw(count, tuple(mean.shape), generator)

        def varied(part: slice) -> Tensor:
            return augment.apply(take(part), mean, draws.part(part))

        return varied

    def _inputs(self, positions: NDArray[np.int64]) -> Iterator[tuple[slice, Take]]:
        """Yield every batch's part of the positions, and what gives its inputs."""
        size, end = self.settings.batch, len(positions)
        if self.source.held:
            for start in range(0, end, size):
                batch = positions[start : start + size]
                yield slice(start, start + size), partial(_fetch, self.source, batch)
            return
        # A corpus on disk is read a stretch of batches ahead, in order of its chunks.
        stretch = size * AHEAD_BATCHES
        with ThreadPoolExecutor(1) as pool:
            pending: Future[Tensor] | None = None
            for start in range(0, end + stretch, stretch):
                ready, pending = pending, None
                if start < end:
                    part = positions[start : start + stretch]
                    pending = pool.submit(self.source.fetch, "train", part)
                if ready is None:
                    continue
                inputs = ready.result()
                for first in range(0, len(inputs), size):
                    here = start - stretch + first
                    yield slice(here, here + size), inputs[first : first + size].__getitem__


def _fetch(source: Source, batch: NDArray[np.int64], part: slice) -> Tensor:
    return source.fetch("train", batch[part])
