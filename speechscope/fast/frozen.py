"""A network with fixed weights, run forward and back to its input by hand.

`FrozenObjective` replaces `speechscope.inversion.problem.Objective` on the CPU
(``tests/inversion/test_objective.py``: equal values and derivatives; ``benchmarks/bp.py``: the
gain; 100 items to layers 1, 9 and 12 take 2.3, 1.5 and 1.2 times as long in the plain form, and
with padding 3.5, 1.6 and 1.3 times). There are no derivatives by weights and no graph; every map
lies beside its neighbours in memory (`kernels`), pooling comes before the ReLU (the two commute),
and all large arrays are used again.
"""

from typing import TypeAlias

import torch
from torch import Tensor

from speechscope.fast.kernels import (
    FrequencyConvolution,
    FrequencyPool,
    Scratch,
    TimePool,
    time_band,
)
from speechscope.inversion.problem import complete, squared_norm
from speechscope.networks.layers import Conv, Layered, Linear, MaxPool, Network, ReLU, Shape
from speechscope.work.accelerators import Unsupported

Rows: TypeAlias = tuple[int, int]
"""First and last row of a table, counted from 1, both included."""


def plan(network: Network, layer: int) -> tuple[Rows, ...]:
    """Return the rows of each block on the way from the input to a layer.

    Raises Unsupported when the rows before the layer do not form such blocks.
    """
    blocks: list[Rows] = []
    first = 1
    while first <= layer:
        row = network.table[first - 1]
        follow: set[type] = {ReLU, MaxPool} if isinstance(row, Conv) else {ReLU}
        if not isinstance(row, Conv | Linear):
            raise Unsupported(f"layer {first}: {row} follows no convolution or linear layer")
        last = first
        while last < layer and type(network.table[last]) in follow:
            follow = follow - {type(network.table[last])}
            last += 1
        blocks.append((first, last))
        first = last + 1
    return tuple(blocks)


def make_block(network: Network, rows: Rows, capacity: int) -> "LinearBlock | ConvolutionBlock":
    """Return the block of some rows for at most `capacity` items at a time.

    Raises Unsupported when the rows have no fast form.
    """
    if isinstance(network.table[rows[0] - 1], Conv):
        return ConvolutionBlock(network, rows, capacity)
    return LinearBlock(network, rows, capacity)


def _mask(grad: Tensor, y: Tensor) -> None:
    """Set the derivative to 0 where a ReLU's output is 0."""
    torch.ops.aten.threshold_backward.grad_input(grad, y, 0, grad_input=grad)


class LinearBlock:
    """A fully connected layer and the ReLU that may follow it, run as one.

    Inputs are (B, F, T, C) or (B, units). Outputs are in the block's own order, one element per
    unit; `pack` and `unpack` translate.

    Attributes
    ----------
    input, input_gradient
        Where inputs belong, and the derivative by them that `backward` leaves.
    output_gradient
        Where the derivative by outputs belongs, in their order.
    """

    def __init__(self, network: Network, rows: Rows, capacity: int) -> None:
        weight, bias = (p.detach() for p in network.parameters_of(network.names[rows[0] - 1]))
        shape: Shape = network.shape_before(rows[0])
        if len(shape) == 3:
            weight = weight.view(-1, *shape).permute(0, 2, 3, 1).flatten(1)
            shape = (*shape[1:], shape[0])
        self._weight = weight.contiguous()
        self._bias = bias
        self._relu = rows[1] > rows[0]
        self._x = weight.new_zeros(capacity, weight.shape[1])
        self._dx = torch.zeros_like(self._x)
        self._y = weight.new_zeros(capacity, weight.shape[0])
        self.input = self._x.view(capacity, *shape)
        self.input_gradient = self._dx.view(capacity, *shape)
        self.output_gradient = torch.zeros_like(self._y)

    def forward(self, count: int) -> Tensor:
        """Return the output of the first `count` items, valid until the next call."""
        y = self._y[:count]
        torch.addmm(self._bias, self._x[:count], self._weight.t(), out=y)
        return y.relu_() if self._relu else y

    def backward(self, count: int) -> None:
        """Take the derivative at `output_gradient` to the input."""
        dy = self.output_gradient[:count]
        if self._relu:
            _mask(dy, self._y[:count])
        torch.mm(dy, self._weight, out=self._dx[:count])

    def pack(self, y: Tensor) -> Tensor:
        """Return outputs (B, C, F, T) or (B, units) in the order of `forward`."""
        return y

    def unpack(self, y: Tensor) -> Tensor:
        """Return outputs in the order of `forward` as (B, F, T, C) or (B, units)."""
        return y


