"""Reading recordings, and finding those that are not what their header says."""

import hashlib
from math import gcd
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from speechscope.corpus.containers import check_container, flac_md5
from speechscope.corpus.files import AUDIO_SUFFIXES as SUFFIXES
from speechscope.corpus.files import check_regular
from speechscope.corpus.utterances import BadRecording

__all__ = ["SUFFIXES", "BadRecording", "read_audio"]

# Speech is recorded between the telephone's 8 kHz and studios' 192 kHz; the filter that resamples
# grows with the rate, so that a nonsensical one in a damaged header would fill the memory.
RATES = (2_000, 200_000)
LONGEST_HOURS = 6
# Of speech a byte of FLAC holds one or two samples, of digital silence three hundred, of what is
# made to fill the memory thousands.
DENSEST = 100
ALWAYS_READ = 1 << 24  # samples that are read however dense they are
_BLOCK = 1 << 20  # values read at a time
BITS = (8, 16, 24)
"""Of integers that float32 holds exactly."""


def read_audio(path: Path, rate: int) -> tuple[NDArray[np.float32], float]:
    """Read a recording as mono at one sampling rate.

    Several channels are averaged; another rate is converted by `scipy.signal.resample_poly`.
    Memory grows with what the file holds, not with what its header promises.

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
        The file is unreadable, empty, truncated, silent, longer than `LONGEST_HOURS`, at a rate
        outside of `RATES`, or holds values that are not numbers; or its header counts fewer
        samples than it holds, or has the digest of others.
    """
    check_regular(path)
    try:
        with soundfile.SoundFile(path) as file:
            source_rate = int(file.samplerate)
            if not RATES[0] <= source_rate <= RATES[1]:
                raise BadRecording(f"has a sampling rate of {source_rate} Hz")
            declared = check_container(path, file.format)
            if file.format == "FLAC" and 0 < file.frames < 1 << 36:
                declared = int(file.frames)
            told = flac_md5(path) if file.format == "FLAC" else None
            samples, digest = _mono(
                file, ALWAYS_READ + DENSEST * path.stat().st_size, told and told[0]
            )
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        raise BadRecording(f"cannot be read ({_reason(error)})") from error
    if len(samples) == 0:
        raise BadRecording("holds no samples")
    if declared is not None and len(samples) != declared:
        if len(samples) < declared:
            raise BadRecording(
                f"is truncated: {len(samples)} of the {declared} samples in its header"
            )
        raise BadRecording(f"holds {len(samples)} samples, but its header counts {declared}")
    if told is not None and told[0] in BITS and digest != told[1]:
        raise BadRecording("is damaged: its samples are not those its header has the MD5 of")
    if not samples.any():
        raise BadRecording("is silent: every sample is zero")
    if source_rate == rate:
        return samples, 1.0
    from scipy.signal import resample_poly

    common = gcd(rate, source_rate)
    resampled = resample_poly(samples, rate // common, source_rate // common)
    return resampled.astype(np.float32), rate / source_rate


def _mono(
    file: soundfile.SoundFile, most: int, bits: int | None
) -> tuple[NDArray[np.float32], bytes]:
    """Read to the end of the file, but `most` samples, block by block; average the channels.

    The MD5 of all samples, integers of so many `bits`, comes with it.
    """
    digest = hashlib.md5(usedforsecurity=False)
    blocks: list[NDArray[np.float32]] = []
    # One more than the header counts: as a rule all of it at once, in a buffer that is used up.
    frames, length = min(max(_BLOCK // file.channels, 1), max(file.frames, 0) + 1), 0
    while True:
        block: NDArray[np.float32] = file.read(frames, dtype="float32", always_2d=True)
        if len(block) == 0:
            break
        if not np.isfinite(block).all():
            raise BadRecording("holds values that are not numbers")
        length += len(block)
        if length > LONGEST_HOURS * 3600 * file.samplerate:
            raise BadRecording(f"is longer than {LONGEST_HOURS} hours: cut it into utterances")
        if length > most:
            raise BadRecording(f"unfolds to more than {most} samples: it holds next to no sound")
        if bits in BITS:
            digest.update(_integers(block, bits))
        mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
        blocks.append(mono)
    found = digest.digest()
    if len(blocks) == 1:
        return blocks[0], found
    return (np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32)), found


def _integers(block: NDArray[np.float32], bits: int) -> bytes:
    """Return samples as FLAC digests them: interleaved little-endian integers of whole bytes."""
    values = block * np.float32(1 << (bits - 1))
    if bits < 24:
        return values.astype("<i2" if bits == 16 else "i1").tobytes()
    return values.astype("<i4").view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()


def _reason(error: BaseException) -> str:
    text = str(error)
    return text.rsplit(": ", maxsplit=1)[-1].rstrip(".") if text else type(error).__name__
