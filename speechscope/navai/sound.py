"""Means and patterns as sounds."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.features.filterbanks import LOG_FLOOR, filters, points_for
from speechscope.features.representations import SCOPES
from speechscope.features.stft import Stft
from speechscope.inversion.sound import MODULUS, griffin_lim
from speechscope.store.artifact import Artifact
from speechscope.store.wav import check_target, write_folder

DEVIATION = 2.8
"""What one standard deviation of z-normalised log-mel energies stands for [nepers].

Of the recordings in docs/navai.md, the mean over utterances; what was divided by is not stored.
"""

POWERS = ("mel", "log-mel")


def audible(corpus: Corpus) -> bool:
    """Whether means over inputs of a corpus can be turned into sound: not cepstra, for one."""
    if corpus.unit == "window":
        return True
    if corpus.features == "real":
        return corpus.unit == "segment" and corpus.invertible
    if corpus.features in MODULUS:  # a transform shorter than its window overlaps itself
        return 2 * (int(corpus.config["bins"]) - 1) >= int(corpus.config["window"])
    return corpus.features in POWERS


def check_sounds(corpus: Corpus, folder: Path, *, force: bool) -> None:
    """Refuse a folder for sounds that may not be written, or a corpus that has none.

    Raises
    ------
    UsageProblem
        There is a reason to.
    """
    if not audible(corpus):
        raise UsageProblem(f"--wav: {corpus.features} spectrograms have no waveform")
    check_target(folder, force=force)


def sound_of(corpus: Corpus, values: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """Return the sound (samples,) of a mean or pattern (F, T), of one channel, mean restored.

    Of the real part by the inverse transform; of moduli by Griffin & Lim; of mel energies first

        |S[k]|² = Σ_b M[k, b] e_b / Σ_k M[k, b]

    every band's energy spread over what it gathers from. Loudness has no meaning.

    Parameters
    ----------
    values
        In the units of the corpus.
    seed
        Of the first phase.
    """
    if corpus.unit == "window":
        return np.asarray(values[0])
    if corpus.features == "real":
        channels = corpus.input_shape[0]
        whole = np.zeros((1, channels, *values.shape), dtype=np.float32)
        whole[0, 0] = values
        return np.asarray(corpus.sound_of(whole)[0])
    config = corpus.config
    bands, frames = values.shape
    window, rate = int(config["window"]), int(config["rate"])
    hop = window - int(config["overlap"])
    scale = DEVIATION if corpus.config["normalize"] in SCOPES else 1.0
    given = torch.from_numpy(np.ascontiguousarray(values)) * scale
    mel = corpus.features in POWERS
    points = points_for(window, bands, rate) if mel else 2 * (bands - 1)
    stft = Stft((frames - 1) * hop + window, window, window - hop, points, rate)
    if mel:
        energy = given.exp() - LOG_FLOOR if corpus.features == "log-mel" else given
        weights = torch.from_numpy(filters(bands, points, rate).copy())
        modulus = (weights @ (energy.clamp(min=0) / weights.sum(0)[:, None])).sqrt()
    else:
        modulus = MODULUS[corpus.features](given).clamp(min=0)
    waveform: NDArray[np.float32] = griffin_lim(stft, modulus[None], [seed])[0].numpy()
    return waveform


def sounds(artifact: Artifact, corpus: Corpus) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield ``CLASS_ALIGNMENT_mean`` and ``CLASS_ALIGNMENT_pattern`` with their samples.

    The mean is heard with the training mean of the corpus restored; the pattern by itself: of
    logarithms a spectrum as loud everywhere as the class exceeds the others, of others what it has
    more than they.
    """
    classes, alignments = artifact.flags("class"), artifact.flags("alignment")
    base = corpus.mean[0]
    if base.ndim == 1:
        base = base[:, None]
    for number, name in enumerate(classes):
        for a, alignment in enumerate(alignments):
            mean = artifact.read("mean", (a, number)) + base
            yield f"{name}_{alignment}_mean", sound_of(corpus, mean)
            pattern = artifact.read("pattern", (a, number))
            yield f"{name}_{alignment}_pattern", sound_of(corpus, pattern)


def write_sounds(path: Path, folder: Path, corpus: Corpus, *, force: bool) -> int:
    """Write the sounds of `navai.zarr`; return their number.

    Raises
    ------
    UsageProblem
        The folder exists and may not be replaced.
    """
    artifact = Artifact(path, "navai")
    rate = int(corpus.config["rate"])
    return write_folder(sounds(artifact, corpus), folder, rate, path.name, force=force)
