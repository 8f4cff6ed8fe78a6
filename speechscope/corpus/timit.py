"""The TIMIT layout: folders TRAIN and TEST, a folder per speaker, a ``.PHN`` beside each recording.

Copies of TIMIT differ in case (``TRAIN/DR1/FCJF0/SA1.WAV``, ``train/dr1/fcjf0/sa1.wav``), in
suffix (``SA1.WAV.wav`` where the SPHERE files were converted, ``.flac``), in the folder above
(``TIMIT``, ``data``), and other corpora in the same layout leave out the dialect folders. All are
read.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from speechscope.corpus.audio import SUFFIXES, BadRecording
from speechscope.errors import SpeechscopeError

SPLITS = {"train": "train", "test": "test", "dev": "dev"}
_SA_SENTENCE = re.compile(r"sa\d+", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class Utterance:
    """One recording and its labels.

    Parameters
    ----------
    split
        ``train``, ``dev`` or ``test``, from the folder.
    speaker, name
        Folder of the speaker; file name without suffix.
    audio, labels
        The recording and its ``.PHN``.
    """

    split: str
    speaker: str
    name: str
    audio: Path
    labels: Path

    @property
    def key(self) -> str:
        """Speaker and name, unique in the corpus."""
        return f"{self.speaker}/{self.name}"

    @property
    def is_sa(self) -> bool:
        """Whether it is one of the two sentences that every TIMIT speaker reads."""
        return _SA_SENTENCE.fullmatch(self.name) is not None


@dataclass(frozen=True)
class Segment:
    """A labelled stretch of a recording, in samples of the file: [start, stop)."""

    start: int
    stop: int
    label: str


@dataclass(frozen=True)
class Scan:
    """What a corpus folder holds: utterances in order, and files that cannot be used, with why."""

    utterances: tuple[Utterance, ...]
    problems: tuple[str, ...]


def scan(root: Path) -> Scan:
    """Find the utterances of a folder in TIMIT layout.

    Raises
    ------
    SpeechscopeError
        There is no such folder, or no recording with labels in it.
    """
    if not root.is_dir():
        raise SpeechscopeError(f"{root} is not a folder; name a corpus folder in TIMIT layout")
    found: dict[tuple[str, str, str], Utterance] = {}
    problems: list[str] = []
    for folder, files in _folders(root):
        split = _split_of(folder.relative_to(root))
        if split is None:
            continue
        recordings, labels = _pair(files)
        for stem in sorted(recordings.keys() | labels.keys()):
            if stem not in labels:
                problems.append(f"{folder / recordings[stem]}: has no .PHN beside it")
            elif stem not in recordings:
                problems.append(f"{folder / labels[stem]}: has no recording beside it")
            else:
                audio, phn = folder / recordings[stem], folder / labels[stem]
                name = Path(labels[stem]).stem
                utterance = Utterance(split, _word(folder.name), _word(name), audio, phn)
                found[split, folder.as_posix(), stem] = utterance
    if not found:
        raise SpeechscopeError(
            f"{root} holds no recording with a .PHN below a TRAIN or TEST folder; "
            "name a corpus in TIMIT layout, or make one with `speechscope synth`"
        )
    ordered = sorted(found.values(), key=lambda u: (u.split != "train", u))
    return Scan(tuple(ordered), tuple(problems))


def read_segments(path: Path) -> list[Segment]:
    """Read a ``.PHN`` file: ``start stop label`` a line, in samples.

    Raises
    ------
    BadRecording
        A line is malformed, or times run backwards.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRecording(f"labels cannot be read ({path.name}: {error})") from error
    segments: list[Segment] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 3 or not (words[0].isdecimal() and words[1].isdecimal()):
            raise BadRecording(f"{path.name} line {number} is not `start stop label`")
        segment = Segment(int(words[0]), int(words[1]), words[2])
        if segments and segment.start < segments[-1].start:
            raise BadRecording(f"{path.name} line {number} starts before the line above it")
        segments.append(segment)
    if not segments:
        raise BadRecording(f"{path.name} holds no labels")
    return segments


def _folders(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Walk below `root`, links included, each real folder once."""
    seen: set[tuple[int, int]] = set()
    for base, folders, files in os.walk(root, followlinks=True):
        folders.sort()
        status = Path(base).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        yield Path(base), sorted(files)


def _split_of(relative: Path) -> str | None:
    for part in relative.parts:
        if part.lower() in SPLITS:
            return SPLITS[part.lower()]
    return None


def _pair(files: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return recordings and labels by lower-case stem.

    Where a copy holds both ``SA1.WAV`` and ``SA1.WAV.wav``, the longer name (a conversion any
    reader understands) wins.
    """
    recordings: dict[str, str] = {}
    labels: dict[str, str] = {}
    for name in files:
        if name.startswith("."):
            continue
        stem, suffix = os.path.splitext(name.lower())  # noqa: PTH122 - two suffixes are cut below
        if suffix == ".phn":
            labels[stem] = name
        elif suffix in SUFFIXES:
            inner, second = os.path.splitext(stem)  # noqa: PTH122
            stem = inner if second in SUFFIXES else stem
            if len(name) > len(recordings.get(stem, "")):
                recordings[stem] = name
    return recordings, labels


def _word(name: str) -> str:
    """Make a name fit for a list separated by blanks (CF ``flag_meanings``)."""
    return "_".join(name.split()) or "_"
