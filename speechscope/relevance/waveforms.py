"""Beside relevance of waveforms: its spectra, and what the first layer filters."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.networks.graph import Graph
from speechscope.networks.maps import Convolution

Axis: TypeAlias = NDArray[np.floating[Any]]

GRADIENTS = ("gradient", "guided", "smoothgrad")
"""Methods that give derivatives; the others divide the score among the inputs."""

STRETCHES = 6400
"""Stretches of waveforms whose spectra are in memory at a time: some 10 MB."""


@dataclass(frozen=True)
class Frames:
    """Overlapping stretches of a waveform.

    Parameters
    ----------
    length
        Samples N of a frame.
    hop
        Samples from one to the next.
    """

    length: int
    hop: int

    def axes(self, samples: int, rate: float) -> tuple[Axis, Axis]:
        """Return the frequencies 0, rate / N, …, rate / 2 [Hz] and the middles of frames [s]."""
        frames = np.arange(self.count(samples))
        bins = np.arange(self.length // 2 + 1)
        return bins * rate / self.length, (frames * self.hop + self.length / 2) / rate

    def count(self, samples: int) -> int:
        """Return how many frames cover so many samples; the last may reach past the end."""
        return max(1, -(-(samples - self.length) // self.hop) + 1)

    def cut(self, x: Tensor) -> Tensor:
        """Return the frames (B, frames, N) of signals (B, samples), zeros after the end."""
        needed = (self.count(x.shape[1]) - 1) * self.hop + self.length
        padded = torch.nn.functional.pad(x, (0, needed - x.shape[1]))
        return padded.unfold(1, self.length, self.hop)

    def window(self, like: Tensor) -> Tensor:
        """Return a Hamming window (N,), as usual for frames of speech."""
        return torch.hamming_window(self.length, periodic=True, dtype=like.dtype).to(like.device)

    def weight(self, samples: int, like: Tensor) -> Tensor:
        """Return the sum of the windows over every sample, (samples,)."""
        count = self.count(samples)
        total = like.new_zeros((count - 1) * self.hop + self.length)
        for frame in range(count):
            total[frame * self.hop : frame * self.hop + self.length] += self.window(like)
        return total[:samples]


def spectra(method: str, relevance: Tensor, x: Tensor, frames: Frames) -> Tensor:
    """Return the spectra (B, bins, frames) of a method's relevance of waveforms x (B, samples).

    Of derivatives their short-time spectrum, of what divides the score its share in every
    frequency.
    """
    if method in GRADIENTS:
        return spectral_gradient(relevance, frames)
    return spectral_relevance(relevance, x, frames)


def spectral_gradient(relevance: Tensor, frames: Frames) -> Tensor:
    """Return the short-time spectrum of a relevance signal, (B, bins, frames).

    |g[k]| with g[k] = 1/N Σ_n f[n] w[n] e^{i 2π k n / N} in each frame: how much the score
    changes with each Fourier coefficient of the waveform.

    Source: Muckenhirn 2019, sec. 3.2, eq. 4, and its last paragraph for frames. The paper leaves
    the window's shape open: Hamming; it stops before rate / 2, which is kept here.

    Parameters
    ----------
    relevance
        Relevance signals f (B, samples), such as guided gradients.
    frames
        The paper has 25 ms.
    """
    parts = frames.cut(relevance) * frames.window(relevance)
    # The inverse transform of a real signal is the conjugate of the forward one, over N.
    spectrum: Tensor = torch.fft.rfft(parts).abs() / frames.length
    return spectrum.transpose(1, 2)


def spectral_relevance(relevance: Tensor, x: Tensor, frames: Frames) -> Tensor:
    """Return relevance propagated from the samples to the frequencies of each frame.

    The waveform is the linear sum x[n] = Σ_m a_m[n] / W[n] of its windowed frames a_m, each of
    which is the inverse transform of its spectrum A_m. Handing R[n] down in proportion gives

        R_m[k] = Re(A_m[k] · g_m[k]),  g_m[k] = 1/N Σ_n (R[n] / (x[n] W[n])) e^{i 2π k n / N},

    which is eq. 4 of Muckenhirn 2019 with R / x in the place of the gradient, times the spectrum.
    It adds up to Σ R[n]; samples that are exactly 0 keep theirs.

    Source: Vielhaben et al. (2023), virtual inspection layers (DFT-LRP), eq. 9 and 15.

    Parameters
    ----------
    relevance
        Of samples (B, samples), from a method that conserves it.
    x
        The samples (B, samples).

    Returns
    -------
    (B, bins, frames); the bins between 0 and rate / 2 stand for both signs of their frequency.
    """
    silent = x == 0
    ratio = torch.where(silent, 0, relevance / torch.where(silent, 1, x))
    ratio = ratio / frames.weight(x.shape[1], x)
    spectrum = torch.fft.rfft(frames.cut(x) * frames.window(x))
    gradient = torch.fft.rfft(frames.cut(ratio)).conj() / frames.length
    shares: Tensor = (spectrum * gradient).real
    both = np.full(shares.shape[-1], 2.0)
    both[0] = 1.0
    if frames.length % 2 == 0:
        both[-1] = 1.0
    return (shares * torch.from_numpy(both).to(shares)).transpose(1, 2)


@dataclass(frozen=True)
class FirstLayer:
    """The first layer of a network for waveforms.

    Parameters
    ----------
    kernels
        Filters (filters, taps).
    stride
        Samples from one stretch of a waveform that it sees to the next.
    points
        Length of transforms, at least the taps: frequencies 0 … rate / 2 in points // 2 + 1 bins.
    """

    kernels: Tensor
    stride: int
    points: int

    def frequency(self, rate: float) -> NDArray[np.float64]:
        """Return the frequencies of the bins [Hz]."""
        return np.arange(self.points // 2 + 1) * rate / self.points

    def cumulative(self) -> Tensor:
        """See `cumulative_response`."""
        return cumulative_response(self.kernels, self.points)

    def responses(self, x: Tensor) -> Tensor:
        """Return the `dictionary_response` to waveforms (B, …), over all stretches, (B, bins)."""
        every = x.flatten(1).unfold(1, self.kernels.shape[1], self.stride)
        count, parts = every.shape[1], []
        for waveforms in torch.split(every, max(1, STRETCHES // count)):
            sums = torch.zeros((), device=x.device)
            for some in torch.split(waveforms, STRETCHES, 1):
                response = dictionary_response(self.kernels, some.flatten(0, 1), self.points)
                sums = sums + response.view(*some.shape[:2], -1).sum(1)
            parts.append(sums / count)
        return torch.cat(parts)


def first_layer(graph: Graph, points: int) -> FirstLayer | None:
    """Return the first layer with weights, if it is a convolution of one signal.

    `points`: of its transforms, where it has no more taps.
    """
    layer = next((step.map for step in graph.steps if step.kind == "linear"), None)
    if not isinstance(layer, Convolution) or layer.weight[0].numel() != max(layer.weight.shape[1:]):
        return None
    axis = layer.weight[0, 0].shape.index(max(layer.weight.shape[2:]))
    kernels = layer.weight.flatten(1).float()
    return FirstLayer(kernels, layer.stride[axis], max(points, kernels.shape[1]))


def cumulative_response(kernels: Tensor, points: int) -> Tensor:
    """Return the cumulative frequency response of a layer's filters (filters, taps).

    F_cum = Σ_k F_k / ‖F_k‖₂, F_k the magnitude spectrum of filter k.

    Source: Muckenhirn 2019, sec. 2, eq. 1.

    Returns
    -------
    (points // 2 + 1,); a filter of zeros adds nothing.
    """
    spectra: Tensor = torch.fft.rfft(kernels, points).abs()
    length = spectra.norm(dim=1, keepdim=True)
    return (spectra / torch.where(length > 0, length, 1)).sum(0)


def dictionary_response(kernels: Tensor, x: Tensor, points: int) -> Tensor:
    """Return the response to stretches of signal of a layer's filters as a spectral dictionary.

    s = |Σ_k ⟨x, f_k⟩ DFT[f_k]|, for stretches x (B, taps), as (B, points // 2 + 1).

    Source: Muckenhirn 2019, sec. 2, eq. 2.
    """
    response: Tensor = torch.fft.rfft((x @ kernels.t()) @ kernels, points).abs()
    return response
