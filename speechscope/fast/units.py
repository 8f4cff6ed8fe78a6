"""What fully connected units answer, the loss, and what comes back, in one pass over memory."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from speechscope.fast.compiled import Array, Places, compiled


def compiles(values: Tensor) -> bool:
    """Whether loops are compiled for where values are."""
    return values.device.type == "cpu"


def answer(y: Tensor, bias: Tensor, scale: float, *, relu: bool) -> None:
    """Replace sums `y` (B, units) by scale · (y + bias), or scale · max(0, y + bias)."""
    if compiles(y):
        values = y.numpy()
        _answer(values, bias.numpy(), values.dtype.type(scale), relu)
        return
    y.add_(bias)
    if relu:
        y.relu_()
    y.mul_(scale)


def silence(grad: Tensor, y: Tensor, scale: float) -> None:
    """Multiply derivatives by answers `y` of units with a ReLU by `scale`, or 0 where y is 0."""
    if compiles(y):
        values = y.numpy()
        _silence(grad.numpy(), values, values.dtype.type(scale))
        return
    grad.masked_fill_(y <= 0, 0.0).mul_(scale)


def log_loss(
    logits: Tensor, classes: Tensor, smoothing: float
) -> tuple[Tensor | float, Tensor | int]:
    """Replace logits (B, classes) by softmax − wanted; return the loss and the right answers.

    Both are summed over the items. The loss is −Σ q log softmax; q, what is wanted, spreads
    `smoothing` evenly over all classes and gives the rest to the class of the item.
    """
    even = smoothing / logits.shape[1]
    if compiles(logits):
        values = logits.numpy()
        kind = values.dtype.type
        return _log_loss(values, classes.numpy(), kind(1 - smoothing), kind(even))
    logarithms = functional.log_softmax(logits, 1)
    chosen = functional.nll_loss(logarithms, classes, reduction="sum")
    loss = (1 - smoothing) * chosen - even * logarithms.sum()
    right = (logits.argmax(1) == classes).sum()
    torch.exp(logarithms, out=logits).sub_(even)
    logits[torch.arange(len(logits), device=logits.device), classes] -= 1 - smoothing
    return loss, right


@compiled
def _answer(y: Array, bias: Array, scale: float, relu: bool) -> None:
    zero = y.dtype.type(0)
    for i in range(len(y)):
        row = y[i]
        if relu:
            for j in range(len(row)):
                value = row[j] + bias[j]
                row[j] = scale * (zero if value <= zero else value)
        else:
            for j in range(len(row)):
                row[j] = scale * (row[j] + bias[j])


@compiled
def _silence(grad: Array, y: Array, scale: float) -> None:
    zero = y.dtype.type(0)
    for i in range(len(y)):
        one, answers = grad[i], y[i]
        for j in range(len(one)):
            one[j] = zero if answers[j] <= zero else scale * one[j]


@compiled
def _log_loss(logits: Array, classes: Places, most: float, even: float) -> tuple[float, int]:
    loss, right = 0.0, 0
    for i in range(len(logits)):
        row, wanted = logits[i], classes[i]
        best = np.argmax(row)
        right += best == wanted
        largest, total, logits_sum = row[best], 0.0, 0.0
        for j in range(len(row)):
            row[j] -= largest
            logits_sum += row[j]
        chosen = row[wanted]
        for j in range(len(row)):
            row[j] = np.exp(row[j])
            total += row[j]
        logarithm = np.log(total)
        loss += (most + even * len(row)) * logarithm - most * chosen - even * logits_sum
        for j in range(len(row)):
            row[j] = row[j] / total - even
        row[wanted] -= most
    return loss, right
