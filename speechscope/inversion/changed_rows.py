"""The energy after a change of a few neighbouring rows, from those rows alone.

A proposal of simulated annealing changes a band of the input. The first convolution is linear, so
its change is one matrix product of the band; above it, only the rows that the band reaches are
computed again. All inputs of a batch change at the same rows, so that every array is a slice.
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


class ChangedRows:
    """The rows that a change reaches, layer by layer.

    Raises Unsupported when the rows of the network form no such blocks.
    """

    def __init__(self, network: Network, layer: int, target: Tensor, rows: int) -> None:
        blocks = plan(network, layer)
        self._convolutions = [
            _Convolution(network, block, rows if number == 0 else 0)
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
            span, y = block.replace(span, y, pending)
        if span[0] >= span[1]:
            # Pooling leaves the last rows out.
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
            place[items] = new[items]
        self._energy = torch.where(accepted, self._proposed, self._energy)


class _Convolution:
    """A convolution and the ReLU and pooling after it; arrays are (B, F, T, C)."""

    def __init__(self, network: Network, block: tuple[int, int], rows: int) -> None:
        conv, *rest = network.table[block[0] - 1 : block[1]]
        assert isinstance(conv, Conv)
        weight, bias = (p.detach() for p in network.parameters_of(network.names[block[0] - 1]))
        channels, _, frames = network.shape_before(block[0])
        maps, self._bins, self._frames = network.shapes[block[0] - 1]
        self._taps = taps = conv.kernel[0]
        self._top, self._bottom, left, _ = conv.pads
        self._maps, self._bias = maps, bias
        self._relu = any(isinstance(row, ReLU) for row in rest)
        pool = next((row for row in rest if isinstance(row, MaxPool)), None)
        self._pool = pool
        if pool is not None:
            # Refuses regions that overlap in time.
            time = TimePool(pool.size[1], pool.stride[1], self._frames, maps, columns=False)
            self._pooled_frames = time.out
            self._pooled = FrequencyPool(pool.size[0], pool.stride[0], self._bins).out
        band = time_band(weight, frames, left, self._frames)
        self._by_frame = conv.kernel[1] == 1
        if self._by_frame:
            self._matrix = weight[..., 0].permute(2, 1, 0).flatten(0, 1)  # (taps × C, maps)
        else:
            self._matrix = band.flatten(0, 1)  # (taps × T × C, T' × maps)
        self._spread = toeplitz(band, (0, rows), (1 - taps, rows)) if rows else None
        self._width = frames * channels
        self._x = self._z = weight.new_empty(0)

    def load(self, x: Tensor) -> Tensor:
        """Return the output (B, F', T', C') of all rows, and remember them."""
        self._x = functional.pad(x, (0, 0, 0, 0, self._top, self._bottom))
        self._z = self._convolve(self._x)
        return self._after(self._z)

    def add(self, change: Tensor, first: int, pending: Pending) -> tuple[Span, Tensor]:
        """Add a change (B, n, T, C) of the input; return the rows of the output it reaches."""
        assert self._spread is not None
        rows = change.shape[1]
        start = first + self._top - self._taps + 1
        low, high = max(0, start), min(self._bins, first + rows + self._top)
        columns = self._frames * self._maps
        matrix = self._spread[
            : rows * self._width, (low - start) * columns : (high - start) * columns
        ]
        moved = (change.flatten(1) @ matrix).view(len(change), high - low, self._frames, -1)
        moved += self._z[:, low:high]
        return self._reached(low, high, moved, pending)

    def replace(self, span: Span, x: Tensor, pending: Pending) -> tuple[Span, Tensor]:
        """Replace rows of the input; return the rows of the output that they reach."""
        low = max(0, span[0] + self._top - self._taps + 1)
        high = min(self._bins, span[1] + self._top)
        if span[0] >= span[1] or low >= high:
            return (low, low), x
        first, last = self._top + span[0], self._top + span[1]
        pending.append((self._x[:, first:last], x))
        window = self._x[:, low : high + self._taps - 1].clone()
        # Rows that no window begins or ends in are beyond the last output.
        kept = min(last, high + self._taps - 1)
        window[:, first - low : kept - low] = x[:, : kept - first]
        return self._reached(low, high, self._convolve(window), pending)

    def _convolve(self, x: Tensor) -> Tensor:
        """Convolve rows (B, n + taps − 1, T, C), padding included, to (B, n, T', C')."""
        rows = x.unfold(1, self._taps, 1)
        batch, count, frames = rows.shape[:3]
        if self._by_frame:
            flat = rows.transpose(3, 4).reshape(batch * count * frames, -1)
        else:
            flat = rows.permute(0, 1, 4, 2, 3).reshape(batch * count, -1)
        return (flat @ self._matrix).view(batch, count, self._frames, self._maps)

    def _reached(self, low: int, high: int, z: Tensor, pending: Pending) -> tuple[Span, Tensor]:
        """Return the rows of the output that rows low … high − 1 of the convolution reach."""
        pending.append((self._z[:, low:high], z))
        if self._pool is None:
            return (low, high), self._after(z)
        size, stride = self._pool.size[0], self._pool.stride[0]
        start = max(0, -((size - 1 - low) // stride))
        stop = min(self._pooled, (high - 1) // stride + 1)
        if start >= stop:
            return (start, start), z[:, :0]
        first, last = start * stride, (stop - 1) * stride + size
        window = self._z[:, first:last].clone()
        begin, end = max(low, first), min(high, last)
        window[:, begin - first : end - first] = z[:, begin - low : end - low]
        return (start, stop), self._after(window)

    def _after(self, z: Tensor) -> Tensor:
        """Pool, shift and rectify whole regions of rows."""
        if self._pool is None:
            y = z + self._bias
            return y.relu_() if self._relu else y
        (size, frames), (stride, step) = self._pool.size, self._pool.stride
        last = (self._pooled_frames - 1) * step + 1
        over_time = z[:, :, 0:last:step]
        for k in range(1, frames):
            over_time = torch.maximum(over_time, z[:, :, k : k + last : step])
        last = (z.shape[1] - size) // stride * stride + 1
        y = over_time[:, 0:last:stride]
        for k in range(1, size):
            y = torch.maximum(y, over_time[:, k : k + last : stride])
        y = y + self._bias
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
