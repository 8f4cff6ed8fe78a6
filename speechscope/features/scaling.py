"""z-normalisation: values of an utterance brought to mean 0 and standard deviation 1.

Krug 2018, sec. 3.1 ("z-normalized spectrograms"): over the whole utterance, as in Kunze et al.
(2017), which it follows; per band is the usual alternative.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speechscope.features.stft import Float

SCOPES = ("utterance", "band")
"""What shares a mean and a deviation: all of a channel, or each of its bands."""


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of one utterance, or of several.

    Parameters
    ----------
    mean, deviation : (U, C, F, 1), where F is 1 if all bands share them.
    """

    mean: Float
    deviation: Float

    @staticmethod
    def of(values: Float, scope: str) -> "Scaling":
        """Measure utterances (U, C, F, frames); `scope` is one of `SCOPES`.

        A deviation of 0 (silence) counts as 1: constant values become 0.
        """
        axes = (2, 3) if scope == "utterance" else (3,)
        mean = values.mean(axis=axes, keepdims=True, dtype=np.float64)
        deviation = values.std(axis=axes, keepdims=True, dtype=np.float64)
        deviation = np.where(deviation > 0, deviation, 1.0)
        return Scaling(mean.astype(np.float32), deviation.astype(np.float32))

    @staticmethod
    def join(scalings: Sequence["Scaling"], counts: Sequence[int]) -> "Scaling":
        """Return one row for every item, where utterance u has ``counts[u]`` items in turn."""
        means = np.concatenate([scaling.mean for scaling in scalings])
        deviations = np.concatenate([scaling.deviation for scaling in scalings])
        return Scaling(np.repeat(means, counts, axis=0), np.repeat(deviations, counts, axis=0))

    def apply(self, values: Float) -> None:
        """Normalise (U, C, F, frames) in place: (x - mean) / deviation."""
        values -= self.mean
        values /= self.deviation
