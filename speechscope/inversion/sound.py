"""From spectrograms back to sound, in batches: the real part, and moduli without a phase."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.features.representations import LOG_FLOOR, SCOPES
from speechscope.features.stft import Stft, spectra_on_device

ITERATIONS = 60
"""Griffin-Lim's: the modulus of these short segments has settled by then (chosen)."""

MOMENTUM = 0.99
"""Of fast Griffin-Lim (Perraudin, Balazs & Søndergaard 2013, sec. 4)."""

MODULUS: dict[str, Callable[[Tensor], Tensor]] = {
    "magnitude": lambda x: x,
    "sqrt-magnitude": lambda x: x.clamp(min=0).square(),
    "log-magnitude": lambda x: x.exp() - LOG_FLOOR,
}
"""The modulus of the transform from each representation that has lost its phase."""


def audible(corpus: Corpus) -> bool:
    """Whether `sound_of` can turn inputs of a corpus into waveforms.

    Of moduli it needs a transform at least as long as the window, whose frames do not overlap
    themselves. Windows of a waveform are sound as they are.
    """
    if corpus.unit == "window" or corpus.invertible:
        return True
    if corpus.unit != "segment" or corpus.features not in MODULUS:
        return False
    stft = stft_of(corpus)
    return stft.points >= stft.window and corpus.representation.normalize not in SCOPES


def stft_of(corpus: Corpus) -> Stft:
    """Return the transform that inputs of a corpus, linear in frequency, were computed with."""
    transform = corpus.representation.transform
    return transform.stft(2 * (transform.bins - 1))


def sound_of(
    corpus: Corpus, values: NDArray[np.float32], seeds: Sequence[int]
) -> NDArray[np.float32]:
    """Turn inputs (N, C, F, T) of an `audible` corpus into waveforms (N, samples).

    By the inverse of the representation; moduli by `griffin_lim`, with one seed an item.

    Raises
    ------
    UsageProblem
        The representation has no way back.
    """
    if corpus.unit == "window":
        return values.reshape(len(values), -1)
    if corpus.invertible:
        return corpus.sound_of(values)
    if not audible(corpus):
        raise UsageProblem(f"{corpus.path}: {corpus.features} cannot be turned back into sound")
    spectra = torch.from_numpy(np.ascontiguousarray(values[:, 0], dtype=np.float32))
    modulus = MODULUS[corpus.features](spectra).clamp(min=0)
    waveforms: NDArray[np.float32] = griffin_lim(stft_of(corpus), modulus, seeds).numpy()
    return waveforms


def inverse_real(stft: Stft, spectrograms: Tensor) -> Tensor:
    """Turn real parts into waveforms, differentiably; see `Stft.inverse_real`."""
    return overlap_add(stft, spectrograms.to(torch.complex64))


def griffin_lim(
    stft: Stft,
    modulus: Tensor,
    seeds: Sequence[int],
    *,
    start: Tensor | None = None,
    iterations: int = ITERATIONS,
) -> Tensor:
    """Find waveforms whose transform has a given modulus.

        c ← A exp(i arg S S⁺ t),  t ← c + α (c − c before)

    with S the transform, S⁺ its least-squares inverse and A the modulus. All items at once; the
    first phase of each is drawn from its own seed.

    Parameters
    ----------
    stft
        Of at least as many points as its window.
    modulus : (N, bins, frames), not negative.
    seeds
        One an item.
    start
        Phases to start from, as numbers of modulus 1 (N, bins, frames), instead of random ones.
    iterations
        How often the phase is replaced by that of a waveform.

    Returns
    -------
    (N, samples)

    Notes
    -----
    Griffin & Lim 1984; the momentum is Perraudin, Balazs & Søndergaard 2013, eq. 6.
    """
    if start is None:
        phase = torch.empty_like(modulus)
        for row, seed in zip(phase, seeds, strict=True):
            generator = torch.Generator().manual_seed(seed)
            row.copy_(torch.rand(row.shape, generator=generator) * (2 * np.pi))
        start = torch.polar(torch.ones_like(modulus), phase)
    estimate = modulus * start
    before = estimate
    for _ in range(iterations):
        consistent = transform(stft, overlap_add(stft, estimate))
        now = modulus * torch.sgn(consistent)
        estimate, before = now + MOMENTUM * (now - before), now
    return overlap_add(stft, before)


def _window(stft: Stft, like: Tensor) -> Tensor:
    window = torch.hamming_window(stft.window, periodic=False, dtype=torch.float64)
    return window.to(device=like.device, dtype=torch.float32)


def transform(stft: Stft, waveforms: Tensor) -> Tensor:
    """Return the transform (N, bins, frames) of waveforms (N, samples), differentiably."""
    frames = waveforms.unfold(1, stft.window, stft.hop)[:, : stft.frames]
    return spectra_on_device(stft, frames).transpose(1, 2)


def overlap_add(stft: Stft, spectra: Tensor) -> Tensor:
    """Return waveforms (N, samples) whose transform is nearest to given ones, differentiably.

    The least-squares inverse of `transform`: Griffin & Lim 1984, eq. 6.
    """
    window = _window(stft, spectra)
    places = torch.arange(stft.window, device=spectra.device) % stft.points
    frames = torch.fft.irfft(spectra.transpose(1, 2), stft.points)[..., places] * window
    length = (stft.frames - 1) * stft.hop + stft.window
    total = _fold(stft, frames.transpose(1, 2), length)
    squares = window.square()[None, :, None].expand(1, -1, stft.frames)
    weight = _fold(stft, squares, length)
    return nn.functional.pad(total / weight, (0, stft.samples - length))


def _fold(stft: Stft, frames: Tensor, length: int) -> Tensor:
    """Add up frames (N, window, frames) where they lie, (N, length)."""
    size, step = (1, stft.window), (1, stft.hop)
    return nn.functional.fold(frames, (1, length), size, stride=step)[:, 0, 0]
