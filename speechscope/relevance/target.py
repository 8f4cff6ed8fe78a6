"""Which score is explained."""

from collections.abc import Callable

import torch
from torch import Tensor


def predicted(scores: Tensor) -> Tensor:
    """Return the class of the highest score, (B,), of scores (B, classes, …).

    Where there are several positions, scores are added over them.
    """
    return per_class(scores).argmax(1)


def per_class(scores: Tensor) -> Tensor:
    """Return one score a class, (B, classes), of scores (B, classes, …), added over positions."""
    return scores.flatten(2).sum(2) if scores.dim() > 2 else scores


def score(scores: Tensor, target: Tensor) -> Tensor:
    """Return the score before softmax of each item's target class, (B,).

    Source: Muckenhirn 2019, sec. 3.2: softmax is left out "so as to remove influence from other
    classes".
    """
    return per_class(scores).gather(1, target.unsqueeze(1)).squeeze(1)


def one_hot(scores: Tensor, target: Tensor) -> Tensor:
    """Return 1 at each item's target class, in every position, and 0 elsewhere."""
    chosen = torch.zeros_like(scores)
    chosen[torch.arange(len(target), device=target.device), target] = 1
    return chosen


def derivative(network: Callable[[Tensor], Tensor], x: Tensor, target: Tensor) -> Tensor:
    """Return the derivative of each item's target score by its input, shaped as x.

    With a network whose steps flow back by other rules, this is what those rules give.
    """
    with torch.enable_grad():
        place = x.detach().requires_grad_()
        # The copy lets a network change its input in place.
        chosen = score(network(place.clone()), target)
        (found,) = torch.autograd.grad(chosen.sum(), place)
    return found
