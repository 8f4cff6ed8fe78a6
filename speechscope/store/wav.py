"""Sounds as WAV files: a full disk is an error, and no label leads out of the folder."""

import io
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from speechscope.store.staging import need_folder, refuse_existing, staged

PEAK = 0.7
"""Each file's largest sample: what comes from deep layers is too soft to hear otherwise, and
relevance has a scale of its own."""
MARK = ".speechscope"
LONGEST_NAME = 100
"""Characters a name keeps: fewer than 255 bytes."""


def ours(folder: Path) -> bool:
    """Say whether a folder was written by speechscope."""
    return (folder / MARK).is_file()


@contextmanager
def marked(folder: Path, source: object, *, force: bool) -> Iterator[Path]:
    """Give a folder to write files in, which says what they are of and that it is ours.

    Raises
    ------
    UsageProblem
        The folder exists and may not be replaced.
    """
    with staged(folder, force=force, directory=True, owned=ours) as partial:
        (partial / MARK).write_text(f"{source}\n", encoding="utf-8")
        yield partial


def check_target(folder: Path, *, force: bool) -> None:
    """Refuse a folder that may not be written, before hours of work are spent.

    Raises
    ------
    UsageProblem
        It exists and may not be replaced.
    SpeechscopeError
        There is no folder to write it in.
    """
    need_folder(folder)
    refuse_existing(folder, force=force, owned=ours)


def write_folder(
    sounds: Iterable[tuple[str, NDArray[np.float32]]],
    folder: Path,
    rate: int,
    source: str,
    *,
    force: bool,
) -> int:
    """Write sounds as ``NAME.wav``, each scaled to the same peak, and return their number.

    Parameters
    ----------
    sounds
        Names and samples; what no name of a file may hold becomes ``_``.
    folder
        Where to; it is complete at its name or not there.
    rate
        Their sampling frequency [Hz].
    source
        What they are of, for whoever finds the folder.

    Raises
    ------
    UsageProblem
        The folder exists and may not be replaced.
    """
    written = 0
    with marked(folder, f"sounds of {source}", force=force) as partial:
        for name, samples in sounds:
            loudest = float(np.abs(samples).max())
            scaled = samples * (PEAK / loudest) if loudest > 0 else samples
            write_sound(partial / f"{file_word(name)}.wav", scaled, rate)
            written += 1
    return written


def write_sound(path: Path, samples: NDArray[Any], rate: int, *, container: str = "WAV") -> None:
    """Write 16-bit samples as a file.

    It is encoded in memory: libsndfile says nothing of writes that fail when the file is closed.

    Raises
    ------
    OSError
        It cannot be written.
    """
    content = io.BytesIO()
    soundfile.write(content, samples, rate, subtype="PCM_16", format=container)
    path.write_bytes(content.getvalue())


def file_word(name: str) -> str:
    """Return a name fit for a file: no separators, blanks or control characters."""
    shown = "".join(
        "_" if c in '/\\:*?"<>|' or c.isspace() or unicodedata.category(c)[0] == "C" else c
        for c in name
    )
    return shown[:LONGEST_NAME] or "_"
