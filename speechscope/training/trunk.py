"""The convolutions of a network over frequency, forward and back in arrays that are reused.

Training repeats the same step on arrays of the same sizes. Maps are kept apart in memory, as
(maps, items × bins), and even and odd bins too, so that max-pooling with stride 2 and its
derivative are a few passes over long neighbouring stretches, and so are the windows of the next
convolution. Pooling comes before bias and ReLU, with which it commutes.
"""

from collections.abc import Iterator
from math import ceil

import torch
from torch import Tensor

from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU
from speechscope.networks.pooling import Scratch, Unsupported

aten = torch.ops.aten


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
            rows = layer.forward(rows)
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
            found[f"{name}.weight"], found[f"{name}.bias"] = layer.backward(rows)
            if isinstance(layer, _Later):
                rows = self._layers[number - 1].gradient(len(grad))
                layer.input_gradient(rows)
        return found


class _Layer:
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
        length = self.maps * batch * self.line
        self._y = weight.new_zeros(2 * length)
        # The running maxima of pairs of bins, and the maximum of all.
        self._maxima = [weight.new_zeros(length) for _ in range(size // 2)]
        self._z, self._grad = weight.new_zeros(length), weight.new_zeros(length)
        self._prepare(batch)

    def _prepare(self, batch: int) -> None:
        """Make the arrays for the windows of the input."""
        raise NotImplementedError

    def _line(self) -> int:
        """Return how many windows an item takes in memory."""
        raise NotImplementedError

    def _items(self, rows: Tensor) -> int:
        """Return how many items an input has."""
        raise NotImplementedError

    def _convolve(self, rows: Tensor, y: Tensor) -> None:
        """Write the products of the matrix and the windows of the input to `y`."""
        raise NotImplementedError

    def _by_matrix(self, dy: Tensor) -> Tensor:
        """Return the derivative by the matrix, given that by `y` of the last `_convolve`."""
        raise NotImplementedError

    def _halves(self, both: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return lines as a matrix (2 × maps, items × line), and its even and odd half."""
        length = self.maps * count * self.line
        matrix = both[: 2 * length].view(2 * self.maps, -1)
        return matrix, both[:length], both[length : 2 * length]

    def forward(self, rows: Tensor) -> Tensor:
        """Return the pooled and rectified lines (maps, B, line), valid until the next call."""
        taps = self._taps * self._k
        kernel = self.weight.permute(0, 2, 3, 1).reshape(self.maps, -1)
        self._matrix[: self.maps, :taps] = kernel
        self._matrix[self.maps :, self._k :] = kernel
        count = self._items(rows)
        y, even, odd = self._halves(self._y, count)
        self._convolve(rows, y)
        length = len(even)
        pairs = [part[:length] for part in self._maxima]
        torch.maximum(even, odd, out=pairs[0])
        for shift in range(1, len(pairs)):
            _maximum(pairs[shift - 1], pairs[0], shift, pairs[shift])
        z = self._z[:length]
        if self._size % 2:
            _maximum(pairs[-1], even, len(pairs), z)
        else:
            z.copy_(pairs[-1])
        z.view(self.maps, -1).add_(self._bias[:, None]).relu_()
        return z.view(self.maps, count, self.line)

    def gradient(self, count: int) -> Tensor:
        """Return zeros (maps, B, line), for the derivative by the output of `forward`."""
        grad = self._grad[: self.maps * count * self.line].zero_()
        return grad.view(self.maps, count, self.line)

    def backward(self, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Return the derivatives by weight and bias; `grad`, from `gradient`, is overwritten."""
        band = self._by_matrix(self._route(grad))
        taps = self._taps * self._k
        kernel = band[: self.maps, :taps] + band[self.maps :, self._k :]
        kernel = kernel.view(self.maps, self._taps, self._frames, self._channels)
        return kernel.permute(0, 3, 1, 2), self._dbias

    def _route(self, grad: Tensor) -> Tensor:
        """Give each derivative to the bin that was the maximum; of equal ones, the first.

        The derivative where a > b is that of `threshold_backward` at a − b: one pass instead of a
        mask and a product.
        """
        count = grad.shape[1]
        _, even, odd = self._halves(self._y, count)
        length = len(even)
        dy, deven, dodd = self._halves(self._temporary("dy", 2 * length), count)
        rest = grad.view(-1)
        aten.threshold_backward.grad_input(rest, self._z[:length], 0, grad_input=rest)
        self._dbias = grad.view(self.maps, -1).sum(1)
        pairs = [part[:length] for part in self._maxima]
        gap, share, late = (self._temporary(name, length) for name in ("gap", "share", "late"))
        steps = [(pairs[shift - 1], pairs[0], shift) for shift in range(1, len(pairs))]
        if self._size % 2:
            torch.sub(even[len(pairs) :], pairs[-1][: -len(pairs)], out=gap[: -len(pairs)])
            gap[-len(pairs) :] = 0
            aten.threshold_backward.grad_input(rest, gap, 0, grad_input=late)
            rest.sub_(late)
        taken = rest
        if steps:
            taken = self._pairs(rest, steps, gap, share)
        torch.sub(odd, even, out=gap)
        aten.threshold_backward.grad_input(taken, gap, 0, grad_input=dodd)
        torch.sub(taken, dodd, out=deven)
        if self._size % 2:
            deven[len(pairs) :].add_(late[: -len(pairs)])
        return dy

    def _temporary(self, name: str, length: int) -> Tensor:
        """Return an array shared by the layers, of any content."""
        return self._scratch(name, 0, (length,), self.weight)

    def _pairs(
        self, rest: Tensor, steps: list[tuple[Tensor, Tensor, int]], gap: Tensor, share: Tensor
    ) -> Tensor:
        """Return the derivative by every pair's maximum, given that by the last running one."""
        given: list[tuple[int, Tensor]] = []
        for before, pair, shift in reversed(steps):
            torch.sub(pair[shift:], before[:-shift], out=gap[:-shift])
            gap[-shift:] = 0
            out = share if len(steps) == 1 else torch.empty_like(share)
            aten.threshold_backward.grad_input(rest, gap, 0, grad_input=out)
            rest.sub_(out)
            given.append((shift, out))
        for shift, out in given:
            rest[shift:].add_(out[:-shift])
        return rest


class _First(_Layer):
    """The first layer: its input comes as rows (B, F, K), K = frames × channels.

    Windows are copied for a few items at a time, and again for the derivative: all of them would
    be many times the input, and too large for a processor's own cache.
    """

    ITEMS = 16

    def _line(self) -> int:
        return ceil(self._out / 2)

    def _items(self, rows: Tensor) -> int:
        return len(rows)

    def _prepare(self, batch: int) -> None:
        self._windows = self.weight.new_zeros(min(batch, self.ITEMS), self.line, self._window)
        self._rows = self._windows

    def _parts(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield the columns of `y` that belong to some items, and their windows as rows."""
        rows, k, size = self._rows, self._k, len(self._windows)
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

    def _line(self) -> int:
        return ceil(self._in / 2)

    def _items(self, rows: Tensor) -> int:
        return rows.shape[1]

    def _prepare(self, batch: int) -> None:
        length = batch * self.line
        self._columns = self.weight.new_zeros(self._window * length)
        self._phases = [self.weight.new_zeros(self._channels * length) for _ in range(2)]

    def _windows(self, flat: Tensor, count: int) -> Tensor:
        return flat[: self._window * count * self.line].view(self._window, -1)

    def _lines(self, flat: list[Tensor], count: int) -> list[Tensor]:
        length = self._channels * count * self.line
        return [part[:length].view(self._channels, count, self.line) for part in flat]

    def _convolve(self, rows: Tensor, y: Tensor) -> None:
        count = rows.shape[1]
        phases = self._lines(self._phases, count)
        for odd, phase in enumerate(phases):
            part = rows[..., odd : self._in : 2]
            phase[..., : part.shape[2]] = part
        columns = self._windows(self._columns, count)
        taps = columns.view(self._taps + 1, -1)
        for tap in range(self._taps + 1):
            flat, shift = phases[tap % 2].view(-1), tap // 2
            taps[tap, : len(flat) - shift] = flat[shift:]
        torch.mm(self._matrix, columns, out=y)

    def _by_matrix(self, dy: Tensor) -> Tensor:
        self._dy = dy
        return dy @ self._windows(self._columns, dy.shape[1] // self.line).t()

    def input_gradient(self, out: Tensor) -> None:
        """Write the derivative by the input to `out` (channels, B, line), after `backward`."""
        count = out.shape[1]
        length = self._window * count * self.line
        columns = self._windows(self._temporary("dcolumns", length), count)
        torch.mm(self._matrix.t(), self._dy, out=columns)
        parts = columns.view(self._taps + 1, -1)
        # The phases of the forward pass are not needed any more.
        for odd, phase in enumerate(self._lines(self._phases, count)):
            flat = phase.view(-1)
            flat.copy_(parts[odd])
            for tap in range(odd + 2, self._taps + 1, 2):
                flat[tap // 2 :].add_(parts[tap, : -(tap // 2)])
            part = out[..., odd : self._in : 2]
            part.copy_(phase[..., : part.shape[2]])


def _maximum(a: Tensor, b: Tensor, shift: int, out: Tensor) -> None:
    """Write max(a[i], b[i + shift]) to out[i]; the last `shift` stand for nothing."""
    torch.maximum(a[:-shift], b[shift:], out=out[:-shift])
