"""The energy after a change of a few neighbouring rows, from those rows alone.

A proposal of simulated annealing changes a band of the input. A convolution is linear, so that its
change is one matrix product of the rows that changed; only the regions of its pooling that they
reach are computed again. All inputs of a batch change at the same rows, so every array is a slice.
"""

from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from speechscope.inversion.objective import squared_norm
from speechscope.networks.frozen import plan
from speechscope.networks.kernels import time_band
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU
from speechscope.networks.pooling import FrequencyPool, TimePool, Unsupported

Span: TypeAlias = tuple[int, int]
"""First row, and the row after the last."""

Pending: TypeAlias = list[tuple[Tensor, Tensor]]
"""Places, and what they hold in the items that accept the change."""


def toeplitz(band: Tensor, rows: Span, outputs: Span) -> Tensor:
    """Return the matrix from input rows to output rows of a convolution (taps, K, K').

    Output f, counted so that it begins at input row f, takes row i by tap i − f.
    """
    taps, width, out = band.shape
    matrix = band.new_zeros(rows[1] - rows[0], width, outputs[1] - outputs[0], out)
    for row in range(*rows):
        for start in range(max(outputs[0], row - taps + 1), min(outputs[1], row + 1)):
            matrix[row - rows[0], :, start - outputs[0]] = band[row - start]
    return matrix.flatten(2).flatten(0, 1)


def highest(x: Tensor, size: int, stride: int) -> Tensor:
    """Return the maxima of `size` neighbours along the second axis, every `stride`.

    Where regions overlap, what they share is compared once.
    """
    count = (x.shape[1] - size) // stride + 1

    def every(part: Tensor, first: int, regions: int) -> Tensor:
        return part[:, first : first + (regions - 1) * stride + 1 : stride]

    if size < 2 * stride:
        y = every(x, 0, count)
        for k in range(1, size):
            y = torch.maximum(y, every(x, k, count))
        return y if size > 1 else y.clone()
    # Regions of `stride` rows each, of which every larger one is made.
    whole, rest = divmod(size, stride)
    pieces = highest(x, stride, stride)
    y = torch.maximum(pieces[:, :count], pieces[:, 1 : count + 1])
    for k in range(2, whole):
        y = torch.maximum(y, pieces[:, k : k + count])
    for k in range(size - rest, size):
        y = torch.maximum(y, every(x, k, count))
    return y


class ChangedRows:
    """The rows that a change reaches, layer by layer.

    Raises Unsupported when the rows of the network form no such blocks.
    """

    def __init__(self, network: Network, layer: int, target: Tensor, rows: int) -> None:
        blocks = plan(network, layer)
        self._convolutions = [
            _Convolution(network, block, first=number == 0)
            for number, block in enumerate(blocks)
            if isinstance(network.table[block[0] - 1], Conv)
        ]
        self._dense = [
            _Dense(network, block)
            for block in blocks
            if isinstance(network.table[block[0] - 1], Linear)
        ]
        if not self._convolutions:
            raise Unsupported("the network begins without a convolution")
        self._target = target if self._dense else target.permute(0, 2, 3, 1).contiguous()
        self._residual = target.new_empty(0)
        self._energy = self._proposed = target.new_empty(0, dtype=torch.float64)
        self._pending: Pending = []

    def load(self, x: Tensor) -> Tensor:
        """See `proposals.Proposals`."""
        y = x.permute(0, 2, 3, 1)
        for block in self._convolutions:
            y = block.load(y)
        for dense in self._dense:
            y = dense.load(y)
        self._residual = y - self._target
        self._energy = squared_norm(self._residual).mul_(0.5)
        return self._energy.clone()

    def propose(self, change: Tensor, first: int) -> Tensor:
        """See `proposals.Proposals`."""
        pending = self._pending = []
        span, y = self._convolutions[0].add(change, first, pending)
        for block in self._convolutions[1:]:
            if span[0] < span[1]:
                span, y = block.replace(span, y, pending)
        if span[0] >= span[1]:
            self._proposed = self._energy
            return self._proposed
        if self._dense:
            y = self._dense[0].replace(span, y, pending)
            for dense in self._dense[1:]:
                y = dense.load(y)
            self._proposed = squared_norm(y - self._target).mul_(0.5)
            return self._proposed
        rows = slice(*span)
        place = self._residual[:, rows]
        residual = y - self._target[:, rows]
        gain = squared_norm(residual.flatten(1)) - squared_norm(place.reshape(len(y), -1))
        pending.append((place, residual))
        self._proposed = self._energy + 0.5 * gain
        return self._proposed

    def settle(self, accepted: Tensor) -> None:
        """See `proposals.Proposals`."""
        items = accepted.nonzero()[:, 0]
        for place, new in self._pending:
            # As rows: the whole of an item's is copied at once.
            rows = new.view(len(new), -1).index_select(0, items)
            place.view(len(place), -1)[items] = rows
        self._energy = torch.where(accepted, self._proposed, self._energy)


