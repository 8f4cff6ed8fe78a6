"""Corpora as people have them, written by the tests: recordings of a second, labels of 0.1 s."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import corpora
import numpy as np
import soundfile

Row = tuple[float, float, str]
PHONES = ("sil", "aa", "s", "iy", "t")
FIVE: tuple[Row, ...] = tuple((n / 10, (n + 1) / 10, p) for n, p in enumerate(PHONES))
REST: Row = (0.5, 1.0, "")
SPELT = dict.fromkeys(PHONES, 1)
FULL = "x^x-{}+y=z@1_2/A:0_0_0/B:1-1-3@1-2&1-9#1-5$1-3!1-2;1-2|ax/C:1+1+3"


def sound(path: Path, rate: int = 16000, form: str = "", subtype: str | None = None) -> None:
    """Write a recording in the format of its suffix, or another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = corpora.recording(rate / corpora.RATE, seed=len(path.name))
    forms = {"wav": "WAV", "aifc": "AIFF", "snd": "AU", "oga": "OGG"}
    suffix = path.suffix.lower().strip(".")
    form = form or forms.get(suffix, suffix.upper())
    soundfile.write(path, samples, rate, format=form, subtype=subtype)


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    """Write label files, and a recording beside each of which there is none."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def both(suffix: str, content: str | bytes, name: str = "u") -> Callable[[Path], Path]:
    """Make a corpus of two speakers whose recordings have the same label file."""

    def build(root: Path) -> Path:
        for speaker in "AB":
            sound(root / f"{speaker}/{name}.wav")
        return write(root, {f"{speaker}/{name}{suffix}": content for speaker in "AB"})

    return build


def listed(name: str, content: str) -> Callable[[Path], Path]:
    """Make a corpus of two recordings, A/A_a and B/B_a, with one label file."""

    def build(root: Path) -> Path:
        for speaker in "AB":
            sound(root / f"{speaker}/{speaker}_a.wav")
        return write(root, {name: content})

    return build


def grid(*tiers: tuple[str, Sequence[Row]], end: float = 1.0, start: float = 0.0) -> str:
    """Return a TextGrid in the long form."""
    text = f'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = {start}\nxmax = {end}\n'
    text += f"tiers? <exists>\nsize = {len(tiers)}\nitem []:\n"
    for number, (name, rows) in enumerate(tiers, start=1):
        text += f'    item [{number}]:\n        class = "IntervalTier"\n        name = "{name}"\n'
        text += f"        xmin = {start}\n        xmax = {end}\n"
        text += f"        intervals: size = {len(rows)}\n"
        for place, (low, high, label) in enumerate(rows, start=1):
            quoted = label.replace('"', '""')
            text += f"        intervals [{place}]:\n            xmin = {low}\n"
            text += f'            xmax = {high}\n            text = "{quoted}"\n'
    return text


def phones(*rows: Row) -> str:
    """Return a TextGrid of one tier."""
    return grid(("phones", rows or (*FIVE, REST)))


def timed(form: str, rows: Sequence[Row] = FIVE) -> str:
    """Return a line for each row: ``{a}`` and ``{b}`` its times in a unit, ``{p}`` its phone."""
    return "".join(
        form.format(
            a=a, b=b, d=b - a, p=p,
            h=round(a * 1e7), k=round(b * 1e7),
            m=round(a * 16000), n=round(b * 16000),
            i=round(a * 1000), j=round(b * 1000),
        ) + "\n"
        for a, b, p in rows
    )  # fmt: skip


def audio(suffix: str, form: str = "", subtype: str | None = None) -> Callable[[Path], Path]:
    """Make a corpus whose recordings have a suffix."""

    def build(root: Path) -> Path:
        for speaker in "AB":
            sound(root / f"{speaker}/u{suffix}", form=form, subtype=subtype)
        return write(root, {f"{speaker}/u.TextGrid": phones() for speaker in "AB"})

    return build


def damaged(change: Callable[[bytes], bytes], suffix: str = ".wav") -> Callable[[Path], Path]:
    """Make a corpus whose recordings are changed."""

    def build(root: Path) -> Path:
        audio(suffix)(root)
        for path in root.rglob(f"*{suffix}"):
            path.write_bytes(change(path.read_bytes()))
        return root

    return build


def rifx(content: bytes) -> bytes:
    """Return a RIFF file in the other byte order."""
    samples, rate = soundfile.read(io.BytesIO(content))
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16", endian="BIG")
    return file.getvalue()


def endless(content: bytes) -> bytes:
    """Return a WAV whose data has the size of a stream."""
    at = content.index(b"data") + 4
    return content[:at] + b"\xff\xff\xff\xff" + content[at + 4 :]


def unended(content: bytes) -> bytes:
    """Return an Ogg file without its end-of-stream mark, its checksum right."""
    at = content.rindex(b"OggS")
    page = bytearray(content[at:])
    page[5] &= ~4
    page[22:26] = bytes(4)
    check = 0
    for byte in page:
        check ^= byte << 24
        for _ in range(8):
            check = (check << 1 ^ 0x04C11DB7 if check >> 31 else check << 1) & 0xFFFFFFFF
    page[22:26] = check.to_bytes(4, "little")
    return content[:at] + bytes(page)


def opposite(root: Path) -> Path:
    """Two channels in opposite phase."""
    both(".TextGrid", phones())(root)
    for path in root.rglob("*.wav"):
        samples = corpora.recording(1.0)
        soundfile.write(path, np.stack([samples, 1e-4 - samples], axis=1), 16000)
    return root


def timit(
    files: Sequence[str] = ("TRAIN/DR1/FCJF0/SX37", "TEST/DR1/FAKS0/SX37"),
    *,
    rate: int = 16000,
    rows: Sequence[Row] = (*FIVE, (0.5, 1.0, "h#")),
    label_rate: int = 16000,
) -> Callable[[Path], Path]:
    """Make a corpus in TIMIT's layout, its sample numbers at a rate of their own."""

    def build(root: Path) -> Path:
        for name in files:
            sound(root / f"{name}.WAV", rate)
            lines = [f"{round(a * label_rate)} {round(b * label_rate)} {p}\n" for a, b, p in rows]
            write(root, {f"{name}.PHN": "".join(lines)})
        return root

    return build