class ConvolutionBlock:
    """A convolution and the ReLU and max-pooling that may follow it, in either order.

    A kernel one frame wide keeps each frame's rows apart, (B, T, F, C); any other kernel is a
    band over time with all frames as columns, (B, F, T × C).
    """

    def __init__(self, network: Network, rows: Rows, capacity: int) -> None:
        conv, *rest = network.table[rows[0] - 1 : rows[1]]
        assert isinstance(conv, Conv)
        weight, bias = (p.detach() for p in network.parameters_of(network.names[rows[0] - 1]))
        if conv.stride != (1, 1):
            raise Unsupported(f"layer {rows[0]}: a convolution with stride {conv.stride}")
        channels, frequency, frames = network.shape_before(rows[0])
        taps = conv.kernel[0]
        maps, f_out, t_out = network.shapes[rows[0] - 1]
        top, _, left, _ = conv.pads
        self._relu = any(isinstance(row, ReLU) for row in rest)
        pools = [row for row in rest if isinstance(row, MaxPool)]
        pool = pools[0] if pools else MaxPool((1, 1), (1, 1))
        self._pooled = bool(pools)
        self._banded = conv.kernel[1] > 1 or frames == 1
        self._lead = 1 if self._banded else frames
        self._time = TimePool(pool.size[1], pool.stride[1], t_out, maps, columns=self._banded)
        self._pool = FrequencyPool(pool.size[0], pool.stride[0], f_out)
        self._f_out = f_out
        f_pooled, t_pooled = self._pool.out, self._time.out
        self._out = f_pooled, t_pooled, maps
        if self._banded:
            kernel = time_band(weight, frames, left, t_out)[..., self._time.columns]
            self._bias = bias.repeat(t_pooled)
            pooled_shape: Shape = (f_pooled, t_pooled * maps)
        else:
            kernel = weight[..., 0].permute(2, 1, 0)
            self._bias = bias
            pooled_shape = (t_pooled, f_pooled, maps)
        # Products narrower than a few vector registers waste them.
        group = 2 if kernel.shape[2] <= 16 else 1
        self._conv = FrequencyConvolution(taps, kernel.shape[1], kernel.shape[2], f_out, group)
        if self._conv.rows > 2 * f_out:
            raise Unsupported(f"layer {rows[0]}: a kernel of {taps} bins that leaves {f_out}")
        self._matrix = self._conv.matrix(kernel)
        rows_in_all = capacity * self._lead
        self._x = self._conv.buffer(rows_in_all, weight)
        self._dx = self._conv.buffer(rows_in_all, weight)
        self._z = weight.new_zeros(rows_in_all, self._conv.rows, kernel.shape[2])
        # Rows and frames that no region covers keep a derivative of 0.
        self._dz = torch.zeros_like(self._z)
        # Of these the parts that hold inputs, (B, F, T, C), and outputs, (B, F, K) or (B, T, F, K).
        inner, outer = slice(top, top + frequency), slice(f_out)
        if self._banded:
            self.input, self.input_gradient = (
                x[:, inner].view(capacity, frequency, frames, channels) for x in (self._x, self._dx)
            )
            self._outputs, self._dz_outputs = self._z[:, outer], self._dz[:, outer]
        else:
            self.input, self.input_gradient = (
                x.view(capacity, frames, *x.shape[1:])[:, :, inner].transpose(1, 2)
                for x in (self._x, self._dx)
            )
            self._outputs, self._dz_outputs = (
                z.view(capacity, frames, *z.shape[1:])[:, :, outer] for z in (self._z, self._dz)
            )
        self.output_gradient = (
            weight.new_zeros(capacity, *pooled_shape) if pools else self._dz_outputs
        )
        self._y = self._z
        self._scratch = Scratch()

    def forward(self, count: int) -> Tensor:
        """See `LinearBlock`."""
        rows = count * self._lead
        self._conv.forward(self._x[:rows], self._matrix, self._z[:rows])
        y = self._pool.forward(self._time.forward(self._outputs[:count]))
        y += self._bias
        self._y = y.relu_() if self._relu else y
        return self._y

    def backward(self, count: int) -> None:
        """See `LinearBlock`."""
        dy = self.output_gradient[:count]
        if self._relu:
            _mask(dy, self._y)
        if self._pooled:
            dz = self._dz_outputs[:count]
            parts = self._time.split(dz)
            if len(parts) == 1:
                self._pool.backward(dy, parts[0])
            else:
                pooled = self._scratch("pooled", 0, parts[0].shape, dz)
                self._pool.backward(dy, pooled)
                self._time.maximum.backward(pooled, parts)
        rows = count * self._lead
        self._conv.backward(self._dz[:rows], self._matrix, self._dx[:rows])

    def pack(self, y: Tensor) -> Tensor:
        """See `LinearBlock`."""
        if self._banded:
            return y.permute(0, 2, 3, 1).flatten(2)
        return y.permute(0, 3, 2, 1)

    def unpack(self, y: Tensor) -> Tensor:
        """See `LinearBlock`."""
        if self._banded:
            return y.view(len(y), *self._out)
        return y.transpose(1, 2)


