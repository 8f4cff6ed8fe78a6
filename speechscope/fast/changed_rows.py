"""Annealing by the rows that change: 11–12 times as many proposals a second as whole passes.

It replaces `speechscope.inversion.anneal.Chains` on the CPU (``tests/inversion/test_anneal.py``:
equal decisions; ``benchmarks/anneal.py``: the gain). A proposal changes a band of the input. A
convolution is linear, so that its change is one matrix product of the rows that changed; only the
regions of its pooling that they reach are computed again. All inputs of a batch change at the same
rows, so every array is a slice. What there is to do for a band of rows is worked out when it
changes for the first time: to find the places in all arrays takes longer than many of the passes.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from speechscope.fast import row_loops
from speechscope.fast.frozen import plan
from speechscope.fast.kernels import Scratch, time_band
from speechscope.fast.row_loops import Keep, Pass, Pooling
from speechscope.inversion.anneal import SWEEP
from speechscope.inversion.problem import squared_norm
from speechscope.networks.layers import Conv, Layered, MaxPool, Network, ReLU
from speechscope.work.accelerators import Unsupported

Span: TypeAlias = tuple[int, int]
"""First row, and the row after the last."""

FRESH = 20 * SWEEP
"""Proposals after which sums of accepted changes are computed afresh: rounding adds up in them."""


class Chains:
    """See `speechscope.inversion.anneal.Chains`."""

    def __init__(self, network: Layered, layer: int, target: Tensor, l2: float, x: Tensor) -> None:
        if not isinstance(network, Network) or x.device.type != "cpu":
            raise Unsupported("annealing by changed rows is for our networks on the CPU")
        self._rows, self._l2, self._proposals = ChangedRows(network, layer, target), l2, 0
        self._x = x.clone(memory_format=torch.contiguous_format)
        self._rest = 0.5 * l2 * squared_norm(self._x)
        self.energy = self._rows.load(self._x) + self._rest
        self.lowest, self._best = self.energy.clone(), self._x.clone()
        self._at_best, self._accepted = (
            torch.full_like(self.energy, known, dtype=torch.bool) for known in (True, False)
        )
        self._limit = torch.empty_like(self.energy)
        then = torch.empty_like(self.energy), self._limit
        now = self._x, self._rest, self.energy
        bests = self.lowest, self._best, self._at_best, self._accepted
        # All of which stay where they are.
        self._limits: list[Any] = [array.numpy() for array in (*now, *then)]
        self._state: list[Any] = [array.numpy() for array in (*now, *bests, *then)]

    @property
    def best(self) -> Tensor:
        """See `speechscope.inversion.anneal.Chains`."""
        return torch.where(self._at_best[:, None, None, None], self._x, self._best)

    def step(self, change: Tensor, first: int, slack: Tensor) -> None:
        """See `speechscope.inversion.anneal.Chains`."""
        if self._proposals and self._proposals % FRESH == 0:
            self._rest.copy_(0.5 * self._l2 * squared_norm(self._x))
            self.energy.copy_(self._rows.load(self._x) + self._rest)
        self._proposals += 1
        band = change.permute(0, 2, 3, 1).contiguous()
        rows = band.numpy()
        of_limit: Any = rows, slack.numpy(), first, self._l2
        row_loops.limit(*self._limits, *of_limit)
        of_change: Any = rows, self._rows.propose(band, first).numpy(), first
        row_loops.settle(*self._state, *of_change)
        self._rows.settle(self._accepted)


@dataclass
class _Band:
    """What there is to do when some rows of the input change.

    Attributes
    ----------
    change
        Where the change (B, n, T, C) is to be written.
    passes
        What gives the energies, in order.
    keeps
        What keeps the change in the items that accept it.
    """

    change: Tensor
    passes: list[Pass] = field(default_factory=list)
    keeps: list[Keep] = field(default_factory=list)

    def run(self) -> None:
        """Make the passes."""
        for each in self.passes:
            each()


def _stored(there: Tensor, values: Tensor) -> Tensor:
    """Return values in an array of their own, the one there where they fit."""
    if there.shape == values.shape:
        return there.copy_(values)
    return values.clone(memory_format=torch.contiguous_format)


def toeplitz(band: Tensor, rows: int) -> Tensor:
    """Return the matrix of a convolution (taps, K, K') from all rows to all that they reach.

    Output f takes row i by tap i − f + taps − 1. The matrix is (rows × K, rows + taps − 1, K').
    """
    taps, width, out = band.shape
    matrix = band.new_zeros(rows, width, rows + taps - 1, out)
    for row in range(rows):
        for tap in range(taps):
            matrix[row, :, row - tap + taps - 1] = band[tap]
    return matrix.flatten(0, 1)


class ChangedRows:
    """½ ‖Y* − Y‖² by the rows that a change reaches, layer by layer.

    Raises Unsupported when the rows of the network form no such blocks.
    """

    def __init__(self, network: Network, layer: int, target: Tensor) -> None:
        blocks = plan(network, layer)
        convolutions = [b for b in blocks if isinstance(network.table[b[0] - 1], Conv)]
        if not convolutions:
            raise Unsupported("the network begins without a convolution")
        apart = [n > 0 and _frames_apart(network, b) for n, b in enumerate(convolutions)]
        self._convolutions = [
            _Convolution(network, block, first=n == 0, apart=apart[n], after=after)
            for n, (block, after) in enumerate(zip(convolutions, [*apart[1:], False], strict=True))
        ]
        self._dense = [_Dense(network, block) for block in blocks[len(convolutions) :]]
        # Rows (B, F, T C), or the units of a fully connected layer as one row.
        rows = target.permute(0, 2, 3, 1).flatten(2) if target.dim() == 4 else target[:, None]
        self._target = rows.contiguous()
        self._residual = target.new_empty(0)
        self._energy, self._proposed = (
            target.new_empty(len(target), dtype=torch.float64) for _ in range(2)
        )
        self._bands: dict[tuple[int, int], _Band] = {}
        self._band = _Band(self._residual)
        self._scratch = Scratch()

    def load(self, x: Tensor) -> Tensor:
        """Take inputs (B, C, F, T) and return their energies (B,) in float64."""
        y = x.permute(0, 2, 3, 1).flatten(2)
        for block in self._convolutions:
            y = block.load(y)
        for number, dense in enumerate(self._dense):
            band = _Band(y)
            y = dense.forward(y, band) if number else dense.load(y)
            band.run()
        self._residual = _stored(self._residual, y.view_as(self._target) - self._target)
        return self._energy.copy_(squared_norm(self._residual)).mul_(0.5).clone()

    def propose(self, change: Tensor, first: int) -> Tensor:
        """Add `change` (B, n, T, C) at row `first`, wholly inside, and return the energies (B,).

        They are valid until the next call.
        """
        key = first, change.shape[1]
        if key not in self._bands:
            self._bands[key] = self._made(first, change)
        self._band = self._bands[key]
        self._band.change.copy_(change)
        self._band.run()
        return self._proposed

    def settle(self, accepted: Tensor) -> None:
        """Keep the change in the items marked in (B,), and take it back in the others."""
        marks: Any = accepted.numpy()
        for keep in self._band.keeps:
            keep(marks)
        self._energy.copy_(torch.where(accepted, self._proposed, self._energy))

    def _made(self, first: int, like: Tensor) -> _Band:
        change = self._scratch("change", like.shape[1], like.shape, like)
        band = _Band(change)
        span, y = self._convolutions[0].add(change.flatten(2), first, band)
        for block in self._convolutions[1:]:
            if span[0] < span[1]:
                span, y = block.replace(span, y, band)
        if span[0] >= span[1]:
            band.passes.append(partial(self._proposed.copy_, self._energy))
            return band
        for number, dense in enumerate(self._dense):
            # The first one takes the rows that changed, the others all there is.
            y = dense.forward(y, band) if number else dense.replace(span, y, band)
            span = (0, 1)
        rows = y.view(len(y), span[1] - span[0], -1)
        residual = self._scratch("residual", 0, rows.shape, rows)
        band.passes.append(row_loops.difference(rows, self._target, span[0], residual))
        places = residual, self._residual, span[0], self._energy, self._proposed
        band.passes.append(row_loops.energy(*places))
        band.keeps.append(row_loops.keep(self._residual, span[0], residual))
        return band


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
        _, self._bins, self._frames = network.shapes[block[0] - 1]
        self._weight, self._bias, self._pads = weight, bias, conv.pads
        self._taps, self._top = conv.kernel[0], conv.pads[0]
        size, width, stride, step = 1, 1, 1, 1
        self._count, frames_after = self._bins, self._frames
        for row in rest:
            if isinstance(row, MaxPool):
                (size, width), (stride, step) = row.size, row.stride
                frames_after = (self._frames - width) // step + 1
                if width > step and frames_after > 1:
                    raise Unsupported("the regions of a pooling over time overlap")
                self._count = (self._bins - size) // stride + 1
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
        self._x = _stored(self._x, x)
        self._z = _stored(self._z, self._convolve(x, self._pads[0], self._pads[1]) + self._bias)
        band = _Band(x)
        y = self._pooled(0, self._z[:, :0], (0, self._count), band)
        band.run()
        return y

    def add(self, change: Tensor, first: int, band: _Band) -> tuple[Span, Tensor]:
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
        moved = self._moved(change, slice(begin - start, end - start), band)
        band.keeps.append(row_loops.keep(self._z, begin, moved, each=self._frames, add=True))
        return reached, self._pooled(begin, moved, reached, band)

    def replace(self, span: Span, rows: Tensor, band: _Band) -> tuple[Span, Tensor]:
        """Replace rows of the input; return the rows of the output that they reach."""
        band.keeps.append(row_loops.keep(self._x, span[0], rows, each=self._each))
        change = self._scratch("change", 0, rows.shape, rows)
        band.passes.append(row_loops.difference(rows, self._x, span[0], change))
        return self.add(change, span[0], band)

    def _moved(self, change: Tensor, outputs: slice, band: _Band) -> Tensor:
        """Return the convolution of rows between zeros: some of its outputs, for every frame."""
        number, rows, _ = change.shape
        frames = self._frames // self._each
        shape = number * frames, outputs.stop - outputs.start, len(self._bias)
        moved = self._scratch("moved", 0, shape, change)
        if self._band is None:
            above = self._taps - 1
            band.passes.append(
                lambda: moved.copy_(self._convolve(change, above, above)[:, outputs])
            )
            return moved
        key = rows, outputs.start, outputs.stop
        if key not in self._spreads:
            spread = toeplitz(self._band, rows)
            spread = spread.view(len(spread), -1, frames, len(self._bias))[:, outputs]
            self._spreads[key] = spread.transpose(1, 2).flatten(1).contiguous()
        product = partial(torch.mm, change.flatten(1), self._spreads[key])
        band.passes.append(partial(product, out=moved.view(number, -1)))
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

    def _pooled(self, first: int, change: Tensor, regions: Span, band: _Band) -> Tensor:
        pool, (number, _, channels) = self._pool, change.shape
        items, rows = number // pool.before, regions[1] - regions[0]
        shape = items, rows, pool.after * channels
        if pool.apart:
            shape = items * pool.after, rows, channels
        out = self._scratch("out", 0, shape, change)
        band.passes.append(row_loops.pooled(self._z, first, change, regions, pool, out))
        return out


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
        self._x = _stored(self._x, rows)
        self._z = _stored(self._z, torch.addmm(self._bias, rows.flatten(1), self._weight))
        return self._z.relu() if self._relu else self._z

    def forward(self, x: Tensor, band: _Band) -> Tensor:
        """Have the output (B, units) of inputs (B, units') written; return where."""
        z = self._scratch("z", 0, (len(x), len(self._bias)), x)
        band.passes.append(partial(torch.addmm, self._bias, x, self._weight, out=z))
        if self._relu:
            band.passes.append(z.relu_)
        return z

    def replace(self, span: Span, rows: Tensor, band: _Band) -> Tensor:
        """Have the output written as it is when some rows of the input change; return where."""
        width = self._x.shape[2]
        moved = self._scratch("moved", 0, rows.shape, rows)
        band.passes.append(row_loops.difference(rows, self._x, span[0], moved))
        z, y = (self._scratch(name, 0, self._z.shape, rows) for name in ("z", "y"))
        weight = self._weight[span[0] * width : span[1] * width]
        band.passes.append(partial(torch.addmm, self._z, moved.flatten(1), weight, out=z))
        band.keeps.append(row_loops.keep(self._x, span[0], rows))
        band.keeps.append(row_loops.keep(self._z[:, None], 0, z[:, None]))
        if not self._relu:
            return z
        band.passes.append(partial(torch.clamp, z, min=0, out=y))
        return y
