"""What the headers of sound files promise, held against the files' sizes.

libsndfile trusts the size of the file: of a recording that was cut short it reads what is left,
and of one whose header was damaged as much as the header says, without a word.
"""

import re
import struct
from pathlib import Path
from typing import BinaryIO

from speechscope.corpus.utterances import BadRecording

# What writers that cannot go back leave in place of the size: near the largest number.
_STREAMED = 0x7FFF0000
_CHUNKS = 10_000
_CHUNK_NAME = re.compile(rb"[ -~]{4}")
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_LONGEST_PAGE = 27 + 255 + 255 * 255  # bytes of an Ogg page
_BEFORE_TAG = 36  # bytes at most between the start of an MPEG frame and its tag


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
        if container in ("WAV", "WAVEX", "RF64"):
            return _chunks(file, size, "<")
        if container == "AIFF":
            return _chunks(file, size, ">")
        if container == "OGG":
            _ogg(file, size)
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
        name, *rest = line.split(maxsplit=2)[:1] + line.split(maxsplit=2)[2:]
        fields[name] = rest[0] if rest else ""
    else:
        raise BadRecording("has a SPHERE header without an end")
    if "shorten" in fields.get("sample_coding", ""):
        raise BadRecording("is compressed with shorten; convert it with sph2pipe")
    count = fields.get("sample_count", "")
    if re.fullmatch(r"\d{1,12}", count, re.ASCII) is None:
        raise BadRecording("has a SPHERE header without sample_count")
    return int(count)


def _chunks(file: BinaryIO, size: int, order: str) -> int | None:
    """Walk the chunks of a RIFF or AIFF file; all must lie within it, up to its end."""
    file.seek(4)
    whole, form = struct.unpack(f"{order}I4s", file.read(8))
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
            frame = _format(file.read(16))
        elif name == b"COMM" and length >= 18 and form == b"AIFF":  # AIFC counts packets
            count = int(struct.unpack(">HI", file.read(6))[1])
        elif name == b"ds64" and length >= 28:
            large = int(struct.unpack("<QQ", file.read(16))[1])
        elif name in (b"data", b"SSND"):
            if length == 0xFFFFFFFF and large:
                length = large
            elif min(whole, length) >= max(_STREAMED, size):
                return None  # written to a pipe: no promise
            data = length
        missing = body + length - size
        if missing > 0 and name == b"data" and frame:
            raise BadRecording(
                f"is truncated: {(length - missing) // frame} of the {length // frame} "
                "samples in its header"
            )
        if missing > 0:
            raise BadRecording(f"is truncated: {missing} bytes of its {_plain(name)} are missing")
        position = body + length + length % 2
        file.seek(position)
    if data is None:
        raise BadRecording("has no sound in it")
    return count if order == ">" else data // frame if frame else None


def _format(head: bytes) -> int:
    """Return the bytes a frame of a RIFF file; 0 for compressed ones."""
    if len(head) < 16:
        raise BadRecording("is truncated: its header is not whole")
    code, channels, rate, per_second, frame, bits = struct.unpack("<HHIIHH", head)
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


def _ogg(file: BinaryIO, size: int) -> None:
    """Look for the last page (RFC 3533, sec. 6): it is marked, and a whole file ends with it."""
    file.seek(max(size - _LONGEST_PAGE, 0))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    parts = page[26] if len(page) > 26 else 0
    marked = len(page) > 26 and page[5] & 4
    if not marked or len(page) < 27 + parts + sum(page[27 : 27 + parts]):
        raise BadRecording("is truncated: its last page is missing or not whole")


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


def _plain(name: bytes) -> str:
    return f"chunk {name.decode('latin-1').strip()!r}"
