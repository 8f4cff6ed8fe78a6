"""Convolutions over frequency and their pooling, forward and back, in arrays that are reused.

Training repeats the same step on arrays of the same sizes. Forward, a convolution is a matrix
product of windows, from each of which two neighbouring bins come. Pooling comes before bias and
ReLU, with which it commutes. It leaves most derivatives of a convolution 0: a region hands its
derivative on to one bin, and neighbouring regions often to the same one. What is left is added up
bin by bin, which takes fewer operations than the matrix products of all bins.

Even and odd bins lie apart, so that the maximum over a region is one over long neighbouring
stretches of memory. Everything is done for a few items at a time, which stay in the processor's
first caches.

In the loops B counts items; a *line* holds the even, or the odd, bins of an item in one map, and
may end in bins that stand for nothing. *Rows* are bins × channels of an item.
"""

from functools import cache
from math import ceil

import numpy as np
import torch
from torch import Tensor

from speechscope.fast.compiled import Array, Places, compiled
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU
from speechscope.work.accelerators import Unsupported

TOGETHER = 8
"""Items that loops work on at a time."""
OTHER = "the network is not on the CPU, or its convolutions are not over frequency alone"
WINDOWS = 2**19
"""About how many values windows are copied to at a time: few enough to stay in a cache."""


class FrequencyConvolutions:
    """Everything before the first fully connected layer, for batches of at most `batch` items.

    Works on the CPU, where every convolution is valid and leaves one time frame and is followed
    by a ReLU and a max-pooling over frequency with stride 2 (Churchman 2015, fig. 6).

    Raises
    ------
    Unsupported
        The network is another.
    """

    def __init__(self, network: Network, batch: int) -> None:
        rows = network.table
        end = next((i for i, row in enumerate(rows) if isinstance(row, Linear)), len(rows))
        if not end or end % 3 or next(network.parameters()).device.type != "cpu":
            raise Unsupported(OTHER)
        self._layers: list[_Layer] = []
        for first in range(0, end, 3):
            conv, relu, pool = rows[first : first + 3]
            shape = network.shape_before(first + 1)
            if not (
                isinstance(conv, Conv) and isinstance(relu, ReLU) and isinstance(pool, MaxPool)
            ):
                raise Unsupported(OTHER)
            if any(conv.pads) or conv.kernel[1] != shape[2] or conv.stride != (1, 1):
                raise Unsupported(OTHER)
            if pool.size[1] != 1 or pool.size[0] < 2 or pool.stride[0] != 2:
                raise Unsupported(OTHER)
            weight, bias = network.parameters_of(network.names[first])
            self._layers.append(_Layer(weight.detach(), bias.detach(), shape, pool.size[0], batch))
        self._names = [name for name in network.names[:end] if name.startswith("conv")]

    def forward(self, x: Tensor, out: Tensor) -> None:
        """Write the units, (B, units) in C, F, T order, of inputs (B, C, F, T) to `out`."""
        rows: Array = x.movedim(1, 3).reshape(len(x), -1).numpy()
        *others, last = self._layers
        for layer in others:
            out_rows = layer.rows[: len(x)]
            layer.forward(rows, out_rows)
            rows = out_rows.reshape(len(x), -1)
        last.forward(rows, last.by_regions(out))

    def backward(self, grad: Tensor) -> dict[str, Tensor]:
        """Return the derivatives by the parameters, given that by the units of `forward`."""
        by_output = self._layers[-1].by_regions(grad)
        found: dict[str, Tensor] = {}
        for number in range(len(self._layers) - 1, -1, -1):
            layer, name = self._layers[number], self._names[number]
            by_rows = self._layers[number - 1].by_rows[: len(grad)] if number else None
            weight, bias = layer.backward(by_output, by_rows)
            found[f"{name}.weight"], found[f"{name}.bias"] = weight, bias
            if by_rows is not None:
                by_output = by_rows
        return found


