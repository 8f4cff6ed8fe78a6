"""What every corpus layout gives: utterances, and the time marks of their labels."""

import re
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "dev", "test")
_SA_SENTENCE = re.compile(r"sa\d+", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class Segment:
    """A labelled stretch of a recording: [start, stop) in the unit of its `Marks`."""

    start: float
    stop: float
    label: str


@dataclass(frozen=True, order=True)
class Marks:
    """The labelled stretches of a recording, in order of their start.

    Parameters
    ----------
    segments
        At least one; stretches may leave gaps. An empty label is a stretch nobody labelled.
    per_second
        True: times are in seconds; False: in samples of the file, at the file's own rate.
    """

    segments: tuple[Segment, ...]
    per_second: bool


@dataclass(frozen=True, order=True)
class Utterance:
    """One recording, and where its labels or words are.

    Parameters
    ----------
    split
        ``train``, ``dev`` or ``test`` from the folder or manifest; empty where the layout does not
        say.
    speaker, name
        Together unique within a split; without blanks.
    audio
        The recording.
    labels, text
        File with time marks; file with the words.
    marks, transcript
        The same given directly (a manifest has no file for each recording).
    """

    split: str
    speaker: str
    name: str
    audio: Path
    labels: Path | None = None
    text: Path | None = None
    marks: Marks | None = None
    transcript: str | None = None

    @property
    def key(self) -> str:
        """Speaker and name."""
        return f"{self.speaker}/{self.name}"

    @property
    def identity(self) -> str:
        """Split, speaker and name: unique in the corpus."""
        return f"{self.split}/{self.key}"

    @property
    def is_sa(self) -> bool:
        """Whether it is one of the two sentences that every TIMIT speaker reads."""
        return _SA_SENTENCE.fullmatch(self.name) is not None


@dataclass(frozen=True)
class Scan:
    """What a corpus folder holds: utterances in order, and files that cannot be used, with why."""

    utterances: tuple[Utterance, ...]
    problems: tuple[str, ...]
