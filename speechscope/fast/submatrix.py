"""Some rows and columns of a matrix, to read, write and update."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from speechscope.fast.compiled import Array, Places, compiled
from speechscope.training.optimizers import EPSILON, AdaGrad, Rule


def take(whole: Tensor, rows: Tensor, columns: Tensor, out: Tensor) -> None:
    """Write ``whole[rows][:, columns]`` to `out`."""
    if whole.device.type == "cpu":
        _take(whole.numpy(), rows.numpy(), columns.numpy(), out.numpy())
    else:
        out.copy_(whole[rows[:, None], columns])


def put(whole: Tensor, rows: Tensor, columns: Tensor, part: Tensor) -> None:
    """Write `part` to ``whole[rows][:, columns]``."""
    if whole.device.type == "cpu":
        _put(whole.numpy(), rows.numpy(), columns.numpy(), part.numpy())
    else:
        whole[rows[:, None], columns] = part


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
    if isinstance(rule, AdaGrad) and weight.device.type == "cpu":
        kind = weight.numpy().dtype.type  # a number of twice the size makes loops twice as slow
        places = rows.numpy(), columns.numpy()
        _adagrad(
            weight.numpy(), sums[0].numpy(), *places, grad.numpy(), kind(rule.lr), kind(EPSILON)
        )
        return
    parts = [torch.empty_like(grad) for _ in range(1 + len(sums))]
    for whole, part in zip((weight, *sums), parts, strict=True):
        take(whole, rows, columns, part)
    rule(parts[0], grad, parts[1:], step)
    for whole, part in zip((weight, *sums), parts, strict=True):
        put(whole, rows, columns, part)


@compiled
def _take(whole: Array, rows: Places, columns: Places, out: Array) -> None:
    for i in range(len(rows)):
        row, part = whole[rows[i]], out[i]
        for j in range(len(columns)):
            part[j] = row[columns[j]]


@compiled
def _put(whole: Array, rows: Places, columns: Places, part: Array) -> None:
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
    for i in range(len(rows)):
        w, g, derivative = weight[rows[i]], total[rows[i]], grad[i]
        for j in range(len(columns)):
            wide[columns[j]] = derivative[j]
        for j in range(len(wide)):
            g[j] += wide[j] * wide[j]
            w[j] -= lr * wide[j] / (np.sqrt(g[j]) + epsilon)
