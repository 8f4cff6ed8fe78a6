"""Max-pooling with stride 2 of a convolution over frequency, and the way back through both.

Pooling leaves most derivatives of a convolution 0: a region hands its derivative on to one bin, and
neighbouring regions often to the same one. What is left is added up bin by bin, which takes fewer
operations than the matrix products of all bins.

Even and odd bins lie apart, so that the maximum over a region is one over long neighbouring
stretches of memory. Everything is done for a few items at a time, which stay in the processor's
first caches.

Arrays are those of NumPy. B counts items; a *line* holds the even, or the odd, bins of an item in
one map, and may end in bins that stand for nothing. *Rows* are bins × channels of an item.
"""

import numpy as np

from speechscope.fast.compiled import Array, compiled

TOGETHER = 8
"""Items worked on at a time."""


@compiled
def pool(y: Array, bias: Array, size: int, out: Array) -> None:
    """Write max(0, maximum of `y` over each region + bias).

    Parameters
    ----------
    y
        (2, maps, B, line): the even bins of every map and item, then the odd ones.
    bias
        (maps,)
    size
        Bins of a region; regions begin at every even bin.
    out
        (B, regions, maps)
    """
    _, maps, items, line = y.shape
    z = np.empty(TOGETHER * line, y.dtype)
    zero = y.dtype.type(0)
    for first in range(0, items, TOGETHER):
        here = min(TOGETHER, items - first)
        for m in range(maps):
            _maxima(y[0, m, first:], y[1, m, first:], size, here * line, z)
            for item in range(here):
                for i in range(out.shape[1]):
                    value = z[item * line + i] + bias[m]
                    out[first + item, i, m] = zero if value <= zero else value


@compiled
def unpool(
    grad: Array,
    y: Array,
    bias: Array,
    size: int,
    rows: Array,
    weight: Array,
    by_weight: Array,
    by_bias: Array,
    by_rows: Array,
    channels: int,
) -> None:
    """Write the derivatives by weight, bias and rows, given that by the output of `pool`.

    Of equal maxima the first gets it all.

    Parameters
    ----------
    grad
        (B, regions, maps)
    y, bias, size
        As in `pool`.
    rows
        (B, bins × channels): what `y` is the convolution of.
    weight
        (maps, taps × channels)
    by_weight, by_bias
        Like weight and bias.
    by_rows
        Like rows; an array without items where it is not wanted.
    channels
        Values of a bin in rows.
    """
    _, maps, items, line = y.shape
    regions, span, inner = grad.shape[1], weight.shape[1], len(by_rows) > 0
    z, rest = np.empty(TOGETHER * line, y.dtype), np.zeros(TOGETHER * line, y.dtype)
    even, odd = np.empty(TOGETHER * line, y.dtype), np.empty(TOGETHER * line, y.dtype)
    places, values = np.empty(2 * line, np.int64), np.empty(2 * line, y.dtype)
    zero = y.dtype.type(0)
    by_weight[:] = zero
    by_bias[:] = zero
    by_rows[:] = zero
    for first in range(0, items, TOGETHER):
        here = min(TOGETHER, items - first)
        for m in range(maps):
            count = here * line
            whole = _maxima(y[0, m, first:], y[1, m, first:], size, count, z)
            total = zero
            change, kernel = by_weight[m], weight[m]
            for item in range(here):
                start = item * line
                for i in range(regions):
                    one = grad[first + item, i, m]
                    one = zero if z[start + i] + bias[m] <= zero else one
                    rest[start + i] = one
                    total += one
            by_bias[m] += total
            _share(y[0, m, first:], y[1, m, first:], size, whole, z, rest, even, odd)
            for item in range(here):
                start, found = item * line, 0
                for i in range(line):
                    places[found], values[found] = 2 * i, even[start + i]
                    found += even[start + i] != zero
                    places[found], values[found] = 2 * i + 1, odd[start + i]
                    found += odd[start + i] != zero
                row = rows[first + item]
                for number in range(0, found - found % 4, 4):
                    v0, p0 = values[number], row[places[number] * channels :]
                    v1, p1 = values[number + 1], row[places[number + 1] * channels :]
                    v2, p2 = values[number + 2], row[places[number + 2] * channels :]
                    v3, p3 = values[number + 3], row[places[number + 3] * channels :]
                    for j in range(len(change)):
                        change[j] += v0 * p0[j] + v1 * p1[j] + v2 * p2[j] + v3 * p3[j]
                for number in range(found - found % 4, found):
                    value, part = values[number], row[places[number] * channels :]
                    for j in range(len(change)):
                        change[j] += value * part[j]
                if inner:
                    target = by_rows[first + item]
                    for number in range(found):
                        place, value = places[number], values[number]
                        part = target[place * channels : place * channels + span]
                        for j in range(len(part)):
                            part[j] += value * kernel[j]


@compiled
def _maxima(evens: Array, odds: Array, size: int, count: int, out: Array) -> int:
    """Write the maxima of the regions that begin at `count` even bins; return how many are whole.

    Lines follow each other, so that regions which reach past a line take bins of the next one; they
    stand for nothing, and nobody reads them.
    """
    even, odd = evens.reshape(-1), odds.reshape(-1)
    count = min(count, len(even) - (size - 1) // 2)
    for i in range(count):
        out[i] = even[i]
    for k in range(1, size):
        part = odd[k // 2 :] if k % 2 else even[k // 2 :]
        for i in range(count):
            # What is not a number stays so.
            out[i] = part[i] if part[i] > out[i] or part[i] != part[i] else out[i]
    return count


@compiled
def _share(
    evens: Array,
    odds: Array,
    size: int,
    count: int,
    maxima: Array,
    rest: Array,
    by_even: Array,
    by_odd: Array,
) -> None:
    """Give the derivative `rest` by every maximum to the first bin of its region that is as high.

    `rest` is used up.
    """
    even, odd = evens.reshape(-1), odds.reshape(-1)
    zero = rest.dtype.type(0)
    by_even[:] = zero
    by_odd[:] = zero
    for k in range(size):
        part = odd[k // 2 :] if k % 2 else even[k // 2 :]
        out = by_odd[k // 2 :] if k % 2 else by_even[k // 2 :]
        for i in range(min(count, len(out))):
            taken = rest[i] if part[i] == maxima[i] else zero
            rest[i] -= taken
            out[i] += taken
