"""Reconstructions as WAV files one can listen to."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechscope.store.artifact import Artifact
from speechscope.store.wav import write_folder


def write_wavs(inversion: Path, folder: Path, *, force: bool) -> int:
    """Write every waveform of an inversion and return their number.

    Files are named ``ITEM_LABEL_original.wav`` and ``ITEM_LABEL_layerN_METHOD.wav``.

    Raises
    ------
    UsageProblem
        The folder exists and may not be replaced.
    """
    artifact = Artifact(inversion, "inversion")
    methods, layers = artifact.flags("method"), artifact.read("layer").tolist()
    names = artifact.flags("label")

    def sounds() -> Iterator[tuple[str, NDArray[np.float32]]]:
        for item, label in enumerate(artifact.read("label")):
            stem = f"{item:04d}_{names[label]}"
            yield f"{stem}_original", artifact.read("waveform_original", item)
            for m, method in enumerate(methods):
                for index, layer in enumerate(layers):
                    waveform = artifact.read("waveform", (m, index, item))
                    yield f"{stem}_layer{layer:02d}_{method}", waveform

    rate = int(artifact.attributes("waveform")["sampling_frequency"])
    return write_folder(sounds(), folder, rate, inversion.name, force=force)