class _Convolution:
    """A convolution and the ReLU and pooling after it; arrays are (B, F, T, C).

    What comes after a change of rows is the convolution of the change, added: one product of the
    rows with the `toeplitz` matrix of the kernel.
    """

    def __init__(self, network: Network, block: tuple[int, int], *, first: bool) -> None:
        conv, *rest = network.table[block[0] - 1 : block[1]]
        assert isinstance(conv, Conv)
        weight, bias = (p.detach() for p in network.parameters_of(network.names[block[0] - 1]))
        _, _, frames = network.shape_before(block[0])
        maps, self._bins, self._frames = network.shapes[block[0] - 1]
        self._weight, self._bias, self._pads = weight, bias, conv.pads
        self._taps, self._top = conv.kernel[0], conv.pads[0]
        self._relu = any(isinstance(row, ReLU) for row in rest)
        pool = next((row for row in rest if isinstance(row, MaxPool)), None)
        self._pool = pool
        if pool is not None:
            # Refuses regions that overlap in time.
            TimePool(pool.size[1], pool.stride[1], self._frames, maps, columns=False)
            self._pooled = FrequencyPool(pool.size[0], pool.stride[0], self._bins).out
        self._by_frame = conv.kernel[1] == 1 and conv.pads[2] == conv.pads[3] == 0
        self._band: Tensor | None = None
        if self._by_frame:
            self._band = weight[..., 0].permute(2, 1, 0)  # (taps, C, maps)
        elif first:  # few rows and channels; with more, so large a matrix is mostly zeros
            self._band = time_band(weight, frames, conv.pads[2], self._frames)
        self._spreads: dict[int, Tensor] = {}
        self._x = self._z = weight.new_empty(0)

    def load(self, x: Tensor) -> Tensor:
        """Return the output (B, F', T', C') of all rows, and remember them."""
        self._x = x.contiguous()
        self._z = self._convolve(x, self._pads[0], self._pads[1]).add_(self._bias)
        return self._after(self._z)

    def add(self, change: Tensor, first: int, pending: Pending) -> tuple[Span, Tensor]:
        """Add a change (B, n, T, C) of the input; return the rows of the output it reaches."""
        start = first + self._top - self._taps + 1
        low, high = max(0, start), min(self._bins, first + change.shape[1] + self._top)
        reached = self._regions(low, high)
        if reached[0] >= reached[1]:
            # Pooling leaves the last rows out, of which nothing has to be known.
            return reached, change
        above, below = self._rows_of(reached)
        z, begin, end = self._z, max(low, above), min(high, below)
        window = z.new_empty(len(change), below - above, *z.shape[2:])
        window[:, : begin - above] = z[:, above:begin]
        window[:, end - above :] = z[:, end:below]
        place, new = z[:, begin:end], window[:, begin - above : end - above]
        torch.add(place, self._moved(change, slice(begin - start, end - start)), out=new)
        pending.append((place, new))
        return reached, self._after(window)

    def replace(self, span: Span, x: Tensor, pending: Pending) -> tuple[Span, Tensor]:
        """Replace rows of the input; return the rows of the output that they reach."""
        place = self._x[:, slice(*span)]
        pending.append((place, x))
        return self.add(x - place, span[0], pending)

    def _moved(self, change: Tensor, outputs: slice) -> Tensor:
        """Return the convolution of rows (B, n, T, C) between zeros: some of its outputs."""
        batch, rows, frames, _ = change.shape
        if self._band is None:
            return self._convolve(change, self._taps - 1, self._taps - 1)[:, outputs]
        if rows not in self._spreads:
            self._spreads[rows] = toeplitz(self._band, (0, rows), (1 - self._taps, rows))
        count, width = outputs.stop - outputs.start, self._band.shape[2]
        spread = self._spreads[rows][:, outputs.start * width : outputs.stop * width]
        if self._by_frame and frames > 1:
            flat = change.transpose(1, 2).reshape(batch * frames, -1)
            return (flat @ spread).view(batch, frames, count, -1).transpose(1, 2)
        return (change.flatten(1) @ spread).view(batch, count, self._frames, -1)

    def _convolve(self, x: Tensor, above: int, below: int) -> Tensor:
        """Convolve rows (B, n, T, C) between rows of zeros, to (B, n', T', C')."""
        padded = functional.pad(x, (0, 0, *self._pads[2:], above, below)).permute(0, 3, 1, 2)
        return functional.conv2d(padded, self._weight).permute(0, 2, 3, 1).contiguous()

    def _regions(self, low: int, high: int) -> Span:
        """Return the rows of the output that rows low … high − 1 of the convolution reach."""
        if self._pool is None:
            return low, high
        size, stride = self._pool.size[0], self._pool.stride[0]
        return max(0, -((size - 1 - low) // stride)), min(self._pooled, (high - 1) // stride + 1)

    def _rows_of(self, regions: Span) -> Span:
        """Return the rows of the convolution that some rows of the output come from."""
        if self._pool is None:
            return regions
        size, stride = self._pool.size[0], self._pool.stride[0]
        return regions[0] * stride, (regions[1] - 1) * stride + size

    def _after(self, z: Tensor) -> Tensor:
        """Pool and rectify whole regions of rows."""
        if self._pool is None:
            return z.relu() if self._relu else z
        (size, frames), (stride, step) = self._pool.size, self._pool.stride
        if (frames, step) != (1, 1):
            z = highest(z.transpose(1, 2), frames, step).transpose(1, 2)
        y = highest(z, size, stride)
        return y.relu_() if self._relu else y


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

    def load(self, x: Tensor) -> Tensor:
        """Return the output (B, units) of inputs (B, …), and remember both."""
        self._x = x
        self._z = torch.addmm(self._bias, x.flatten(1), self._weight)
        return self._z.relu() if self._relu else self._z

    def replace(self, span: Span, x: Tensor, pending: Pending) -> Tensor:
        """Return the output when some rows of the input (B, F, T, C) change to x."""
        place = self._x[:, slice(*span)]
        width = self._x[0, 0].numel()
        moved = (x - place).flatten(1)
        z = torch.addmm(self._z, moved, self._weight[span[0] * width : span[1] * width])
        pending += [(place, x), (self._z, z)]
        return z.relu() if self._relu else z
