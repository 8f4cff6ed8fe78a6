"""The convolutions of a network over frequency, forward and back in arrays that are reused.

Training repeats the same step on arrays of the same sizes. Maps are kept apart in memory, as
(maps, items × bins), and even and odd bins too, so that max-pooling with stride 2 and its
derivative are a few passes over long neighbouring stretches, and so are the windows of the next
convolution. Pooling comes before bias and ReLU, with which it commutes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU
from speechscope.networks.pooling import Scratch, Unsupported
from speechscope.training.line_pool import LineArrays, LinePool


class Trunk:
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
            raise Unsupported
        self._layers: list[_Layer] = []
        scratch = Scratch()
        for first in range(0, end, 3):
            conv, relu, pool = rows[first : first + 3]
            shape = network.shape_before(first + 1)
            if not (
                isinstance(conv, Conv) and isinstance(relu, ReLU) and isinstance(pool, MaxPool)
            ):
                raise Unsupported
            if any(conv.pads) or conv.kernel[1] != shape[2] or conv.stride != (1, 1):
                raise Unsupported
            if pool.size[1] != 1 or pool.size[0] < 2 or pool.stride[0] != 2:
                raise Unsupported
            weight, bias = network.parameters_of(network.names[first])
            kind = _First if first == 0 else _Later
            self._layers.append(
                kind(weight.detach(), bias.detach(), shape, pool.size[0], batch, scratch)
            )
        self._names = [name for name in network.names[:end] if name.startswith("conv")]

    def forward(self, x: Tensor, out: Tensor) -> None:
        """Write the units, (B, units) in C, F, T order, of inputs (B, C, F, T) to `out`."""
        rows = x.permute(0, 2, 3, 1).flatten(2)
        for layer in self._layers:
            rows = layer.forward(rows, len(x))
        units = out.view(len(x), layer.maps, layer.pooled)
        units.copy_(rows.transpose(0, 1)[..., : layer.pooled])

    def backward(self, grad: Tensor) -> dict[str, Tensor]:
        """Return the derivatives by the parameters, given that by the units of `forward`."""
        last = self._layers[-1]
        rows = last.gradient(len(grad))
        rows[..., : last.pooled] = grad.view(len(grad), last.maps, -1).transpose(0, 1)
        found: dict[str, Tensor] = {}
        for number in range(len(self._layers) - 1, -1, -1):
            layer, name = self._layers[number], self._names[number]
            found[f"{name}.weight"], found[f"{name}.bias"] = layer.backward(len(grad))
            if isinstance(layer, _Later):
                rows = self._layers[number - 1].gradient(len(grad))
                layer.input_gradient(rows)
        return found


class _Layer(ABC):
    """A convolution, its pooling and ReLU.

    Two neighbouring bins of output, an even and an odd one, come from one window of taps + 1
    bins. An array of *lines*, (maps, B, line), holds one of them for every item; a line may end
    in bins that stand for nothing, and whose derivative is 0.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        shape: tuple[int, ...],
        size: int,
        batch: int,
        scratch: Scratch,
    ) -> None:
        self.weight, self._bias, self._size, self._scratch = weight, bias, size, scratch
        self.maps, self._channels, self._taps, self._frames = weight.shape
        self._k = self._frames * self._channels
        self._in, self._out = shape[1], shape[1] - self._taps + 1
        self.pooled = (self._out - size) // 2 + 1
        self.line = self._line()
        self._window = (self._taps + 1) * self._k
        self._matrix = weight.new_zeros(2 * self.maps, self._window)
        taps = self._taps * self._k
        self._halves = self._matrix[: self.maps, :taps], self._matrix[self.maps :, self._k :]
        self._arrays = LineArrays.of(weight, size, self.maps * batch * self.line)
        self._pools: dict[int, LinePool] = {}

    @abstractmethod
    def _line(self) -> int:
        """Return how many windows an item takes in memory."""

    @abstractmethod
    def _convolve(self, rows: Tensor, y: Tensor) -> None:
        """Write the products of the matrix and the windows of the input to `y`."""

    @abstractmethod
    def _by_matrix(self, dy: Tensor) -> Tensor:
        """Return the derivative by the matrix, given that by `y` of the last `_convolve`."""

    def _pool(self, count: int) -> LinePool:
        """Return the pooling of `count` items: its views of the arrays are made once."""
        if count not in self._pools:
            self._pools[count] = LinePool(
                self._arrays, self._scratch, self._size, (self.maps, count, self.line)
            )
        return self._pools[count]

    def forward(self, rows: Tensor, count: int) -> Tensor:
        """Return the pooled and rectified lines (maps, B, line), valid until the next call."""
        kernel = self.weight.permute(0, 2, 3, 1).reshape(self.maps, -1)
        for half in self._halves:
            half.copy_(kernel)
        pool = self._pool(count)
        self._convolve(rows, pool.y)
        return pool.forward(self._bias)

    def gradient(self, count: int) -> Tensor:
        """Return zeros (maps, B, line), for the derivative by the output of `forward`."""
        return self._pool(count).grad.zero_()

    def backward(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the derivatives by weight and bias, given what was written to `gradient`."""
        dy, by_bias = self._pool(count).backward()
        band = self._by_matrix(dy)
        taps = self._taps * self._k
        kernel = band[: self.maps, :taps] + band[self.maps :, self._k :]
        kernel = kernel.view(self.maps, self._taps, self._frames, self._channels)
        return kernel.permute(0, 3, 1, 2), by_bias


class _First(_Layer):
    """The first layer: its input comes as rows (B, F, K), K = frames × channels.

    Windows are copied for a few items at a time, and again for the derivative: all of them would
    be many times the input, and too large for a processor's own cache.
    """

    ITEMS = 16
    _rows: Tensor
    _windows: Tensor | None = None

    def _line(self) -> int:
        return ceil(self._out / 2)

    def _parts(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield the columns of `y` that belong to some items, and their windows as rows."""
        rows, k, size = self._rows, self._k, self.ITEMS
        if self._windows is None:
            self._windows = self.weight.new_zeros(size, self.line, self._window)
        # The last window of an odd number of bins would reach past the item.
        whole = self._out // 2
        steps = (self._in * k, 2 * k, 1)
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            windows = self._windows[: len(part)]
            windows[:, :whole].copy_(
                part.as_strided((len(part), whole, self._window), steps, part.storage_offset())
            )
            if whole < self.line:
                windows[:, whole, : self._taps * k] = part[:, 2 * whole :].flatten(1)
            place = slice(first * self.line, (first + len(part)) * self.line)
            yield place, windows.view(-1, self._window)

    def _convolve(self, rows: Tensor, y: Tensor) -> None:
        self._rows = rows.contiguous()
        for place, windows in self._parts():
            torch.mm(self._matrix, windows.t(), out=y[:, place])

    def _by_matrix(self, dy: Tensor) -> Tensor:
        band = torch.zeros_like(self._matrix)
        for place, windows in self._parts():
            band.addmm_(dy[:, place], windows)
        return band


class _Later(_Layer):
    """A later layer: its input is the lines of the layer before, (channels, B, line)."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        shape: tuple[int, ...],
        size: int,
        batch: int,
        scratch: Scratch,
    ) -> None:
        super().__init__(weight, bias, shape, size, batch, scratch)
        length = batch * self.line
        self._columns = weight.new_zeros(self._window * length)
        self._phases = [weight.new_zeros(self._channels * length) for _ in range(2)]
        self._plans: dict[int, _Plan] = {}

    def _line(self) -> int:
        return ceil(self._in / 2)

    def _plan(self, rows: Tensor) -> "_Plan":
        """Return the views for lines of the layer before, which always lie in the same place."""
        count = rows.shape[1]
        if count not in self._plans:
            self._plans[count] = self._make(rows)
        return self._plans[count]

    def _make(self, rows: Tensor) -> "_Plan":
        count = rows.shape[1]
        length = self._channels * count * self.line
        phases = [part[:length].view(self._channels, count, self.line) for part in self._phases]
        parts = [rows[..., odd : self._in : 2] for odd in range(2)]
        columns = self._columns[: self._window * count * self.line].view(self._window, -1)
        taps = columns.view(self._taps + 1, -1)
        shifts = [(tap % 2, tap // 2) for tap in range(self._taps + 1)]
        return _Plan(
            phases=[
                (phase[..., : part.shape[2]], part)
                for phase, part in zip(phases, parts, strict=True)
            ],
            taps=[
                (taps[tap, : length - shift], phases[odd].view(-1)[shift:])
                for tap, (odd, shift) in enumerate(shifts)
            ],
            columns=columns,
        )

    def _convolve(self, rows: Tensor, y: Tensor) -> None:
        plan = self._plan(rows)
        for phase, part in plan.phases:
            phase.copy_(part)
        for tap, phase in plan.taps:
            tap.copy_(phase)
        torch.mm(self._matrix, plan.columns, out=y)

    def _by_matrix(self, dy: Tensor) -> Tensor:
        self._dy = dy
        return dy @ self._columns[: self._window * dy.shape[1]].view(self._window, -1).t()

    def input_gradient(self, out: Tensor) -> None:
        """Write the derivative by the input to `out` (channels, B, line), after `backward`."""
        length = self._window * self._dy.shape[1]
        columns = self._scratch("dcolumns", 0, (self._window, self._dy.shape[1]), self.weight)
        torch.mm(self._matrix.t(), self._dy, out=columns)
        parts = columns.view(self._taps + 1, -1)
        length = parts.shape[1]
        shape = (self._channels, out.shape[1], self.line)
        # The phases of the forward pass are not needed any more.
        for odd, flat in enumerate(phase[:length] for phase in self._phases):
            flat.copy_(parts[odd])
            for tap in range(odd + 2, self._taps + 1, 2):
                flat[tap // 2 :].add_(parts[tap, : -(tap // 2)])
            part = out[..., odd : self._in : 2]
            part.copy_(flat.view(shape)[..., : part.shape[2]])


@dataclass(frozen=True)
class _Plan:
    """Where the windows of a later layer come from: copies (to, from), and the windows."""

    phases: list[tuple[Tensor, Tensor]]
    taps: list[tuple[Tensor, Tensor]]
    columns: Tensor