class _Layer:
    """A convolution, its pooling and ReLU, from rows (B, F, K) to rows (B, F', maps).

    K = frames × channels. Two neighbouring bins of the convolution, an even and an odd one, come
    from one window of taps + 1 bins, by a matrix that holds the kernel twice.

    Attributes
    ----------
    rows, by_rows
        Room (batch, F', maps) for the output and the derivative by it.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, shape: tuple[int, ...], size: int, batch: int
    ) -> None:
        self._size = size
        maps, channels, taps, frames = weight.shape
        self._maps, self._k = maps, frames * channels
        bins = shape[1] - taps + 1
        line, self._regions = ceil(bins / 2), (bins - size) // 2 + 1
        new = weight.new_zeros
        window = (taps + 1) * self._k
        together = min(batch, max(1, WINDOWS // (line * window)))
        matrix, windows = new(2 * maps, window), new(together, line, window)
        y = new(2 * maps * batch * line)
        self.rows, self.by_rows = (new(batch, self._regions, maps).numpy() for _ in range(2))
        self._input: Array = self.rows[:0]
        # Arrays and views that stay where they are: making one takes as long as a small operation.
        self._weight, self._bias = weight.permute(0, 2, 3, 1).numpy(), bias.numpy()
        self._kernel = new(maps, taps * self._k).numpy()
        self._by_tap = self._kernel.reshape(maps, taps, frames, channels)
        self._matrix = matrix
        self._even = matrix[:maps, : taps * self._k].numpy()
        self._odd = matrix[maps:, self._k :].numpy()
        self._by_kernel = np.empty_like(self._kernel)
        by_taps = torch.from_numpy(self._by_kernel).view(maps, taps, frames, channels)
        self._by_kernel_turned = by_taps.permute(0, 3, 1, 2)

        @cache
        def of_items(count: int) -> tuple[Array, list[tuple[slice, Array, Tensor, Tensor]]]:
            whole = y[: 2 * maps * count * line].view(2 * maps, -1)
            parts = []
            for first in range(0, count, together):
                items = slice(first, min(first + together, count))
                some = windows[: items.stop - items.start]
                place = whole[:, items.start * line : items.stop * line]
                parts.append((items, some.numpy(), some.view(-1, window).t(), place))
            return whole.view(2, maps, count, line).numpy(), parts

        self._of_items = of_items

    def by_regions(self, units: Tensor) -> Array:
        """Return units (B, maps × F') as rows."""
        array: Array = units.numpy().reshape(-1, self._maps, self._regions).transpose(0, 2, 1)
        return array

    def forward(self, rows: Array, out: Array) -> None:
        """Write the output (B, F', maps) for rows (B, F × K) to `out`."""
        self._input = rows
        self._by_tap[:] = self._weight
        self._even[:] = self._odd[:] = self._kernel
        lines, parts = self._of_items(len(rows))
        for items, windows, turned, place in parts:
            _copy_windows(rows[items], 2 * self._k, windows)
            torch.mm(self._matrix, turned, out=place)
        pool(lines, self._bias, self._size, out)

    def backward(self, grad: Array, by_rows: Array | None) -> tuple[Tensor, Tensor]:
        """Return the derivatives by weight and bias, given that by the output.

        That by the input is written to `by_rows`, where it is wanted.
        """
        count, by_bias = len(self._input), np.empty_like(self._bias)
        unpool(
            grad,
            self._of_items(count)[0],
            self._bias,
            self._size,
            self._input,
            self._kernel,
            self._by_kernel,
            by_bias,
            self._input[:0] if by_rows is None else by_rows.reshape(count, -1),
            self._k,
        )
        by_weight = self._by_kernel_turned.clone(memory_format=torch.contiguous_format)
        return by_weight, torch.from_numpy(by_bias)


@compiled
def _copy_windows(rows: Array, step: int, windows: Array) -> None:
    """Copy windows (B, n, window) that begin every `step` values of rows (B, F × K).

    The last one ends with its row, and in what it held before.
    """
    for item in range(len(rows)):
        row = rows[item]
        for i in range(windows.shape[1]):
            part, window = row[i * step :], windows[item, i]
            for j in range(min(len(part), len(window))):
                window[j] = part[j]


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
                _add_products(change, row, places, values, found, channels)
                if inner:
                    target = by_rows[first + item]
                    for number in range(found):
                        place, value = places[number], values[number]
                        part = target[place * channels : place * channels + span]
                        for j in range(len(part)):
                            part[j] += value * kernel[j]


@compiled
def _add_products(
    out: Array, row: Array, places: Places, values: Array, count: int, channels: int
) -> None:
    """Add to `out` the sum of what begins at `count` bins of a row, each times its value."""
    whole = count - count % 4
    for number in range(0, whole, 4):  # four at a time go through `out` once
        v0, p0 = values[number], row[places[number] * channels :]
        v1, p1 = values[number + 1], row[places[number + 1] * channels :]
        v2, p2 = values[number + 2], row[places[number + 2] * channels :]
        v3, p3 = values[number + 3], row[places[number + 3] * channels :]
        for j in range(len(out)):
            out[j] += v0 * p0[j] + v1 * p1[j] + v2 * p2[j] + v3 * p3[j]
    for number in range(whole, count):
        value, part = values[number], row[places[number] * channels :]
        for j in range(len(out)):
            out[j] += value * part[j]


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
