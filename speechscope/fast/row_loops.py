"""Compiled loops of annealing by changed rows, one pass over memory each.

Arrays are (N, rows, width). Either N counts items, whose rows hold frames × channels; or it counts
the frames of all items, one after the other, whose rows hold channels.

Most functions return what makes the pass over the arrays they were given, as often as it is called:
to look for the places in them takes longer than most passes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from speechscope.fast.compiled import Array, Marks, compiled, compiled_sums

Pass: TypeAlias = Callable[[], object]
Keep: TypeAlias = Callable[[Marks], object]
"""A pass over the items that are marked."""
Sizes: TypeAlias = NDArray[np.uintp]


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


def difference(rows: Tensor, whole: Tensor, first: int, out: Tensor) -> Pass:
    """Write rows less those of the whole from `first` on to `out`."""
    return partial(_difference, *_flat(rows, whole, out), *_places(whole, first, rows))


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
    number, kept = regions[1] - regions[0], below - above - pool.rows + 1
    begin, total = (first - above) * channels, (below - above) * channels
    # From one region to the next in `out`, and from one frame to the next.
    down, along = (1, number) if pool.apart else (pool.after, 1)
    sizes = [
        *(len(z) // pool.before, pool.before, pool.after, pool.frames, pool.step),
        *(z.shape[1] * channels, above * channels, begin, begin + count * channels, total),
        *(kept * channels, pool.rows, channels, number, pool.stride * channels),
        *(pool.after * number * channels, down * channels, along * channels),
    ]
    arguments: Any = [*_flat(z, change, out), np.array(sizes, dtype=np.uintp), pool.relu]
    return partial(_pooled, *arguments)


def energy(rows: Tensor, whole: Tensor, first: int, before: Tensor, out: Tensor) -> Pass:
    """Write before + ½ Σ rows² − ½ Σ whole² of every item, in float64, `whole` from `first` on."""
    return partial(_energy, *_flat(rows, whole, before, out), *_places(whole, first, rows))


def keep(whole: Tensor, first: int, rows: Tensor, *, each: int = 1, add: bool = False) -> Keep:
    """Set rows from `first` on, or add to them; of every item there are `each` of N."""
    more: Any = np.uintp(each), add
    return partial(_keep, *_flat(whole, rows), *_places(whole, first, rows), *more)


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
def _pooled(z: Array, change: Array, out: Array, sizes: Sizes, relu: bool) -> None:
    items, before, after, frames, step = sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]
    apart, first, begin, end, total = sizes[5], sizes[6], sizes[7], sizes[8], sizes[9]
    kept, size, channels, regions, stride = sizes[10], sizes[11], sizes[12], sizes[13], sizes[14]
    item_apart, down, along = sizes[15], sizes[16], sizes[17]
    rows, maxima, zero = np.empty(total, z.dtype), np.empty(kept, z.dtype), z.dtype.type(0)
    for item in range(items):
        for frame in range(after):
            rows[:] = -np.inf
            for k in range(frames):
                n = item * before + frame * step + k
                place, moved = n * apart + first, n * (end - begin)
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
    whole: Array,
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
            now, then = rows[start + i], whole[place + i]
            total += np.float64(now) * now - np.float64(then) * then
        out[n] = before[n] + 0.5 * total


@compiled
def _keep(
    whole: Array,
    rows: Array,
    apart: np.uintp,
    first: np.uintp,
    length: np.uintp,
    each: np.uintp,
    add: bool,
    items: Marks,
) -> None:
    for item in range(np.uintp(len(items))):
        if items[item]:
            for n in range(item * each, item * each + each):
                start, place = n * length, n * apart + first
                if add:
                    for i in range(length):
                        whole[place + i] += rows[start + i]
                else:
                    for i in range(length):
                        whole[place + i] = rows[start + i]


@compiled_sums
def limit(
    x: Array,
    rest: Array,
    energy: Array,
    rest_then: Array,
    limit: Array,
    change: Array,
    slack: Array,
    first: int,
    l2: float,
) -> None:
    """Write what ½ ‖Y* − Y‖² has to be below after a change, for E' to be below E + slack.

    ``rest`` is λ/2 ‖X‖² of every chain; ``rest_then`` becomes that after the change (B, n, T, C)
    of the rows of x from `first` on.
    """
    items, count, frames, channels = change.shape
    half = x.dtype.type(0.5)
    for b in range(items):
        total = 0.0
        for row in range(count):
            for c in range(channels):
                for t in range(frames):
                    d = change[b, row, t, c]
                    total += np.float64((x[b, c, first + row, t] + half * d) * d)
        rest_then[b] = rest[b] + l2 * total
        limit[b] = energy[b] + slack[b] - rest_then[b]


@compiled
def settle(
    x: Array,
    rest: Array,
    energy: Array,
    lowest: Array,
    best: Array,
    at_best: Marks,
    accepted: Marks,
    rest_then: Array,
    limit: Array,
    change: Array,
    proposed: Array,
    first: int,
) -> None:
    """Move the chains where ½ ‖Y* − Y‖², as proposed, is below the limit; keep the best X of each.

    The best is copied when a chain leaves it, not whenever it finds a better one.
    """
    items, count, frames, channels = change.shape
    for b in range(items):
        accepted[b] = proposed[b] < limit[b]
        if not accepted[b]:
            continue
        then = proposed[b] + rest_then[b]
        if at_best[b] and then >= lowest[b]:
            for c in range(channels):
                for row in range(x.shape[2]):
                    for t in range(frames):
                        best[b, c, row, t] = x[b, c, row, t]
            at_best[b] = False
        for row in range(count):
            for c in range(channels):
                for t in range(frames):
                    x[b, c, first + row, t] += change[b, row, t, c]
        energy[b], rest[b] = then, rest_then[b]
        if energy[b] < lowest[b]:
            lowest[b], at_best[b] = energy[b], True
