"""The loop of every training: epochs of batches, each measured, with a state to go on from."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speechscope.errors import UsageProblem
from speechscope.networks.layers import Network

if TYPE_CHECKING:
    from speechscope.stages.train import Train


class Training(ABC):
    """What is trained, between two epochs.

    Attributes
    ----------
    planned, made
        Epochs in all, and made.
    history
        Rows of what the epochs gave.
    """

    planned: int
    made: int
    history: list[dict[str, Any]]

    def run(
        self,
        *,
        state: Mapping[str, Any] | None = None,
        on_epoch: Callable[[dict[str, Any]], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Train until all epochs are made, or training stops by itself.

        Parameters
        ----------
        state
            What `on_epoch` was last given, to go on from there: the result is the same as without
            the interruption.
        on_epoch
            Called after every epoch with the state: tensors and plain types.
        progress
            Called with (items done, items in all).

        Raises
        ------
        UsageProblem
            The state lies on the way to something else.
        """
        if state is not None:
            self.load(state)
        while not self.over:
            begun = time.perf_counter()
            batches = self.batches()
            items = sum(map(len, batches))
            done, whole = self.made * items, self.planned * items
            learned = []
            for positions, batch in zip(batches, self.read(batches), strict=True):
                learned.append(self.learn(batch, done / whole))
                done += len(positions)
                if progress is not None:
                    progress(done, whole)
            self.measure(learned, begun)
            self.made += 1
            if on_epoch is not None:
                on_epoch(self.state())

    @property
    def over(self) -> bool:
        """Whether there is no further epoch."""
        return self.made >= self.planned

    @abstractmethod
    def batches(self) -> Sequence[NDArray[np.int64]]:
        """Return the positions of the items of every batch of the next epoch."""

    @abstractmethod
    def read(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[Any]:
        """Yield what `learn` takes, batch by batch."""

    @abstractmethod
    def learn(self, batch: Any, share: float) -> Any:
        """Train on a batch, when a share of the training is over."""

    @abstractmethod
    def measure(self, learned: Sequence[Any], begun: float) -> None:
        """End an epoch: measure what is trained, and write that to the history.

        Parameters
        ----------
        learned
            What `learn` returned, batch by batch.
        begun
            When the epoch began [s], as `time.perf_counter` counts.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return everything the rest of the training depends on."""

    @abstractmethod
    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to a state."""


class NetworkTraining(Training):
    """The training of one network, of which the weights of the best epoch are kept.

    Parameters
    ----------
    network
        On the device to train on; its weights are drawn anew from the seed.
    settings
        Epochs, patience and seed of the training.
    start
        First weights by their names, in place of drawn ones.
    chosen
        Whether the best epoch is chosen, on the dev split; else it is the last.
    best
        The worst score.

    Attributes
    ----------
    selected_on
        ``dev``, or None: the last epoch is taken.
    best
        The number of the best epoch, from 1, its score, and its ``weights``.
    """

    def __init__(
        self,
        network: Network,
        settings: "Train",
        start: Mapping[str, Tensor] | None,
        *,
        chosen: bool,
        **best: float,
    ) -> None:
        if settings.patience and not chosen:
            raise UsageProblem("--patience: without a dev split (--dev) no epoch is better")
        self.network, self.settings = network, settings
        self.selected_on = "dev" if chosen else None
        self.planned, self.made, self.history = settings.epochs, 0, []
        self.device = next(network.parameters()).device
        network.cpu().reset_parameters(torch.Generator().manual_seed(settings.seed))
        begin_from(network, start or {})
        network.to(self.device)
        self.best: dict[str, Any] = {"epoch": 0, **best, "weights": copied_weights(network)}

    @property
    def over(self) -> bool:
        """See `Training`: also where no epoch was better for too many."""
        stalled = self.made - self.best["epoch"] >= self.settings.patience > 0
        return super().over or (self.made > 0 and stalled)

    def keep(self, **score: float) -> None:
        """Keep the weights as those of the best epoch so far, the last of the history."""
        self.best = {"epoch": len(self.history), **score, "weights": copied_weights(self.network)}

    def state(self) -> dict[str, Any]:
        """See `Training`."""
        return {
            "weights": copied_weights(self.network),
            "best": dict(self.best),
            "history": [dict(row) for row in self.history],
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """See `Training`."""
        self.network.load_state_dict(state["weights"])
        self.best = dict(state["best"])
        self.history = [dict(row) for row in state["history"]]
        self.made = len(self.history)


def copied_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return copies of all weights and statistics of a network, on the CPU."""
    weights = network.state_dict()
    return {name: value.detach().cpu().clone() for name, value in weights.items()}


def begin_from(network: Network, weights: Mapping[str, Tensor]) -> None:
    """Set some weights of a network, and buffers such as running means, to given ones.

    Raises
    ------
    UsageProblem
        The network has no such weights, or some of another shape.
    """
    own = network.state_dict()
    for name, value in weights.items():
        if name not in own:
            raise UsageProblem(f"the network has no {name} to begin from")
        if own[name].shape != value.shape:
            raise UsageProblem(
                f"{name} is {tuple(own[name].shape)} in the network and {tuple(value.shape)} in "
                "what it is to begin from; name the network both were made for by --network"
            )
        own[name].copy_(value)
