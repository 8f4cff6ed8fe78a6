"""Writing sounds: a disk that is full is an error, and no label leads out of the folder."""

import io
import unicodedata
from pathlib import Path
from typing import Any

import soundfile
from numpy.typing import NDArray

LONGEST_NAME = 100
"""Characters a name keeps: fewer than 255 bytes."""


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
