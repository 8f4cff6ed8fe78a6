"""Reading recordings, and finding those that are not what their header says."""

import struct
from math import gcd
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from speechscope.corpus.utterances import BadRecording

__all__ = ["SUFFIXES", "BadRecording", "read_audio"]

SUFFIXES = (".wav", ".flac", ".sph", ".nist", ".aiff", ".aif", ".ogg", ".mp3")


def read_audio(path: Path, rate: int) -> tuple[NDArray[np.float32], float]:
    """Read a recording as mono at one sampling rate.

    Several channels are averaged; another rate is converted by `scipy.signal.resample_poly`.

    Parameters
    ----------
    path
        Any format libsndfile reads: NIST SPHERE (PCM), RIFF, FLAC, ….
    rate
        Sampling rate wanted [Hz].

    Returns
    -------
    samples : (n,) float32, amplitude in [-1, 1].
    scale
        Output samples per sample in the file, to convert label times with.

    Raises
    ------
    BadRecording
        The file is unreadable, empty, truncated, silent, or holds values that are not numbers.
    """
    try:
        with soundfile.SoundFile(path) as file:
            declared = max(file.frames, _declared_frames(path, file.format, file.channels))
            source_rate = int(file.samplerate)
            data: NDArray[np.float32] = file.read(dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        raise BadRecording(f"cannot be read ({_reason(error)})") from error
    if len(data) == 0:
        raise BadRecording("holds no samples")
    if len(data) < declared:
        raise BadRecording(f"is truncated: {len(data)} of the {declared} samples in its header")
    if not np.isfinite(data).all():
        raise BadRecording("holds values that are not numbers")
    samples = data[:, 0] if data.shape[1] == 1 else data.mean(axis=1, dtype=np.float32)
    if not samples.any():
        raise BadRecording("is silent: every sample is zero")
    if source_rate == rate:
        return samples, 1.0
    from scipy.signal import resample_poly

    common = gcd(rate, source_rate)
    resampled = resample_poly(samples, rate // common, source_rate // common)
    return resampled.astype(np.float32), rate / source_rate


def _declared_frames(path: Path, container: str, channels: int) -> int:
    """Return the samples per channel that the header promises; libsndfile trusts the file's size.

    0 for containers whose reader reports a short file itself.
    """
    with path.open("rb") as file:
        if container == "NIST":
            header = file.read(1024).decode("ascii", "replace")
            for line in header.splitlines():
                words = line.split()
                if words[:2] == ["sample_count", "-i"] and len(words) == 3 and words[2].isdigit():
                    return int(words[2])
        elif container in ("WAV", "WAVEX"):
            return _riff_frames(file.read(4096), channels)
    return 0


def _riff_frames(head: bytes, channels: int) -> int:
    position, block = 12, 0
    while position + 8 <= len(head):
        name, size = struct.unpack_from("<4sI", head, position)
        if name == b"fmt " and position + 22 <= len(head):
            block = struct.unpack_from("<H", head, position + 20)[0]
        if name == b"data":
            # 0 and the largest size are what streaming writers leave: no promise.
            open_ended = size in (0, 0xFFFFFFFF)
            return 0 if open_ended or block == 0 or channels == 0 else size // block
        position += 8 + size + size % 2
    return 0


def _reason(error: BaseException) -> str:
    text = str(error)
    return text.rsplit(": ", maxsplit=1)[-1].rstrip(".") if text else type(error).__name__
