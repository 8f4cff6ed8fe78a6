"""The representations, before derivatives and normalisation, by name."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np

from speechscope.features import gammatone, mel
from speechscope.features.stft import Float, Stft, spectrum_rows
from speechscope.features.transform import Axis, Transform

LOG_FLOOR = 1e-3
"""Added to the modulus before the logarithm; −60 dB of full scale, below room noise (chosen)."""
CEPSTRUM_BANDS = 40
"""Mel bands that MFCCs are taken from, or as many as there are coefficients if those are more
(chosen: the 40 of Pellegrini 2016, sec. 2)."""
BLOCK = 512
"""Frames worked out at once (chosen: measured; their spectra, near 1 MB, stay in the cache)."""


class Static(Protocol):
    """A representation before derivatives and normalisation."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""

    @property
    def axis(self) -> Axis:
        """The frequency axis."""

    def fill(self, signals: Float, out: Float) -> None:
        """Compute `out` (N, frames, channel, frequency) of signals (N, samples)."""

    def invert(self, values: Float) -> Float | None:
        """Return waveforms (N, samples) of (N, C, F, frames), None where there is no inverse."""


@dataclass(frozen=True)
class Framewise:
    """A `Static` whose frames do not depend on one another.

    Parameters
    ----------
    stft
        Cuts the frames, and transforms them.
    channels, axis
        As in `Static`.
    rows
        Turns frames (R, window) into (R, channel, frequency).
    inverse
        Turns (N, channel, frequency, time) into waveforms (N, samples), where that is possible.
    """

    stft: Stft
    channels: tuple[str, ...]
    axis: Axis
    rows: Callable[[Stft, Float], Float]
    inverse: Callable[[Stft, Float], Float] | None = None

    def fill(self, signals: Float, out: Float) -> None:
        """Compute `out` (N, frames, channel, frequency) in blocks of about `BLOCK` frames."""
        frames = replace(self.stft, samples=signals.shape[1]).frame(signals)
        items = max(1, BLOCK // max(1, frames.shape[1]))
        for item in range(0, len(frames), items):
            for frame in range(0, frames.shape[1], BLOCK):
                where = np.s_[item : item + items, frame : frame + BLOCK]
                block = np.ascontiguousarray(frames[where])
                rows = self.rows(self.stft, block.reshape(-1, self.stft.window))
                out[where] = rows.reshape(*block.shape[:2], *rows.shape[1:])

    def invert(self, values: Float) -> Float | None:
        """Return the waveforms (N, samples), None where there is no inverse."""
        return None if self.inverse is None else self.inverse(self.stft, values)


@dataclass(frozen=True)
class Gammatone:
    """The gammatonogram (`speechscope.features.gammatone`); no direct inverse."""

    transform: Transform
    channels: tuple[str, ...]
    axis: Axis

    def fill(self, signals: Float, out: Float) -> None:
        """Compute `out` (N, frames, channel, frequency)."""
        sizes = self.transform
        for signal, into in zip(signals, out, strict=True):
            into[:, 0] = gammatone.gammatonogram(
                signal, sizes.window, sizes.hop, sizes.bins, sizes.rate
            )

    def invert(self, values: Float) -> Float | None:
        """Return None: half of the motion and its sign are gone."""
        return None


def _real(stft: Stft, frames: Float) -> Float:
    return spectrum_rows(stft, frames).real[:, None]


def _magnitude(stft: Stft, frames: Float) -> Float:
    return np.abs(spectrum_rows(stft, frames))[:, None]


def _sqrt_magnitude(stft: Stft, frames: Float) -> Float:
    return np.sqrt(_magnitude(stft, frames))


def _log_magnitude(stft: Stft, frames: Float) -> Float:
    logarithm: Float = np.log(_magnitude(stft, frames) + np.float32(LOG_FLOOR))
    return logarithm


def _magnitude_phase(stft: Stft, frames: Float) -> Float:
    spectrum = spectrum_rows(stft, frames)
    return np.stack((np.abs(spectrum), np.angle(spectrum)), axis=1)


def _complex(stft: Stft, frames: Float) -> Float:
    spectrum = spectrum_rows(stft, frames)
    return np.stack((spectrum.real, spectrum.imag), axis=1)


def _mel(stft: Stft, frames: Float, *, bands: int) -> Float:
    return mel.mel_rows(stft, bands, frames)[:, None]


def _log_mel(stft: Stft, frames: Float, *, bands: int) -> Float:
    return mel.log_mel_rows(stft, bands, frames)[:, None]


def _mfcc(stft: Stft, frames: Float, *, bands: int, cepstra: int) -> Float:
    return mel.cepstrum_rows(stft, bands, cepstra, frames)[:, None]


def _invert_real(stft: Stft, values: Float) -> Float:
    return stft.inverse(values[:, 0])


def _invert_magnitude_phase(stft: Stft, values: Float) -> Float:
    return stft.inverse(values[:, 0] * np.exp(1j * values[:, 1]))


def _invert_complex(stft: Stft, values: Float) -> Float:
    return stft.inverse(values[:, 0] + 1j * values[:, 1])


def _spectral(
    transform: Transform,
    *,
    channels: tuple[str, ...],
    rows: Callable[[Stft, Float], Float],
    inverse: Callable[[Stft, Float], Float] | None = None,
) -> Static:
    stft = transform.stft(2 * (transform.bins - 1))
    return Framewise(stft, channels, Axis("frequency", stft.frequencies, "Hz"), rows, inverse)


def _mel_bands(
    transform: Transform, *, channels: tuple[str, ...], rows: Callable[..., Float]
) -> Static:
    bands = transform.bins
    stft = transform.stft(mel.points_for(transform.window, bands, transform.rate))
    axis = Axis("frequency", mel.centres(bands, transform.rate), "Hz")
    return Framewise(stft, channels, axis, partial(rows, bands=bands))


def _cepstrum(transform: Transform) -> Static:
    bands = max(CEPSTRUM_BANDS, transform.bins)
    stft = transform.stft(mel.points_for(transform.window, bands, transform.rate))
    axis = Axis("cepstrum", np.arange(transform.bins, dtype=np.float64), "1")
    rows = partial(_mfcc, bands=bands, cepstra=transform.bins)
    return Framewise(stft, ("mfcc",), axis, rows)


def _gammatone(transform: Transform) -> Static:
    axis = Axis("frequency", gammatone.centres(transform.bins, transform.rate), "Hz")
    return Gammatone(transform, ("gammatone",), axis)


STATICS: dict[str, Callable[[Transform], Static]] = {
    # Riemens 2015, sec. 2.3: the sign is kept, and it can be inverted.
    "real": partial(_spectral, channels=("real",), rows=_real, inverse=_invert_real),
    # Riemens 2015, sec. 2.3: recognised better than the real part; not inverted directly.
    "magnitude": partial(_spectral, channels=("magnitude",), rows=_magnitude),
    # A power law near that of loudness (chosen; no paper has it).
    "sqrt-magnitude": partial(_spectral, channels=("magnitude",), rows=_sqrt_magnitude),
    # log(|S| + `LOG_FLOOR`): loudness as a shift, not a factor (chosen).
    "log-magnitude": partial(_spectral, channels=("magnitude",), rows=_log_magnitude),
    # Riemens 2015, sec. 2.3: polar coordinates as channels; 0 where the magnitude is 0 [rad].
    "magnitude-phase": partial(
        _spectral,
        channels=("magnitude", "phase"),
        rows=_magnitude_phase,
        inverse=_invert_magnitude_phase,
    ),
    # Riemens 2015, sec. 2.3: Cartesian coordinates as channels.
    "complex": partial(
        _spectral, channels=("real", "imaginary"), rows=_complex, inverse=_invert_complex
    ),
    # Riemens 2015, sec. 2.2.1; Krug 2018, sec. 3.1; Pellegrini 2016, sec. 2.
    "mel": partial(_mel_bands, channels=("energy",), rows=_mel),
    "log-mel": partial(_mel_bands, channels=("energy",), rows=_log_mel),
    "mfcc": _cepstrum,
    "gammatone": _gammatone,
}
