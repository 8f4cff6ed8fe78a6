"""What a classifier is trained by, and what a training gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from speechscope.training.acceleration import PLAIN, Acceleration
from speechscope.training.augment import Augmentation
from speechscope.training.optimizers import Rule


@dataclass(frozen=True)
class TrainSettings:
    """Settings of classifier training; `speechscope.recipes` holds the defaults.

    Parameters
    ----------
    epochs
        Passes over a resampled set.
    per_class, test_per_class
        Items a class and epoch (Churchman 2015, sec. 3.3: 500 and 200).
    batch
        Items a batch (sec. 3.3: 128).
    l2
        Weight of the L2 penalty.
    dropout
        Share of the units before every fully connected layer after the first that is left out
        of a batch (sec. 2.1.4), or that of each layer's inputs by its name.
    seed
        For weights, samples, dropout and augmentation.
    rule
        How weights follow their derivatives.
    resampled
        Whether an epoch is a resampled set; otherwise it is every training item once.
    smoothing
        Share of the wanted probability that is spread evenly over all classes.
    patience
        Epochs without a better score after which training stops; 0: never.
    augment
        How training inputs are varied.
    acceleration
        What a CUDA device may do to be faster.
    """

    epochs: int
    per_class: int
    test_per_class: int
    batch: int
    rule: Rule
    l2: float
    dropout: float | Mapping[str, float]
    seed: int
    resampled: bool
    smoothing: float
    patience: int
    augment: Augmentation
    acceleration: Acceleration = PLAIN


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave.

    `loss` and `train_accuracy` are means over the batches as they were trained on, with dropout.
    `accuracy` and `accuracy_folded` are over the resampled test set, as in the paper;
    `balanced_folded` is the mean recall over the folded classes of all test items.
    """

    epoch: int
    loss: float
    train_accuracy: float
    test_loss: float
    accuracy: float
    accuracy_folded: float
    balanced_folded: float
    seconds: float


@dataclass(frozen=True)
class TrainResult:
    """A finished training.

    Parameters
    ----------
    best
        The weights of the epoch with the highest class-balanced accuracy on `selected_on`.
    best_epoch
        That epoch, from 1.
    selected_on
        The split it was chosen on: dev where there is one, else test.
    history
        One entry an epoch.
    state
        Everything the rest of the training would depend on: tensors and plain types.
    """

    best: dict[str, Tensor]
    best_epoch: int
    selected_on: str
    history: tuple[Epoch, ...]
    state: dict[str, Any]