class FrozenObjective:
    """See `speechscope.inversion.problem.Objective`."""

    def __init__(
        self, network: Layered, layer: int, target: Tensor, l2: float, derived: Tensor | None = None
    ) -> None:
        if not isinstance(network, Network):
            raise Unsupported("frozen passes are for our networks")
        self._blocks = [make_block(network, rows, len(target)) for rows in plan(network, layer)]
        self._target = self._blocks[-1].pack(target).contiguous()
        self._l2, self._derived = l2, derived

    def keep(self, items: Tensor) -> None:
        """See `speechscope.inversion.problem.Objective`."""
        self._target = self._target[items]

    def energy(self, x: Tensor) -> Tensor:
        """See `speechscope.inversion.problem.Objective`."""
        count, x = len(x), complete(x, self._derived)
        y = x.permute(0, 2, 3, 1)
        for block in self._blocks:
            block.input[:count].copy_(y)
            packed = block.forward(count)
            y = block.unpack(packed)
        residual = self._blocks[-1].output_gradient[:count]
        torch.sub(packed, self._target, out=residual)
        energy = squared_norm(residual).mul_(0.5)
        return energy.add_(squared_norm(x).mul_(0.5 * self._l2)) if self._l2 else energy

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `speechscope.inversion.problem.Objective`."""
        count, energy = len(x), self.energy(x)
        self._blocks[-1].backward(count)
        for before, block in zip(self._blocks[-2::-1], self._blocks[:0:-1], strict=True):
            before.unpack(before.output_gradient[:count]).copy_(block.input_gradient[:count])
            before.backward(count)
        gradient = self._blocks[0].input_gradient[:count].permute(0, 3, 1, 2)
        if self._l2:
            # In the block's own array: fresh ones cost more than the arithmetic.
            gradient.add_(complete(x, self._derived), alpha=self._l2)
        if self._derived is None:
            return energy, gradient
        # dE/dS of the static channels S: Σ_o ∂E/∂X_o D_oᵀ, with X_o = S D_o.
        apart = gradient.view(count, len(self._derived), -1, *gradient.shape[2:])
        return energy, torch.einsum("bosft,oit->bsfi", apart, self._derived.to(x))
