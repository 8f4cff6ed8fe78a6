"""Convolution and max-pooling as matrix products and whole-array maxima.

Everything here works on *rows*: an array (R, F, K) with one row per frequency bin, so that
neighbouring bins lie next to each other in memory. Either every time frame is a column of the
row (K = frames × channels, R = items: a convolution over time is then a band in a matrix), or,
where a kernel is one frame wide, every frame has rows of its own (R = items × frames).
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from speechscope.networks.layers import over_frames
from speechscope.work.accelerators import Unsupported


class FrequencyConvolution:
    """The geometry of a stride-1 convolution along the rows of (R, F, K) arrays.

    y[r, f, n] = Σ_k Σ_c x[r, f + k, c] w[k, c, n].

    The windows x[r, f : f + taps] that start `period` bins apart do not overlap and follow each
    other in memory at a fixed distance, so all of them are one matrix without any copy; the
    convolution is one matrix product for each of the `shifts` starting points. `group` bins of
    the output come from one window, to make narrow products wider.

    Arrays hold `rows` bins an item, a multiple of the period; the outputs from `f_out` on, whose
    windows reach into the next item, are arbitrary finite numbers.
    """

    def __init__(self, taps: int, channels: int, maps: int, f_out: int, group: int = 1) -> None:
        self.channels, self.maps, self.group = channels, maps, group
        self.window = taps + group - 1  # bins
        self.shifts = -(-self.window // group)  # so that a window starts at every group of bins
        self.period = self.shifts * group
        self.rows = -(-(f_out + taps - 1) // self.period) * self.period

    def matrix(self, weight: Tensor) -> Tensor:
        """Return a kernel (taps, channels, maps) as (window × channels, group × maps)."""
        columns = [
            torch.nn.functional.pad(weight, (0, 0, 0, 0, i, self.group - 1 - i))
            for i in range(self.group)
        ]
        return torch.stack(columns, dim=2).flatten(0, 1).flatten(1, 2)

    def buffer(self, count: int, like: Tensor) -> Tensor:
        """Return zeros (count, rows, channels), followed in memory by room for the last windows."""
        elements = (count * self.rows + self.window) * self.channels
        return like.new_zeros(elements)[: count * self.rows * self.channels].view(
            count, self.rows, self.channels
        )

    def _windows(self, x: Tensor, shift: int) -> Tensor:
        step = self.period * self.channels
        offset = x.storage_offset() + shift * self.group * self.channels
        shape = (x.shape[0] * self.rows // self.period, self.window * self.channels)
        return x.as_strided(shape, (step, 1), offset)

    def forward(self, x: Tensor, matrix: Tensor, out: Tensor) -> None:
        """Write the convolution of x (R, rows, channels), from `buffer`, to out (R, rows, maps)."""
        groups = out.view(-1, self.shifts, self.group * self.maps)
        for shift in range(self.shifts):
            torch.mm(self._windows(x, shift), matrix, out=groups[:, shift])

    def backward(self, grad: Tensor, matrix: Tensor, out: Tensor) -> None:
        """Write the derivative by x to out (R, rows, channels), which comes from `buffer`.

        `grad` (R, rows, maps) must be 0 from `f_out` on.
        """
        groups = grad.view(-1, self.shifts, self.group * self.maps)
        transposed = matrix.t()
        tiles = self.window == self.period  # the first windows cover every bin
        if not tiles:
            out.zero_()
        for shift in range(self.shifts):
            windows = self._windows(out, shift)
            if shift == 0 and tiles:
                torch.mm(groups[:, shift], transposed, out=windows)
            else:
                torch.addmm(windows, groups[:, shift], transposed, out=windows)


def time_band(weight: Tensor, frames: int, left: int, out_frames: int) -> Tensor:
    """Return a kernel over all frames as columns: (kf, frames × C, out_frames × maps).

    Of weight (maps, C, kf, kt): band[k, (s, c), (t, m)] = weight[m, c, k, s − t + left], and 0
    where the kernel does not reach.
    """
    return over_frames(weight, frames, left, out_frames).permute(2, 3, 1, 0).flatten(1, 2)


class Scratch:
    """Arrays that are used again at every call: fresh memory costs more than the arithmetic."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, int], Tensor] = {}

    def __call__(self, name: str, number: int, shape: Sequence[int], like: Tensor) -> Tensor:
        """Return an array of any content, the same one for the same name and number."""
        size = prod(shape)
        held = self._held.get((name, number))
        if held is None or held.numel() < size:
            held = self._held[name, number] = like.new_empty(size)
        return held[:size].view(*shape)


