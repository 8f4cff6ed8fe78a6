"""Relevance as WAV files one can listen to."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.store import Corpus
from speechscope.store.artifact import Artifact
from speechscope.store.wav import write_folder


def relevance_sounds(
    corpus: Corpus, inputs: NDArray[np.float32], relevance: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return one waveform an item, (N, samples).

    Of a waveform, the relevance signal itself (Muckenhirn 2019, sec. 4.3, listens to it); of a
    spectrogram, the input with every value weighted by the magnitude of its relevance, so that what
    counts is heard.

    Parameters
    ----------
    inputs, relevance : (N, channel, frequency, time), inputs not centred, or (N, sample).
    """
    if corpus.unit == "window":
        return relevance
    weight = np.abs(relevance)
    weight /= np.maximum(weight.max(axis=(1, 2, 3), keepdims=True), np.finfo(np.float32).tiny)
    return corpus.sound_of(inputs * weight)


def write_sounds(path: Path, folder: Path, corpus: Corpus, *, force: bool) -> int:
    """Write the sounds of `relevance.zarr` and return their number.

    Files are named ``ITEM_LABEL_original.wav`` and ``ITEM_LABEL_METHOD.wav``.

    Raises
    ------
    UsageProblem
        The folder exists and may not be replaced.
    """
    artifact = Artifact(path, "relevance")
    methods, names = artifact.flags("method"), artifact.flags("label")

    def sounds() -> Iterator[tuple[str, NDArray[np.float32]]]:
        for item, label in enumerate(artifact.read("label")):
            one = slice(item, item + 1)
            inputs = artifact.read("input", one)
            heard = inputs if corpus.unit == "window" else corpus.sound_of(inputs)
            yield f"{item:04d}_{names[label]}_original", heard[0]
            for number, method in enumerate(methods):
                found = artifact.read("relevance", (number, one))
                yield (
                    f"{item:04d}_{names[label]}_{method}",
                    relevance_sounds(corpus, inputs, found)[0],
                )

    return write_folder(sounds(), folder, int(corpus.config["rate"]), path.name, force=force)
