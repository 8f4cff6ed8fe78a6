"""Seeded damage to files: what a disc, a network or an editor can do to a corpus."""

import io
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import numpy as np
import soundfile

RATE = 16000
SAMPLES = 3000
WAIT = 600.0
"""Seconds a reader may wait, on a machine that pauses what runs."""
PHONES = ("h#", "aa", "s", "", "t", "iy", "U~/", "h#")
EXTREMES = (
    b"-1", b"0", b"nan", b"inf", b"1e999", b"-0.0", b"1e-400", b"4294967295", b"9" * 30,
    b"9" * 5000, b"2147483648", b"0x10", b"1_000", "٣".encode(), b"\x00", b'"', b"\n",
    b"\xff\xfe", b"item [",
)  # fmt: skip


class Mutation:
    """One damaged copy: its bytes, and what was done to it."""

    def __init__(self, content: bytes, seed: int) -> None:
        rng = np.random.default_rng([0xF0, seed])
        kinds = (cut, flip, overwrite, delete, insert, double, swap, number)
        self.kind = kinds[rng.integers(len(kinds))]
        self.content = self.kind(content, rng)
        self.original = content

    @property
    def is_cut(self) -> bool:
        """Whether bytes are missing at the end and nothing else is changed."""
        return self.kind is cut


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: rng.integers(len(content))]


def flip(content: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        damaged[_position(content, rng)] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def overwrite(content: bytes, rng: np.random.Generator) -> bytes:
    start = _position(content, rng)
    filler = (b"\x00", b"\xff", b" ", rng.bytes(1))[rng.integers(4)]
    length = min(int(rng.integers(1, 40)), len(content) - start)
    return content[:start] + filler * length + content[start + length :]


def delete(content: bytes, rng: np.random.Generator) -> bytes:
    start = _position(content, rng)
    return content[:start] + content[start + int(rng.integers(1, 200)) :]


def insert(content: bytes, rng: np.random.Generator) -> bytes:
    start = _position(content, rng)
    return content[:start] + rng.bytes(int(rng.integers(1, 100))) + content[start:]


def double(content: bytes, rng: np.random.Generator) -> bytes:
    start = _position(content, rng)
    stop = start + int(rng.integers(1, 400))
    return content[:stop] + content[start:]


def swap(content: bytes, rng: np.random.Generator) -> bytes:
    a, b, c = sorted(int(p) for p in rng.integers(len(content) + 1, size=3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def number(content: bytes, rng: np.random.Generator) -> bytes:
    """Put something extreme in the place of a number, or anywhere."""
    digits = [n for n, byte in enumerate(content[:4096]) if chr(byte).isdigit()]
    start = int(rng.choice(digits)) if digits else _position(content, rng)
    stop = start
    while stop < len(content) and chr(content[stop]).isdigit():
        stop += 1
    return content[:start] + EXTREMES[rng.integers(len(EXTREMES))] + content[stop:]


def _position(content: bytes, rng: np.random.Generator) -> int:
    """Every second time in the header, where a byte matters most."""
    top = min(len(content), 120) if rng.integers(2) else len(content)
    return int(rng.integers(top))


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Fail what works longer than that, or waits for minutes."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"took longer than {seconds} s")

    timers = {
        signal.SIGPROF: (signal.ITIMER_PROF, seconds),
        signal.SIGALRM: (signal.ITIMER_REAL, WAIT),
    }
    before = {number: signal.signal(number, stop) for number in timers}
    for timer, limit in timers.values():
        signal.setitimer(timer, limit)
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def sound(container: str, subtype: str = "PCM_16", channels: int = 1) -> bytes:
    rng = np.random.default_rng(7)
    samples = 0.1 * rng.normal(size=(SAMPLES, channels))
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=container, subtype=subtype)
    return file.getvalue()


def edges() -> list[int]:
    return [int(edge) for edge in np.linspace(0, SAMPLES, len(PHONES) + 1)]


def phn() -> bytes:
    return rows(lambda start, stop, label: f"{start} {stop} {label or 'q'}")


def lab_htk() -> bytes:
    return rows(lambda start, stop, label: f"{start * 625} {stop * 625} {label or 'q'}")


def lab_seconds() -> bytes:
    return rows(lambda start, stop, label: f"{start / RATE:.6f}\t{stop / RATE:.6f}\t{label or 'q'}")


def lab_xlabel() -> bytes:
    head = b"signal a\ntype 0\ncolor 121\nseparator ;\nnfields 1\n#\n"
    return head + rows(lambda start, stop, label: f"    {stop / RATE:.6f}  121 {label}")


def manifest() -> bytes:
    head = b"audio,start,end,label,speaker,split\n"
    first = rows(lambda a, b, label: f"a.wav,{a / RATE:.4f},{b / RATE:.4f},{label or 'q'},s1,train")
    return head + first + first.replace(b"a.wav", b"b.wav").replace(b"s1,train", b"s2,test")


def manifest_text() -> bytes:
    return b"audio\ttext\tsplit\na.wav\tshe had your\ttrain\nb.wav\tdark suit\ttest\n"


def trans() -> bytes:
    return b"19-198-0000 NORTHANGER ABBEY\n19-198-0001 THIS LITTLE WORK\n19-198-0002 A WORD\n"


def rows(line: Callable[[int, int, str], str]) -> bytes:
    marks = zip(edges(), edges()[1:], PHONES, strict=False)
    return "".join(f"{line(*mark)}\n" for mark in marks).encode()


def textgrid(form: str) -> bytes:
    """Write a grid of two tiers by praatio: ``long_textgrid`` or ``short_textgrid``."""
    from praatio.utilities import textgrid_io

    times = [edge / RATE for edge in edges()]
    entries = list(zip(times, times[1:], PHONES, strict=False))
    tiers = [
        {"class": "IntervalTier", "name": name, "xmin": 0, "xmax": times[-1], "entries": entries}
        for name in ("phones", 'or "so"')
    ]
    grid = {"xmin": 0, "xmax": times[-1], "tiers": tiers}
    text: str = textgrid_io.getTextgridAsStr(grid, form, includeBlankSpaces=True)
    return text.encode()
