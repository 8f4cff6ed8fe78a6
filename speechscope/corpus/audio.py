"""Reading recordings, and finding those that are not what their header says.

libsndfile trusts the size of the file: of a recording that was cut short it reads what is left,
and of one whose header was damaged as much as the header says, without a word.
"""

import hashlib
import re
import struct
from math import gcd
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from speechscope.corpus.files import check_regular
from speechscope.corpus.pairing import UNREAD
from speechscope.corpus.utterances import BadRecording

# Speech is recorded between the telephone's 8 kHz and studios' 192 kHz; the filter that resamples
# grows with the rate, so that a nonsensical one in a damaged header would fill the memory.
RATES = (2_000, 200_000)
LONGEST_HOURS = 6
# Of speech a byte of FLAC holds one or two samples, of digital silence three hundred, of what is
# made to fill the memory thousands.
DENSEST = 100
ALWAYS_READ = 1 << 24  # samples that are read however dense they are
_BLOCK = 1 << 20  # values read at a time
CANCELLED = 0.1
"""Of the loudness of a channel: an average below is what channels in opposite phase leave."""
FAINTEST, LOUDEST = 1e-15, 1e15
"""How far samples swing at least, and are from zero at most: float32 holds their squares."""
BITS = (8, 16, 24)
"""Of integers that float32 holds exactly."""

