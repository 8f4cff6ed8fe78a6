"""The mel scale: filter banks, and the mel-frequency cepstrum.

    mel(f) = 2595 log10(1 + f / 700)

(HTK's scale and Kaldi's.) B bands share it evenly from 0 Hz to half the sampling rate; each is a
triangle of height 1, linear in mel, that ends where its neighbours have their peaks, and weighs
the power spectrum |S[k]|². Riemens 2015, sec. 2.2.1; Pellegrini 2016, sec. 2; Krug 2018, sec. 3.1.
The papers name neither triangles nor power; these are Kaldi's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from speechscope.features.representations import Framewise, Static
from speechscope.features.stft import Axis, Float, Stft, Transform, like, xp
from speechscope.registry import REPRESENTATIONS

if TYPE_CHECKING:
    from torch import Tensor

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


def energies(stft: Stft, bands: int, spectra: Any) -> Any:
    """Return the energy in every band, Σ_k M[k, b] |S[k]|², (R, bands), of spectra (R, bin)."""
    power = xp(spectra).square(spectra.real)
    power += xp(spectra).square(spectra.imag)
    return power @ like(filters(bands, stft.points, stft.rate), power)


def log_energies(stft: Stft, bands: int, spectra: Any) -> Any:
    """Return log(energy + `LOG_FLOOR`) of every band, (R, bands)."""
    energy = energies(stft, bands, spectra)
    energy += float(np.float32(LOG_FLOOR))
    return np.log(energy, out=energy) if isinstance(energy, np.ndarray) else energy.log()


def _stft(transform: Transform, bands: int) -> Stft:
    return transform.stft(points_for(transform.window, bands, transform.rate))


def _of_bands(transform: Transform, values: Callable[[Stft, int, Any], Any]) -> Static:
    bands = transform.bins
    stft = _stft(transform, bands)
    axis = Axis("frequency", centres(bands, transform.rate), "Hz")

    def rows(spectra: Any) -> Any:
        return values(stft, bands, spectra)[:, None]

    return Framewise(("energy",), axis, stft, rows, anywhere=True)


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

    def rows(spectra: Any) -> Any:
        logarithms = log_energies(stft, bands, spectra)
        return (logarithms @ like(cosine, logarithms))[:, None]

    return Framewise(("mfcc",), axis, stft, rows, anywhere=True)


LOWEST = 50.0
"""Centre of the lowest band [Hz] (chosen: below the voice's fundamental)."""
HIGHEST = 0.45
"""Centre of the highest band, share of the sampling rate (chosen: its flank ends below half)."""
RESPONSE = 0.128
"""Length of an impulse response [s]; the lowest band has decayed by 100 dB (chosen)."""
COMPRESSION = 1 / 3
"""Power that a mean amplitude is raised to, near that of loudness (chosen)."""
BLOCKS = 16
"""Transforms that a GPU filters at once (chosen: 16 of all bands take some 200 MB)."""
BLOCK = 1 << 13
"""Length of the transforms that filter [samples] (chosen: all bands of it stay in the cache)."""


def erb_rate(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return 21.4 log10(1 + 4.37 f / 1000), the number of bandwidths below f [Hz]."""
    return np.asarray(21.4 * np.log10(1 + 4.37e-3 * np.asarray(hertz)))


def erb_centres(bands: int, rate: int) -> NDArray[np.float64]:
    """Return the centre frequency of every band [Hz], (bands,)."""
    steps = np.linspace(erb_rate(LOWEST), erb_rate(HIGHEST * rate), bands)
    return np.asarray((10 ** (steps / 21.4) - 1) / 4.37e-3)


def impulse_responses(bands: int, rate: int) -> NDArray[np.float64]:
    """Return the filters g_b, (bands, samples)."""
    time = np.arange(round(RESPONSE * rate)) / rate
    frequency = erb_centres(bands, rate)[:, None]
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
    pieces = _pieces(window, hop)
    hops, history, length, step = _blocks(samples, hop, rate)
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


def gammatonograms_on_device(
    signals: "Tensor", window: int, hop: int, bands: int, rate: int
) -> "Tensor":
    """Return `gammatonogram` of signals (N, samples) on their device, (N, frames, bands)."""
    torch, (items, samples) = xp(signals), signals.shape
    pieces = like(_pieces(window, hop), signals)
    hops, history, length, step = _blocks(samples, hop, rate)
    filters = torch.from_numpy(_spectra(bands, rate, length)).to(signals.device)  # complex
    count = -(-hops // step)
    room = signals.new_zeros(items, (count - 1) * step * hop + length)
    room[:, history : history + samples] = signals
    sums = []
    parts = room.unfold(1, length, step * hop).reshape(-1, length)
    for blocks in torch.split(parts, BLOCKS):
        spectra = torch.fft.rfft(blocks)[:, None] * filters
        motion = torch.fft.irfft(spectra, length)[..., history : history + step * hop]
        sums.append(motion.clamp(min=0).reshape(len(blocks), bands, step, hop) @ pieces)
    whole = torch.cat(sums).view(items, count, bands, step, -1).transpose(2, 3).flatten(1, 2)
    frames = max(0, (samples - window) // hop + 1)
    out: Tensor = sum(whole[:, n : n + frames, :, n] for n in range(pieces.shape[1]))
    return out**COMPRESSION


def _blocks(samples: int, hop: int, rate: int) -> tuple[int, int, int, int]:
    """Return the hops, samples before a block, its length, and the hops of one block."""
    history = round(RESPONSE * rate) - 1
    hops = -(-samples // hop)
    length = int(fft.next_fast_len(history + hops * hop, real=True))
    if length > BLOCK:
        length = int(fft.next_fast_len(max(BLOCK, history + hop), real=True))
    return hops, history, length, (length - history) // hop


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

    def on_device(self, signals: "Tensor") -> "Tensor | None":
        """See `Static`."""
        s = self.transform
        return gammatonograms_on_device(signals, s.window, s.hop, s.bins, s.rate)[:, :, None]


@REPRESENTATIONS.register("gammatone")
def gammatone(transform: Transform) -> Static:
    """Return the gammatonogram (Riemens 2015, sec. 2.2.1)."""
    axis = Axis("frequency", erb_centres(transform.bins, transform.rate), "Hz")
    return Gammatonogram(("gammatone",), axis, transform)
