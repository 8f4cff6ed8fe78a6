"""Ten and more of every kind of corpus that `test_cases` has one or a few of.

`CASES` there are written to the end by the command line; here a generator varies one thing at a
time (how text is written, what things are called, where they lie, what rate and unit times have),
and what would be prepared is held against what was written: the classes, and every stretch.
"""

import json
import re
import shutil
import struct
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import cases
import corpora
import numpy as np
import pytest
import soundfile
from cases import FIVE, FULL, PHONES, REST, Row, both, files, grid, listed, phones, timed

from speechscope.corpus.plan import Plan, refuse_loss
from speechscope.corpus.prepare import BATCH
from speechscope.corpus.reading import Summary
from speechscope.errors import SpeechscopeError
from speechscope.stages.prepare import Prepare
from speechscope.work.local import Serial

TWO = dict.fromkeys(PHONES, 2)
ALL = {"max_length": "none"}
AS_IS = {"max_length": "none", "phone_set": "as-is"}
Build = Callable[[Path], object]
Want = dict[str, int] | str | tuple[dict[str, int], str, int]
Variant = tuple[str, Build, Want, dict[str, Any]]
"""Its name, what writes it, and the classes, or what a refusal says, or classes, words and code."""


@dataclass
class Read:
    """What was read: the exit code, the classes, the stretches, who speaks, and what is said."""

    code: int
    said: str
    classes: Counter[str] = field(default_factory=Counter)
    spans: list[tuple[float, float]] = field(default_factory=list)
    speakers: dict[str, set[int]] = field(default_factory=dict)


def read(root: Path, settings: dict[str, Any]) -> Read:
    """Read a corpus as `prepare` does, and write nothing."""
    chosen = replace(Prepare(folder=root), **settings).resolved()
    try:
        plan = Plan.of(root, chosen, partial(Serial().ordered_map, folder=None), BATCH)
        found, names = Read(0, ""), plan.phones.classes if plan.phones is not None else ()
        for task in plan.tasks:
            for utterance, speaker, split in task:
                found.speakers.setdefault(plan.speakers[speaker], set()).add(split)
                lost = Summary()
                recording = plan.reader.read(utterance, speaker, split == 0, lost)
                for piece in recording.pieces if recording is not None else ():
                    found.classes[names[piece.label]] += 1
                    found.spans.append((piece.start / 16000, piece.stop / 16000))
                    lost.splits[split] += 1
                    lost.items += 1
                seen = plan.reader.look([(utterance, speaker, split)])
                # A dry run counts the same, unless something is wrong with the sound.
                assert seen.items == lost.items or lost.skipped_items > seen.skipped_items
                plan.summary.add(lost)
        refuse_loss(root, plan.settings, plan.summary, whole=True)
    except SpeechscopeError as error:
        return Read(1, str(error))
    found.said = "\n".join([*plan.summary.notes, *plan.summary.skipped])
    found.code = 4 if plan.summary.skipped_items else 0
    return found


def wrong(variants: Sequence[Variant], root: Path) -> list[str]:
    """Return what is not right of some variants; all labels lie on whole tenths of a second."""
    out = []
    for name, build, want, settings in variants:
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        build(root)
        found = read(root, settings)
        off = [s for s in found.spans if any(abs(10 * t - round(10 * t)) > 0.02 for t in s)]
        classes, says, code = ({}, want, 1) if isinstance(want, str) else (want, "", 0)
        if isinstance(want, tuple):
            classes, says, code = want
        right = found.code == code and dict(found.classes) == classes and not off
        if not right or not re.search(says, found.said, re.DOTALL):
            out.append(f"{name}: {found.code} {dict(found.classes)} {off[:2]} {found.said}")
    return out


