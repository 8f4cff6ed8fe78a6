"""The energy after a change of a few neighbouring rows, from those rows alone.

A proposal of simulated annealing changes a band of the input. A convolution is linear, so that its
change is one matrix product of the rows that changed; only the regions of its pooling that they
reach are computed again. All inputs of a batch change at the same rows, so every array is a slice.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from speechscope.inversion import row_loops
from speechscope.inversion.last_dense import LastDense
from speechscope.inversion.objective import squared_norm
from speechscope.inversion.row_loops import Pooling
from speechscope.networks.frozen import plan
from speechscope.networks.kernels import time_band
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU
from speechscope.networks.pooling import FrequencyPool, Scratch, TimePool, Unsupported

Span: TypeAlias = tuple[int, int]
"""First row, and the row after the last."""

Pending: TypeAlias = list[Callable[[Tensor], None]]
"""What is to be done in the items that accept the change."""


def toeplitz(band: Tensor, rows: Span, outputs: Span) -> Tensor:
    """Return the matrix from input rows to output rows of a convolution (taps, K, K').

    Output f, counted so that it begins at input row f, takes row i by tap i − f. The matrix is
    (rows, K, outputs, K'), the first two and the last two taken together.
    """
    taps, width, out = band.shape
    matrix = band.new_zeros(rows[1] - rows[0], width, outputs[1] - outputs[0], out)
    for row in range(*rows):
        for start in range(max(outputs[0], row - taps + 1), min(outputs[1], row + 1)):
            matrix[row - rows[0], :, start - outputs[0]] = band[row - start]
    return matrix.flatten(2).flatten(0, 1)


class ChangedRows:
    """The rows that a change reaches, layer by layer.

    Raises Unsupported when the rows of the network form no such blocks.
    """

    def __init__(self, network: Network, layer: int, target: Tensor) -> None:
        blocks = plan(network, layer)
        kinds = [network.table[block[0] - 1] for block in blocks]
        convolutions = [b for b, kind in zip(blocks, kinds, strict=True) if isinstance(kind, Conv)]
        if not convolutions:
            raise Unsupported("the network begins without a convolution")
        apart = [n > 0 and _frames_apart(network, b) for n, b in enumerate(convolutions)]
        self._convolutions = [
            _Convolution(network, block, first=n == 0, apart=apart[n], after=apart_after)
            for n, (block, apart_after) in enumerate(
                zip(convolutions, [*apart[1:], False], strict=True)
            )
        ]
        dense = [b for b, kind in zip(blocks, kinds, strict=True) if isinstance(kind, Linear)]
        self._last: LastDense | None = None
        if len(dense) > 1 and dense[-1][0] == dense[-1][1]:  # no ReLU after it
            weight, bias = network.parameters_of(network.names[dense.pop()[0] - 1])
            self._last = LastDense(weight.detach(), bias.detach(), target)
        self._dense = [_Dense(network, block) for block in dense]
        # Rows (B, F, T C), or the units of a fully connected layer as one row.
        rows = target.permute(0, 2, 3, 1).flatten(2) if target.dim() == 4 else target[:, None]
        self._target = rows.contiguous()
        self._residual = target.new_empty(0)
        self._energy = self._proposed = target.new_empty(0, dtype=torch.float64)
        self._pending: Pending = []

    def load(self, x: Tensor) -> Tensor:
        """See `proposals.Proposals`."""
        y = x.permute(0, 2, 3, 1).flatten(2)
        for block in self._convolutions:
            y = block.load(y)
        for number, dense in enumerate(self._dense):
            y = dense.forward(y) if number else dense.load(y)
        if self._last is not None:
            self._energy = self._last.load(y)
            return self._energy.clone()
        self._residual = y.view_as(self._target) - self._target
        self._energy = squared_norm(self._residual).mul_(0.5)
        return self._energy.clone()

    def propose(self, change: Tensor, first: int, limit: Tensor | None = None) -> Tensor:
        """See `proposals.Proposals`."""
        pending = self._pending = []
        span, y = self._convolutions[0].add(change.flatten(2), first, pending)
        for block in self._convolutions[1:]:
            if span[0] < span[1]:
                span, y = block.replace(span, y, pending)
        if span[0] >= span[1]:
            self._proposed = self._energy
            return self._proposed
        for number, dense in enumerate(self._dense):
            # The first one takes the rows that changed, the others all there is.
            y = dense.forward(y) if number else dense.replace(span, y, pending)
            span = (0, 1)
        if self._last is not None:
            self._proposed = self._last.propose(y, self._energy, limit)
            pending.append(self._last.settle)
            return self._proposed
        rows = y.view(len(y), span[1] - span[0], -1)
        pending.append(partial(self._settle, span, rows))
        gain = row_loops.gain(rows, self._target, self._residual, span[0])
        self._proposed = self._energy + 0.5 * gain
        return self._proposed

    def settle(self, accepted: Tensor) -> None:
        """See `proposals.Proposals`."""
        items = accepted.nonzero()[:, 0]
        for keep in self._pending:
            keep(items)
        self._energy = torch.where(accepted, self._proposed, self._energy)

    def _settle(self, span: Span, rows: Tensor, items: Tensor) -> None:
        residual = rows - self._target[:, slice(*span)]
        row_loops.replace(self._residual, span[0], residual, items)


def _frames_apart(network: Network, block: tuple[int, int]) -> bool:
    """Whether the convolution of a block takes every frame by itself."""
    conv = network.table[block[0] - 1]
    assert isinstance(conv, Conv)
    return conv.kernel[1] == conv.stride[1] == 1 and conv.pads[2] == conv.pads[3] == 0


class _Convolution:
    """A convolution and the ReLU and pooling after it; arrays are as in `row_loops`.

    What comes after a change of rows is the convolution of the change, added: one product of the
    rows with the `toeplitz` matrix of the kernel.

    Parameters
    ----------
    apart, after
        Whether rows come for every frame, and whether they are to come so to the block after.
    """

    def __init__(
        self, network: Network, block: tuple[int, int], *, first: bool, apart: bool, after: bool
    ) -> None:
        conv, *rest = network.table[block[0] - 1 : block[1]]
        assert isinstance(conv, Conv)
        weight, bias = (p.detach() for p in network.parameters_of(network.names[block[0] - 1]))
        self._channels, _, frames = network.shape_before(block[0])
        maps, self._bins, self._frames = network.shapes[block[0] - 1]
        self._weight, self._bias, self._pads = weight, bias, conv.pads
        self._taps, self._top = conv.kernel[0], conv.pads[0]
        size, width, stride, step = 1, 1, 1, 1
        self._count, frames_after = self._bins, self._frames
        for row in rest:
            if isinstance(row, MaxPool):
                (size, width), (stride, step) = row.size, row.stride
                # Refuses regions that overlap in time.
                frames_after = TimePool(width, step, self._frames, maps, columns=False).out
                self._count = FrequencyPool(size, stride, self._bins).out
        relu = any(isinstance(row, ReLU) for row in rest)
        self._pool = Pooling(size, stride, width, step, relu, self._frames, frames_after, after)
        self._apart, self._each = apart, frames if apart else 1
        self._band: Tensor | None = None
        if apart:
            self._band = weight[..., 0].permute(2, 1, 0)  # (taps, C, maps)
        elif first or frames == 1:  # few rows and channels; else the matrix is mostly zeros
            self._band = time_band(weight, frames, conv.pads[2], self._frames)
        self._spreads: dict[tuple[int, int, int], Tensor] = {}
        self._x = self._z = weight.new_empty(0)
        self._scratch = Scratch()

    def load(self, x: Tensor) -> Tensor:
        """Return the output of all rows, and remember them."""
        self._x = x.clone()  # the block before uses its array again
        z = self._convolve(x, self._pads[0], self._pads[1]) + self._bias
        self._z = z.contiguous()
        return self._pooled(0, self._z[:, :0], (0, self._count))

    def add(self, change: Tensor, first: int, pending: Pending) -> tuple[Span, Tensor]:
        """Add a change of the input; return the rows of the output it reaches."""
        start = first + self._top - self._taps + 1
        low, high = max(0, start), min(self._bins, first + change.shape[1] + self._top)
        reached = self._regions(low, high)
        if reached[0] >= reached[1]:
            # Pooling leaves the last rows out, of which nothing has to be known.
            return reached, change
        above = reached[0] * self._pool.stride
        below = (reached[1] - 1) * self._pool.stride + self._pool.rows
        begin, end = max(low, above), min(high, below)
        moved = self._moved(change, slice(begin - start, end - start))
        pending.append(partial(_settle, self._frames, row_loops.add, self._z, begin, moved))
        return reached, self._pooled(begin, moved, reached)

    def replace(self, span: Span, rows: Tensor, pending: Pending) -> tuple[Span, Tensor]:
        """Replace rows of the input; return the rows of the output that they reach."""
        pending.append(partial(_settle, self._each, row_loops.replace, self._x, span[0], rows))
        change = self._scratch("change", 0, rows.shape, rows)
        return self.add(row_loops.difference(rows, self._x, span[0], change), span[0], pending)

    def _moved(self, change: Tensor, outputs: slice) -> Tensor:
        """Return the convolution of rows between zeros: some of its outputs, for every frame."""
        number, rows, _ = change.shape
        if self._band is None:
            return self._convolve(change, self._taps - 1, self._taps - 1)[:, outputs].contiguous()
        frames = self._frames // self._each
        key = rows, outputs.start, outputs.stop
        if key not in self._spreads:
            spread = toeplitz(self._band, (0, rows), (1 - self._taps, rows))
            spread = spread.view(len(spread), -1, frames, len(self._bias))[:, outputs]
            self._spreads[key] = spread.transpose(1, 2).flatten(1).contiguous()
        shape = number * frames, outputs.stop - outputs.start, len(self._bias)
        moved = self._scratch("moved", 0, shape, change)
        torch.mm(change.flatten(1), self._spreads[key], out=moved.view(number, -1))
        return moved

    def _convolve(self, x: Tensor, above: int, below: int) -> Tensor:
        """Convolve rows between rows of zeros, to those of every frame."""
        maps = x.view(*x.shape[:2], -1, self._channels).permute(0, 3, 1, 2)
        pads = (0, 0) if self._apart else self._pads[2:]
        padded = functional.pad(maps, (*pads, above, below))
        y = functional.conv2d(padded, self._weight).permute(0, 3, 2, 1)
        return y.flatten(0, 1)

    def _regions(self, low: int, high: int) -> Span:
        """Return the rows of the output that rows low … high − 1 of the convolution reach."""
        size, stride = self._pool.rows, self._pool.stride
        last = min(self._count, (high - 1) // stride + 1)
        return max(0, -((size - 1 - low) // stride)), last

    def _pooled(self, first: int, change: Tensor, regions: Span) -> Tensor:
        pool, (number, _, channels) = self._pool, change.shape
        items, rows = number // pool.before, regions[1] - regions[0]
        shape = items, rows, pool.after * channels
        if pool.apart:
            shape = items * pool.after, rows, channels
        out = self._scratch("out", 0, shape, change)
        return row_loops.pooled(self._z, first, change, regions, pool, out)


def _settle(
    each: int,
    keep: Callable[[Tensor, int, Tensor, Tensor], None],
    whole: Tensor,
    first: int,
    rows: Tensor,
    items: Tensor,
) -> None:
    """Keep rows of some items, of which each has so many of N."""
    if each > 1:
        items = (items[:, None] * each + torch.arange(each, device=items.device)).flatten()
    keep(whole, first, rows, items)


class _Dense:
    """A fully connected layer and the ReLU that may follow it."""

    def __init__(self, network: Network, block: tuple[int, int]) -> None:
        weight, bias = (p.detach() for p in network.parameters_of(network.names[block[0] - 1]))
        place = network.shape_before(block[0])
        if len(place) == 3:
            weight = weight.view(-1, *place).permute(0, 2, 3, 1).flatten(1)
        self._weight = weight.t().contiguous()
        self._bias, self._relu = bias, block[1] > block[0]
        self._x = self._z = weight.new_empty(0)
        self._scratch = Scratch()

    def load(self, rows: Tensor) -> Tensor:
        """Return the output (B, units) of rows, and remember both."""
        self._x = rows.clone()  # the block before uses its array again
        self._z = torch.addmm(self._bias, rows.flatten(1), self._weight)
        return self._z.relu() if self._relu else self._z

    def forward(self, x: Tensor) -> Tensor:
        """Return the output (B, units) of inputs (B, units')."""
        z = torch.addmm(self._bias, x, self._weight)
        return z.relu_() if self._relu else z

    def replace(self, span: Span, rows: Tensor, pending: Pending) -> Tensor:
        """Return the output when some rows of the input change."""
        width = self._x.shape[2]
        moved = self._scratch("moved", 0, rows.shape, rows)
        row_loops.difference(rows, self._x, span[0], moved)
        z = torch.addmm(self._z, moved.flatten(1), self._weight[span[0] * width : span[1] * width])
        pending.append(partial(row_loops.replace, self._x, span[0], rows))
        pending.append(partial(row_loops.replace, self._z[:, None], 0, z[:, None]))
        return z.relu() if self._relu else z
