"""The representations a corpus can be prepared in: what a network is given of a signal.

Each is a transform of the signal into frames of values (`Static`, registered by name), with Δ and
ΔΔ as further channels and z-normalisation on top; of fixed-length padded segments, or of whole
utterances.

Δ: Riemens 2015, sec. 2.3 ("the frame-by-frame first-order and second-order temporal derivatives");
Pellegrini 2016, sec. 2. Neither gives a formula; this is HTK's regression.

z-normalisation: Krug 2018, sec. 3.1 ("z-normalized spectrograms"): over the whole utterance, as in
Kunze et al. (2017), which it follows; per band is the usual alternative.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speechscope.features.stft import (
    Axis,
    Float,
    Stft,
    Transform,
    spectra_on_device,
    spectrum_rows,
    xp,
)
from speechscope.registry import REPRESENTATIONS

if TYPE_CHECKING:
    from torch import Tensor

REACH = 2
"""Frames on each side that the regression takes in: HTK's and Kaldi's value (chosen)."""


def delta(values: Any) -> Any:
    """Return the slope of the regression line through neighbouring frames.

        d[t] = Σ_θ θ (c[t + θ] - c[t - θ]) / (2 Σ_θ θ²),  θ = 1 … `REACH`

    with the first and the last frame repeated beyond the ends.

    Parameters
    ----------
    values : (…, frames)
        An array, or a tensor.

    Returns
    -------
    As `values`, in its unit per frame.
    """
    norm = 2 * sum(theta**2 for theta in range(1, REACH + 1))
    out = (
        np.zeros_like(values) if isinstance(values, np.ndarray) else values.new_zeros(values.shape)
    )
    for theta in range(1, REACH + 1):
        share = float(np.float32(theta / norm))
        out[..., :-theta] += share * values[..., theta:]
        out[..., -theta:] += share * values[..., -1:]
        out[..., theta:] -= share * values[..., :-theta]
        out[..., :theta] -= share * values[..., :1]
    return out


def fill_deltas(values: Any, statics: int) -> None:
    """Fill the channels behind the first `statics` with Δ of these, then with Δ of Δ, in place.

    Parameters
    ----------
    values : (N, (1 + order) statics, F, frames)
    """
    for start in range(statics, values.shape[1], statics):
        values[:, start : start + statics] = delta(values[:, start - statics : start])


SCOPES = ("utterance", "band")
"""What shares a mean and a deviation: all of a channel, or each of its bands."""


AT_ONCE = 1 << 16
"""Frames worked out at once on a GPU (chosen: their spectra take 100 MB)."""


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
        squares = sum(
            np.square(values[..., first : first + AT_ONCE] - mean).sum(axes, keepdims=True)
            for first in range(0, values.shape[3], AT_ONCE)
        )
        deviation = np.sqrt(squares / (values.shape[3] * (values.shape[2] if 2 in axes else 1)))
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


LOG_FLOOR = 1e-3
"""Added to the modulus before the logarithm; −60 dB of full scale, below room noise (chosen)."""
BLOCK = 512
"""Frames worked out at once (chosen: measured; their spectra, near 1 MB, stay in the cache)."""
HELD = 16
"""What a device holds of signals and of their spectra at a time, over their size (chosen)."""


@dataclass(frozen=True)
class Static:
    """A representation before derivatives and normalisation.

    An entry of `REPRESENTATIONS` is a function that returns one for a `Transform`.

    Parameters
    ----------
    channels
        Their names.
    axis
        The frequency axis.
    """

    channels: tuple[str, ...]
    axis: Axis

    def fill(self, signals: Float, out: Float) -> None:
        """Compute `out` (N, frames, channel, frequency) of signals (N, samples)."""
        raise NotImplementedError

    def on_device(self, signals: "Tensor") -> "Tensor | None":
        """Return the same of a tensor of signals, on its device; None: NumPy alone does it."""
        return None

    def invert(self, values: Float) -> Float | None:
        """Return waveforms (N, samples) of (N, C, F, frames), None where there is no inverse."""
        return None


@dataclass(frozen=True)
class Framewise(Static):
    """One whose frames do not depend on one another.

    Parameters
    ----------
    stft
        Cuts the frames, and transforms them.
    rows
        Turns their spectra (R, bin) into (R, channel, frequency).
    spectra
        Turns (N, channel, frequency, time) back into spectra (N, bin, time), where that is
        possible.
    anywhere
        Whether `rows` takes PyTorch's tensors, too.
    """

    stft: Stft
    rows: Callable[[Any], Any]
    spectra: Callable[[Float], NDArray[Any]] | None = None
    anywhere: bool = False

    def fill(self, signals: Float, out: Float) -> None:
        """See `Static`; in blocks of about `BLOCK` frames."""
        frames = replace(self.stft, samples=signals.shape[1]).frame(signals)
        items = max(1, BLOCK // max(1, frames.shape[1]))
        for item in range(0, len(frames), items):
            for frame in range(0, frames.shape[1], BLOCK):
                part = np.s_[item : item + items, frame : frame + BLOCK]
                block = np.ascontiguousarray(frames[part])
                rows = self.rows(spectrum_rows(self.stft, block.reshape(-1, self.stft.window)))
                out[part] = rows.reshape(*block.shape[:2], *rows.shape[1:])

    def on_device(self, signals: "Tensor") -> "Tensor | None":
        """See `Static`; in blocks of `AT_ONCE` frames."""
        if not self.anywhere:
            return None
        frames = signals.unfold(1, self.stft.window, self.stft.hop)
        torch = xp(signals)
        parts = torch.split(frames.reshape(-1, self.stft.window), AT_ONCE)
        whole = torch.cat([self.rows(spectra_on_device(self.stft, part)) for part in parts])
        found: Tensor = whole.reshape(*frames.shape[:2], *whole.shape[1:])
        return found

    def invert(self, values: Float) -> Float | None:
        """See `Static`."""
        return None if self.spectra is None else self.stft.inverse(self.spectra(values))


def spectral(
    transform: Transform,
    channels: tuple[str, ...],
    rows: Callable[[Any], Any],
    spectra: Callable[[Float], NDArray[Any]] | None = None,
) -> Static:
    """Return what is made of the spectra of frames, in as many bins as a transform says.

    `rows` takes arrays of NumPy and of PyTorch.

    Parameters
    ----------
    channels, rows, spectra
        See `Framewise`.
    """
    stft = transform.stft(2 * (transform.bins - 1))
    axis = Axis("frequency", stft.frequencies, "Hz")
    return Framewise(channels, axis, stft, rows, spectra, anywhere=True)


@REPRESENTATIONS.register("real")
def real(transform: Transform) -> Static:
    """Return the real part: the sign is kept, and it can be inverted (Riemens 2015, sec. 2.3)."""
    return spectral(transform, ("real",), lambda s: s.real[:, None], lambda values: values[:, 0])


@REPRESENTATIONS.register("magnitude")
def magnitude(transform: Transform) -> Static:
    """Return the modulus: recognised better than the real part (Riemens 2015, sec. 2.3)."""
    return spectral(transform, ("magnitude",), lambda s: abs(s)[:, None])


@REPRESENTATIONS.register("sqrt-magnitude")
def sqrt_magnitude(transform: Transform) -> Static:
    """Return √|S|: a power law near that of loudness (chosen; no paper has it)."""
    return spectral(transform, ("magnitude",), lambda s: xp(s).sqrt(abs(s))[:, None])


@REPRESENTATIONS.register("log-magnitude")
def log_magnitude(transform: Transform) -> Static:
    """Return log(|S| + `LOG_FLOOR`): loudness as a shift, not a factor (chosen)."""
    floor = float(np.float32(LOG_FLOOR))
    return spectral(transform, ("magnitude",), lambda s: xp(s).log(abs(s) + floor)[:, None])


@REPRESENTATIONS.register("magnitude-phase")
def magnitude_phase(transform: Transform) -> Static:
    """Return polar coordinates; the phase is 0 where the modulus is [rad] (Riemens 2015, 2.3)."""
    return spectral(
        transform,
        ("magnitude", "phase"),
        lambda s: xp(s).stack((abs(s), xp(s).angle(s)), 1),
        lambda values: values[:, 0] * np.exp(1j * values[:, 1]),
    )


@REPRESENTATIONS.register("complex")
def cartesian(transform: Transform) -> Static:
    """Return Cartesian coordinates as channels (Riemens 2015, sec. 2.3)."""
    return spectral(
        transform,
        ("real", "imaginary"),
        lambda s: xp(s).stack((s.real, s.imag), 1),
        lambda values: values[:, 0] + 1j * values[:, 1],
    )


@dataclass(frozen=True)
class Representation:
    """A representation of a signal; threads can share it.

    Parameters
    ----------
    name
        One of `REPRESENTATIONS`.
    transform
        Its sizes.
    deltas
        How many derivatives follow as channels: 0, 1 (Δ) or 2 (Δ and ΔΔ).
    normalize
        One of `SCOPES`: z-normalisation, of every channel; else nothing is done (``gain`` is a
        scale of the recording, `speechscope.corpus.reading`).
    device
        Where it is computed, up to the normalisation, as PyTorch names it.
    """

    name: str
    transform: Transform
    deltas: int = 0
    normalize: str = "none"
    device: str = "cpu"

    def __reduce__(self) -> tuple[Any, ...]:
        return Representation, tuple(getattr(self, field.name) for field in fields(self))

    @cached_property
    def static(self) -> Static:
        """What computes it."""
        made: Static = REPRESENTATIONS[self.name](self.transform)
        return made

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

    def segments(
        self, padded: Float, scaling: Scaling | None = None, out: Float | None = None
    ) -> Float:
        """Return the representation of padded segments.

        Parameters
        ----------
        padded : (N, samples) float32, amplitude in [-1, 1].
        scaling
            One row for each segment, of the utterance it was cut from (`scaling`). Without it a
            segment is an utterance of its own. Read where `normalize` is z-normalisation.
        out : (N, channel, frequency, time) float32
            Where to put the result; without it, in a new array.

        Returns
        -------
        (N, channel, frequency, time) float32
        """
        if out is None:
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
        if self.device != "cpu" and self._on_device(signals, out, statics):
            return
        self.static.fill(signals, out[:, :statics].transpose(0, 3, 1, 2))
        fill_deltas(out, statics)

    def _on_device(self, signals: Float, out: Float, statics: int) -> bool:
        """Fill on the device; say whether there is a form for it."""
        import torch

        from speechscope.work.device import fitting, sent

        place = torch.device(self.device)
        size = fitting(len(signals), HELD * (signals[0].nbytes + out[0].nbytes), place)
        for start in range(0, len(signals), size):
            static = self.static.on_device(sent(signals[start : start + size], place))
            if static is None:
                return False
            items, frames, _, bins = static.shape
            values = static.new_empty((items, self.channels, bins, frames))
            values[:, :statics] = static.permute(0, 2, 3, 1)
            fill_deltas(values, statics)
            out[start : start + size] = values.cpu().numpy()
        return True

    def _times(self, samples: int) -> NDArray[np.float64]:
        sizes = self.transform
        count = max(1, (samples - sizes.overlap) // sizes.hop)
        return np.asarray((np.arange(count) * sizes.hop + sizes.window / 2) / sizes.rate)