def tone(path: Path, rate: int, seconds: float = 1.0, channels: int = 1, **form: Any) -> None:
    """Write a recording at a rate, so many channels, in a format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = corpora.recording(seconds * rate / corpora.RATE)
    if channels > 1:
        samples = np.stack([samples * (1 + n / 10) for n in range(channels)], axis=1)
    soundfile.write(path, samples, rate, **form)


# --- sound


def sounding(suffix: str, rate: int = 16000, channels: int = 1, **form: Any) -> Build:
    def build(root: Path) -> None:
        for speaker in "AB":
            tone(root / f"{speaker}/u{suffix}", rate, channels=channels, **form)
            cases.write(root, {f"{speaker}/u.TextGrid": phones()})

    return build


FORMS = (
    (".aif", "AIFF", None, 16000, 1), (".aiff", "AIFF", "PCM_24", 44100, 2),
    (".au", "AU", "ULAW", 8000, 1), (".snd", "AU", None, 22050, 2), (".caf", "CAF", None, 48000, 1),
    (".w64", "W64", None, 16000, 1), (".rf64", "RF64", None, 16000, 1),
    (".voc", "VOC", None, 16000, 1), (".ogg", "OGG", "OPUS", 48000, 1),
    (".oga", "OGG", "VORBIS", 16000, 2), (".mp3", "MP3", None, 44100, 1),
    (".flac", "FLAC", "PCM_24", 96000, 2), (".nist", "NIST", "ULAW", 8000, 1),
    (".sf", "IRCAM", None, 16000, 1), (".paf", "PAF", None, 16000, 1),
    (".mat", "MAT5", None, 16000, 1), (".pvf", "PVF", None, 16000, 1),
    (".htk", "HTK", None, 16000, 1), (".sds", "SDS", None, 16000, 1),
    (".wav", "WAV", "PCM_U8", 16000, 1), (".wav", "WAV", "FLOAT", 16000, 6),
    (".wav", "WAV", "DOUBLE", 96000, 1), (".wav", "WAV", "ALAW", 8000, 2),
    (".wav", "WAV", "IMA_ADPCM", 22050, 1), (".wav", "WAV", "MS_ADPCM", 11025, 1),
    (".wav", "WAV", "GSM610", 8000, 1), (".wav", "WAVEX", None, 16000, 2),
    (".wav", "FLAC", None, 16000, 1), (".flac", "WAV", None, 16000, 1),
    (".sph", "WAV", None, 16000, 1), (".wav", "MP3", None, 16000, 1),
    (".bin", "OGG", "OPUS", 16000, 1), ("", "MP3", None, 16000, 1),
)  # fmt: skip
UNREAD = (".m4a", ".aac", ".wma", ".amr", ".webm", ".MOV", ".wv", ".dts", ".tta", ".raw", ".pcm")


def header(**sizes: int) -> Callable[[bytes], bytes]:
    """Change the sizes that a WAV says of itself and of its data."""

    def change(content: bytes) -> bytes:
        places = {"whole": 4, "data": content.index(b"data") + 4}
        for name, size in sizes.items():
            at = places[name]
            content = content[:at] + struct.pack("<I", size) + content[at + 4 :]
        return content

    return change


def chunk(before: bytes = b"", after: bytes = b"") -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        at = content.index(b"data")
        body = b"WAVE" + content[12:at] + before + content[at:] + after
        return b"RIFF" + struct.pack("<I", len(body)) + body

    return change


NOTE = b"note" + struct.pack("<I", 3) + b"abc"
HEADERS = {
    "a chunk before": chunk(b"JUNK" + struct.pack("<I", 28) + bytes(28)),
    "an odd chunk before": chunk(NOTE + b"\0"),
    "an odd chunk at the end": chunk(b"", NOTE),
    "a stream": header(whole=0xFFFFFFFF, data=0xFFFFFFFF),
    "a stream of sox": header(whole=0x7FFFF024, data=0x7FFFF000),
    "a stream in its data": header(data=0xFFFFFFFF),
    "a stream in its data, even": header(data=0xFFFFFFF0),
    "a stream of half the range": header(data=0x7FFFFFFF),
    "no size of all": header(whole=0),
    "a wrong size of all": header(whole=12345),
}
CUT = {
    ".wav": "truncated", ".flac": "cannot be read", ".aiff": "truncated", ".au": "truncated",
    ".w64": "truncated", ".ogg": "truncated|end-of-stream", ".caf": "cannot be read|truncated",
}  # fmt: skip


def mixed(change: Callable[[np.ndarray], np.ndarray]) -> Build:
    def build(root: Path) -> None:
        both(".TextGrid", phones())(root)
        for path in root.rglob("*.wav"):
            soundfile.write(path, change(corpora.recording(1.0)), 16000)

    return build


def stacked(*gains: float) -> Build:
    return mixed(lambda samples: np.stack([g * samples for g in gains], axis=1))


def _level(level: float, samples: np.ndarray) -> np.ndarray:
    return 0 * samples + level


def sounds() -> Iterator[Variant]:
    for suffix, form, subtype, rate, channels in FORMS:
        yield (
            f"{suffix} {form} {subtype}",
            sounding(suffix, rate, channels, format=form, subtype=subtype),
            TWO,
            AS_IS,
        )
    for suffix in UNREAD:
        content: dict[str, str | bytes] = {
            f"{s}/u{e}": c for s in "AB" for e, c in ((suffix, b"\0\0\0 ftyp"), (".TextGrid", ""))
        }
        says = f"{suffix} is not read; convert it to WAV or FLAC"
        yield suffix, partial(_write, files=content), says, AS_IS
    for name, change in HEADERS.items():
        yield name, cases.damaged(change), TWO, AS_IS
    for suffix, says in CUT.items():
        build = cases.damaged(lambda content: content[: len(content) * 6 // 10], suffix)
        yield f"{suffix}, cut", build, says, AS_IS
    yield "never closed", cases.damaged(header(whole=0, data=0)), "sox --ignore-length", AS_IS
    for gains in ((1, -1), (1, -0.99), (1, -0.95), (1, -1, 1, -1), (0.5, -0.5)):
        yield f"{gains}", stacked(*gains), "channels that cancel", AS_IS
    for kept in ((1, 0), (1, 1), (1, -0.5), (0, 1), (1, 1, 1, 1, 1, 1), (1, -1, 1)):
        yield f"{kept}", stacked(*kept), TWO, AS_IS
    for level in (0.0, 0.5, 1 / 32768):
        yield f"{level}", mixed(partial(_level, level)), "is silent: every sample", AS_IS


def _write(root: Path, files: dict[str, str | bytes]) -> None:
    cases.write(root, files)


# --- how text is written

WHOLE = (*FIVE, (0.5, 1.0, "sil"))
MLF = "#!MLF!#\n" + "".join(f'"*/{s}_a.lab"\n{timed("{h} {k} {p}")}.\n' for s in "AB")
CTM = "".join(timed(f"{s}_a 1 {{a}} {{d:.3f}} {{p}}") for s in "AB")
TABLE = "audio,start,end,label\n" + "".join(timed(f"{s}/u.wav,{{a}},{{b}},{{p}}") for s in "AB")
LABELS: dict[str, tuple[Callable[[bytes], Build], str]] = {
    "TextGrid": (lambda c: both(".TextGrid", c), phones()),
    "chronological": (lambda c: both(".TextGrid", c), cases.CHRONOLOGICAL),
    "HTK": (lambda c: both(".lab", c), timed("{h} {k} {p}")),
    "seconds": (lambda c: both(".lab", c), timed("{a} {b} {p}")),
    "decimal commas": (lambda c: both(".lab", c), timed("{a} {b} {p}").replace("0.", "0,")),
    "xlabel": (lambda c: both(".lab", c), "signal u\nnfields 1\n#\n" + timed("{b} 121 {p}")),
    "PHN": (lambda c: both(".PHN", c), timed("{m} {n} {p}")),
    "Audacity": (lambda c: both(".txt", c), timed("{a:.6f}\t{b:.6f}\t{p}")),
    "ELAN": (lambda c: both(".eaf", c), cases.eaf(("phones", "", FIVE))),
    "EMU": (lambda c: both("_annot.json", c), cases.emu()),
    "aligner's table": (lambda c: both(".csv", c), cases.aligner_csv()),
    "aligner's JSON": (lambda c: both(".json", c), cases.aligner_json()),
    "mlf": (lambda c: _listed("all.mlf", c), MLF),
    "ctm": (lambda c: _listed("all.ctm", c), CTM),
    "manifest": (lambda c: files("A/u.wav", "B/u.wav", labels={"manifest.csv": c}), TABLE),
}
WRITTEN = (
    ("utf-8", b""), ("utf-8", b"\xef\xbb\xbf"), ("utf-16-le", b"\xff\xfe"), ("utf-16-le", b""),
    ("utf-16-be", b"\xfe\xff"), ("utf-16-be", b""), ("utf-32-le", b"\xff\xfe\0\0"),
)  # fmt: skip


def _listed(name: str, content: bytes) -> Build:
    def build(root: Path) -> None:
        listed(name, "")(root)
        (root / name).write_bytes(content)

    return build


def texts() -> Iterator[Variant]:
    for name, (build, text) in LABELS.items():
        for encoding, mark in WRITTEN:
            for end in ("\n", "\r\n", "\r"):
                if end == "\n" or not mark:
                    content = mark + text.replace("\n", end).encode(encoding)
                    yield f"{name} {encoding} {mark!r} {end!r}", build(content), TWO, ALL


# --- rates and units of times


def counted(suffix: str, rate: int, unit: float, seconds: float, end: float) -> Build:
    """Make recordings at a rate, whose labels count so many a second and end so early."""

    def build(root: Path) -> None:
        rows = (*FIVE, (0.5, end, "sil")) if end > 0.5 else FIVE
        lines = [f"{round(a * unit)} {round(b * unit)} {p}\n" for a, b, p in rows]
        for speaker in "AB":
            tone(root / f"{speaker}/u.wav", rate, seconds)
            cases.write(root, {f"{speaker}/u{suffix}": "".join(lines)})

    return build


def rates() -> Iterator[Variant]:
    want = {**TWO, "sil": 4}
    for rate in (8000, 16000, 22050, 44100, 48000, 96000):
        for labels in (16000, 44100, 48000):
            for end in (1.0, 0.8):
                build = counted(".PHN", rate, labels, 1.0, end)
                name = f"sound at {rate}, labels at {labels}, to {end}"
                # Labels at 44.1 kHz that end early could be all of them at 48.
                told = end == 1.0 or not 0.5 <= labels * end / rate <= 1
                if rate == labels:
                    yield name, build, want, ALL
                elif told:
                    yield name, build, "--label-rate", ALL
                yield name + ", told", build, want, {**ALL, "label_rate": labels}
    for seconds in (1.0, 3.0, 8.0):
        for share in (1.0, 0.8, 0.6):
            end = round(share * seconds, 1)
            for name, unit in (("100 ns", 1e7), ("samples", 16e3), ("ms", 1e3), ("us", 1e6)):
                build = counted(".lab", 16000, unit, seconds, end)
                plain = share == 1.0 or name == "100 ns"
                yield f"{name} to {end} of {seconds}", build, want if plain else "label-rate", ALL
                by_flag = {**ALL, "label_rate": int(unit)}
                yield f"{name} to {end} of {seconds}, told", build, want, by_flag


LEVELS = {"sil": 0.001, "aa": 0.3, "s": 0.05, "iy": 0.15, "t": 0.01}


def told(root: Path, suffix: str, unit: float, rate: int, share: float) -> None:
    """Write noise that is as loud as its labels say, which end so early, in so many a second."""
    rng = np.random.default_rng(0)
    for number in range(4):
        names = rng.choice(PHONES, 24)
        edges = np.cumsum([0, *rng.uniform(0.05, 0.12, 24)])
        level = np.repeat([LEVELS[n] for n in names], np.diff((edges * rate).astype(int)))
        samples = rng.normal(size=len(level)) * level
        path = root / f"{'AB'[number % 2]}/u{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path.with_suffix(".wav"), samples, rate)
        lines = [f"{round(a * unit)} {round(b * unit)} {n}\n"
                 for a, b, n in zip(edges[:-1], edges[1:], names, strict=True)
                 if b < share * edges[-1]]  # fmt: skip
        path.with_suffix(suffix).write_text("".join(lines))


@pytest.mark.parametrize(
    "suffix, unit, rate",
    [(".PHN", 8000, 16000), (".PHN", 16000, 22050), (".PHN", 11025, 16000), (".PHN", 16000, 44100),
     (".PHN", 20000, 16000), (".lab", 16e3, 16000), (".lab", 1e3, 16000)],
)  # fmt: skip
def test_labels_at_another_rate_are_told_by_what_is_loud(
    suffix: str, unit: float, rate: int, tmp_path: Path
) -> None:
    told(tmp_path / "corpus", suffix, unit, rate, 0.75)
    found = read(tmp_path / "corpus", ALL)
    assert found.code == 1 and "--label-rate" in found.said, found.said
    if 1e3 < unit < 1e6 and unit < rate:
        assert f"--label-rate {unit:.0f} " in found.said


@pytest.mark.parametrize("share", [0.3, 0.49, 0.7, 0.9])
@pytest.mark.parametrize("suffix, unit", [(".PHN", 16000), (".lab", 1e7)])
def test_labels_of_a_part_are_believed(
    suffix: str, unit: float, share: float, tmp_path: Path
) -> None:
    told(tmp_path / "corpus", suffix, unit, 16000, share)
    found = read(tmp_path / "corpus", ALL)
    assert found.code == 0 and found.classes.total() > 20, found.said


# --- TextGrids and their tiers

LONG = phones()
TEXTGRIDS = {
    "blanks at the ends": LONG.replace("\n", "   \n"),
    "one line": LONG.replace("\n", " "),
    "no blanks about =": LONG.replace(" = ", "="),
    "no indentation": "\n".join(line.strip() for line in LONG.split("\n")),
    "exponents": LONG.replace("xmin = 0.1", "xmin = 1e-01"),
    "a comment": LONG.replace('text = "aa"', 'text = "aa" ! the vowel'),
    "a line end in a label": LONG.replace('"aa"', '"aa\n"'),
    "blanks about a label": LONG.replace('"aa"', '" aa "'),
    "a blank behind the name": LONG.replace('"phones"', '"phones "'),
    **{f"{n} as a start": LONG.replace("xmin = 0.0\n", f"xmin = {n}\n")
       for n in ("-0.0", "-1e-17", "1.1e-17", "-1.0e-12")},
    **{f"{n} as the end": grid(("phones", (*FIVE, (0.5, n, ""))), end=n)
       for n in (1.02, 1.5, 5.0)},
    "short of the recording": grid(("phones", FIVE), end=0.5),
    "an empty tier of a more usual name": grid(("phones", [(0, 1, "")]), ("phone", FIVE)),
    **{f"{words} in a label": grid(("notes", [(0.0, 1.0, words)]), ("phones", FIVE))
       for words in ('text = "x"', 'class = "IntervalTier"', "intervals: size = 99", "item []:",
                     "<exists>", '"ooTextFile"', "12.5 3", "wow ! no", '"',
                     'one\nxmin = 3\n"three"')},
    **{f"a tier called {words}": grid((words, [(0, 1, "x")]), ("phones", FIVE))
       for words in ("size = 2", 'a ""b""', "item [1]:")},
}  # fmt: skip


def moved(by: float) -> str:
    rows = [(a + by, b + by, p) for a, b, p in (*FIVE, REST)]
    return grid(("phones", rows), start=by, end=1 + by)


REFUSED = {
    "binary": ("ooBinaryFile\x08TextGrid", "save it as text"),
    "nothing": ("", "no TextGrid"), "something else": ("<html>", "no TextGrid"),
    "no tier": (LONG.split("tiers?")[0] + "tiers? <absent>\n", "tier"),
    **{f"{n} of 6 intervals": (LONG.replace("size = 6", f"size = {n}"), f"declares {n} .*holds 6")
       for n in (0, 4, 5)},
    "7 of 6 intervals": (LONG.replace("size = 6", "size = 7"), "cut short"),
    "fewer in the second": (
        grid(("words", [(0, 1, "x")]), ("phones", FIVE)).replace("size = 5", "size = 3"),
        "phones declares 3 .*holds 5",
    ),
    "no label": (phones((0, 1, "")), "no label in tier phones"),
    "blank labels": (phones((0, 1, "  ")), "no label in tier phones"),
    "no label of the aligner's": (
        grid(("words", [(0, 1, "")]), ("phones", [(0, 1, "")])), "no label in tier phones",
    ),
    "overlap": (phones((0, 0.3, "aa"), (0.2, 0.5, "s")), "overlap"),
    **{f"from {n} s on": (moved(n), "preserved; shift them") for n in (0.7, 12.5, 100.0)},
    "from 5 s on, no rest": (
        grid(("phones", [(a + 5, b + 5, p) for a, b, p in FIVE]), start=5, end=5.5), "preserved",
    ),
    "decimal commas": (LONG.replace("0.1", "0,1"), "malformed"),
}  # fmt: skip
TIERS = ("Narrow", "ipa", "IPA", "phon", "segs", "Lautschrift", "音素", "phones_new", "[p]", "a*b")
VOICED = [(0.0, 0.1, "sil"), (0.1, 0.2, "AA1"), (0.2, 0.3, "S"), (0.3, 1.0, "sil")]
ANSWER = [(0.0, 0.5, "sil"), (0.5, 0.6, "IH1"), (0.6, 1.0, "sil")]


def textgrids() -> Iterator[Variant]:
    for name, text in TEXTGRIDS.items():
        yield name, both(".TextGrid", text), TWO, ALL
    for name, (text, says) in REFUSED.items():
        for settings in (AS_IS, ALL):
            yield name, both(".TextGrid", text), says, settings
    for name in TIERS:
        text = grid((name, FIVE), ("notes", [(0, 1, "x")]))
        says = rf"its tiers are: {re.escape(name)}, notes; name one with --tier"
        yield f"tier {name}", both(".TextGrid", text), says, AS_IS
        for tier in (name, name.lower(), "*" + name[1:] if name[0] not in "[" else name):
            yield f"--tier {tier}", both(".TextGrid", text), TWO, {**ALL, "tier": tier}
    for first, second in (
        ("Kim", "Lee"),
        ("Kim Lee", "Lee Kim"),
        ("Jean - Luc", "Zoë"),
        ("A", "a"),
    ):
        for form in ("{} - phones", "{} - phone", "{} - Phonetic"):
            text = grid((form.format(first), VOICED), (form.format(second), ANSWER))
            want = {"sil": 4, "aa": 2, "s": 2, "ih": 2}
            told = (want, f"2 speakers by their tiers: {first.replace(' ', '_')}", 0)
            yield form.format(first), both(".TextGrid", text), told, ALL
    for form in ("{}_phones", "{}: phones", "phones {}", "phones_{}", "{} – phones", "phones@{}"):
        text = grid((form.format("Kim"), VOICED), (form.format("Lee"), ANSWER))
        yield form, both(".TextGrid", text), "name one with --tier", AS_IS


# --- collections


def collection(*grids: tuple[str, str]) -> str:
    text = (
        f'File type = "ooTextFile"\nObject class = "Collection"\n\nsize = {len(grids)}\nitem []:\n'
    )
    for number, (name, content) in enumerate(grids, start=1):
        text += f'    item [{number}]:\n        class = "TextGrid"\n        name = "{name}"\n'
        text += content.split("\n\n", 1)[1]
    return text


def collected(names: Sequence[str], sounds: Sequence[str], file: str = "all.Collection") -> Build:
    text = collection(*((name, LONG) for name in names))
    return files(*(f"{sound}.wav" for sound in sounds), labels={file: text})


def collections() -> Iterator[Variant]:
    for file in ("all.Collection", "all.TextGrid", "grids/x/y.TextGrid"):
        for sounds in (("u1", "u2"), ("A/u1", "B/u2"), ("x/wav/A/u1", "x/wav/B/u2")):
            yield f"{file} of {sounds}", collected(("u1", "u2"), sounds, file), TWO, ALL
    yield "beside", collected(("u1", "u2"), ("A/u1", "A/u2"), "A/all.collection"), TWO, ALL
    yield "blanks", collected(("my_rec_1", "my_rec_2"), ("A/my rec 1", "B/my rec 2")), TWO, ALL
    yield "dots and case", collected(("a_b_1", "A_b_2"), ("A/a.b.1", "B/a.b.2")), TWO, ALL
    want = TWO, "1 of its 3 grids have no recording", 4
    yield "one too many", collected(("u1", "u2", "u3"), ("A/u1", "B/u2")), want, ALL
    want = TWO, "u3.wav: has no .textgrid", 4
    yield "one too few", collected(("u1", "u2"), ("A/u1", "B/u2", "B/u3")), want, ALL
    yield "one name twice", collected(("u1", "u1"), ("A/u1", "B/u2")), "two grids called u1", ALL
    own = collection(("u1", phones((0, 0.1, "iy"))), ("u2", phones((0, 0.2, "t"))))
    build = files("A/u1.wav", "B/u2.wav", labels={"all.Collection": own})
    yield "each its own", build, {"iy": 1, "t": 1}, ALL
    voices = grid(("Kim - phones", FIVE), ("Lee - phones", FIVE))
    text = collection(("u1", voices), ("u2", voices))
    build = files("A/u1.wav", "B/u2.wav", labels={"all.Collection": text})
    yield "of several speakers", build, dict.fromkeys(PHONES, 4), ALL


# --- tables, lists, and other label files

STATES = "".join(
    f"{n * 1000000 + i * 250000} {n * 1000000 + (i + 1) * 250000} s{i + 2}"
    + (f" {p}\n" if i == 0 else "\n")
    for n, p in enumerate(PHONES)
    for i in range(4)
)
TABLES = {
    "pipes": TABLE.replace(",", "|"), "semicolons": TABLE.replace(",", ";"),
    "for Excel": "sep=;\n" + TABLE.replace(",", ";"),
    "commas in quotes": re.sub(r"(0\.\d+)", lambda m: f'"{m[1].replace(".", ",")}"', TABLE),
    "capitals": TABLE.replace("audio,start,end,label", "Audio, Start ,END,Label"),
    "every row twice": TABLE + TABLE.partition("\n")[2],
    "rows backwards": "\n".join([TABLE.split("\n")[0], *TABLE.split("\n")[:0:-1]]),
    "paths spelt otherwise": TABLE + TABLE.partition("\n")[2].replace("A/u", "./A/u"),
    "times spelt otherwise": TABLE + TABLE.partition("\n")[2].replace(",0.1,", ",0.10,"),
}  # fmt: skip
LINES = {
    "star": "*/{s}_a.lab", "path": "/x/{s}/{s}_a.rec", "windows": "D:\\x\\{s}\\{s}_a.lab",
    "name": "{s}_a", "case": "*/{s}_A.lab", "wav": "*/{s}_a.wav",
}  # fmt: skip
ROWS = {
    "plain": "S_a 1 {a} {d:.3f} {p}", "sure": "S_a A {a} {d:.3f} {p} 0.98", "path": "x/S_a.wav 1 "
    "{a} {d:.3f} {p}", "in words": "S_a 1 {a} {d:.3f} {p}_I", "tabs": "S_a\t1\t{a}\t{d:.3f}\t{p}",
}  # fmt: skip


def lists() -> Iterator[Variant]:
    for name, text in TABLES.items():
        yield name, files("A/u.wav", "B/u.wav", labels={"manifest.csv": text}), TWO, ALL
    for name, form in LINES.items():
        body = "".join(f'"{form.format(s=s)}"\n{timed("{h} {k} {p}")}.\n' for s in "AB")
        yield f"mlf {name}", listed("all.mlf", "#!MLF!#\n" + body), TWO, ALL
    for name, form in ROWS.items():
        text = "".join(timed(form.replace("S", s)) for s in "AB")
        yield f"ctm {name}", listed("all.ctm", text), TWO, ALL
    backwards = "".join(reversed(CTM.splitlines(keepends=True)))
    yield "ctm backwards", listed("all.ctm", backwards), TWO, ALL
    says = "channels 1, 2"
    yield "ctm of two", listed("all.ctm", CTM + "A_a 2 0 .1 s\nB_a 2 0 .1 s\n"), says, ALL
    build = listed("b_phones.ctm", CTM)
    words = {"a_words.ctm": "A_a 1 0 .5 hello\nB_a 1 0 .5 hello\n"}
    yield "ctm of words", lambda root: cases.write(build(root), dict(words)), TWO, ALL
    yield "states", both(".rec", STATES), TWO, ALL
    for form in ("a-{}+b", "x^a-{}+b=y", FULL, "xx^a-{}+b=z/A:-2+1+3/B:xx-xx_xx/C:02_xx+xx"):
        text = "".join(timed("{h} {k} " + form.replace("{}", "{p}")))
        yield form, both(".lab", text), TWO, ALL
    unlabelled = timed("{a:.6f}\t{b:.6f}\t{p}") + "0.6\t0.7\t\n"
    yield "a label nobody wrote", both(".txt", unlabelled), TWO, ALL


# --- names, speakers, trees

NAMES = {
    "Unicode": (unicodedata.normalize("NFD", "Zoé ñ 각"), unicodedata.normalize("NFC", "Zoé ñ 각")),
    "case": ("U1", "u1"), "blanks": ("My Rec", "my rec"), "dots": ("a.b.c", "a.b.c"),
    "brackets": ("x (1)", "x (1)"), "signs": ("x#1%,;", "x#1%,;"), "a dash": ("-x", "-x"),
}  # fmt: skip
SUFFIXES = {
    ".TextGrid": phones(),
    ".lab": timed("{h} {k} {p}"),
    ".PHN": timed("{m} {n} {p}"),
    "_annot.json": cases.emu(),
    ".eaf": cases.eaf(("phones", "", FIVE)),
    ".csv": cases.aligner_csv(),
}
TREES = {
    "beside": ("{s}/u", "{s}/u"), "two trees": ("wav/{s}/u", "TextGrid/{s}/u"),
    "deep": ("audio/48k/x/{s}/u{s}", "out/{s}/u{s}"), "deeper": ("a/b/c/{s}/u", "e/{s}/u"),
    "labels in one folder": ("wav/{s}/{s}u", "grids/{s}u"), "both": ("wav/{s}u", "grids/{s}u"),
    "sounds in one folder": ("{s}u", "grids/{s}/{s}u"), "a folder below": ("{s}/u", "{s}/labels/u"),
    "a folder above": ("{s}/wav/u", "{s}/u"), "L2-ARCTIC's": ("{s}/wav/u", "{s}/annotation/u"),
}  # fmt: skip
JUNK = (
    "README.txt", "Thumbs.db", "A/u.pitch", "A/u.TextGrid~", "A/u.TextGrid.bak", "A/._u.wav",
    ".DS_Store", "A/u.png", "corpus.json", "stats.csv", "A/u.wav.asd",
)  # fmt: skip


def named() -> Iterator[Variant]:
    for suffix, text in SUFFIXES.items():
        for name, (sound, label) in NAMES.items():
            yield (
                f"{name}{suffix}",
                files(*(f"{s}/{sound}.wav" for s in "AB"),
                      labels={f"{s}/{label}{suffix}": text for s in "AB"}),
                TWO, ALL,
            )  # fmt: skip
    other = phones((0, 0.1, "iy"), (0.1, 1.0, ""))
    for first, second in (("U1", "u1"), ("S", "s"), ("É", "é"), NAMES["Unicode"]):
        for wav, lab in (("", ""), ("wav/", "grids/")):
            labels: dict[str, str | bytes] = {
                f"{lab}A/{first}.TextGrid": LONG, f"{lab}A/{second}.TextGrid": other,
                f"{lab}B/w.TextGrid": LONG,
            }  # fmt: skip
            sounds = (f"{wav}{n}.wav" for n in (f"A/{first}", f"A/{second}", "B/w"))
            yield f"{first} {second}", files(*sounds, labels=labels), {**TWO, "iy": 3}, ALL
    for name, (sound, label) in TREES.items():
        yield (
            name,
            files(*(sound.format(s=s) + ".wav" for s in "AB"),
                  labels={label.format(s=s) + ".TextGrid": LONG for s in "AB"}),
            TWO, ALL,
        )  # fmt: skip
    pair: dict[str, str | bytes] = {f"{s}/u.TextGrid": LONG for s in "AB"}
    for name in JUNK:
        yield name, files("A/u.wav", "B/u.wav", labels={**pair, name: "x"}), TWO, ALL


KINDS = {
    "sounds": sounds, "texts": texts, "rates": rates, "textgrids": textgrids,
    "collections": collections, "lists": lists, "named": named,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_a_kind_are_right(kind: str, tmp_path: Path) -> None:
    variants = list(KINDS[kind]())
    assert len(variants) >= 10
    found = wrong(variants, tmp_path / "corpus")
    assert not found, "\n".join(found)


PAIR = "p225 p226"
FLAT = {
    "{s}_{n}": PAIR, "{s}-{n}": PAIR, "{s}.{n}": PAIR, "{s} {n}": PAIR, "{s}_00{n}_mic1": PAIR,
    "{s}/{n}": PAIR, "wav/{s}/{n}": PAIR, "{s}/wav/{n}": PAIR, "{s}/x/{n}": PAIR,
    "rec_{s}_{n}": PAIR, "x/{n}{s}": PAIR, "{n}_{s}": PAIR, "00{n}-{s}": PAIR, "u{n}_{s}": PAIR,
    "2021-03-0{n}_{s}_{n}": PAIR, "2021030{n}{s}": PAIR, "{s}u{n}": PAIR,
    "rec {n} of {s}": PAIR, "DR1_{s}_SX{n}": PAIR, "happy_{s}_{n}": PAIR, "{s}_{n}_x": PAIR,
    "sub-{s}_ses-{n}": "sub-p225 sub-p226", "{n}_anna_spk{s}": "spkp225 spkp226",
    "{s}{n}": "corpus", "2021-03-0{n}_{n}": "corpus",
    "utt{n}": "corpus", "arctic_a000{n}": "corpus",
}  # fmt: skip


@pytest.mark.parametrize("form", FLAT)
def test_speakers_are_found_and_never_divided(form: str, tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    names = [form.format(s=s, n=n) for s in ("p225", "p226") for n in (1, 2, 3)]
    both_of = files(
        *(f"{name}.wav" for name in names), labels={f"{name}.TextGrid": LONG for name in names}
    )
    both_of(root)
    found = read(root, ALL)
    assert set(found.speakers) == set(FLAT[form].split())
    alone = len(found.speakers) == 1
    assert all(alone or len(splits) == 1 for splits in found.speakers.values())
    assert ("by recording" if alone else "by speaker") in found.said


def test_capitals_make_no_other_speaker(tmp_path: Path) -> None:
    names = ("P225_1", "p225_2", "P226_1", "p226_2")
    files(*(f"{n}.wav" for n in names), labels={f"{n}.TextGrid": LONG for n in names})(
        tmp_path / "corpus"
    )
    assert set(read(tmp_path / "corpus", ALL).speakers) == {"P225", "P226"}


INVENTORIES = {
    "timit-48": (
        "h# sh ix hv eh dcl jh ih q axr", "SH IY1 HH AE1 D sil", "SIL SH_B IY1_E AH0_S",
        "sh iy aen hh tq nx IVER SIL", "sil SH IY1 spn", "AX IX AXR SH", "<unk> <sil> aa iy",
        "p t k b d g", "sh iy1 sp", "pau epi en em zh",
    ),
    "ipa": (
        "ʃ iː h æ d ɹ θ dʒ aɪ oʊ", "ɟ c ɲ ʎ tʲ pʰ ɫ̩ ɚ əw", "t͡ʃ d͡ʒ t͜s a", "a˥ tɕʰ ɻ̩ ʐ̩˥˩ u˨˩˦",
        "ɯ ɯ̥ ɲ ɕ tɕ ɴ ɸ o̞ aː", "ɑ̃ ɔ̃ ɛ̃ ʁ ɥ", "kʼ tʼ q a", "ˈa ˌi t", "ⁿd ᵐb a", "t̪ n̪ a",
        "k͈ p͈ ɐ ʌ", "tˤ dˤ ħ ʕ aː", "a e i o u h k l",
    ),
    "x-sampa": (
        "a: E: 2: 9 y: @ 6 C pf ts aI OY", "I { V Q U @ i: A: T D dZ @U", "r\\ t` 4 @` A_~ t_h n_=",
        "G h\\ A a: 9y 2:", "a E tts ddZ pp O", "i I o~ e~ s' ts' n' S", "6~ e~ L J S R",
        "E: 2: J\\ c tS", "}: 9: s` C S N", "<p:> a: I t_h ? <usb> S", "a M k_j s\\ N\\",
    ),
    "sampa-fr": ("a~ o~ 9~ R H J S Z @ 2",),
    "as-is": (
        "a i u e o a: N q ky sh ch ts silB", "b p zh ch x c ao ei ang ong iang", "ni3 hao3 zh ong1",
        "hello world this is a test", "а о у э п т к", "ㄱ ㄴ ㅏ", "vowel stop silence",
        "vot clo pre asp", "12 17 33", "long_a long_b",
    ),
}  # fmt: skip


@pytest.mark.parametrize("chosen", INVENTORIES)
def test_the_phone_set_is_that_of_the_labels(chosen: str, tmp_path: Path) -> None:
    for text in INVENTORIES[chosen]:
        labels = text.split()
        rows: list[Row] = [
            (n / len(labels), (n + 1) / len(labels), label) for n, label in enumerate(labels)
        ]
        shutil.rmtree(tmp_path / "corpus", ignore_errors=True)
        both(".TextGrid", grid(("phones", rows)))(tmp_path / "corpus")
        found = read(tmp_path / "corpus", ALL)
        assert f"--phone-set {chosen}: " in found.said, text
        assert found.code == 0, text


TAGS = {
    "AA1,AO,s": ("aa", "ao"), "aa1, ao, S": ("aa", "ao"), "AA1,AO,s,": ("aa", "ao"),
    "D,sil,d": ("d", None), "AA1,SIL,d": ("aa", None), "sil,K,a": (None, "k"),
    "TH,T*,s": ("th", "t"), "AA1,err,s": ("aa", None), "AA1,AO,s ": ("aa", "ao"),
    "AA1": ("aa", "aa"),
}  # fmt: skip


@pytest.mark.parametrize("tag", TAGS)
def test_what_should_have_been_said_and_what_was(tag: str, tmp_path: Path) -> None:
    rows = [(0.0, 0.1, "sil"), (0.1, 0.2, tag), (0.2, 0.3, "S")]
    both(".TextGrid", grid(("words", [(0, 1, "x")]), ("phones", rows)))(tmp_path / "corpus")
    for annotated, label in zip(("canonical", "perceived"), TAGS[tag], strict=True):
        found = read(tmp_path / "corpus", {**ALL, "annotated": annotated})
        assert found.classes == {"sil": 2, "s": 2} | ({label: 2} if label else {})


OUTSIDE = ("VALIDATE", "holdout", "old", "DOC", "spk", "Trial", "evaluation", "testing", "train2")


@pytest.mark.parametrize("folder", OUTSIDE)
def test_folders_outside_of_splits_are_named(folder: str, tmp_path: Path) -> None:
    cases.timit([f"{name}/a/u" for name in ("TRAIN", "TEST", folder)], rows=WHOLE)(tmp_path / "c")
    found = read(tmp_path / "c", ALL)
    assert found.code == 4 and f"{folder}: 1 recordings passed over" in found.said
    assert read(tmp_path / "c", {**ALL, "split": "share:0.25"}).code == 0


EMU_WRONG = ("sampleRate", "levels")


@pytest.mark.parametrize("gone", EMU_WRONG)
def test_an_annotation_that_lacks_something_is_refused(gone: str, tmp_path: Path) -> None:
    document = json.loads(cases.emu())
    del document[gone]
    both("_annot.json", json.dumps(document))(tmp_path / "c")
    assert "no annotation of EMU" in read(tmp_path / "c", AS_IS).said
