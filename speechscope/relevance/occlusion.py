"""Occlusion: what the score loses when a patch of the input is hidden."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.registry import RELEVANCE
from speechscope.relevance.explain import Axis, Explained, score

if TYPE_CHECKING:
    from speechscope.stages.relevance import Relevance


PHONE = "phone"
"""The patch that is a phone of the recording."""


@RELEVANCE.register("occlusion")
def occlusion(
    of: Explained, x: Tensor, target: Tensor, settings: "Relevance", *_: object
) -> Tensor:
    """Return the mean loss of the target score over the patches that hide each input value.

    R_i = mean over patches p with i in p of S_c(x) − S_c(x, p set to 0). For centred inputs 0 is
    the training mean. All channels of x (B, C, F, T) are hidden together; the last patch of an
    axis ends with it, and one larger than the input is cut to it. ``phone`` hides one phone of a
    recording after the other, over its whole length. In Hz and ms a patch holds the
    bins and frames whose middles lie in it; a stride without a unit then is half a patch.

    Source: Zeiler and Fergus (2014), sec. 4.2; the network is not looked into.
    """
    if settings.patch == PHONE:
        return _of_phones(of, x, target)
    patch, stride = area("patch", settings.patch), area("stride", settings.stride)
    rows, frames = (
        list(_spans(x.shape[axis + 2], patch[axis], stride[axis], of.axes[axis])) for axis in (0, 1)
    )
    with torch.no_grad():
        full = score(of.scores(x), target)
        lost, count = torch.zeros_like(x), torch.zeros_like(x[:1])
        for row in rows:
            for frame in frames:
                hidden = x.clone()
                hidden[:, :, row, frame] = 0
                loss = full - score(of.scores(hidden), target)
                lost[:, :, row, frame] += loss[:, None, None, None]
                count[:, :, row, frame] += 1
    return lost / count.clamp(min=1)


def _of_phones(of: Explained, x: Tensor, target: Tensor) -> Tensor:
    """Return what the score loses when one phone is hidden, over the samples of that phone."""
    lost = torch.zeros_like(x)
    with torch.no_grad():
        full = score(of.scores(x), target)
        for item, phones in enumerate(of.phones):
            one = x[item : item + 1]
            for phone in phones:
                hidden = one.clone()
                hidden[..., phone] = 0
                loss = full[item] - score(of.scores(hidden), target[item : item + 1])
                lost[item, ..., phone] = loss
    return lost


@dataclass(frozen=True)
class Size:
    """How much of an axis: so many places, or in its unit."""

    value: float
    unit: str = ""


def area(name: str, text: str) -> tuple[Size, Size]:
    """Return the sizes over frequency and time of a setting: ``10x4``, ``400Hzx40ms``, ``40ms``.

    One with a unit alone is over the whole of the other axis.

    Raises
    ------
    UsageProblem
        It is no such area.
    """
    found = re.fullmatch(r"(?:(\d+|[\d.]+Hz)x)?(\d+|[\d.]+ms)|([\d.]+Hz)", text)
    whole = Size(1e9)
    try:
        if found is None or (found[2] is not None and found[1] is None and found[2].isdigit()):
            raise ValueError
        rows = _size(found[1] or found[3]) if found[1] or found[3] else whole
        frames = _size(found[2]) if found[2] else whole
    except ValueError:
        raise UsageProblem(
            f"--{name} {text}: give BINSxFRAMES, such as 10x4, or with units 400Hzx40ms, 400Hz or "
            "40ms"
        ) from None
    return rows, frames


def _size(text: str) -> Size:
    """Return a size; in seconds where it is in ms.

    Raises
    ------
    ValueError
        It is no number above 0.
    """
    unit = text.lstrip("0123456789.")
    value = float(text.removesuffix(unit)) / (1000 if unit == "ms" else 1)
    if not value > 0:
        raise ValueError
    return Size(value, unit)


def _spans(length: int, size: Size, stride: Size, axis: Axis | None) -> Iterator[slice]:
    """Yield the places of an axis that are hidden together."""
    if not (size.unit or stride.unit):
        yield from _counted(length, int(min(size.value, length)), int(min(stride.value, length)))
        return
    if size.unit and not stride.unit:
        stride = Size(size.value / 2, size.unit)
    if axis is None or len(axis) != length:
        raise UsageProblem(f"--patch: what is explained has no axis in {stride.unit}")
    if size.unit != stride.unit:
        raise UsageProblem("--stride: give it in the unit of --patch")
    first, last = float(axis[0]), float(axis[-1])
    seen: tuple[int, int] | None = None
    # A millionth of slack, so that rounding moves no place into another patch.
    slack = 1e-6 * (last - first)
    for step in range(max(1, math.ceil((last - first + slack) / stride.value))):
        begin = first + step * stride.value - slack
        edges = np.searchsorted(axis, [begin, begin + size.value])
        here = int(edges[0]), max(int(edges[1]), int(edges[0]) + 1)
        if here != seen and here[0] < length:
            yield slice(*here)
        seen = here


def _counted(length: int, size: int, stride: int) -> Iterator[slice]:
    starts = list(range(0, length - size + 1, stride))
    if starts[-1] + size < length:
        starts.append(length - size)
    for start in starts:
        yield slice(start, start + size)