def shorten(root: Path) -> Path:
    """Recordings compressed with shorten."""
    timit()(root)
    for path in root.rglob("*.WAV"):
        fields = (
            "sample_count -i 16000\nsample_rate -i 16000\nchannel_count -i 1\n"
            "sample_coding -s26 pcm,embedded-shorten-v2.00\nsample_n_bytes -i 2\nend_head\n"
        )
        path.write_bytes(f"NIST_1A\n   1024\n{fields}".encode().ljust(1024) + b"ajkg" + bytes(500))
    return root


def files(*names: str, labels: dict[str, str | bytes]) -> Callable[[Path], Path]:
    """Make a corpus of recordings and label files."""

    def build(root: Path) -> Path:
        for name in names:
            sound(root / name)
        return write(root, labels)

    return build


def emu(rows: Sequence[Row] = FIVE) -> str:
    """Return an annotation of EMU: a level of words without times, and one of segments."""
    items = [
        {
            "id": number,
            "sampleStart": round(a * 16000),
            "sampleDur": round((b - a) * 16000) - 1,
            "labels": [{"name": "Phonetic", "value": p}],
        }
        for number, (a, b, p) in enumerate(rows)
    ]
    levels = [
        {"name": "Word", "type": "ITEM", "items": []},
        {"name": "Phonetic", "type": "SEGMENT", "items": items},
    ]
    return json.dumps({"name": "u", "annotates": "u.wav", "sampleRate": 16000, "levels": levels})


def eaf(*tiers: tuple[str, str, Sequence[Row]]) -> str:
    """Return an ELAN document of tiers (name, participant, rows)."""
    slots, body = "", ""
    number = 0
    for name, participant, rows in tiers:
        body += f'<TIER TIER_ID="{name}" PARTICIPANT="{participant}" LINGUISTIC_TYPE_REF="t">'
        for a, b, label in rows:
            for time in (a, b):
                number += 1
                slots += f'<TIME_SLOT TIME_SLOT_ID="ts{number}" TIME_VALUE="{round(time * 1e3)}"/>'
            body += (
                f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number}" '
                f'TIME_SLOT_REF1="ts{number - 1}" TIME_SLOT_REF2="ts{number}">'
                f"<ANNOTATION_VALUE>{label}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
            )
        body += "</TIER>"
    top = '<?xml version="1.0" encoding="UTF-8"?>\n<ANNOTATION_DOCUMENT FORMAT="3.0">'
    return f"{top}<TIME_ORDER>{slots}</TIME_ORDER>{body}</ANNOTATION_DOCUMENT>"


def aligner_csv(speaker: str = "A", rows: Sequence[Row] = FIVE) -> str:
    """Return the aligner's table."""
    lines = [f"{a},{b},{p},phones,{speaker}\n" for a, b, p in rows]
    return "Begin,End,Label,Type,Speaker\n" + "0,1,word,words,A\n" + "".join(lines)


def aligner_json(rows: Sequence[Row] = FIVE) -> str:
    """Return the aligner's JSON."""
    tiers = {
        "words": {"type": "interval", "entries": [[0, 1, "x"]]},
        "phones": {"type": "interval", "entries": [list(row) for row in rows]},
    }
    return json.dumps({"start": 0, "end": 1.0, "tiers": tiers})


def manifest(separator: str = ",", slash: str = "/", times: int = 1) -> Callable[[Path], Path]:
    """Make a corpus of a table, its rows so many times."""
    rows = [
        f"audio{slash}{speaker}{slash}u.wav,{a},{b},{p}\n"
        for speaker in "AB"
        for a, b, p in FIVE[:3]
    ]
    text = "audio,start,end,label\n" + "".join(rows * times)
    text = text.replace(",", separator)
    return files("audio/A/u.wav", "audio/B/u.wav", labels={"manifest.csv": text})


CHRONOLOGICAL = (
    '"Praat chronological TextGrid text file"\n0 1.0 ! Time domain.\n1 ! Number of tiers.\n'
    '"IntervalTier" "phones" 0 1.0\n' + timed('1 {a} {b}\n"{p}"', (*FIVE, REST))
)
COLLECTION = (
    'File type = "ooTextFile"\nObject class = "Collection"\n\nsize = 2\nitem []:\n'
    + "".join(
        f'    item [{n}]:\n        class = "TextGrid"\n        name = "{name}"\n'
        + grid(("phones", (row, REST))).split("\n\n", 1)[1]
        for n, (name, row) in enumerate(
            (("other", (0.0, 0.5, "t")), ("u", (0.0, 0.1, "s"))), start=1
        )
    )
)
