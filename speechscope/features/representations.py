"""The representations a corpus can be prepared in, by name.

Each is a transform of the signal into frames of values, with Δ and ΔΔ as further channels and
z-normalisation on top; of fixed-length padded segments, or of whole utterances.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speechscope.errors import UsageProblem
from speechscope.features.deltas import fill_deltas
from speechscope.features.scaling import SCOPES, Scaling
from speechscope.features.static import STATICS, Static
from speechscope.features.stft import Float
from speechscope.features.transform import Axis, Transform

REPRESENTATIONS = tuple(STATICS)
"""Their names."""
NORMALIZATIONS = ("none", "gain", *SCOPES)
"""``gain`` is a scale of the recording (`speechscope.corpus.prepare`): nothing to do here."""


@dataclass(frozen=True)
class Representation:
    """A representation of a signal: what a network is given.

    Made by `representation`. It can be sent to another process.

    Parameters
    ----------
    name
        One of `REPRESENTATIONS`.
    transform
        Its sizes.
    static
        Computes it.
    deltas
        How many derivatives follow as channels: 0, 1 or 2.
    normalize
        One of `NORMALIZATIONS`.
    """

    name: str
    transform: Transform
    static: Static
    deltas: int
    normalize: str

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels, such as ``real`` and ``real_delta``."""
        suffixes = ("", "_delta", "_delta2")[: self.deltas + 1]
        return tuple(name + suffix for suffix in suffixes for name in self.static.channels)

    @property
    def channels(self) -> int:
        """How many channels there are."""
        return len(self.channel_names)

    @property
    def axis(self) -> Axis:
        """The frequency axis."""
        return self.static.axis

    @property
    def times(self) -> NDArray[np.float64]:
        """Centre of each frame of a padded segment [s]."""
        return self._times(self.transform.samples)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channel, frequency, time) of a padded segment."""
        return self.channels, self.transform.bins, len(self.times)

    def segments(self, padded: Float, scaling: Scaling | None = None) -> Float:
        """Return the representation of padded segments.

        Parameters
        ----------
        padded : (N, samples) float32, amplitude in [-1, 1].
        scaling
            One row for each segment, of the utterance it was cut from (`scaling`). Without it a
            segment is an utterance of its own. Read where `normalize` is z-normalisation.

        Returns
        -------
        (N, channel, frequency, time) float32
        """
        out = np.empty((len(padded), *self.shape), dtype=np.float32)
        self._fill(padded, out)
        if self.normalize in SCOPES:
            (scaling or Scaling.of(out, self.normalize)).apply(out)
        return out

    def utterance(self, samples: Float) -> tuple[Float, NDArray[np.float64]]:
        """Return the representation of a whole utterance, and where its frames are.

        Parameters
        ----------
        samples : (n,) float32; zeros are appended if it is shorter than one window.

        Returns
        -------
        values : (frames, channel, frequency) float32
        times : (frames,), centre of each frame [s].
        """
        values = self._utterance(samples)
        if self.normalize in SCOPES:
            volume = values.transpose(1, 2, 0)[None]
            Scaling.of(volume, self.normalize).apply(volume)
        return values, self._times(len(samples))

    def scaling(self, samples: Float) -> Scaling:
        """Return the mean and deviation over a whole utterance (n,), one row."""
        return Scaling.of(self._utterance(samples).transpose(1, 2, 0)[None], self.normalize)

    def invert(self, values: Float) -> Float | None:
        """Return the waveforms of padded segments; None where the values do not determine them.

        Parameters
        ----------
        values : (N, channel, frequency, time)

        Returns
        -------
        (N, samples) float32
        """
        if self.normalize in SCOPES:
            return None
        return self.static.invert(values[:, : len(self.static.channels)])

    def _utterance(self, samples: Float) -> Float:
        if len(samples) < self.transform.window:
            samples = np.pad(samples, (0, self.transform.window - len(samples)))
        frames = len(self._times(len(samples)))
        values = np.empty((frames, *self.shape[:2]), dtype=np.float32)
        self._fill(samples[None], values.transpose(1, 2, 0)[None])
        return values

    def _fill(self, signals: Float, out: Float) -> None:
        statics = len(self.static.channels)
        self.static.fill(signals, out[:, :statics].transpose(0, 3, 1, 2))
        fill_deltas(out, statics)

    def _times(self, samples: int) -> NDArray[np.float64]:
        sizes = self.transform
        count = max(1, (samples - sizes.overlap) // sizes.hop)
        return np.asarray((np.arange(count) * sizes.hop + sizes.window / 2) / sizes.rate)


def representation(
    name: str, transform: Transform, *, deltas: int = 0, normalize: str = "none"
) -> Representation:
    """Return the representation `name`.

    Parameters
    ----------
    name
        One of `REPRESENTATIONS`.
    transform
        Its sizes.
    deltas
        0, 1 (Δ) or 2 (Δ and ΔΔ), as further channels.
    normalize
        One of `NORMALIZATIONS`; ``utterance`` and ``band`` are z-normalisation, of every channel.

    Raises
    ------
    UsageProblem
        There is no such representation, or it cannot have these sizes.
    """
    for option, value, allowed in (
        ("features", name, REPRESENTATIONS),
        ("deltas", deltas, (0, 1, 2)),
        ("normalize", normalize, NORMALIZATIONS),
    ):
        if value not in allowed:
            raise UsageProblem(f"--{option} {value}: choose from {', '.join(map(str, allowed))}")
    if transform.bins < 2:
        raise UsageProblem(f"--bins {transform.bins}: {name} needs at least 2")
    return Representation(name, transform, STATICS[name](transform), deltas, normalize)
