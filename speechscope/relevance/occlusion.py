"""Occlusion: what the score loses when a patch of the input is hidden."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from speechscope.relevance.target import score


def occlusion(
    network: Callable[[Tensor], Tensor],
    x: Tensor,
    target: Tensor,
    *,
    patch: tuple[int, int],
    stride: tuple[int, int],
) -> Tensor:
    """Return the mean loss of the target score over the patches that hide each input value.

    R_i = mean over patches p with i in p of S_c(x) − S_c(x, p set to 0). For centred inputs 0 is
    the training mean. All channels are hidden together; the last patch of an axis ends with it.

    Source: Zeiler and Fergus (2014), sec. 4.2; the network is not looked into.

    Parameters
    ----------
    network
        Gives scores (B, classes, …) before softmax.
    x
        Inputs (B, C, F, T).
    target
        Class of each item (B,).
    patch, stride
        Size of a patch and step between patches, each (bins, frames); a patch larger than the
        input is cut to it.
    """
    with torch.no_grad():
        full = score(network(x), target)
        lost, count = torch.zeros_like(x), torch.zeros_like(x[:1])
        for rows in _spans(x.shape[2], patch[0], stride[0]):
            for frames in _spans(x.shape[3], patch[1], stride[1]):
                hidden = x.clone()
                hidden[:, :, rows, frames] = 0
                loss = full - score(network(hidden), target)
                lost[:, :, rows, frames] += loss[:, None, None, None]
                count[:, :, rows, frames] += 1
    return lost / count.clamp(min=1)


def _spans(length: int, size: int, stride: int) -> Iterator[slice]:
    size = min(size, length)
    starts = list(range(0, length - size + 1, stride))
    if starts[-1] + size < length:
        starts.append(length - size)
    for start in starts:
        yield slice(start, start + size)
