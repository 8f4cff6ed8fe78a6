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
# Where labels that count in another unit end, by the length of the recording.
TOLERANCE_SHARE = 0.01
SHORTEST_SECONDS = 0.01
LABEL_RATES = (
    8000, 10000, 11025, 12500, 16000, 20000, 22050, 24000, 25000, 32000, 44100, 48000, 96000,
)  # fmt: skip
"""Rates [Hz] that speech is recorded at, and sample numbers in label files count."""
COVERED = 0.5
"""Of a recording: labels that end before are told of, or refused where they count samples."""
LOWEST_RATE, HIGHEST_RATE = 16000, 48000
"""Of labels beside a recording at a higher rate: those at less are more likely of a part of it; and
of those that do not end with it at any rate."""
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
    whole
        Seconds that a whole number in the file was taken for, where it could be a sample's, too.
    tier
        What the tier is called that they are of, where the file has several.
    """

    segments: tuple[Segment, ...]
    per_second: bool
    whole: float = 0.0
    tier: str = ""

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

    @property
    def end(self) -> float:
        """Where the last stretch that has a label ends."""
        return max((s.stop for s in self.segments if s.label), default=0.0)

    def at_rate(self, label_rate: int) -> Marks:
        """Return marks in seconds, of sample numbers that count at a rate [Hz].

        Raises
        ------
        BadRecording
            Its times are no sample numbers.
        """
        if self.per_second and not self.whole:
            raise BadRecording("has labels in seconds: --label-rate is for sample numbers")
        unit = 1 / label_rate / (self.whole if self.per_second else 1)
        return Marks(
            tuple(Segment(s.start * unit, s.stop * unit, s.label) for s in self.segments), True
        )

    def placed(self, seconds: float, file_rate: float) -> Marks:
        """Return the marks in the unit that fits a recording.

        Sample numbers that end with the recording at another usual rate than its own count at
        that rate: they are refused. Whole numbers that end with the recording as sample numbers
        are sample numbers, whatever the format says.

        Parameters
        ----------
        seconds
            How long the recording is.
        file_rate
            The rate of the recording's file [Hz].

        Raises
        ------
        BadRecording
            They count at another rate, or start where an excerpt was cut out.
        """
        last = max(segment.stop for segment in self.segments)
        unit = 1.0 if self.per_second else 1 / file_rate
        if _meet(last * unit, seconds) or _meet(self.end * unit, seconds):
            return self
        if self.whole and _meet(last / self.whole / file_rate, seconds):
            numbers = tuple(
                Segment(round(s.start / self.whole), round(s.stop / self.whole), s.label)
                for s in self.segments
            )
            return Marks(numbers, per_second=False)
        if self.whole or not self.per_second:
            found = self._in_other_units(last / (self.whole or 1.0), seconds, file_rate)
            if found is not None:
                return found
        if self.whole and last < SHORTEST_SECONDS:
            raise BadRecording(
                f"has whole-numbered label times that end before {1000 * SHORTEST_SECONDS:g} ms by "
                "HTK's unit of 100 ns; give seconds a decimal point, or --label-rate to sample "
                "numbers"
            )
        first = self.segments[0].start
        cut_out = first > 0 and (first >= seconds or _meet(last - first, seconds))
        if self.per_second and last > seconds and cut_out:
            raise BadRecording(
                f"has labels that start at {first:g} s and end at {last:g} s, but it is "
                f"{seconds:.2f} s long: an excerpt whose times were preserved; shift them to zero "
                "(in Praat: Modify times, Shift to zero)"
            )
        return self

    def _in_other_units(self, number: float, seconds: float, file_rate: float) -> Marks | None:
        """Return marks that end with the recording in ms or µs; refuse those at another rate."""
        usual = [r for r in LABEL_RATES if r > file_rate or LOWEST_RATE <= r < file_rate]
        rate = next((r for r in usual if _meet(number / r, seconds)), None)
        own = 1e7 if self.whole else file_rate
        if rate is not None:
            raise BadRecording(
                f"has labels at another rate: they end at sample {number:.0f}, which is its end "
                f"({seconds:.2f} s) at {rate} Hz, but it is at {file_rate:g} Hz; if they count at "
                f"that rate, --label-rate {rate}, else --label-rate {own:.0f}"
            )
        unit = next((u for u in (1e-3, 1e-6) if self.whole and _meet(number * u, seconds)), None)
        if unit is None:
            # The rate, or the unit, by which they cover the most of the recording and end with it.
            likely = [r for r in usual if r <= HIGHEST_RATE]
            others = (file_rate, 1e3, 1e6, *likely) if self.whole else likely
            near = [r for r in others if COVERED <= number / r / seconds <= 1]
            fits = COVERED * seconds <= number / own <= seconds + TOLERANCE_SECONDS
            if near and not fits:
                self._refuse_unit(number, seconds, own, min(near))
            return None
        scale = unit / self.whole
        times = (Segment(s.start * scale, s.stop * scale, s.label) for s in self.segments)
        return Marks(tuple(times), per_second=True)

    def _refuse_unit(self, number: float, seconds: float, own: float, other: float) -> None:
        end = number / own
        cut = "it was cut short, or they" if end > seconds else "they"
        raise BadRecording(
            f"has labels that end at {number:.0f}, which should be {end:.3g} s, but is "
            f"{seconds:.3g} s long: {cut} count otherwise; --label-rate {other:.0f} takes them as "
            f"so many a second, --label-rate {own:.0f} as they should be"
        )

    def otherwise(self, seconds: float, file_rate: float) -> list[tuple[float, float]]:
        """Return (own, other) for every other rate [Hz] at which labels end in a recording.

        Of labels that count samples, or could; what they count at by themselves is `own`.
        """
        if self.per_second and not self.whole:
            return []
        own = 1e7 if self.whole else file_rate
        number = self.end / (self.whole or 1.0)
        units = (*LABEL_RATES, *((1e3, 1e6) if self.whole else ()))
        return [(own, unit) for unit in units if unit != own and number / unit <= seconds]

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
        Segments with whole-numbered times, none past `length`: of those without a label that
        begin later nothing is left.

        Raises
        ------
        BadRecording
            The labels go on for more than `TOLERANCE_SECONDS` after the recording has ended, or
            count at another rate (`placed`).
        """
        placed = self.placed(length / rate, rate / scale)
        factor = rate if placed.per_second else scale
        last = placed.end * factor
        if last > length + TOLERANCE_SECONDS * rate:
            raise BadRecording(
                f"is truncated: {length} samples, but its labels reach {round(last)}"
            )
        every = max(segment.stop for segment in placed.segments)
        if factor == 1 and every <= length:
            return placed.segments  # samples of the file, whole and inside, as they stand
        return tuple(
            Segment(min(s.start, length), min(s.stop, length), s.label)
            for s in placed.scaled(scale, rate)
        )


def _meet(at: float, seconds: float) -> bool:
    """Whether a time is the end of a recording so long."""
    return abs(at - seconds) <= min(TOLERANCE_SECONDS, TOLERANCE_SHARE * seconds)


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
    voice
        Whose tiers they are, in a label file of several speakers.
    """

    split: str
    speaker: str
    name: str
    audio: Path
    labels: Path | None = None
    text: Path | None = None
    marks: Marks | None = None
    transcript: str | None = None
    voice: str = ""

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
    """What a corpus folder holds.

    Parameters
    ----------
    utterances
        In order.
    problems
        Files that cannot be used, with why.
    notes
        What was chosen where there was a choice: which of two files, who speaks, what goes with
        what.
    """

    utterances: tuple[Utterance, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
