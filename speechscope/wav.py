"""Reconstructions as WAV files one can listen to."""

from pathlib import Path

import numpy as np

from speechscope.artifact import Artifact
from speechscope.sound_files import file_word, write_sound
from speechscope.staging import refuse_existing, staged

PEAK = 0.7
"""Each file's largest sample: reconstructions from deep layers are too soft to hear otherwise."""

MARK = ".speechscope"


def _ours(folder: Path) -> bool:
    return (folder / MARK).is_file()


def check_target(folder: Path, *, force: bool) -> None:
    """Refuse a folder that may not be written, before hours of work are spent.

    Raises
    ------
    UsageProblem
        It exists and may not be replaced.
    """
    refuse_existing(folder, force=force, owned=_ours)


def write_wavs(inversion: Path, folder: Path, *, force: bool) -> int:
    """Write every waveform of an inversion, scaled to the same peak, and return their number.

    Files are named ``ITEM_LABEL_original.wav`` and ``ITEM_LABEL_layerN_METHOD.wav``.
    """
    artifact = Artifact(inversion, "inversion")
    methods, layers = artifact.flags("method"), artifact.read("layer").tolist()
    labels, names = artifact.read("label"), artifact.flags("label")
    rate = int(artifact.attributes("waveform")["sampling_frequency"])
    written = 0
    with staged(folder, force=force, directory=True, owned=_ours) as partial:
        (partial / MARK).write_text(f"waveforms of {inversion.name}\n")
        for item, label in enumerate(labels):
            stem = f"{item:04d}_{file_word(names[label])}"
            sounds = {f"{stem}_original": artifact.read("waveform_original", item)}
            for m, method in enumerate(methods):
                for index, layer in enumerate(layers):
                    waveform = artifact.read("waveform", (m, index, item))
                    sounds[f"{stem}_layer{layer:02d}_{method}"] = waveform
            for name, samples in sounds.items():
                loudest = float(np.abs(samples).max())
                scaled = samples * (PEAK / loudest) if loudest > 0 else samples
                write_sound(partial / f"{name}.wav", scaled, rate)
                written += 1
    return written
