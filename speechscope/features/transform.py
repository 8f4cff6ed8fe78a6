"""The sizes and the frequency axis that every representation has."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speechscope.features.stft import Stft


@dataclass(frozen=True)
class Transform:
    """The sizes of a representation.

    Parameters
    ----------
    samples
        Length of a padded segment [samples]. Whole utterances may have any.
    window
        Length of the Hamming window [samples].
    overlap
        Samples that neighbouring frames share.
    bins
        Values along the frequency axis: frequency bins of an STFT, bands of mel, log-mel and
        gammatone, coefficients of MFCC.
    rate
        Sampling rate [Hz].
    """

    samples: int
    window: int
    overlap: int
    bins: int
    rate: int

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return self.window - self.overlap

    def stft(self, points: int) -> Stft:
        """Return the short-time Fourier transform of these sizes with `points` points."""
        return Stft(self.samples, self.window, self.overlap, points, self.rate)


@dataclass(frozen=True)
class Axis:
    """The frequency axis of a representation.

    Parameters
    ----------
    name
        ``frequency`` or ``cepstrum``.
    values : (F,)
        Frequency of every bin, or centre of every band, in Hz; number of every coefficient.
    units
        ``Hz`` or ``1``.
    """

    name: str
    values: NDArray[np.float64]
    units: str
