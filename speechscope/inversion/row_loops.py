"""What a change of rows needs besides products, in one pass over memory each.

Arrays are (N, rows, width). Either N counts items, whose rows hold frames × channels; or it counts
the frames of all items, one after the other, whose rows hold channels. On the CPU the passes are
compiled loops over whatever lies together in memory; elsewhere each is a few operations.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechscope.compiled import Array, Places, compiled, compiled_sums


@dataclass(frozen=True)
class Pooling:
    """Max-pooling over rows and over frames, those that do not overlap, and the ReLU after it.

    Parameters
    ----------
    rows, stride, frames, step
        Size and stride of the regions.
    relu
        Whether there is a ReLU.
    before, after
        Frames of an item.
    apart
        Whether N counts frames afterwards, as it does before.
    """

    rows: int = 1
    stride: int = 1
    frames: int = 1
    step: int = 1
    relu: bool = False
    before: int = 1
    after: int = 1
    apart: bool = False


def difference(rows: Tensor, whole: Tensor, first: int, out: Tensor) -> Tensor:
    """Write rows less those of the whole from `first` on to `out`."""
    if rows.device.type == "cpu":
        _difference(*_flat(rows, whole, out), *_places(whole, first, rows))
        return out
    return torch.sub(rows, whole[:, first : first + rows.shape[1]], out=out)


def pooled(
    z: Tensor, first: int, change: Tensor, regions: tuple[int, int], pool: Pooling, out: Tensor
) -> Tensor:
    """Write some regions of the pooled rows of z, to which a change is added at row `first`.

    Parameters
    ----------
    z, change
        (B × frames, rows, channels)
    regions
        The first region over rows, and the one after the last.
    out
        (N, regions, width)
    """
    above, below = regions[0] * pool.stride, (regions[1] - 1) * pool.stride + pool.rows
    if z.device.type == "cpu":
        count, channels = change.shape[1:]
        number, kept = regions[1] - regions[0], below - above - pool.rows + 1
        begin, total = (first - above) * channels, (below - above) * channels
        # From one region to the next in `out`, and from one frame to the next.
        down, along = (1, number) if pool.apart else (pool.after, 1)
        sizes = (
            *(len(z) // pool.before, pool.before, pool.after, pool.frames, pool.step),
            *(z.shape[1] * channels, above * channels, begin, begin + count * channels, total),
            *(kept * channels, pool.rows, channels, number, pool.stride * channels),
            *(pool.after * number * channels, down * channels, along * channels),
        )
        arguments: Any = [*_flat(z, change, out), *map(np.uintp, sizes), pool.relu]
        _pooled(*arguments)
        return out
    window = z[:, above:below].clone()
    window[:, first - above : first - above + change.shape[1]] += change
    y = window.view(-1, pool.before, *window.shape[1:]).unfold(1, pool.frames, pool.step).amax(-1)
    y = y.unfold(2, pool.rows, pool.stride).amax(-1)
    if pool.relu:
        y = y.relu_()
    return out.copy_((y if pool.apart else y.transpose(1, 2)).reshape(out.shape))


def gain(rows: Tensor, target: Tensor, residual: Tensor, first: int) -> Tensor:
    """Return Σ (rows − target)² − residual² of every item, in float64.

    Of target and residual, (N, all rows, width), those from `first` on are meant.
    """
    if rows.device.type == "cpu":
        found = torch.empty(len(rows), dtype=torch.float64)
        _gain(*_flat(rows, target, residual, found), *_places(target, first, rows))
        return found
    place = slice(first, first + rows.shape[1])
    before = residual[:, place].double().square().sum((1, 2))
    return (rows - target[:, place]).double().square().sum((1, 2)) - before


def add(whole: Tensor, first: int, change: Tensor, items: Tensor) -> None:
    """Add a change to rows of some of N, from `first` on."""
    if whole.device.type == "cpu":
        _add(*_flat(whole, change, items), *_places(whole, first, change))
    else:
        whole[items, first : first + change.shape[1]] += change[items]


def replace(whole: Tensor, first: int, rows: Tensor, items: Tensor) -> None:
    """Set rows of some of N, from `first` on."""
    if whole.device.type == "cpu":
        _replace(*_flat(whole, rows, items), *_places(whole, first, rows))
    else:
        whole[items, first : first + rows.shape[1]] = rows[items]


def _flat(*arrays: Tensor) -> Any:
    """Return contiguous arrays as flat ones, as the loops take them."""
    return [array.view(-1).numpy() for array in arrays]


def _places(whole: Tensor, first: int, rows: Tensor) -> Any:
    """Return how far one of N is from the next, where its rows begin, and how long they are."""
    width = whole.shape[2]
    return np.uintp(whole.shape[1] * width), np.uintp(first * width), np.uintp(rows[0].numel())


# The loops below count without a sign, so that no index has to be tried for being negative, and cut
# no arrays, whose owners would be counted each time: most are over some hundred numbers.


@compiled
def _difference(
    rows: Array, whole: Array, out: Array, apart: np.uintp, first: np.uintp, length: np.uintp
) -> None:
    for n in range(np.uintp(len(rows)) // length):
        start, place = n * length, n * apart + first
        for i in range(length):
            out[start + i] = rows[start + i] - whole[place + i]


@compiled
def _pooled(
    z: Array,
    change: Array,
    out: Array,
    items: np.uintp,
    before: np.uintp,
    after: np.uintp,
    frames: np.uintp,
    step: np.uintp,
    apart: np.uintp,
    first: np.uintp,
    begin: np.uintp,
    end: np.uintp,
    total: np.uintp,
    kept: np.uintp,
    size: np.uintp,
    channels: np.uintp,
    regions: np.uintp,
    stride: np.uintp,
    item_apart: np.uintp,
    down: np.uintp,
    along: np.uintp,
    relu: bool,
) -> None:
    rows, maxima, zero = np.empty(total, z.dtype), np.empty(kept, z.dtype), z.dtype.type(0)
    for item in range(items):
        for frame in range(after):
            for k in range(frames):
                n = item * before + frame * step + k
                place, moved = n * apart + first, n * (end - begin)
                if k == 0:
                    for i in range(begin):
                        rows[i] = z[place + i]
                    for i in range(end - begin):
                        rows[begin + i] = z[place + begin + i] + change[moved + i]
                    for i in range(end, total):
                        rows[i] = z[place + i]
                else:
                    for i in range(begin):
                        x = z[place + i]
                        rows[i] = x if x > rows[i] else rows[i]
                    for i in range(end - begin):
                        x = z[place + begin + i] + change[moved + i]
                        rows[begin + i] = x if x > rows[begin + i] else rows[begin + i]
                    for i in range(end, total):
                        x = z[place + i]
                        rows[i] = x if x > rows[i] else rows[i]
            # Of the regions that begin at every row: in one go, faster than of those wanted.
            for i in range(kept):
                maxima[i] = rows[i]
            for k in range(size):
                for i in range(kept):
                    x = rows[k * channels + i]
                    maxima[i] = x if x > maxima[i] else maxima[i]
            start = item * item_apart + frame * along
            for region in range(regions):
                for i in range(channels):
                    x = maxima[region * stride + i]
                    out[start + region * down + i] = zero if relu and x < zero else x


@compiled_sums
def _gain(
    rows: Array,
    target: Array,
    residual: Array,
    out: Array,
    apart: np.uintp,
    first: np.uintp,
    length: np.uintp,
) -> None:
    for n in range(np.uintp(len(rows)) // length):
        start, place = n * length, n * apart + first
        total = 0.0
        for i in range(length):
            now, before = rows[start + i] - target[place + i], residual[place + i]
            total += np.float64(now) * now - np.float64(before) * before
        out[n] = total


@compiled
def _add(
    whole: Array, change: Array, items: Places, apart: np.uintp, first: np.uintp, length: np.uintp
) -> None:
    for item in items:
        n = np.uintp(item)
        start, place = n * length, n * apart + first
        for i in range(length):
            whole[place + i] += change[start + i]


@compiled
def _replace(
    whole: Array, rows: Array, items: Places, apart: np.uintp, first: np.uintp, length: np.uintp
) -> None:
    for item in items:
        n = np.uintp(item)
        start, place = n * length, n * apart + first
        for i in range(length):
            whole[place + i] = rows[start + i]
