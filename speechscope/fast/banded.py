"""Convolutions over frequency and time in their fastest form, forward and back.

The same matrix products as `speechscope.fast.blocks` trains with, without a derivative by the
weights.
"""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from speechscope.fast.blocks import excess_work
from speechscope.fast.kernels import FrequencyConvolution, time_band

WORTH = 2.0
"""Most products computed for one that is needed, as in `speechscope.networks.layers`."""


@dataclass(frozen=True)
class Banded:
    """A convolution with stride 1 of inputs of one size.

    Parameters
    ----------
    frequency, frames
        Of the input.
    channels, maps
        Before and after.
    kernel, padding
        (frequency, time).
    """

    frequency: int
    frames: int
    channels: int
    maps: int
    kernel: tuple[int, int]
    padding: tuple[int, int]

    @property
    def out(self) -> tuple[int, int]:
        """Bins and frames of the output."""
        f = self.frequency + 2 * self.padding[0] - self.kernel[0] + 1
        return f, self.frames + 2 * self.padding[1] - self.kernel[1] + 1

    @property
    def worth(self) -> bool:
        """Whether this form is the fastest."""
        f, t = self.out
        if f < 2 or t < 1:
            return False
        before, after = (self.channels, self.frequency, self.frames), (self.maps, f, t)
        return excess_work(before, after, self.kernel) < WORTH

    @property
    def _columns(self) -> bool:
        """Whether all frames are columns, or have rows of their own."""
        return self.kernel[1] > 1 or self.frames == 1

    def _geometry(self, weight: Tensor) -> tuple[FrequencyConvolution, Tensor]:
        f, t = self.out
        if self._columns:
            kernel = time_band(weight, self.frames, self.padding[1], t)
        else:
            kernel = weight[..., 0].permute(2, 1, 0)
        # Products narrower than a few vector registers waste them.
        group = 2 if kernel.shape[2] <= 16 else 1
        geometry = FrequencyConvolution(self.kernel[0], kernel.shape[1], kernel.shape[2], f, group)
        return geometry, geometry.matrix(kernel)

    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return W x (B, maps, F', T') of x (B, C, F, T)."""
        geometry, matrix = self._geometry(weight)
        f, t = self.out
        if self._columns:
            rows = x.permute(0, 2, 3, 1).reshape(len(x), self.frequency, -1)
        else:
            rows = x.permute(0, 3, 2, 1).reshape(-1, self.frequency, self.channels)
        top = self.padding[0]
        padded = geometry.buffer(len(rows), x)
        padded[:, top : top + self.frequency] = rows
        out = x.new_empty(len(rows), geometry.rows, geometry.maps)
        geometry.forward(padded, matrix, out)
        y = out[:, :f]
        if self._columns:
            return y.view(len(x), f, t, self.maps).permute(0, 3, 1, 2)
        return y.view(len(x), self.frames, f, self.maps).permute(0, 3, 2, 1)

    def adjoint(self, s: Tensor, weight: Tensor) -> Tensor:
        """Return Wᵀ s (B, C, F, T) of s (B, maps, F', T')."""
        geometry, matrix = self._geometry(weight)
        f, t = self.out
        if self._columns:
            rows = s.permute(0, 2, 3, 1).reshape(len(s), f, t * self.maps)
        else:
            rows = s.permute(0, 3, 2, 1).reshape(-1, f, self.maps)
        rows = functional.pad(rows, (0, 0, 0, geometry.rows - f))
        back = geometry.buffer(len(rows), s)
        geometry.backward(rows, matrix, back)
        x = back[:, self.padding[0] : self.padding[0] + self.frequency]
        if self._columns:
            whole = x.view(len(s), self.frequency, self.frames, self.channels)
            return whole.permute(0, 3, 1, 2)
        whole = x.view(len(s), self.frames, self.frequency, self.channels)
        return whole.permute(0, 3, 2, 1)
