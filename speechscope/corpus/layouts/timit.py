"""The TIMIT layout: folders TRAIN and TEST, a folder per speaker, a ``.PHN`` beside each recording.

Copies of TIMIT differ in case (``TRAIN/DR1/FCJF0/SA1.WAV``, ``train/dr1/fcjf0/sa1.wav``), in
suffix (``SA1.WAV.wav`` where the SPHERE files were converted, ``.flac``), in the folder above
(``TIMIT``, ``data``), and other corpora in the same layout leave out the dialect folders. All are
read. Words are in a ``.TXT`` beside the recording: ``start stop text``.
"""

import re
from pathlib import Path

from speechscope.corpus.files import (
    check_folder,
    is_audio,
    ordered,
    read_text,
    recordings,
    split_of,
    stem_of,
    walk,
    word,
)
from speechscope.corpus.utterances import BadRecording, Marks, Scan, Segment, Utterance
from speechscope.errors import SpeechscopeError

__all__ = ["Segment", "Timit", "Utterance", "read_segments", "scan"]

_LABEL = re.compile(r"\s*(\d{1,15})\s+(\d{1,15})\s+(\S+)\s*", re.ASCII)
_TEXT = re.compile(r"\s*\d{1,15}\s+\d{1,15}\s+(\S.*?)\s*", re.ASCII | re.DOTALL)


class Timit:
    """See the module."""

    name = "timit"
    tiers = False

    def knows(self, name: str) -> bool:
        """Whether a file of this lower-case name marks the layout."""
        return name.endswith(".phn")

    def scan(self, root: Path) -> Scan:
        """Find the utterances of a folder in TIMIT layout.

        Folders outside of TRAIN and TEST are passed over, unless there is nothing inside.

        Raises
        ------
        SpeechscopeError
            There is no such folder, or no recording with labels in it.
        """
        check_folder(root)
        problems: list[str] = []
        folders = list(walk(root, _wanted, problems))
        labelled = [f for f, files in folders if any(self.knows(n.lower()) for n in files)]
        in_splits = any(split_of(folder.relative_to(root)) for folder in labelled)
        found: list[Utterance] = []
        for folder, files in folders:
            if not in_splits or split_of(folder.relative_to(root)):
                found += _pairs(root, folder, files, problems)
        if not found:
            raise SpeechscopeError(
                f"{root} holds no recording with a .PHN beside it; "
                "name a corpus in TIMIT layout, or make one with `speechscope synth`"
            )
        return ordered(found, problems, root)

    def marks(self, utterance: Utterance, tier: str | None = None) -> Marks:
        """Read a ``.PHN`` file: ``start stop label`` a line, in samples.

        Raises
        ------
        BadRecording
            A line is malformed, or times run backwards.
        """
        if utterance.labels is None:
            raise BadRecording("has no .PHN beside it")
        path = utterance.labels
        segments: list[Segment] = []
        for number, line in enumerate(read_text(path).split("\n"), start=1):
            if not line.strip():
                continue
            match = _LABEL.fullmatch(line)
            if match is None:
                raise BadRecording(f"{path.name} line {number} is not `start stop label`")
            segments.append(Segment(int(match[1]), int(match[2]), match[3]))
        return Marks(tuple(segments), per_second=False).check(path.name)

    def text(self, utterance: Utterance) -> str:
        """Read a ``.TXT`` file: ``start stop text``.

        Raises
        ------
        BadRecording
            There is none, or it is malformed.
        """
        if utterance.text is None:
            raise BadRecording("has no .TXT beside it")
        match = _TEXT.fullmatch(read_text(utterance.text))
        if match is None:
            raise BadRecording(f"{utterance.text.name} is not `start stop text`")
        return " ".join(match[1].split())


def scan(root: Path) -> Scan:
    """Find the utterances of a folder in TIMIT layout; see `Timit.scan`."""
    return Timit().scan(root)


def read_segments(path: Path) -> list[Segment]:
    """Read a ``.PHN`` file; see `Timit.marks`."""
    return list(Timit().marks(Utterance("", "", path.stem, path, path)).segments)


def _wanted(name: str) -> bool:
    return is_audio(name) or name.endswith((".phn", ".txt"))


def _pairs(root: Path, folder: Path, files: list[str], problems: list[str]) -> list[Utterance]:
    sounds = recordings(files)
    labels = {stem_of(name): name for name in files if name.lower().endswith(".phn")}
    texts = {stem_of(name): name for name in files if name.lower().endswith(".txt")}
    split = split_of(folder.relative_to(root))
    found = []
    for stem in sorted(sounds.keys() | labels.keys()):
        if stem not in labels:
            problems.append(f"{folder / sounds[stem]}: has no .PHN beside it")
        elif stem not in sounds:
            problems.append(f"{folder / labels[stem]}: has no recording beside it")
        else:
            text = folder / texts[stem] if stem in texts else None
            name = word(Path(labels[stem]).stem)
            found.append(
                Utterance(
                    split,
                    word(folder.name),
                    name,
                    folder / sounds[stem],
                    folder / labels[stem],
                    text,
                )
            )
    return found
