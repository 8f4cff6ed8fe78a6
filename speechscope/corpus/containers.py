"""What the headers of sound files promise, held against the files' sizes.

libsndfile trusts the size of the file: of a recording that was cut short it reads what is left,
and of one whose header was damaged as much as the header says, without a word.
"""

import re
import struct
from pathlib import Path
from typing import BinaryIO

from speechscope.corpus.utterances import BadRecording

# What writers that cannot go back leave in place of the size: nothing, or near the largest number.
_STREAMED = 0x7FFF0000
_CHUNKS = 10_000
_CHUNK_NAME = re.compile(rb"[ -~]{4}")
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


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
            return _sphere(file, size)
        if container in ("WAV", "WAVEX"):
            return _chunks(file, size, "<")
        if container == "AIFF":
            return _chunks(file, size, ">")
    return None


def _sphere(file: BinaryIO, size: int) -> int:
    """Check a NIST SPHERE header: text, ``name -i value`` a line, 1024 bytes or a multiple."""
    head = file.read(16).split()
    if len(head) < 2 or not head[1].isdigit() or len(head[1]) > 7:
        raise BadRecording("has a SPHERE header without a length")
    length = int(head[1])
    file.seek(0)
    fields: dict[str, str] = {}
    for line in file.read(length).decode("latin-1").splitlines()[2:]:
        if line.strip() == "end_head":
            break
        name, *rest = line.split(maxsplit=2)[:1] + line.split(maxsplit=2)[2:]
        fields[name] = rest[0] if rest else ""
    else:
        raise BadRecording("has a SPHERE header without an end")
    if "shorten" in fields.get("sample_coding", ""):
        raise BadRecording("is compressed with shorten; convert it with sph2pipe")
    numbers = {}
    for name, default in (("sample_count", ""), ("channel_count", "1"), ("sample_n_bytes", "")):
        text = fields.get(name, default)
        if re.fullmatch(r"\d{1,12}", text, re.ASCII) is None:
            raise BadRecording(f"has a SPHERE header without {name}")
        numbers[name] = int(text)
    count = numbers["sample_count"]
    frame = numbers["channel_count"] * numbers["sample_n_bytes"]
    if frame == 0:
        raise BadRecording("has a SPHERE header with samples of no bytes")
    return _whole_file(count, frame, size - length)


def _whole_file(count: int, frame: int, held: int) -> int:
    """Compare the bytes that a header counts with those that the file holds after it."""
    if held < count * frame:
        raise BadRecording(
            f"is truncated: {max(held, 0) // frame} of the {count} samples in its header"
        )
    if held >= (count + 1) * frame:
        raise BadRecording(f"holds {held // frame} samples, but its header counts {count}")
    return count


def _chunks(file: BinaryIO, size: int, order: str) -> int | None:
    """Walk the chunks of a RIFF or AIFF file; all must lie within it, up to its end."""
    file.seek(12)
    position, frame, count, data = 12, 0, None, None
    for _ in range(_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        name, length = struct.unpack(f"{order}4sI", head)
        if data is not None and _CHUNK_NAME.fullmatch(name) is None:
            raise BadRecording(
                f"goes on for {size - position} bytes after the {data} that its header counts"
            )
        body = position + 8
        if name == b"fmt " and length >= 16:
            code, _, _, _, block = struct.unpack("<HHIIH", file.read(14))
            frame = block if code in (_PCM, _FLOAT, _EXTENSIBLE) else 0
        elif name == b"COMM" and length >= 18:
            count = struct.unpack(">HI", file.read(6))[1]
        elif name in (b"data", b"SSND"):
            if (length == 0 and size - body > 0) or length >= max(_STREAMED, size):
                return None  # written to a pipe: no promise
            data = length
        if body + length > size:
            missing = body + length - size
            if name == b"data" and frame:
                raise BadRecording(
                    f"is truncated: {(length - missing) // frame} of the {length // frame} "
                    "samples in its header"
                )
            raise BadRecording(f"is truncated: {missing} bytes of its {_plain(name)} are missing")
        position = body + length + length % 2
        file.seek(position)
    if data is None:
        raise BadRecording("has no sound in it")
    return count if order == ">" else data // frame if frame else None


def _plain(name: bytes) -> str:
    return f"chunk {name.decode('latin-1').strip()!r}"
