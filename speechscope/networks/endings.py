"""Softmax and sigmoid behind the last weights of a network: found by following its slopes back."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from speechscope.networks.watching import Without

MOVES = (
    *("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Transpose", "Permute", "T"),
    *("Select", "Slice", "Clone", "ToCopy", "Expand", "Alias", "Index", "IndexSelect", "Unbind"),
    *("Split", "Stack", "Cat", "Narrow", "SplitWithSizes", "Chunk", "Movedim", "Gather"),
)
"""Nodes that only move values."""
WEIGHTS = (
    *("Addmm", "Mm", "Bmm", "Baddbmm", "Convolution", "NativeBatchNorm", "CudnnBatchNorm"),
    *("MkldnnRnnLayer", "CudnnRnn", "NativeLayerNorm", "NativeGroupNorm", "Lstm"),
)
SOFT = ("Softmax", "LogSoftmax", "Sigmoid", "LogSigmoid", "Log", "Exp")


@dataclass(frozen=True)
class Endings:
    """What stands behind the last weights.

    Parameters
    ----------
    skipped
        Calls of softmax and the like that are left out, counted from 0.
    names
        Those, first to last.
    kept
        What cannot be left out: a softmax or sigmoid, and what follows it; "" is nothing.
    """

    skipped: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    kept: str = ""


def endings(network: nn.Module, example: Tensor) -> Endings:
    """Return the softmax or sigmoid that scores stand behind, however they are moved after it.

    Parameters
    ----------
    network
        Gives scores, a tensor.
    example
        Its input (B, …).
    """
    watch = Without()
    with torch.enable_grad(), watch:
        scores = network(example.detach().clone().requires_grad_())
    if not isinstance(scores, Tensor) or scores.grad_fn is None:
        return Endings()
    calls = {number: (stem, out.grad_fn) for number, (stem, out) in enumerate(watch.found)}
    node: Any = scores.grad_fn
    found: list[int] = []
    while node is not None:
        here = [n for n, (_, made) in calls.items() if made is node]
        if here:
            found.append(here[0])
        elif _kind(node) not in MOVES:
            break
        above = [after for after, _ in node.next_functions if after is not None]
        node = above[0] if len(above) == 1 else None
    names = tuple(calls[n][0] for n in reversed(found))
    # A logarithm alone, or an exponential, is no end of the kind.
    if not any(name not in ("log", "exp") for name in names):
        found, names = [], ()
    return Endings(tuple(found), names, "" if found else _behind(scores.grad_fn))


def _behind(node: Any) -> str:
    """Name a softmax or sigmoid that stands behind the last weights with something after it."""
    waiting, seen = [node], set()
    passed: list[str] = []
    while waiting:
        node = waiting.pop()
        kind = _kind(node)
        if node in seen or kind in WEIGHTS or "ackward" not in node.name():
            continue
        seen.add(node)
        above = [after for after, _ in node.next_functions if after is not None]
        if kind == "Mul" and len(above) > 1:
            continue  # a gate
        if kind in SOFT[:4]:
            after = ", ".join(dict.fromkeys(name.lower() for name in passed if name not in MOVES))
            return f"{kind.lower()}{' and ' + after if after else ''}"
        passed.append(kind)
        waiting += above
    return ""


def _kind(node: Any) -> str:
    return str(node.name()).split("Backward")[0]
