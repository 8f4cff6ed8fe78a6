"""The convolutions of a network over frequency, forward and back in arrays that are reused.

Training repeats the same step on arrays of the same sizes. Keeping them, keeping the maps of a
bin together in memory, pooling before the ReLU (the two commute) and computing two neighbouring
bins by one matrix product takes less than half the time of the general layers.
"""

import torch
from torch import Tensor

from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU
from speechscope.networks.pooling import Unsupported

aten = torch.ops.aten


class Trunk:
    """Everything before the first fully connected layer, for batches of at most `batch` items.

    Works on the CPU, where every convolution is valid and leaves one time frame and is followed
    by a ReLU and a max-pooling over frequency (Churchman 2015, fig. 6).

    Raises
    ------
    Unsupported
        The network is another.
    """

    def __init__(self, network: Network, batch: int) -> None:
        rows = network.table
        end = next((i for i, row in enumerate(rows) if isinstance(row, Linear)), len(rows))
        if not end or end % 3 or next(network.parameters()).device.type != "cpu":
            raise Unsupported
        self.layers: list[_Layer] = []
        for first in range(0, end, 3):
            conv, relu, pool = rows[first : first + 3]
            shape = network.shape_before(first + 1)
            if not (
                isinstance(conv, Conv) and isinstance(relu, ReLU) and isinstance(pool, MaxPool)
            ):
                raise Unsupported
            if any(conv.pads) or conv.kernel[1] != shape[2] or pool.size[1] != 1:
                raise Unsupported
            weight, bias = network.parameters_of(network.names[first])
            pooling = pool.size[0], pool.stride[0]
            self.layers.append(_Layer(weight, bias, shape[1], pooling, batch, back=first > 0))
        last = self.layers[-1]
        # Choosing columns by number is ten times as fast as copying a transposed array.
        self._order = torch.arange(last.pooled * last.maps).view(last.pooled, -1).t().flatten()
        self._back = self._order.argsort()
        self._units = last.weight.new_empty(batch, len(self._order))
        self._dunits = torch.empty_like(self._units)

    def forward(self, x: Tensor) -> Tensor:
        """Return the units, (B, units) in C, F, T order, of inputs (B, C, F, T)."""
        rows = x.permute(0, 2, 3, 1).flatten(2)
        for layer in self.layers:
            rows = layer.forward(rows.contiguous())
        return torch.index_select(rows.flatten(1), 1, self._order, out=self._units[: len(x)])

    def backward(self, grad: Tensor) -> None:
        """Give weights and biases their derivatives, given that by the units of `forward`."""
        last = self.layers[-1]
        rows = torch.index_select(grad, 1, self._back, out=self._dunits[: len(grad)])
        rows = rows.view(len(grad), last.pooled, last.maps)
        for layer in reversed(self.layers):
            layer.backward(rows)
            if layer.back:
                rows = layer.input_gradient(len(grad))


class _Layer:
    """A convolution, its pooling and ReLU on rows (B, F, K), K = frames × channels."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        frequency: int,
        pooling: tuple[int, int],
        batch: int,
        *,
        back: bool,
    ) -> None:
        self.weight, self.bias, self.back = weight.detach(), bias.detach(), back
        weight.grad, bias.grad = torch.zeros_like(weight), torch.zeros_like(bias)
        self._dweight, self._dbias = weight.grad, bias.grad
        self.maps, channels, self._taps, frames = weight.shape
        self._split = frames, channels
        self._k = frames * channels
        self._in, self._out = frequency, frequency - self._taps + 1
        # Eight maps fill half a vector register: two bins of output come from one window.
        self._group = 2 if self._out % 2 == 0 else 1
        self._window = (self._taps + self._group - 1) * self._k
        self._windows = self._out // self._group
        self._size, self._stride = pooling
        self.pooled = (self._out - self._size) // self._stride + 1
        new = self.weight.new_empty
        self._matrix = new(self._group * self.maps, self._window).zero_()
        self._columns = new(batch * self._windows, self._window)
        self._y, self._dy = new(batch * self._out, self.maps), new(batch * self._out, self.maps)
        self._z = new(batch, self.pooled, self.maps)
        self._where = torch.empty(self._z.shape, dtype=torch.int64)
        self._dx = new(batch, frequency, self._k) if back else new(0)
        self._dcolumns = torch.empty_like(self._columns) if back else new(0)

    def _maps_last(self, x: Tensor, count: int, length: int) -> Tensor:
        """Return rows as (B, maps, F, 1), maps nearest in memory: the pooling's fast layout."""
        return x.as_strided(
            (count, self.maps, length, 1), (length * self.maps, 1, self.maps, self.maps)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled maps (B, pooled, maps), valid until the next call."""
        count, k = len(x), self._k
        kernel = self.weight.permute(0, 2, 3, 1).reshape(self.maps, -1)
        for i in range(self._group):
            block = self._matrix[i * self.maps : (i + 1) * self.maps]
            block[:, i * k : (i + self._taps) * k] = kernel
        columns = self._columns[: count * self._windows]
        steps = (self._in * k, self._group * k, 1)
        columns.view(count, self._windows, -1).copy_(
            x.as_strided((count, self._windows, self._window), steps)
        )
        y = self._y[: count * self._out].view(len(columns), -1)
        torch.mm(columns, self._matrix.t(), out=y)
        aten.max_pool2d_with_indices.out(
            self._maps_last(self._y, count, self._out),
            (self._size, 1),
            (self._stride, 1),
            out=self._maps_last(self._z, count, self.pooled),
            indices=self._maps_last(self._where, count, self.pooled),
        )
        return self._z[:count].add_(self.bias).relu_()

    def backward(self, grad: Tensor) -> None:
        """Write the derivatives by weight and bias; `grad` (B, pooled, maps) is overwritten."""
        count = len(grad)
        aten.threshold_backward.grad_input(grad, self._z[:count], 0, grad_input=grad)
        aten.max_pool2d_with_indices_backward.grad_input(
            self._maps_last(grad, count, self.pooled),
            self._maps_last(self._y, count, self._out),
            (self._size, 1),
            (self._stride, 1),
            (0, 0),
            (1, 1),
            False,
            self._maps_last(self._where, count, self.pooled),
            grad_input=self._maps_last(self._dy, count, self._out),
        )
        columns = self._columns[: count * self._windows]
        dy = self._dy[: count * self._out].view(len(columns), -1)
        band = dy.t() @ columns
        k, maps = self._k, self.maps
        kernel = torch.stack(
            [
                band[i * maps : (i + 1) * maps, i * k : (i + self._taps) * k]
                for i in range(self._group)
            ]
        ).sum(0)
        self._dweight.copy_(kernel.view(maps, self._taps, *self._split).permute(0, 3, 1, 2))
        torch.sum(grad, (0, 1), out=self._dbias)

    def input_gradient(self, count: int) -> Tensor:
        """Return the derivative by the input, (B, F, K), after `backward`."""
        dcolumns = self._dcolumns[: count * self._windows]
        dy = self._dy[: count * self._out].view(len(dcolumns), -1)
        torch.mm(dy, self._matrix, out=dcolumns)
        parts = dcolumns.view(count, self._windows, -1, self._k)
        dx = self._dx[:count].zero_()
        # A window overlaps those after it; bins `group` apart belong to neighbouring windows.
        steps = (self._in * self._k, self._group * self._k, self._k, 1)
        for first in range(0, parts.shape[2], self._group):
            part = parts[:, :, first : first + self._group]
            dx.as_strided(part.shape, steps, dx.storage_offset() + first * self._k).add_(part)
        return dx
