"""Occlusion: what the score loses when a patch of the input is hidden."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.registry import RELEVANCE
from speechscope.relevance.explain import Explained, score

if TYPE_CHECKING:
    from speechscope.stages.relevance import Relevance


@RELEVANCE.register("occlusion")
def occlusion(
    of: Explained, x: Tensor, target: Tensor, settings: "Relevance", *_: object
) -> Tensor:
    """Return the mean loss of the target score over the patches that hide each input value.

    R_i = mean over patches p with i in p of S_c(x) − S_c(x, p set to 0). For centred inputs 0 is
    the training mean. All channels of x (B, C, F, T) are hidden together; the last patch of an
    axis ends with it, and one larger than the input is cut to it.

    Source: Zeiler and Fergus (2014), sec. 4.2; the network is not looked into.
    """
    patch, stride = area("patch", settings.patch), area("stride", settings.stride)
    with torch.no_grad():
        full = score(of.scores(x), target)
        lost, count = torch.zeros_like(x), torch.zeros_like(x[:1])
        for rows in _spans(x.shape[2], patch[0], stride[0]):
            for frames in _spans(x.shape[3], patch[1], stride[1]):
                hidden = x.clone()
                hidden[:, :, rows, frames] = 0
                loss = full - score(of.scores(hidden), target)
                lost[:, :, rows, frames] += loss[:, None, None, None]
                count[:, :, rows, frames] += 1
    return lost / count.clamp(min=1)


def area(name: str, text: str) -> tuple[int, int]:
    """Return the (bins, frames) of a setting such as ``10x4``.

    Raises
    ------
    UsageProblem
        It is not BINSxFRAMES.
    """
    parts = text.split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UsageProblem(f"--{name} {text}: give BINSxFRAMES, such as 10x4")
    return int(parts[0]), int(parts[1])


def _spans(length: int, size: int, stride: int) -> Iterator[slice]:
    size = min(size, length)
    starts = list(range(0, length - size + 1, stride))
    if starts[-1] + size < length:
        starts.append(length - size)
    for start in starts:
        yield slice(start, start + size)
