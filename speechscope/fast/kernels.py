"""Convolution and max-pooling as matrix products and whole-array maxima.

Everything here works on *rows*: an array (R, F, K) with one row per frequency bin, so that
neighbouring bins lie next to each other in memory. Either every time frame is a column of the
row (K = frames × channels, R = items: a convolution over time is then a band in a matrix), or,
where a kernel is one frame wide, every frame has rows of its own (R = items × frames).
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
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

    taps: int
    channels: int
    maps: int
    f_out: int
    group: int = 1

    @property
    def window(self) -> int:
        """Bins in a window."""
        return self.taps + self.group - 1

    @property
    def shifts(self) -> int:
        """Matrix products needed to start a window at every group of bins."""
        return -(-self.window // self.group)

    @property
    def period(self) -> int:
        """Bins between the windows of one matrix product."""
        return self.shifts * self.group

    @property
    def rows(self) -> int:
        """Bins an item takes in memory, those of its padding included."""
        return -(-(self.f_out + self.taps - 1) // self.period) * self.period

    def matrix(self, weight: Tensor) -> Tensor:
        """Return a kernel (taps, channels, maps) as (window × channels, group × maps)."""
        columns = [
            torch.nn.functional.pad(weight, (0, 0, 0, 0, i, self.group - 1 - i))
            for i in range(self.group)
        ]
        return torch.stack(columns, dim=2).flatten(0, 1).flatten(1, 2)

    def kernel_gradient(self, grad: Tensor) -> Tensor:
        """Take the derivative by a `matrix` to its kernel (taps, channels, maps)."""
        columns = grad.view(self.window, self.channels, self.group, self.maps)
        return sum(
            (columns[i : i + self.taps, :, i] for i in range(self.group)),
            start=grad.new_zeros(self.taps, self.channels, self.maps),
        )

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

    def _groups(self, y: Tensor) -> Tensor:
        return y.view(-1, self.shifts, self.group * self.maps)

    def forward(self, x: Tensor, matrix: Tensor, out: Tensor) -> None:
        """Write the convolution of x (R, rows, channels), from `buffer`, to out (R, rows, maps)."""
        groups = self._groups(out)
        for shift in range(self.shifts):
            torch.mm(self._windows(x, shift), matrix, out=groups[:, shift])

    def backward(self, grad: Tensor, matrix: Tensor, out: Tensor) -> None:
        """Write the derivative by x to out (R, rows, channels), which comes from `buffer`.

        `grad` (R, rows, maps) must be 0 from `f_out` on.
        """
        groups = self._groups(grad)
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

    def weight_gradient(self, x: Tensor, grad: Tensor) -> Tensor:
        """Return the derivative by the matrix; `grad` as in `backward`."""
        groups = self._groups(grad)
        total = self._windows(x, 0).t() @ groups[:, 0]
        for shift in range(1, self.shifts):
            total.addmm_(self._windows(x, shift).t(), groups[:, shift])
        return total


def time_band(weight: Tensor, frames: int, left: int, out_frames: int) -> Tensor:
    """Return a kernel over all frames as columns: (kf, frames × C, out_frames × maps).

    Of weight (maps, C, kf, kt): band[k, (s, c), (t, m)] = weight[m, c, k, s − t + left], and 0
    where the kernel does not reach. Differentiable.
    """
    width = weight.shape[3]
    room = frames + out_frames
    padded = torch.nn.functional.pad(weight, (room, room))
    starts = [room - t + left for t in range(out_frames)]
    columns = torch.stack([padded[..., start : start + frames] for start in starts])
    assert width <= room
    # (t, m, c, k, s) → (k, s, c, t, m)
    return columns.permute(3, 4, 2, 0, 1).flatten(1, 2).flatten(2, 3)
