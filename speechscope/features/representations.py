"""The representations a corpus can be prepared in, by name."""

from collections.abc import Callable

import numpy as np

from speechscope.features.stft import Float, Stft

LOG_FLOOR = 1e-3
"""Added to the modulus before the logarithm; −60 dB of full scale, below room noise (chosen)."""


def real(stft: Stft, segments: Float) -> Float:
    """Real part of the transform (Riemens 2015, sec. 2.3): keeps the sign, can be inverted."""
    return stft.real(segments)[:, None]


def magnitude(stft: Stft, segments: Float) -> Float:
    """Modulus of the transform (Riemens 2015, sec. 2.3): recognises better than it inverts."""
    return stft.magnitude(segments)[:, None]


def sqrt_magnitude(stft: Stft, segments: Float) -> Float:
    """Square root of the modulus: a power law near that of loudness (chosen; no paper has it)."""
    return np.sqrt(stft.magnitude(segments))[:, None]


def log_magnitude(stft: Stft, segments: Float) -> Float:
    """Logarithm of the modulus, log(|S| + `LOG_FLOOR`): loudness as a shift, not a factor."""
    logarithm: Float = np.log(stft.magnitude(segments) + np.float32(LOG_FLOOR))
    return logarithm[:, None]


REPRESENTATIONS: dict[str, Callable[[Stft, Float], Float]] = {
    "real": real,
    "magnitude": magnitude,
    "sqrt-magnitude": sqrt_magnitude,
    "log-magnitude": log_magnitude,
}


def compute(name: str, stft: Stft, segments: Float) -> Float:
    """Return the representation `name` of padded segments (N, samples).

    Returns
    -------
    (N, channel, frequency, time) float32
    """
    return REPRESENTATIONS[name](stft, segments)
