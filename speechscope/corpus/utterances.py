"""What every corpus layout gives: utterances, and the time marks of their labels."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from speechscope.errors import SpeechscopeError

SPLITS = ("train", "dev", "test")
"""In the order of their values in a corpus."""
# Time marks on a 10 ms grid run a little past the last sample; further is a truncated recording.
TOLERANCE_SECONDS = 0.02
_SA_SENTENCE = re.compile(r"sa\d+", re.IGNORECASE)


class BadRecording(SpeechscopeError):
    """A recording (or its labels) that cannot be used; the message is the reason."""


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

    def check(self, where: str) -> Marks:
        """Return the marks if they can be those of a recording.

        Parameters
        ----------
        where
            The label file, for the message.

        Raises
        ------
        BadRecording
            There is no label; a time is negative or not a number; a stretch ends before it starts,
            or starts before the one above it.
        """
        if not self.segments:
            raise BadRecording(f"{where} holds no labels")
        above = 0.0
        for number, segment in enumerate(self.segments, start=1):
            if not (math.isfinite(segment.start) and math.isfinite(segment.stop)):
                raise BadRecording(f"{where}: label {number} has a time that is not a number")
            if segment.start < 0:
                raise BadRecording(f"{where}: label {number} starts before the recording")
            if segment.start < above:
                raise BadRecording(f"{where}: label {number} starts before the one above it")
            if segment.stop < segment.start:
                raise BadRecording(f"{where}: label {number} ends before it starts")
            above = segment.start
        return self

    def scaled(self, scale: float, rate: int) -> tuple[Segment, ...]:
        """Return the stretches in whole samples at `rate` [Hz], `scale` for each of the file."""
        factor = rate if self.per_second else scale
        return tuple(
            Segment(round(s.start * factor), round(s.stop * factor), s.label) for s in self.segments
        )

    def fit(self, length: int, scale: float, rate: int) -> tuple[Segment, ...]:
        """Convert to samples as read, and compare the last mark with the recording.

        Parameters
        ----------
        length
            Samples read, at `rate` [Hz].
        scale
            Samples read per sample in the file.

        Returns
        -------
        Segments with whole-numbered times, none past `length`.

        Raises
        ------
        BadRecording
            The labels go on for more than `TOLERANCE_SECONDS` after the recording has ended.
        """
        factor = rate if self.per_second else scale
        last = max(segment.stop for segment in self.segments) * factor
        if last > length + TOLERANCE_SECONDS * rate:
            raise BadRecording(
                f"is truncated: {length} samples, but its labels reach {round(last)}"
            )
        if factor == 1 and last <= length:
            return self.segments  # samples of the file, whole and inside, as they stand
        return tuple(
            Segment(min(s.start, length), min(s.stop, length), s.label)
            for s in self.scaled(scale, rate)
        )


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