class Maximum:
    """The elementwise maximum of equally shaped arrays, which may be parts of one."""

    def __init__(self) -> None:
        self._scratch = Scratch()
        self._parts: Sequence[Tensor] = ()
        self._running: list[Tensor] = []

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """Return the maximum; the parts must stay as they are until `backward`."""
        self._parts, self._running = parts, [parts[0]]
        for number, part in enumerate(parts[1:]):
            out = self._scratch("running", number, part.shape, part)
            self._running.append(torch.maximum(self._running[-1], part, out=out))
        return self._running[-1]

    def backward(self, grad: Tensor, outs: Sequence[Tensor]) -> None:
        """Write the derivative by each part; of equal parts the first gets it all.

        `grad` is overwritten.
        """
        for number in range(len(self._parts) - 1, 0, -1):
            part, before = self._parts[number], self._running[number - 1]
            gap = torch.sub(part, before, out=self._scratch("gap", 0, part.shape, part))
            # The derivative where part > before, in one pass instead of a mask and a product.
            torch.ops.aten.threshold_backward.grad_input(grad, gap, 0, grad_input=outs[number])
            torch.sub(grad, outs[number], out=grad if number > 1 else outs[0])
        if len(self._parts) == 1:
            outs[0].copy_(grad)


class TimePool:
    """Max-pooling over time frames, the regions not overlapping: the maximum of what `split` gives.

    Frames are the columns of x (B, F, frames × maps), ordered by `columns`, or have rows of their
    own, x (B, frames, F, maps).

    Raises Unsupported when the regions overlap.
    """

    def __init__(self, size: int, stride: int, frames: int, maps: int, *, columns: bool) -> None:
        self.out = (frames - size) // stride + 1
        if size > stride and self.out > 1:
            raise Unsupported(f"pooling of {size} frames every {stride}: the regions overlap")
        self._size, self._stride = size, stride
        self._as_columns = columns
        self._width = self.out * maps
        # All first frames of the regions, then all second ones: a region's maximum is then
        # that of long neighbouring stretches of memory.
        order = [region * stride + k for k in range(size) for region in range(self.out)]
        self.columns = [frame * maps + m for frame in order for m in range(maps)]
        self.maximum = Maximum()

    def split(self, x: Tensor) -> list[Tensor]:
        """Return the k-th frame of every region, for each k."""
        if self._as_columns:
            return list(torch.split(x, self._width, dim=-1))
        span = (self.out - 1) * self._stride + 1
        return [x[:, k : k + span : self._stride] for k in range(self._size)]

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled x; x must stay as it is until `backward`."""
        return self.maximum.forward(self.split(x))


class FrequencyPool:
    """Max-pooling over frequency, the last but one axis; the regions may overlap."""

    def __init__(self, size: int, stride: int, frequency: int) -> None:
        self.out = (frequency - size) // stride + 1
        self._size, self._stride = size, stride
        # Every second bin begins a region: neighbouring pairs are shared between regions.
        self._paired = stride == 2 and size >= 4
        self._pairs = self.out + size // 2 - 1
        self._scratch = Scratch()
        self._of_pairs, self._of_regions = Maximum(), Maximum()

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled x, (…, out, K); x must stay as it is until `backward`."""
        parts = _shifted(x, self._size, self.out, self._stride)
        if self._paired:
            pairs = self._of_pairs.forward(_shifted(x, 2, self._pairs, 2))
            parts = _shifted(pairs, self._size // 2, self.out, 1) + parts[self._size // 2 * 2 :]
        return self._of_regions.forward(parts)

    def backward(self, grad: Tensor, out: Tensor) -> None:
        """Write the derivative by x to `out`; overwrites `grad`."""
        parts = _shifted(out, self._size, self.out, self._stride)
        number = self._size // 2 + self._size % 2 if self._paired else self._size
        shares = [self._scratch("share", k, grad.shape, grad) for k in range(number)]
        if not self._paired:
            self._of_regions.backward(grad, shares)
            out.zero_()
            for part, share in zip(parts, shares, strict=True):
                part.add_(share)
            return
        shape = (*grad.shape[:-2], self._pairs, grad.shape[-1])
        pairs = self._scratch("pairs", 0, shape, grad)
        shares[0] = pairs[..., : self.out, :]
        self._of_regions.backward(grad, shares)
        pairs[..., self.out :, :] = 0
        of_pairs = _shifted(pairs, self._size // 2, self.out, 1)
        for part, share in zip(of_pairs[1:], shares[1:], strict=False):
            part.add_(share)
        self._of_pairs.backward(pairs, _shifted(out, 2, self._pairs, 2))
        out[..., 2 * self._pairs :, :] = 0
        if self._size % 2:
            parts[-1].add_(shares[-1])


def _shifted(x: Tensor, number: int, count: int, stride: int) -> list[Tensor]:
    """Return every `stride`-th of the bins (…, F, K), `count` of them, from the k-th for each k."""
    return [x[..., k : k + (count - 1) * stride + 1 : stride, :] for k in range(number)]
