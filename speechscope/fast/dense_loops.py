"""Loops of fully connected layers of which some units, and some of what they read, are left out.

Each is one pass over memory, in which other threads go on; plain PyTorch makes several. Arrays are
those of NumPy on the CPU.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from speechscope.fast.compiled import Array, Places, compiled
from speechscope.training.optimizers import EPSILON, AdaGrad, Rule


def update(
    rule: Rule,
    weight: Tensor,
    sums: Sequence[Tensor],
    rows: Tensor,
    columns: Tensor,
    grad: Tensor,
    step: int,
) -> None:
    """Update some rows and columns of a matrix and of its sums, given their derivative."""
    places = rows.numpy(), columns.numpy()
    if isinstance(rule, AdaGrad):
        _adagrad(weight.numpy(), sums[0].numpy(), *places, grad.numpy(), rule.lr, EPSILON)
        return
    parts = [torch.empty_like(grad) for _ in range(1 + len(sums))]
    for whole, part in zip((weight, *sums), parts, strict=True):
        take(whole.numpy(), *places, part.numpy())
    rule(parts[0], grad, parts[1:], step)
    for whole, part in zip((weight, *sums), parts, strict=True):
        put(whole.numpy(), *places, part.numpy())


@compiled
def take(whole: Array, rows: Places, columns: Places, out: Array) -> None:
    """Write ``whole[rows][:, columns]`` to `out`."""
    for i in range(len(rows)):
        row, part = whole[rows[i]], out[i]
        for j in range(len(columns)):
            part[j] = row[columns[j]]


@compiled
def put(whole: Array, rows: Places, columns: Places, part: Array) -> None:
    """Write `part` to ``whole[rows][:, columns]``."""
    for i in range(len(rows)):
        row, values = whole[rows[i]], part[i]
        for j in range(len(columns)):
            row[columns[j]] = values[j]


@compiled
def _adagrad(
    weight: Array,
    total: Array,
    rows: Places,
    columns: Places,
    grad: Array,
    lr: float,
    epsilon: float,
) -> None:
    """Update some rows and columns of a weight and its G in place, given their derivative.

    Whole rows are gone through, with derivatives of 0 in the other columns, where AdaGrad changes
    nothing: it is faster than to pick the columns.
    """
    wide = np.zeros(weight.shape[1], weight.dtype)
    rate, small = weight.dtype.type(lr), weight.dtype.type(epsilon)
    for i in range(len(rows)):
        w, g, derivative = weight[rows[i]], total[rows[i]], grad[i]
        for j in range(len(columns)):
            wide[columns[j]] = derivative[j]
        for j in range(len(wide)):
            g[j] += wide[j] * wide[j]
            w[j] -= rate * wide[j] / (np.sqrt(g[j]) + small)


@compiled
def answer(y: Array, bias: Array, scale: float, relu: bool) -> None:
    """Replace sums `y` (B, units) by scale · (y + bias), or scale · max(0, y + bias)."""
    zero, factor = y.dtype.type(0), y.dtype.type(scale)
    for i in range(len(y)):
        row = y[i]
        if relu:
            for j in range(len(row)):
                value = row[j] + bias[j]
                row[j] = factor * (zero if value <= zero else value)
        else:
            for j in range(len(row)):
                row[j] = factor * (row[j] + bias[j])


@compiled
def silence(grad: Array, y: Array, scale: float) -> None:
    """Multiply derivatives by answers `y` of units with a ReLU by `scale`, or 0 where y is 0."""
    zero, factor = y.dtype.type(0), y.dtype.type(scale)
    for i in range(len(y)):
        row, answers = grad[i], y[i]
        for j in range(len(row)):
            row[j] = zero if answers[j] <= zero else factor * row[j]


@compiled
def log_loss(logits: Array, classes: Places, smoothing: float) -> tuple[float, int]:
    """Replace logits (B, classes) by softmax − wanted; return the loss and the right answers.

    Both are summed over the items. The loss is −Σ q log softmax; q, what is wanted, spreads
    `smoothing` evenly over all classes and gives the rest to the class of the item.
    """
    # A number of twice the size makes loops twice as slow.
    most = logits.dtype.type(1 - smoothing)
    even = logits.dtype.type(smoothing / logits.shape[1])
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
