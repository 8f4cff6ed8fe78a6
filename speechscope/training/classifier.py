"""Training a classifier: resampled epochs, dropout of whole units, and what it answers.

Churchman 2015, sec. 3.3 (resampling, mini-batches of 128), sec. 5.1 (the next epoch is loaded
while this one is trained on), sec. 5.2 (AdaGrad), sec. 5.3 (L2), sec. 2.1.4 (dropout).
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.networks.layers import Network
from speechscope.training import source
from speechscope.training.evaluation import accuracy, answers, balanced_accuracy
from speechscope.training.group import ALONE, Group
from speechscope.training.loop import NetworkTraining
from speechscope.training.source import CorpusSource, in_batches, read_ahead, resample
from speechscope.training.step import Step, Take
from speechscope.work.accelerators import fastest
from speechscope.work.device import sent
from speechscope.work.tasks import mixed

if TYPE_CHECKING:
    from speechscope.stages.train import Train

AHEAD_BATCHES = 64
"""Batches of a corpus on disk that are read at once: 105 MB of spectrograms, twice."""

Batch = tuple[Take, Tensor, torch.Generator]


class ClassifierTraining(NetworkTraining):
    """Training a network to name the class of its input.

    Minimises the softmax log-loss (Churchman 2015, sec. 2.1.6), averaged over a batch. An epoch's
    row has `loss` and `train_accuracy`, means over the batches as they were trained on, with
    dropout; `test_loss`, `accuracy` and `accuracy_folded` over the resampled test set, as in the
    paper; and `balanced_folded`, the mean recall over the folded classes of all test items. The
    best epoch has the highest of these on dev; without a dev split it is the last one.

    Parameters
    ----------
    network
        The network, on the device to train on; its weights are drawn anew from the seed.
    source
        Its splits "train" and "test", and "dev" where that has items.
    settings
        How to train.
    start
        First weights by their names, in place of drawn ones (Riemens 2015, sec. 4.4); they stay as
        they are with ``--freeze-encoder``.
    group
        The processes that train together; all have the same result, up to the order of sums.

    Attributes
    ----------
    step
        What trains on a batch.
    """

    def __init__(
        self,
        network: Network,
        source: CorpusSource,
        settings: "Train",
        *,
        start: Mapping[str, Tensor] | None = None,
        group: Group = ALONE,
    ) -> None:
        chosen = bool(len(source.labels("dev")))
        super().__init__(network, settings, start, chosen=chosen, score=-1.0)
        self.source, self.group = source, group
        frozen = tuple(start or ()) if settings.freeze_encoder else ()
        self.step = fastest(Step)(network, settings, frozen, group)
        self.amounts = settings.amounts
        self.labels = source.labels("train")

    def state(self) -> dict[str, Any]:
        """See `Training`."""
        return {**super().state(), "step": self.step.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """See `Training`."""
        super().load(state)
        self.step.load(state["step"])

    def batches(self) -> list[NDArray[np.int64]]:
        """See `Training`."""
        rng = np.random.default_rng([self.settings.seed, self.made, 0])
        if self.settings.sampling == "plain":
            positions = rng.permutation(len(self.labels))
        else:
            positions = rng.permutation(resample(self.labels, self.settings.per_class, rng))
        return in_batches(positions, self.settings.batch)

    def read(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[Batch]:
        """Yield what gives the inputs of each batch, its classes, and what draws for it."""
        generator = torch.Generator().manual_seed(mixed(self.settings.seed, self.made, 2))
        labels = sent(self.labels[np.concatenate(batches)], self.device)
        classes = torch.split(labels, self.settings.batch)
        for wanted, take in zip(classes, self._inputs(batches), strict=True):
            yield self._varied(take, len(wanted), generator), wanted, generator

    def _inputs(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[Take]:
        if self.source.held:
            if self.device.type == "cpu":
                yield from (partial(_fetch, self.source, positions) for positions in batches)
                return
            there = sent(np.concatenate(batches), self.device)
            for rows in torch.split(there, self.settings.batch):
                yield partial(_take, self.source, rows)
            return
        # A corpus on disk is read a stretch of batches ahead, in order of its chunks.
        size = self.settings.batch
        stretches = in_batches(np.concatenate(batches), size * AHEAD_BATCHES)
        for inputs in read_ahead(partial(self.source.fetch, "train"), stretches, self.device):
            yield from (part.__getitem__ for part in torch.split(inputs, size))

    def _varied(self, take: Take, count: int, generator: torch.Generator) -> Take:
        """Return what gives varied inputs; everything is drawn now, for the whole batch."""
        if not any(self.amounts.values()):
            return take
        mean, amounts = self.source.mean, self.amounts
        draws = source.draw(amounts, count, tuple(mean.shape), generator)
        return lambda part: source.apply(
            take(part), mean, draws.part(part), amounts.get("noise", 0.0)
        )

    def learn(self, batch: Batch, share: float) -> tuple[Tensor, Tensor, Tensor]:
        """Train on a batch; return its summed loss, its answers (as `Step`), its classes."""
        self.network.train()
        take, wanted, generator = batch
        loss, found = self.step(take, wanted, generator)
        # Left on the device: asking for the numbers would wait for every batch.
        return loss, found, wanted

    def measure(self, learned: Sequence[tuple[Tensor, Tensor, Tensor]], begun: float) -> None:
        """See `Training`."""
        self.network.eval()
        number, (losses, told, wanted) = self.made, zip(*learned, strict=True)
        loss = float(self.group.add_up(torch.stack(losses).sum()))
        right = int(self.group.add_up(self.step.right(told, wanted)))
        items = sum(map(len, wanted))
        test_losses, predicted = answers(self.network, self.source, "test", self.group)
        labels, fold = self.source.labels("test"), self.source.fold
        rng = np.random.default_rng([self.settings.seed, number, 1])
        sample = resample(labels, self.settings.test_per_class, rng)
        score = balanced_accuracy(fold[labels], fold[predicted])
        self.history.append(
            {
                "epoch": number + 1,
                "loss": loss / items,
                "train_accuracy": right / items,
                "test_loss": float(test_losses[sample].mean()),
                "accuracy": accuracy(labels[sample], predicted[sample]),
                "accuracy_folded": accuracy(fold[labels[sample]], fold[predicted[sample]]),
                "balanced_folded": score,
                "seconds": time.perf_counter() - begun,
            }
        )
        if self.selected_on == "dev":
            own = fold[self.source.labels("dev")]
            _, predicted = answers(self.network, self.source, "dev", self.group)
            score = balanced_accuracy(own, fold[predicted])
        if self.selected_on is None or score > self.best["score"]:
            self.keep(score=score)


def _fetch(source: CorpusSource, batch: NDArray[np.int64], part: slice) -> Tensor:
    return source.fetch("train", batch[part])


def _take(source: CorpusSource, rows: Tensor, part: slice) -> Tensor:
    return source.take("train", rows[part])
