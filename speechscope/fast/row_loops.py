"""What a change of rows needs besides products, in one pass over memory each.

Arrays are (N, rows, width). Either N counts items, whose rows hold frames × channels; or it counts
the frames of all items, one after the other, whose rows hold channels. On the CPU the passes are
compiled loops over whatever lies together in memory; elsewhere each is a few operations.

Every function returns what makes the pass over the arrays it was given, as often as it is called:
to look for the places in them takes longer than most passes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from speechscope.fast.compiled import Array, Marks, compiled, compiled_sums

Pass: TypeAlias = Callable[[], object]
Keep: TypeAlias = Callable[[Any], object]
"""A pass over the items that are marked, as `marks` gives them."""


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


def marks(items: Tensor) -> Any:
    """Return which items are meant, (B,) of bool, in the form that a `Keep` takes."""
    return items.numpy() if items.device.type == "cpu" else items


def difference(rows: Tensor, whole: Tensor, first: int, out: Tensor) -> Pass:
    """Write rows less those of the whole from `first` on to `out`."""
    if rows.device.type == "cpu":
        return partial(_difference, *_flat(rows, whole, out), *_places(whole, first, rows))
    return partial(torch.sub, rows, whole[:, first : first + rows.shape[1]], out=out)


def pooled(
    z: Tensor, first: int, change: Tensor, regions: tuple[int, int], pool: Pooling, out: Tensor
) -> Pass:
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
    count, channels = change.shape[1:]
    if z.device.type == "cpu":
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
        return partial(_pooled, *arguments)

    def by_operations() -> None:
        rows = z[:, above:below].clone()
        rows[:, first - above : first - above + count] += change
        y = rows.view(-1, pool.before, *rows.shape[1:]).unfold(1, pool.frames, pool.step).amax(-1)
        y = y.unfold(2, pool.rows, pool.stride).amax(-1)
        if pool.relu:
            y = y.relu_()
        out.copy_((y if pool.apart else y.transpose(1, 2)).reshape(out.shape))

    return by_operations


def energy(
    rows: Tensor, target: Tensor, residual: Tensor, first: int, before: Tensor, out: Tensor
) -> Pass:
    """Write before + ½ Σ (rows − target)² − ½ Σ residual² of every item, in float64.

    Of target and residual, (N, all rows, width), those from `first` on are meant.
    """
    if rows.device.type == "cpu":
        flat = _flat(rows, target, residual, before, out)
        return partial(_energy, *flat, *_places(target, first, rows))
    place = slice(first, first + rows.shape[1])

    def by_operations() -> None:
        gain = (rows - target[:, place]).double().square().sum((1, 2))
        gain -= residual[:, place].double().square().sum((1, 2))
        torch.add(before, gain, alpha=0.5, out=out)

    return by_operations


def add(whole: Tensor, first: int, change: Tensor, each: int = 1) -> Keep:
    """Add a change to rows from `first` on; of every item there are `each` of N."""
    return _kept(_add, whole, first, change, each, lambda place: place + change)


def replace(whole: Tensor, first: int, rows: Tensor, each: int = 1) -> Keep:
    """Set rows from `first` on; of every item there are `each` of N."""
    return _kept(_replace, whole, first, rows, each, lambda _: rows)


def _kept(
    loop: Callable[..., None],
    whole: Tensor,
    first: int,
    rows: Tensor,
    each: int,
    values: Callable[[Tensor], Tensor],
) -> Keep:
    """Return what runs a loop, or elsewhere sets the rows that there are to `values` of them."""
    if whole.device.type == "cpu":
        sizes = *_places(whole, first, rows), np.uintp(each)
        return partial(loop, *_flat(whole, rows), *sizes)
    place = whole[:, first : first + rows.shape[1]]
    return lambda items: place.copy_(torch.where(_wide(items, each), values(place), place))


def replace_residual(whole: Tensor, first: int, rows: Tensor, target: Tensor) -> Keep:
    """Set rows from `first` on to rows − target, of which those from `first` on are meant."""
    if whole.device.type == "cpu":
        return partial(_replace_residual, *_flat(whole, rows, target), *_places(whole, first, rows))
    place, goal = (array[:, first : first + rows.shape[1]] for array in (whole, target))

    def by_operations(items: Tensor) -> None:
        place.copy_(torch.where(_wide(items, 1), rows - goal, place))

    return by_operations


def _wide(items: Tensor, each: int) -> Tensor:
    return items.repeat_interleave(each)[:, None, None]


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
def _energy(
    rows: Array,
    target: Array,
    residual: Array,
    before: Array,
    out: Array,
    apart: np.uintp,
    first: np.uintp,
    length: np.uintp,
) -> None:
    for n in range(np.uintp(len(rows)) // length):
        start, place = n * length, n * apart + first
        total = 0.0
        for i in range(length):
            now, then = rows[start + i] - target[place + i], residual[place + i]
            total += np.float64(now) * now - np.float64(then) * then
        out[n] = before[n] + 0.5 * total


@compiled
def _add(
    whole: Array,
    change: Array,
    apart: np.uintp,
    first: np.uintp,
    length: np.uintp,
    each: np.uintp,
    items: Marks,
) -> None:
    for item in range(np.uintp(len(items))):
        if items[item]:
            for n in range(item * each, item * each + each):
                start, place = n * length, n * apart + first
                for i in range(length):
                    whole[place + i] += change[start + i]


@compiled
def _replace(
    whole: Array,
    rows: Array,
    apart: np.uintp,
    first: np.uintp,
    length: np.uintp,
    each: np.uintp,
    items: Marks,
) -> None:
    for item in range(np.uintp(len(items))):
        if items[item]:
            for n in range(item * each, item * each + each):
                start, place = n * length, n * apart + first
                for i in range(length):
                    whole[place + i] = rows[start + i]


@compiled
def _replace_residual(
    whole: Array,
    rows: Array,
    target: Array,
    apart: np.uintp,
    first: np.uintp,
    length: np.uintp,
    items: Marks,
) -> None:
    for n in range(np.uintp(len(items))):
        if items[n]:
            start, place = n * length, n * apart + first
            for i in range(length):
                whole[place + i] = rows[start + i] - target[place + i]
