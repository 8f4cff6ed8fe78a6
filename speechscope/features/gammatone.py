"""The gammatonogram: a spectrogram by a model of the cochlea.

Riemens 2015, sec. 2.2.1: a gammatone filter bank (Patterson et al. 1987) gives the motion of the
basilar membrane in a number of channels, and a transducer turns it into the activity of the
auditory nerve. He gives no numbers. Here, with f_b spaced evenly on the ERB-rate scale of Glasberg
& Moore (1990), from `LOWEST` to `HIGHEST` of the sampling rate,

    g_b(t) = a_b t³ exp(-2π 1.019 ERB(f_b) t) cos(2π f_b t),   ERB(f) = 24.7 (1 + 4.37 f / 1000)

scaled to unit gain at f_b (fourth order, Patterson et al. 1987), and the transducer is the
simplest: what is left of a half-wave rectifier, averaged over a frame, to the power ⅓.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from speechscope.features.representations import Static
from speechscope.features.stft import Axis, Float, Transform
from speechscope.registry import REPRESENTATIONS

LOWEST = 50.0
"""Centre of the lowest band [Hz] (chosen: below the voice's fundamental)."""
HIGHEST = 0.45
"""Centre of the highest band, share of the sampling rate (chosen: its flank ends below half)."""
RESPONSE = 0.128
"""Length of an impulse response [s]; the lowest band has decayed by 100 dB (chosen)."""
COMPRESSION = 1 / 3
"""Power that a mean amplitude is raised to, near that of loudness (chosen)."""
BLOCK = 1 << 13
"""Length of the transforms that filter [samples] (chosen: all bands of it stay in the cache)."""


def erb_rate(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return 21.4 log10(1 + 4.37 f / 1000), the number of bandwidths below f [Hz]."""
    return np.asarray(21.4 * np.log10(1 + 4.37e-3 * np.asarray(hertz)))


def centres(bands: int, rate: int) -> NDArray[np.float64]:
    """Return the centre frequency of every band [Hz], (bands,)."""
    steps = np.linspace(erb_rate(LOWEST), erb_rate(HIGHEST * rate), bands)
    return np.asarray((10 ** (steps / 21.4) - 1) / 4.37e-3)


def impulse_responses(bands: int, rate: int) -> NDArray[np.float64]:
    """Return the filters g_b, (bands, samples)."""
    time = np.arange(round(RESPONSE * rate)) / rate
    frequency = centres(bands, rate)[:, None]
    bandwidth = 1.019 * 24.7 * (1 + 4.37e-3 * frequency)
    envelope = time**3 * np.exp(-2 * np.pi * bandwidth * time)
    response = envelope * np.cos(2 * np.pi * frequency * time)
    gain = np.abs(np.sum(response * np.exp(-2j * np.pi * frequency * time), axis=1))
    return np.asarray(response / gain[:, None])


def gammatonogram(signal: Float, window: int, hop: int, bands: int, rate: int) -> Float:
    """Return the gammatonogram of one signal.

        G[b, t] = (Σ_n w[n] max(0, (g_b * x)[n + th]) / Σ_n w[n])^⅓

    Parameters
    ----------
    signal : (samples,), silence before its first sample.
    window, hop
        The Hamming window w that the rectified motion is averaged over, and h [samples].
    bands
        Channels of the filter bank.
    rate
        Sampling rate [Hz].

    Returns
    -------
    (frames, bands), of the frames that lie wholly within the signal.

    Notes
    -----
    Filtered by overlap-save in blocks of at most `BLOCK` samples, so that only the result grows
    with the length. A window is taken as pieces one hop long: these are matrix products.
    """
    samples = len(signal)
    history = round(RESPONSE * rate) - 1
    pieces = _pieces(window, hop)
    hops = -(-samples // hop)
    length = fft.next_fast_len(history + hops * hop, real=True)
    if length > BLOCK:
        length = fft.next_fast_len(max(BLOCK, history + hop), real=True)
    step = (length - history) // hop  # hops a block
    filters = _spectra(bands, rate, length)
    sums = np.empty((bands, hops, pieces.shape[1]), dtype=np.float32)
    block = np.empty(length, dtype=np.float32)
    frames = max(0, (samples - window) // hop + 1)
    for first in range(0, hops, step):
        start = first * hop - history
        block[:] = 0
        piece = signal[max(0, start) : start + length]
        offset = max(0, -start)
        block[offset : offset + len(piece)] = piece
        motion = fft.irfft(fft.rfft(block) * filters, length, axis=1)[:, history:]
        wanted = min(step, hops - first)
        motion = np.maximum(motion[:, : wanted * hop], 0).reshape(-1, hop)
        sums[:, first : first + wanted] = (motion @ pieces).reshape(bands, wanted, -1)
    out = np.zeros((frames, bands), dtype=np.float32)
    for number in range(pieces.shape[1]):
        out += sums[:, number : number + frames, number].T
    return np.power(out, np.float32(COMPRESSION), out=out)


@lru_cache(maxsize=8)
def _spectra(bands: int, rate: int, length: int) -> NDArray[np.complex64]:
    transformed: NDArray[np.complex128] = fft.rfft(impulse_responses(bands, rate), length, axis=1)
    return transformed.astype(np.complex64)


@lru_cache(maxsize=8)
def _pieces(window: int, hop: int) -> Float:
    """Return the window, summing to 1, cut into pieces: (hop, pieces), zeros after its end."""
    taper = np.hamming(window)
    count = -(-window // hop)
    padded = np.zeros(count * hop)
    padded[:window] = taper / taper.sum()
    return np.ascontiguousarray(padded.reshape(count, hop).T, dtype=np.float32)


@dataclass(frozen=True)
class Gammatonogram(Static):
    """The gammatonogram; no direct inverse: half of the motion and its sign are gone."""

    transform: Transform

    def fill(self, signals: Float, out: Float) -> None:
        """See `Static`."""
        sizes = self.transform
        for signal, into in zip(signals, out, strict=True):
            into[:, 0] = gammatonogram(signal, sizes.window, sizes.hop, sizes.bins, sizes.rate)


@REPRESENTATIONS.register("gammatone")
def gammatone(transform: Transform) -> Static:
    """Return the gammatonogram (Riemens 2015, sec. 2.2.1)."""
    axis = Axis("frequency", centres(transform.bins, transform.rate), "Hz")
    return Gammatonogram(("gammatone",), axis, transform)
