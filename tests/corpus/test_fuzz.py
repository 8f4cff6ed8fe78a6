"""Damaged files: every reader returns all that is in them, or says what is wrong."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cases
import fuzzing
import numpy as np
import pytest
from fuzzing import RATE, SAMPLES, Mutation

from speechscope.corpus.audio import read_audio
from speechscope.corpus.layouts import Layout
from speechscope.corpus.layouts.aligner import Aligner
from speechscope.corpus.layouts.audacity import Audacity
from speechscope.corpus.layouts.elan import Elan
from speechscope.corpus.layouts.emu import Emu
from speechscope.corpus.layouts.label_files import LabelFiles
from speechscope.corpus.layouts.librispeech import LibriSpeech
from speechscope.corpus.layouts.listed import Listed, MasterLabelFiles, TimeMarked
from speechscope.corpus.layouts.manifest import Manifest
from speechscope.corpus.layouts.textgrid import TextGrids, read
from speechscope.corpus.layouts.tiers import TierFiles
from speechscope.corpus.layouts.timit import Timit
from speechscope.corpus.utterances import BadRecording, Marks, Utterance
from speechscope.errors import SpeechscopeError

SECONDS = 10.0
PHONES = len(fuzzing.PHONES)


def sound(path: Path, mutation: Mutation) -> None:
    """Every sample that was recorded or none: nothing is read from a file that lost some."""
    path.write_bytes(mutation.content)
    samples, scale = read_audio(path, RATE)
    assert samples.dtype == np.float32 and np.isfinite(samples).all()
    assert len(mutation.content) >= len(mutation.original)
    # Resampling rounds up to a whole sample.
    assert len(samples) / scale == pytest.approx(SAMPLES, abs=1 + 1 / scale)


def grid(path: Path, mutation: Mutation) -> None:
    """All intervals of a tier or none."""
    path.write_bytes(mutation.content)
    tiers = read(path)
    assert all(len(tier.segments) >= PHONES for tier in tiers if not tier.points)
    whole = len(mutation.content) == len(mutation.original)
    assert len(tiers) >= 2 or not whole
    if mutation.is_cut:
        # Only the line end after the last quotation mark may be missing.
        assert len(mutation.original) - len(mutation.content) <= 4
    marks = TextGrids().marks(utterance(path), None)
    assert marks.check("") is marks


def labels(layout: Layout) -> Callable[[Path, Mutation], None]:
    """One label a line: nothing is passed over."""

    def read_labels(path: Path, mutation: Mutation) -> None:
        path.write_bytes(mutation.content)
        marks: Marks = layout.marks(utterance(path), None)
        assert marks.check("") is marks
        if not mutation.content.startswith((b"\xff\xfe", b"\xfe\xff")):
            text = mutation.content.decode("utf-8-sig")
            lines = [line.strip() for line in text.replace("\r", "\n").split("\n")]
            body = lines[lines.index("#") + 1 :] if "#" in lines else lines
            assert len(marks.segments) == len([line for line in body if line])

    return read_labels


def tiers(layout: TierFiles) -> Callable[[Path, Mutation], None]:
    """A document is whole or refused; what is read of it are marks."""

    def read_tiers(path: Path, mutation: Mutation) -> None:
        path.write_bytes(mutation.content)
        marks = layout.marks(utterance(path), None)
        assert marks.check("") is marks
        # Only blanks may be missing at the end of a document that says where it ends.
        assert not mutation.is_cut or path.suffix in (".csv", ".TextGrid")

    return read_tiers


def parts(layout: Listed) -> Callable[[Path, Mutation], None]:
    """Every part has marks, or says what is wrong with it."""

    def read_parts(path: Path, mutation: Mutation) -> None:
        path.write_bytes(mutation.content)
        found = dict(layout.parts(path))
        for marks in found.values():
            if isinstance(marks, Marks):
                assert marks.check("") is marks
            else:
                assert str(marks) and "\n" not in str(marks)
        # Only blanks may be missing behind the last dot.
        whole = mutation.content.rstrip() == mutation.original.rstrip()
        assert not mutation.is_cut or layout.suffix == ".ctm" or len(found) < 2 or whole

    return read_parts


def table(path: Path, mutation: Mutation) -> None:
    """Every recording of the table is an utterance or a problem, with all its rows or none."""
    path.write_bytes(mutation.content)
    found = Manifest().scan(path)
    assert not any("\n" in problem for problem in found.problems)
    known = {os.fspath(u.audio.relative_to(path.parent)): u for u in found.utterances}
    text = mutation.content.decode("utf-8-sig")
    lines = [line for line in text.replace("\r", "\n").split("\n") if line.strip(", \t")]
    head = [name.strip().lower() for name in lines[0].replace("\t", ",").split(",")]
    if '"' in text or any(c in text for c in "\v\f\x1c\x1d\x1e\x85\u2028\u2029"):
        return
    column = head.index("audio")
    cells = [line.split("\t" if "\t" in lines[0] else ",") for line in lines[1:]]
    named = [os.fspath(Path(row[column].strip())) for row in cells if len(row) > column]
    for audio, rows in Counter(named).items():
        if audio not in known:
            assert any(audio in problem for problem in found.problems)
        elif (marks := known[audio].marks) is not None:
            # A row that is there twice counts once.
            assert (
                rows
                >= len(marks.segments)
                == len({tuple(map(_value, r)) for r in cells if r[column].strip() == audio})
            )


def _value(cell: str) -> float | str:
    """A number whatever it is spelt like."""
    try:
        return float(cell)
    except ValueError:
        return cell.strip()


def transcripts(path: Path, mutation: Mutation) -> None:
    """Every line is a transcript or a problem."""
    folder = path.parent / "19" / "198"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "19-198.trans.txt").write_bytes(mutation.content)
    for number in range(3):
        (folder / f"19-198-000{number}.flac").touch()
    found = LibriSpeech().scan(path.parent)
    assert len(found.utterances) + len(found.problems) >= 3
    for u in found.utterances:
        assert LibriSpeech().text(u)


def utterance(path: Path) -> Utterance:
    return Utterance("", "s", path.stem, path, labels=path, text=path)


def marked(path: Path, mutation: Mutation) -> None:
    """What is read are marks."""
    path.write_bytes(mutation.content)
    marks = LabelFiles().marks(utterance(path), None)
    assert marks.check("") is marks


MLF = "#!MLF!#\n" + "".join(f'"*/{s}.lab"\n{cases.timed("{h} {k} {p}")}.\n' for s in "ab")
KINDS: tuple[tuple[str, Callable[[], bytes], Callable[[Path, Mutation], None]], ...] = (
    ("a.sph", lambda: fuzzing.sound("NIST"), sound),
    ("a.wav", lambda: fuzzing.sound("WAV"), sound),
    ("b.wav", lambda: fuzzing.sound("WAV", "FLOAT", 2), sound),
    ("a.flac", lambda: fuzzing.sound("FLAC"), sound),
    ("a.phn", fuzzing.phn, labels(Timit())),
    ("long.TextGrid", lambda: fuzzing.textgrid("long_textgrid"), grid),
    ("short.TextGrid", lambda: fuzzing.textgrid("short_textgrid"), grid),
    (
        "utf16.TextGrid",
        lambda: fuzzing.textgrid("long_textgrid").decode().encode("utf-16"),
        grid,
    ),
    ("htk.lab", fuzzing.lab_htk, labels(LabelFiles())),
    ("seconds.lab", fuzzing.lab_seconds, labels(LabelFiles())),
    ("xlabel.lab", fuzzing.lab_xlabel, labels(LabelFiles())),
    ("hts.lab", lambda: cases.timed("{h} {k} " + cases.FULL.replace("{}", "{p}")).encode(), marked),
    ("a.txt", lambda: cases.timed("{a:.6f}\t{b:.6f}\t{p}").encode(), labels(Audacity())),
    ("time.TextGrid", lambda: cases.CHRONOLOGICAL.encode(), tiers(TextGrids())),
    ("u.TextGrid", lambda: cases.COLLECTION.encode(), tiers(TextGrids())),
    ("a.eaf", lambda: cases.eaf(("phones", "", cases.FIVE)).encode(), tiers(Elan())),
    ("a_annot.json", lambda: cases.emu().encode(), tiers(Emu())),
    ("mfa.csv", lambda: cases.aligner_csv().encode(), tiers(Aligner())),
    ("mfa.json", lambda: cases.aligner_json().encode(), tiers(Aligner())),
    ("a.mlf", lambda: MLF.encode(), parts(MasterLabelFiles())),
    ("a.ctm", lambda: cases.timed("u 1 {a} {d:.3f} {p}").encode(), parts(TimeMarked())),
    ("manifest.csv", fuzzing.manifest, table),
    ("manifest.tsv", fuzzing.manifest_text, table),
    ("trans", fuzzing.trans, transcripts),
)


def damage(folder: Path, seeds: range) -> dict[str, list[int]]:
    """Read damaged files of all kinds; return how many were read and refused of each."""
    count = {name: [0, 0] for name, _, _ in KINDS}
    originals = {name: make() for name, make, _ in KINDS}
    for seed in seeds:
        name, _, reader = KINDS[seed % len(KINDS)]
        mutation = Mutation(originals[name], seed)
        try:
            with fuzzing.time_limit(SECONDS):
                reader(folder / name, mutation)
            count[name][0] += 1
        except (BadRecording, SpeechscopeError) as error:
            assert str(error) and "\n" not in str(error), f"seed {seed}"
            count[name][1] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {mutation.kind.__name__} {name}") from error
    return count


def test_damaged_files_are_read_whole_or_refused(tmp_path: Path) -> None:
    count = damage(tmp_path, range(1000))
    # Otherwise the readers were never put to the test, or never given a file they can read. FLAC's
    # own checksums find all.
    assert all(refused for _, refused in count.values())
    assert all(read for name, (read, _) in count.items() if name != "a.flac")


@pytest.mark.heavy
def test_ten_thousand_damaged_files(tmp_path: Path) -> None:
    count = damage(tmp_path, range(1000, 11000))
    assert sum(map(sum, count.values())) == 10000
