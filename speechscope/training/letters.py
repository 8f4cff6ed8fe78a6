"""Training the letter network on whole utterances (Krug 2018, sec. 3.1; Kunze et al. 2017)."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.networks.layers import bytes_each
from speechscope.networks.wav2letter import FRAMES, Wav2Letter
from speechscope.training.evaluation import (
    LetterAnswers,
    UtteranceBatch,
    ctc_loss,
    letter_answers,
    outputs_needed,
    utterance_batches,
)
from speechscope.training.group import compiled, products
from speechscope.training.loop import NetworkTraining
from speechscope.training.optimizers import Adam, Optimizer
from speechscope.training.source import CorpusUtterances, by_length
from speechscope.work.device import parts

if TYPE_CHECKING:
    from speechscope.stages.train import Train

MOMENTS = {"step": "step", "mean": "exp_avg", "square": "exp_avg_sq"}
"""What Adam's sums are called in a checkpoint: as `torch.optim` calls them."""


class LetterTraining(NetworkTraining):
    """Training a letter network to write down what is said.

    Minimises −log p of the texts (`ctc.ctc_loss`) over the letters of a batch, by Adam. An epoch's
    row has `loss`, the mean over the batches as they were trained on, and `test_loss`, that of the
    test utterances after it [nats a letter]; `error` is the letter error rate on them. The best
    epoch has the lowest on dev; without a dev split it is the last one.

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

    Attributes
    ----------
    left_out
        Training items whose text does not fit in their outputs.

    Raises
    ------
    SpeechscopeError
        There is nothing to train on; or, in training, the loss is no longer finite.
    """

    network: Wav2Letter

    def __init__(
        self,
        network: Wav2Letter,
        source: CorpusUtterances,
        settings: "Train",
        *,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        chosen = bool(len(source.utterances("dev")))
        super().__init__(network, settings, start, chosen=chosen, error=np.inf)
        self.source = source
        self._logits = compiled(network, settings)
        weights = list(network.parameters())
        self._optimizer = Optimizer(weights, [Adam(settings.lr)] * len(weights))
        items = source.utterances("train")
        outputs = network.output_frames(torch.from_numpy(source.lengths[items])).tolist()
        labels = source.letters(items)
        fits = np.array(
            [outputs_needed(text) <= room for text, room in zip(labels, outputs, strict=True)],
            dtype=bool,
        )
        self.items, self.left_out = items[fits], items[~fits].tolist()
        if not len(self.items):
            raise SpeechscopeError("no training utterance has a text that fits in its frames")

    def state(self) -> dict[str, Any]:
        """See `Training`."""
        names = [name for name, _ in self.network.named_parameters()]
        moments = {
            name: {file: saved[ours].cpu().clone() for ours, file in MOMENTS.items()}
            for name, saved in zip(names, self._optimizer.state(), strict=True)
        }
        return {**super().state(), "moments": moments, "epochs": self.planned}

    def load(self, state: Mapping[str, Any]) -> None:
        """See `Training`.

        Raises
        ------
        UsageProblem
            The state is of a falling learning rate over another number of epochs.
        """
        if self.settings.schedule != "constant" and state["epochs"] != self.planned:
            raise UsageProblem(
                f"--epochs {self.planned}: the learning rate was to fall over {state['epochs']} "
                "epochs; go on with these, or run without --resume"
            )
        super().load(state)
        names = [name for name, _ in self.network.named_parameters()]
        self._optimizer.load(
            {ours: state["moments"][name][file] for ours, file in MOMENTS.items()} for name in names
        )

    def batches(self) -> list[NDArray[np.int64]]:
        """See `Training`."""
        rng = np.random.default_rng([self.settings.seed, self.made])
        lengths = self.source.lengths[self.items]
        return by_length(lengths, self.settings.batch, self.settings.padding, rng)

    def read(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[UtteranceBatch]:
        """See `Training`."""
        return utterance_batches(self.network, self.source, self.items, batches)

    def learn(self, batch: UtteranceBatch, share: float) -> tuple[float, int]:
        """Train on a batch; return its summed loss and its number of letters.

        Where a device's memory does not hold it, it is worked on in parts, each normalised by its
        own means and variances.
        """
        self.network.train()
        letters = max(sum(map(len, batch.labels)), 1)
        each = bytes_each(self.network, ()) * batch.x.shape[3] / FRAMES
        total = 0.0
        for part in parts(len(batch.x), each, batch.x.device):
            frames = None if batch.frames is None else batch.frames[part]
            with products(self.settings, batch.x.device):
                logits = self._logits(batch.x[part], frames)
            losses = ctc_loss(logits, batch.outputs[part], batch.labels[part])
            total += float(losses.detach().sum())
            if not np.isfinite(total):
                raise SpeechscopeError(
                    f"epoch {self.made + 1}: the loss is no longer finite; train with a lower --lr"
                )
            self._optimizer.add(losses.sum() / letters)
        rule = Adam(rate(self.settings.lr, self.settings.schedule, share))
        self._optimizer.rules = [rule] * len(self._optimizer.rules)
        self._optimizer.step()
        return total, letters

    def answers(self, split: str) -> LetterAnswers:
        """Return what the network answers to a split."""
        return letter_answers(self.network, self.source, split, self.settings.batch)

    def measure(self, learned: Sequence[tuple[float, int]], begun: float) -> None:
        """See `Training`."""
        self.network.eval()
        losses, letters = zip(*learned, strict=True)
        test = self.answers("test")
        score = self.answers("dev").error if self.selected_on == "dev" else test.error
        self.history.append(
            {
                "epoch": self.made + 1,
                "loss": sum(losses) / sum(letters),
                "test_loss": test.loss,
                "error": test.error,
                "seconds": time.perf_counter() - begun,
            }
        )
        # Where there is nothing to choose by, the score is NaN and the last epoch is taken.
        if self.selected_on is None or not score >= self.best["error"]:
            self.keep(error=score)


def rate(lr: float, schedule: str, share: float) -> float:
    """Return the learning rate when a share of the training is over.

    ``constant``: η. ``cosine``: η (1 + cos π share) / 2 (Loshchilov & Hutter 2017, eq. 5, without
    restarts).
    """
    return lr if schedule == "constant" else lr * (1 + math.cos(math.pi * share)) / 2
