"""How far relevance says what the network's score rests on."""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor, nn

from speechscope.networks.layers import Network
from speechscope.relevance.explain import per_class, score

Scores = Callable[[Tensor], Tensor]


def removal_curves(
    network: Scores, x: Tensor, target: Tensor, relevance: Tensor, *, steps: int
) -> tuple[Tensor, Tensor]:
    """Return the target's probability as the most relevant values are deleted, or inserted.

    Deletion sets values to 0, the training mean of centred inputs, the most relevant first;
    insertion starts from 0 and gives them back in the same order.

    Source: Petsiuk et al. (2018), sec. 3.4 (RISE); probabilities by softmax, as there.

    Parameters
    ----------
    network
        Gives scores (B, classes, …) before softmax.
    x
        Inputs (B, …).
    target
        Class of each item (B,).
    relevance
        Of the inputs, shaped as they.
    steps
        Portions the values are divided into.

    Returns
    -------
    (B, steps + 1) of each, of 0 to all values deleted, and inserted.
    """
    flat = x.flatten(1)
    rank = relevance.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    deletion: list[Tensor] = []
    insertion: list[Tensor] = []
    for step in range(steps + 1):
        first = rank < round(step * flat.shape[1] / steps)
        for kept, curve in ((~first, deletion), (first, insertion)):
            with torch.no_grad():
                scores = per_class(network((flat * kept).view_as(x)))
            curve.append(score(scores.softmax(1), target))
    return torch.stack(deletion, 1), torch.stack(insertion, 1)


def area(curve: Tensor) -> NDArray[np.float64]:
    """Return the mean height of each curve (B, points), by the trapezoidal rule, (B,)."""
    values = curve.double().cpu().numpy()
    mean: NDArray[np.float64] = (values[:, 1:] + values[:, :-1]).mean(1) / 2
    return mean


def sensitivity_n(
    network: Scores,
    x: Tensor,
    target: Tensor,
    relevance: Tensor,
    *,
    share: float,
    samples: int,
    seeds: Sequence[int],
) -> NDArray[np.float64]:
    """Return how well sums of relevance foretell what the score loses without those values.

    Pearson's correlation, for each item, between Σ_{i in S} R_i and S_c(x) − S_c(x without S) over
    random sets S of `share` of the values.

    Source: Ancona et al. (2018), sec. 4.2, sensitivity-n.

    Parameters
    ----------
    share
        Of the values in each set, above 0 and below 1.
    samples
        Sets.
    seeds
        One an item; the other parameters are those of `removal_curves`.

    Returns
    -------
    (B,); NaN where the score or the relevance does not vary.
    """
    flat, weights = x.flatten(1), relevance.flatten(1)
    count = max(1, round(share * flat.shape[1]))
    rngs = [np.random.default_rng(seed) for seed in seeds]
    sums, losses = [], []
    with torch.no_grad():
        full = score(network(x), target)
        for _ in range(samples):
            sets = np.zeros(flat.shape, dtype=bool)
            for row, rng in zip(sets, rngs, strict=True):
                row[rng.choice(len(row), count, replace=False)] = True
            chosen = torch.from_numpy(sets).to(x.device)
            sums.append((weights * chosen).sum(1))
            losses.append(full - score(network((flat * ~chosen).view_as(x)), target))
    first = torch.stack(sums, 1).double().cpu().numpy()
    second = torch.stack(losses, 1).double().cpu().numpy()
    return correlation(first, second)


def agreement(first: Tensor, second: Tensor) -> NDArray[np.float64]:
    """Return Spearman's rank correlation of two relevances (B, …) for each item, (B,).

    Source: Adebayo et al. (2018), sec. 3, who compare explanations so.
    """
    flat = [part.flatten(1).double().cpu().numpy() for part in (first, second)]
    return correlation(rankdata(flat[0], axis=1), rankdata(flat[1], axis=1))


def correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Pearson's correlation of the rows of two arrays (B, n), NaN where one is constant."""
    a = first - first.mean(1, keepdims=True)
    b = second - second.mean(1, keepdims=True)
    scale = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    pearson: NDArray[np.float64] = np.where(
        scale > 0, (a * b).sum(1) / np.where(scale > 0, scale, 1), np.nan
    )
    return pearson


def randomised(network: nn.Module, seed: int) -> nn.Module:
    """Return a copy of a network with random weights, for a sanity check.

    An explanation that stays the same does not depend on what the network has learned.

    Source: Adebayo et al. (2018), sec. 3: all layers randomised.
    """
    twin = copy.deepcopy(network)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(twin, Network):
            twin.reset_parameters()
        else:
            for module in twin.modules():
                reset = getattr(module, "reset_parameters", None)
                if callable(reset):
                    reset()
    return twin.eval().requires_grad_(False)