# What writers that cannot go back leave in place of the size: near the largest number, with a sign
# or without one.
_STREAMED = (range(0x7FFF0000, 0x80000100), range(0xFFFF0000, 0x100000000))
_CHUNKS = 10_000
_CHUNK_NAME = re.compile(rb"[ -~]{4}")
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_LONGEST_PAGE = 27 + 255 + 255 * 255  # bytes of an Ogg page
_HEADER = 4096  # bytes that a header may take
_BEFORE_TAG = 36  # bytes at most between the start of an MPEG frame and its tag


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
        outside of `RATES`, or holds values that are no numbers, or no sound's; or its header
        counts fewer samples than it holds, or has the digest of others.
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
            flac = flac_md5(path) if file.format == "FLAC" else None
            samples, digest = _mono(
                file, ALWAYS_READ + DENSEST * path.stat().st_size, flac and flac[0]
            )
    except (soundfile.SoundFileError, OSError, ValueError, TypeError) as error:
        raise _unreadable(path, error) from error
    if len(samples) == 0:
        raise BadRecording(_nothing(path))
    length = len(samples)
    if declared is not None and length < declared:
        raise BadRecording(f"is truncated: {length} of the {declared} samples in its header")
    if declared is not None and length > declared:
        raise BadRecording(f"holds {length} samples, but its header counts {declared}")
    if flac is not None and flac[0] in BITS and digest != flac[1]:
        raise BadRecording("is damaged: its samples are not those its header has the MD5 of")
    if samples.max() - samples.min() < FAINTEST:
        raise BadRecording(f"is silent: every sample is {samples[0]:.3g}")
    if source_rate == rate:
        return samples, 1.0
    from scipy.signal import resample_poly

    common = gcd(rate, source_rate)
    resampled = resample_poly(samples, rate // common, source_rate // common)
    return resampled.astype(np.float32), rate / source_rate


def length_of(path: Path) -> tuple[int, int]:
    """Return the frames and the sampling rate [Hz] that a recording's header says.

    Raises
    ------
    BadRecording
        It cannot be opened.
    """
    try:
        check_regular(path)
        info = soundfile.info(path)
    except (soundfile.SoundFileError, OSError, ValueError, TypeError) as error:
        raise _unreadable(path, error) from error
    return int(info.frames), int(info.samplerate)


def _unreadable(path: Path, error: Exception) -> BadRecording:
    """Say why a recording cannot be opened, and what to do where its first bytes tell."""
    try:
        with path.open("rb") as file:
            top = file.read(12)
            file.seek(0)
            if top.startswith(b"NIST_1A"):
                _sphere(file)
    except BadRecording as found:
        return found
    except OSError as denied:
        return BadRecording(f"cannot be read ({denied.strerror})")
    if top[4:8] == b"ftyp" or path.suffix.lower() in UNREAD:
        return BadRecording(f"is not read ({_kind(path)}); convert it to WAV or FLAC")
    return BadRecording(f"cannot be read ({_reason(error)})")


def _nothing(path: Path) -> str:
    """Say of a recording without samples whether its file holds more than a header."""
    size = path.stat().st_size
    if size <= _HEADER:
        return "holds no samples"
    return (
        f"has a header that counts no samples, but {size} bytes: what recorded it did not close "
        "it; `sox --ignore-length IN OUT` reads it to its end"
    )


def _kind(path: Path) -> str:
    return path.suffix.lower() if path.suffix.lower() in UNREAD else "MPEG-4 sound"


def _mono(
    file: soundfile.SoundFile, most: int, bits: int | None
) -> tuple[NDArray[np.float32], bytes]:
    """Read to the end of the file, but `most` samples, block by block; average the channels.

    The MD5 of all samples, integers of so many `bits`, comes with it.
    """
    digest = hashlib.md5(usedforsecurity=False)
    blocks: list[NDArray[np.float32]] = []
    power, squares = 0.0, np.zeros(file.channels)
    # One more than the header counts: as a rule all of it at once, in a buffer that is used up.
    frames, length = min(max(_BLOCK // file.channels, 1), max(file.frames, 0) + 1), 0
    while True:
        block: NDArray[np.float32] = file.read(frames, dtype="float32", always_2d=True)
        if len(block) == 0:
            break
        length += len(block)
        if length > LONGEST_HOURS * 3600 * file.samplerate:
            raise BadRecording(f"is longer than {LONGEST_HOURS} hours: cut it into utterances")
        if length > most:
            raise BadRecording(f"unfolds to more than {most} samples: it holds next to no sound")
        if bits in BITS:
            digest.update(_integers(block, bits))
        with np.errstate(over="ignore", invalid="ignore"):
            mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
        if not (np.abs(mono) < LOUDEST).all():
            raise BadRecording("holds values that are not numbers, or no sound's")
        if block.shape[1] > 1:
            power += float(np.square(mono, dtype=np.float64).sum())
            squares += np.square(block, dtype=np.float64).sum(axis=0)
        blocks.append(mono)
    if power < CANCELLED**2 * squares.max():
        raise BadRecording(
            "has channels that cancel each other (opposite phase): save one of them alone"
        )
    md5 = digest.digest()
    if len(blocks) == 1:
        return blocks[0], md5
    out, at = np.empty(length, dtype=np.float32), 0
    for number, block in enumerate(blocks):
        out[at : at + len(block)], at = block, at + len(block)
        blocks[number] = out[:0]  # a recording may be hours long: it is not held twice
    return out, md5


def _integers(block: NDArray[np.float32], bits: int) -> bytes:
    """Return samples as FLAC digests them: interleaved little-endian integers of whole bytes."""
    values = block * np.float32(1 << (bits - 1))
    if bits < 24:
        return values.astype("<i2" if bits == 16 else "i1").tobytes()
    return values.astype("<i4").view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()


def _reason(error: BaseException) -> str:
    text = str(error)
    return text.rsplit(": ", maxsplit=1)[-1].rstrip(".") if text else type(error).__name__


def check_container(path: Path, container: str) -> int | None:
    """Compare the header of a recording with the file.

    Parameters
    ----------
    container
        libsndfile's name of the format.

    Returns
    -------
    Samples per channel that the header promises; None where it makes no promise, or in a format
    whose reader finds a short file itself.

    Raises
    ------
    BadRecording
        The file ends before its header says, or goes on after it.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if container == "NIST":
            return _sphere(file)
        if container in ("WAV", "WAVEX", "RF64", "AIFF"):
            return _chunks(file, size)
        if container == "OGG":
            _ogg(file, size)
        elif container in ("AU", "W64"):
            _one_size(file, size, container)
        elif container in ("MPEG", "MP3"):
            _mpeg(file, size)
    return None


def _sphere(file: BinaryIO) -> int:
    """Return the count in a NIST SPHERE header: ``name -i value`` a line, after its length."""
    head = file.read(16).split()
    if len(head) < 2 or not head[1].isdigit() or len(head[1]) > 7:
        raise BadRecording("has a SPHERE header without a length")
    length = int(head[1])
    file.seek(0)
    fields: dict[str, str] = {}
    for line in file.read(length).decode("latin-1").splitlines()[2:]:
        if line.strip() == "end_head":
            break
        if parts := line.split(maxsplit=2):
            fields[parts[0]] = parts[2] if len(parts) > 2 else ""
    else:
        raise BadRecording("has a SPHERE header without an end")
    if "shorten" in fields.get("sample_coding", ""):
        raise BadRecording("is compressed with shorten; convert it with sph2pipe")
    count = fields.get("sample_count", "")
    if re.fullmatch(r"\d{1,12}", count, re.ASCII) is None:
        raise BadRecording("has a SPHERE header without sample_count")
    return int(count)


def _chunks(file: BinaryIO, size: int) -> int | None:
    """Walk the chunks of a RIFF, RIFX or AIFF file; all must lie within it, up to its end."""
    file.seek(0)
    first, whole_bytes, form = struct.unpack("4s4s4s", file.read(12))
    order = ">" if first in (b"FORM", b"RIFX") else "<"
    (whole,) = struct.unpack(f"{order}I", whole_bytes)
    position, frame, count = 12, 0, None
    data: int | None = None
    large = 0  # the size of the data in an RF64 file
    for _ in range(_CHUNKS):
        head = file.read(8)
        # One byte fills up odd sizes.
        if size - position <= 1:
            break
        if data is not None and (len(head) < 8 or _CHUNK_NAME.fullmatch(head[:4]) is None):
            raise BadRecording(
                f"goes on for {size - position} bytes after the {data} that its header counts"
            )
        if len(head) < 8:
            break
        name, length = struct.unpack(f"{order}4sI", head)
        body = position + 8
        if name == b"fmt " and length >= 16:
            frame = _format(file.read(16), order)
        elif name == b"COMM" and length >= 18 and form == b"AIFF":  # AIFC counts packets
            count = int(struct.unpack(">HI", file.read(6))[1])
        elif name == b"ds64" and length >= 28:
            large = int(struct.unpack("<QQ", file.read(16))[1])
        elif name in (b"data", b"SSND"):
            if length == 0xFFFFFFFF and large:
                length = large
            elif _streamed(length) and (length > size or _streamed(whole)):
                if not _streamed(whole) and whole + 8 > size:
                    raise BadRecording(f"is truncated: {size} of the {whole + 8} bytes it counts")
                return None  # written to a pipe: no promise
            data = length
        missing = body + length - size
        if missing > 0 and name == b"data" and frame:
            raise BadRecording(
                f"is truncated: {(length - missing) // frame} of the {length // frame} "
                "samples in its header"
            )
        if missing > 0:
            chunk = f"chunk {name.decode('latin-1').strip()!r}"
            raise BadRecording(f"is truncated: {missing} bytes of its {chunk} are missing")
        position = body + length + length % 2
        file.seek(position)
    if data is None:
        raise BadRecording("has no sound in it")
    return count if first == b"FORM" else data // frame if frame else None


def _streamed(length: int) -> bool:
    """Whether a size is what writers leave that did not know it."""
    return length == 0 or any(length in values for values in _STREAMED)


def _format(head: bytes, order: str) -> int:
    """Return the bytes a frame of a RIFF file; 0 for compressed ones."""
    if len(head) < 16:
        raise BadRecording("is truncated: its header is not whole")
    code, channels, rate, per_second, frame, bits = struct.unpack(f"{order}HHIIHH", head)
    if code not in (_PCM, _FLOAT, _EXTENSIBLE):
        return 0
    if frame != channels * ((bits + 7) // 8) or per_second != rate * frame:
        raise BadRecording(
            f"has a header that contradicts itself: {channels} channels of {bits} bits at {rate} "
            f"Hz, but {frame} bytes a sample and {per_second} a second"
        )
    return int(frame)


def flac_md5(path: Path) -> tuple[int, bytes] | None:
    """Return the bits of a FLAC file's samples, and the MD5 of all of them.

    It stands in the first block, STREAMINFO (RFC 9639, sec. 8.2). libsndfile does not compare it,
    and reads as many samples as that block says. None where there is none.
    """
    with path.open("rb") as file:
        head = file.read(42)
    if len(head) < 42 or head[:4] != b"fLaC" or head[4] & 0x7F != 0:
        return None
    bits = 1 + (int.from_bytes(head[20:22], "big") >> 4 & 0x1F)
    return (bits, head[26:]) if any(head[26:]) else None


def _one_size(file: BinaryIO, size: int, container: str) -> None:
    """Compare the size that an AU file gives of its sound, and a Wave64 file of all, with it."""
    head = file.read(24)
    if container == "W64":
        counted = int.from_bytes(head[16:24], "little")
    else:
        order: Literal["little", "big"] = "big" if head[:4] == b".snd" else "little"
        start, length = (int.from_bytes(head[n : n + 4], order) for n in (4, 8))
        counted = 0 if _streamed(length) else start + length
    if size < counted:
        raise BadRecording(f"is truncated: {size} of the {counted} bytes in its header")


def _ogg(file: BinaryIO, size: int) -> None:
    """Look for the last page (RFC 3533, sec. 6): it is marked, and a whole file ends with it."""
    file.seek(max(size - _LONGEST_PAGE, 0))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    parts = page[26] if len(page) > 26 else 0
    marked = len(page) > 26 and page[5] & 4
    if len(page) < 27 or len(page) < 27 + parts + sum(page[27 : 27 + parts]):
        raise BadRecording("is truncated: its last page is missing or not whole")
    if not marked:
        raise BadRecording(
            "has no end-of-stream mark: its last page is missing, or its writer left the mark out; "
            "where it is whole, save it anew or convert it to WAV or FLAC"
        )


def _mpeg(file: BinaryIO, size: int) -> None:
    """Compare the size in the first frame's Xing or Info tag, where encoders leave one."""
    head = file.read(1 << 12)
    tag = max(head.find(b"Xing"), head.find(b"Info"))
    if tag < 0 or tag + 16 > len(head):
        return
    flags, *numbers = struct.unpack_from(">III", head, tag + 4)
    if not flags & 2:
        return
    counted = numbers[1 if flags & 1 else 0]
    if size - max(tag - _BEFORE_TAG, 0) < counted:
        raise BadRecording(f"is truncated: {size} of the {counted} bytes in its header")
