"""The mel scale: filter banks, and the mel-frequency cepstrum.

    mel(f) = 2595 log10(1 + f / 700)

(HTK's scale and Kaldi's.) B bands share it evenly from 0 Hz to half the sampling rate; each is a
triangle of height 1, linear in mel, that ends where its neighbours have their peaks, and weighs
the power spectrum |S[k]|². Riemens 2015, sec. 2.2.1; Pellegrini 2016, sec. 2; Krug 2018, sec. 3.1.
The papers name neither triangles nor power; these are Kaldi's.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from speechscope.features.representations import Framewise, Static
from speechscope.features.stft import Axis, Complex, Float, Stft, Transform
from speechscope.registry import REPRESENTATIONS

LOG_FLOOR = 1e-6
"""Added to a band's energy before the logarithm; −60 dB of full scale (chosen)."""
CEPSTRUM_BANDS = 40
"""Mel bands that MFCCs are taken from, or as many as there are coefficients if those are more
(chosen: the 40 of Pellegrini 2016, sec. 2)."""


def hertz_to_mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return 2595 log10(1 + f / 700) [mel] of frequencies [Hz]."""
    return np.asarray(2595 * np.log10(1 + np.asarray(hertz) / 700))


def mel_to_hertz(mel: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return 700 (10^(mel / 2595) - 1) [Hz]."""
    return np.asarray(700 * (10 ** (np.asarray(mel) / 2595) - 1))


def centres(bands: int, rate: int) -> NDArray[np.float64]:
    """Return the frequency of the peak of every band [Hz], (bands,)."""
    return mel_to_hertz(np.linspace(0, hertz_to_mel(rate / 2), bands + 2)[1:-1])


def points_for(window: int, bands: int, rate: int) -> int:
    """Return the length of the transform that `bands` bands need.

    The smallest power of two that holds the window (HTK, Kaldi) and gives every band at least one
    frequency bin: a band between two bins would be silent for ever.
    """
    points = 1 << (window - 1).bit_length()
    while not filters(bands, points, rate).any(axis=0).all():
        points *= 2
    return points


@lru_cache(maxsize=8)
def filters(bands: int, points: int, rate: int) -> Float:
    """Return the triangles, (points // 2 + 1, bands).

    M[k, b] = max(0, 1 - |mel(f_k) - mel(f_b)| / Δ), with Δ the distance of two bands in mel.
    """
    spacing = hertz_to_mel(rate / 2) / (bands + 1)
    bins = hertz_to_mel(np.arange(points // 2 + 1, dtype=np.float64) * (rate / points))
    distance = np.abs(bins[:, None] / spacing - np.arange(1, bands + 1))
    return np.asarray(np.maximum(0, 1 - distance), dtype=np.float32)


def energies(stft: Stft, bands: int, spectra: Complex) -> Float:
    """Return the energy in every band, Σ_k M[k, b] |S[k]|², (R, bands), of spectra (R, bin)."""
    power = np.square(spectra.real)
    power += np.square(spectra.imag)
    return power @ filters(bands, stft.points, stft.rate)


def log_energies(stft: Stft, bands: int, spectra: Complex) -> Float:
    """Return log(energy + `LOG_FLOOR`) of every band, (R, bands)."""
    energy = energies(stft, bands, spectra)
    energy += np.float32(LOG_FLOOR)
    return np.log(energy, out=energy)


def _stft(transform: Transform, bands: int) -> Stft:
    return transform.stft(points_for(transform.window, bands, transform.rate))


def _of_bands(transform: Transform, values: Callable[[Stft, int, Complex], Float]) -> Static:
    bands = transform.bins
    stft = _stft(transform, bands)
    axis = Axis("frequency", centres(bands, transform.rate), "Hz")
    return Framewise(("energy",), axis, stft, lambda s: values(stft, bands, s)[:, None])


@REPRESENTATIONS.register("mel")
def mel(transform: Transform) -> Static:
    """Return the energies of bands (Riemens 2015, sec. 2.2.1; Krug 2018, sec. 3.1)."""
    return _of_bands(transform, energies)


@REPRESENTATIONS.register("log-mel")
def log_mel(transform: Transform) -> Static:
    """Return the logarithms of the energies of bands (Pellegrini 2016, sec. 2)."""
    return _of_bands(transform, log_energies)


@REPRESENTATIONS.register("mfcc")
def mfcc(transform: Transform) -> Static:
    """Return the first mel-frequency cepstral coefficients.

        c[q] = √(2/B) Σ_b log(energy_b) cos(πq(b + ½)/B),  c[0] over √2

    the orthonormal cosine transform of the log-mel energies (Riemens 2015, sec. 2.2.1).
    """
    bands = max(CEPSTRUM_BANDS, transform.bins)
    stft = _stft(transform, bands)
    cosine = fft.dct(np.eye(bands), axis=1, norm="ortho")[:, : transform.bins].astype(np.float32)
    axis = Axis("cepstrum", np.arange(transform.bins, dtype=np.float64), "1")
    return Framewise(
        ("mfcc",), axis, stft, lambda s: (log_energies(stft, bands, s) @ cosine)[:, None]
    )
