"""Relevance of waveform samples moved to frequencies, frame by frame."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


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

    @property
    def bins(self) -> int:
        """Frequencies 0, rate / N, …, rate / 2."""
        return self.length // 2 + 1

    def count(self, samples: int) -> int:
        """Return how many frames cover so many samples; the last may reach past the end."""
        return max(1, -(-(samples - self.length) // self.hop) + 1)

    def cut(self, x: Tensor) -> Tensor:
        """Return the frames (B, frames, N) of signals (B, samples), zeros after the end."""
        wanted = (self.count(x.shape[1]) - 1) * self.hop + self.length
        padded = torch.nn.functional.pad(x, (0, wanted - x.shape[1]))
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
    frames
        The frames.

    Returns
    -------
    (B, bins, frames); the bins between 0 and rate / 2 stand for both signs of their frequency.
    """
    silent = x == 0
    ratio = torch.where(silent, 0, relevance / torch.where(silent, 1, x))
    ratio = ratio / frames.weight(x.shape[1], x)
    spectrum = torch.fft.rfft(frames.cut(x) * frames.window(x))
    gradient = torch.fft.rfft(frames.cut(ratio)).conj() / frames.length
    found: Tensor = (spectrum * gradient).real
    both = np.full(frames.bins, 2.0)
    both[0] = 1.0
    if frames.length % 2 == 0:
        both[-1] = 1.0
    return (found * torch.from_numpy(both).to(found)).transpose(1, 2)
