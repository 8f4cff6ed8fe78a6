"""From the files of an utterance to its samples and its labelled stretches, bad ones named."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.audio import length_of, read_audio
from speechscope.corpus.layouts import Layout
from speechscope.corpus.letters import letters_of
from speechscope.corpus.phones import PhoneSet
from speechscope.corpus.units import Piece, Recording
from speechscope.corpus.units.window import named
from speechscope.corpus.utterances import (
    COVERED,
    TOLERANCE_SECONDS,
    BadRecording,
    Marks,
    Segment,
    Utterance,
)
from speechscope.errors import SpeechscopeError
from speechscope.features.stft import Float

if TYPE_CHECKING:
    from speechscope.stages.prepare import Prepare

# Read speech has a root mean square near a tenth or less of full scale: amplitudes stay near 1.
GAIN_SCALE = 10.0

Sums = dict[str, NDArray[np.float64]]
REACHED = 0.95
"""Of a recording: where the labels of none in a corpus end later, they may count at another rate.
"""
DECIBEL = 0.1 * np.log(10)
"""Of ln(energy)."""
FAINTEST = 1e-6
"""Of the mean energy of a recording: what lies below is silence."""

Task = Sequence[tuple[Utterance, int, int]]
"""Utterances, each with the index of its speaker and that of its split, 0 for training."""


PLACES = 2
"""Where one and the same thing was found: so many places are named, the others counted."""


@dataclass
class Lost:
    """What cannot be used for one reason: how often, and the first places of it."""

    count: int = 0
    places: list[str] = field(default_factory=list)

    def add(self, count: int, places: Sequence[str]) -> None:
        """Add more of it."""
        self.count += count
        self.places += places[: PLACES - len(self.places)]


@dataclass
class Loudness:
    """How well labels fit what is heard under them, as they stand and at another rate.

    Parameters
    ----------
    recordings
        How many it is of.
    own, other
        Of every label how often it occurs, and the sums of ln(energy) and of its square, (3,).
    """

    recordings: int = 0
    own: Sums = field(default_factory=dict)
    other: Sums = field(default_factory=dict)

    def add(self, found: "Loudness") -> None:
        """Add that of other recordings."""
        self.recordings += found.recordings
        for mine, theirs in ((self.own, found.own), (self.other, found.other)):
            for label, sums in theirs.items():
                mine[label] = mine.get(label, 0.0) + sums

    @property
    def gain(self) -> float:
        """Return how many times e more likely the labels are at the other rate.

        By what is left of the variance when every label has a loudness of its own; an error of
        measurement of `DECIBEL` keeps tones and silence from telling rates apart.
        """
        left, free = [], 0.0
        for side in (self.own, self.other):
            n, total, squares = np.array([*side.values()]).T
            free = n.sum() - len(n)
            left.append((squares - total**2 / n).sum() + free * DECIBEL**2)
        return float(free / 2 * np.log(left[0] / left[1])) if free > 0 else 0.0


@dataclass
class Summary:
    """What became of recordings.

    What was left out is counted (`dropped`) where the recipe asks for it, and named (`lost`, by the
    reason) where something is wrong; `unknown` counts the labels that the phone set does not know,
    `labels` all labels there are, `tiers` those they were in; `kept` the recordings taken as they
    were prepared before; `remarks` what was read otherwise than it stands there; `reach` is the
    largest share of a recording that labels in sample numbers cover; `loudness` says of those that
    end early how they fit it, by what they count at and what they could [Hz].
    """

    items: int = 0
    utterances: int = 0
    samples: int = 0
    kept: int = 0
    reach: float = 0.0
    loudness: dict[tuple[float, float], Loudness] = field(default_factory=dict)
    splits: Counter[int] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    lost: dict[str, Lost] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    tiers: Counter[str] = field(default_factory=Counter)
    remarks: dict[str, Lost] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def skip(self, reason: str, place: str = "", count: int = 1) -> None:
        """Name what cannot be used; without a place the reason says it."""
        self.lost.setdefault(reason, Lost()).add(count, [place] if place else [])

    def remark(self, what: str, place: str) -> None:
        """Name what was read otherwise than it stands there."""
        self.remarks.setdefault(what, Lost()).add(1, [place])

    @property
    def skipped(self) -> list[str]:
        """A line for each reason, with the first places of it."""
        return [_line(reason, lost) for reason, lost in self.lost.items()]

    def as_lines(self) -> list[str]:
        """Return what could not be used so that `from_lines` adds it to that of other shards."""
        return [json.dumps([why, lost.count, lost.places]) for why, lost in self.lost.items()]

    def from_lines(self, lines: Iterable[str]) -> None:
        """Add what `as_lines` gave."""
        for line in lines:
            why, count, places = json.loads(line)
            self.lost.setdefault(why, Lost()).add(count, places)

    @property
    def skipped_items(self) -> int:
        """How many items or files could not be used."""
        return sum(lost.count for lost in self.lost.values())

    @property
    def remarked(self) -> list[str]:
        """A line for each remark."""
        return [
            f"{what} ({lost.count} recordings): {', '.join(lost.places)}"
            for what, lost in self.remarks.items()
        ]

    def add(self, other: "Summary") -> None:
        """Add what became of others."""
        self.items += other.items
        self.utterances += other.utterances
        self.samples += other.samples
        self.kept += other.kept
        self.reach = max(self.reach, other.reach)
        for rates, loudness in other.loudness.items():
            self.loudness.setdefault(rates, Loudness()).add(loudness)
        self.splits.update(other.splits)
        self.dropped.update(other.dropped)
        self.unknown.update(other.unknown)
        self.labels.update(other.labels)
        self.tiers.update(other.tiers)
        for mine, theirs in ((self.lost, other.lost), (self.remarks, other.remarks)):
            for what, lost in theirs.items():
                mine.setdefault(what, Lost()).add(lost.count, lost.places)


def _line(reason: str, lost: Lost) -> str:
    if not lost.places:
        return reason
    first, *others = lost.places
    also = f", also {', '.join(others)}" if others else ""
    return f"{first}: {reason}" + (f", {lost.count} times{also}" if lost.count > 1 else "")


@dataclass
class Survey:
    """What labels there are; it grows with the number of different ones, not with the corpus.

    Parameters
    ----------
    names
        How often each label occurs, in all splits.
    lengths
        How often a label of the training split (of all, where the longest counts) has a length
        [samples]; the label of a whole recording is empty.
    problems, failed
        The first recording whose labels cannot be used, and why; and how many there are.
    """

    names: Counter[str] = field(default_factory=Counter)
    lengths: Counter[tuple[str, int]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    failed: int = 0

    def add(self, other: "Survey") -> None:
        """Add what was seen elsewhere."""
        self.names.update(other.names)
        self.lengths.update(other.lengths)
        self.problems += other.problems[: 1 if not self.problems else 0]
        self.failed += other.failed

    def longest_kept(self, phones: PhoneSet | None, longest: int | str | None) -> int | None:
        """Return the length [samples] above which pieces are discarded; None keeps all.

        For a share such as ``95%`` it is that percentile of the training pieces' lengths
        (Churchman 2015, sec. 3.2: "the vectors above the 95th percentile in length").

        Raises
        ------
        SpeechscopeError
            There is no training piece to take it of.
        """
        if not isinstance(longest, str):
            return longest
        lengths: Counter[int] = Counter()
        for (label, length), count in self.lengths.items():
            if phones is None or (label and not phones.drops(label)):
                lengths[length] += count
        if not lengths:
            raise SpeechscopeError("there is no training item to take the percentile of")
        return percentile(lengths, float(longest.rstrip("%")))


def percentile(lengths: Counter[int], share: float) -> int:
    """Return a percentile of lengths given as how often each occurs, rounded down.

    Between two lengths it is interpolated, as `numpy.percentile` does; counts take memory by the
    number of different lengths, not by the size of the corpus.

    Parameters
    ----------
    lengths
        Occurrences of each length; at least one.
    share
        In percent.
    """
    values = np.array(sorted(lengths))
    ends = np.cumsum([lengths[value] for value in values.tolist()])
    last = int(ends[-1]) - 1
    place = last * share / 100
    below = int(place)
    low, high = values[np.searchsorted(ends, (below, min(below + 1, last)), side="right")]
    return int(low + (high - low) * (place - below))


@dataclass(frozen=True)
class Reader:
    """Reads utterances; shared by threads.

    Pieces are the marked stretches of an utterance by their phone or its speaker, or else the
    whole utterance.

    Parameters
    ----------
    layout
        How labels are found.
    settings
        Those of the stage.
    phones
        The phone set, where pieces are marked stretches.
    limit
        Pieces above this length are dropped [samples]; None keeps all.

    Attributes
    ----------
    known
        Whether a label is dropped, and its class: looking one up takes a while, and there are few.
    """

    layout: Layout
    settings: "Prepare"
    phones: PhoneSet | None = None
    limit: int | None = None
    known: dict[str, tuple[bool, int | None]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def survey(self, task: Task) -> Survey:
        """Look at the labels of some utterances, or at the lengths of their recordings."""
        rate, seen = self.settings.sample_rate, Survey()
        for utterance, _, split in task:
            try:
                if not self.settings.marked:
                    frames, source = length_of(utterance.audio)
                    lengths = [("", round(frames * rate / source))]
                    if self.settings.timed:
                        with suppress(BadRecording):
                            marked = self._marks(utterance).segments
                            seen.names.update(s.label for s in marked if s.label)
                elif self.settings.whole:
                    frames, source = length_of(utterance.audio)
                    seen.names.update(s.label for s in self._marks(utterance).segments if s.label)
                    lengths = [("", -(-frames * rate // source))]
                elif self.measures:
                    frames, source = length_of(utterance.audio)
                    marks = self._marks(utterance).placed(frames / source, source)
                    stretches = marks.scaled(rate / source, rate)
                    lengths = [(s.label, int(s.stop) - int(s.start)) for s in stretches]
                else:
                    lengths = [(s.label, 0) for s in self._marks(utterance).segments]
            except BadRecording as error:  # named when it is read for good
                seen.failed += 1
                seen.problems = seen.problems or [f"{utterance.audio}: {error}"]
                continue
            seen.names.update(label for label, _ in lengths if label)
            # Where all are kept, those that are tested on are no longer than the longest, too.
            if self.measures and (split == 0 or self.settings.max_length == "none"):
                seen.lengths.update(lengths)
        return seen

    @property
    def measures(self) -> bool:
        """Whether the longest item kept depends on the lengths of all."""
        return isinstance(self.settings.longest, str)

    @property
    def _whole(self) -> bool:
        """Whether an item is a recording, whatever is marked in it."""
        return self.settings.whole and bool(named(self.phones))

    def _marks(self, utterance: Utterance) -> Marks:
        marks = self.layout.marks(utterance, self.settings.tier)
        rate = self.settings.label_rate
        return marks if rate is None else marks.at_rate(rate)

    def read(
        self, utterance: Utterance, speaker: int, training: bool, summary: Summary
    ) -> Recording | None:
        """Read one utterance; None where nothing of it can be used, which `summary` then says."""
        chosen, letters = self.settings, None
        try:
            samples, scale = read_audio(utterance.audio, chosen.sample_rate)
            if chosen.labels == "letter":
                letters = letters_of(self.layout.text(utterance))
            if chosen.marked:
                stretches = self._stretches(utterance, len(samples), scale, summary, samples)
        except BadRecording as error:
            summary.skip(f"{utterance.audio}: {error}")
            return None
        if self._whole and not self._fits(len(samples), summary):
            return None
        if chosen.normalize == "gain":
            samples = samples / np.float32(GAIN_SCALE * root_mean_square(samples))
        if chosen.marked:
            pieces = tuple(self._pieces(utterance, stretches, speaker, summary))
        elif self._fits(len(samples), summary):
            pieces = (Piece(speaker, 0, len(samples)),)
        else:
            return None
        phones = self._phones(utterance, len(samples), scale) if chosen.timed else ()
        return Recording(samples, pieces, letters, training, phones)

    def _phones(self, utterance: Utterance, length: int, scale: float) -> tuple[Piece, ...]:
        """Return the phones of a whole utterance, if anybody marked them."""
        if self.phones is None:
            return ()
        unsaid = Summary()  # nothing is lost: the item is the utterance
        try:
            stretches = self._stretches(utterance, length, scale, unsaid)
        except BadRecording:
            return ()
        return tuple(self._pieces(utterance, stretches, 0, unsaid))

    def look(self, task: Task) -> Summary:
        """Return what would become of some utterances, by what their headers and labels say."""
        found = Summary()
        for utterance, speaker, split in task:
            pieces = self.glance(utterance, speaker, found)[1]
            items = min(1, len(pieces)) if self._whole else len(pieces)
            found.items += items
            found.splits[split] += items
            found.utterances += bool(pieces)
        return found

    def glance(
        self, utterance: Utterance, speaker: int, summary: Summary
    ) -> tuple[int, tuple[Piece, ...]]:
        """Return the length of a recording and its pieces, by its header and its labels."""
        rate = self.settings.sample_rate
        try:
            frames, source = length_of(utterance.audio)
            length = -(-frames * rate // source)
            if self.settings.labels == "letter":
                letters_of(self.layout.text(utterance))
            if self.settings.marked:
                stretches = self._stretches(utterance, length, rate / source, summary)
                fits = not self._whole or self._fits(length, summary)
                pieces = tuple(self._pieces(utterance, stretches, speaker, summary)) if fits else ()
            else:
                pieces = (Piece(speaker, 0, length),) if self._fits(length, summary) else ()
        except BadRecording as error:
            summary.skip(f"{utterance.audio}: {error}")
            return 0, ()
        summary.samples += length
        return length, pieces

    def _stretches(
        self,
        utterance: Utterance,
        length: int,
        scale: float,
        summary: Summary,
        samples: Float | None = None,
    ) -> tuple[Segment, ...]:
        """Return the labelled stretches of a recording so long, in samples as it is read."""
        marks = self._marks(utterance)
        rate = self.settings.sample_rate
        stretches = marks.fit(length, scale, rate)
        self._remark(utterance, marks, stretches, length, summary)
        if samples is not None and max(s.stop for s in stretches) < REACHED * length:
            rates = list(marks.otherwise(length / rate, rate / scale))
            own, *others = heard(samples, stretches, (1.0, *(a / b for a, b in rates)))
            for pair, other in zip(rates, others, strict=True):
                summary.loudness.setdefault(pair, Loudness()).add(Loudness(1, own, other))
        summary.tiers[marks.tier] += bool(marks.tier)
        return stretches

    def _pieces(
        self, utterance: Utterance, stretches: Sequence[Segment], speaker: int, summary: Summary
    ) -> Iterator[Piece]:
        assert self.phones is not None
        of_speaker = self.settings.labels == "speaker" and self.settings.marked
        for stretch in stretches:
            start, stop, name = int(stretch.start), int(stretch.stop), stretch.label
            if name not in self.known:
                self.known[name] = self.phones.drops(name), self.phones.index(name)
            dropped, label = self.known[name]
            summary.labels[name] += 1
            if dropped:
                summary.dropped[f"label {name}" if name else "unlabelled"] += 1
            elif label is None or stop <= start:
                place = f"{utterance.labels or utterance.audio}: {self._span(stretch, utterance)}"
                if label is None:
                    summary.unknown[name] += 1
                    summary.skip(f"unknown phone {name!r}", place)
                else:
                    summary.skip(f"{place} {name}: holds no samples")
            elif self._fits(stop - start, summary):
                yield Piece(speaker if of_speaker else label, start, stop)

    def _span(self, stretch: Segment, utterance: Utterance) -> str:
        """Return where a stretch lies, in the unit that its label file has."""
        rate = self.settings.sample_rate
        if self.layout.in_samples or utterance.labels is None:
            return f"{stretch.start}-{stretch.stop}"
        return f"{stretch.start / rate:.3f}-{stretch.stop / rate:.3f} s"

    def _remark(
        self,
        utterance: Utterance,
        marks: Marks,
        stretches: Sequence[Segment],
        length: int,
        summary: Summary,
    ) -> None:
        """Tell of labels whose unit was found out, that end early, or reach past the recording."""
        rate = self.settings.sample_rate
        place = str(utterance.labels or utterance.audio)
        end = max((s.stop for s in stretches if s.label), default=0)
        if marks.whole and end and abs(end / rate - marks.end) > TOLERANCE_SECONDS:
            summary.remark(
                "whole-numbered times end with the recording in another unit than 100 ns",
                place,
            )
        if marks.whole or not marks.per_second:
            summary.reach = max(summary.reach, end / length)
        if end < COVERED * length and not utterance.voice:
            shown = f"{place} ({end / rate:.2f} of {length / rate:.2f} s)"
            summary.remark(
                f"labels end before {COVERED:.0%} of the recording, or count in another unit", shown
            )
        last = max(s.stop for s in marks.segments)
        if marks.per_second and not marks.whole and last * rate > length + TOLERANCE_SECONDS * rate:
            summary.remark("the recording ends before the unlabelled rest of its labels", place)

    def _fits(self, length: int, summary: Summary) -> bool:
        if self.limit is None or length <= self.limit:
            return True
        summary.dropped[f"longer than {self.limit} samples"] += 1
        return False


def heard(samples: Float, stretches: Sequence[Segment], factors: Sequence[float]) -> list[Sums]:
    """Return `Loudness.own` of a recording, or `other`: of stretches moved by each factor."""
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    mean = (energy[-1] or 1.0) / len(samples)  # digital silence is no louder anywhere
    found: list[Sums] = []
    for factor in factors:
        sums: Sums = {}
        for stretch in stretches:
            ends = (stretch.start, stretch.stop)
            start, stop = (min(round(t * factor), len(samples)) for t in ends)
            if stretch.label and start < stop:
                share = (energy[stop] - energy[start]) / (stop - start) / mean
                loud = np.log(max(share, FAINTEST))
                row = np.array([1.0, loud, loud * loud])
                sums[stretch.label] = sums.get(stretch.label, 0.0) + row
        found.append(sums)
    return found


def root_mean_square(samples: Float) -> float:
    """Return √(mean of the squares)."""
    return float(np.sqrt(np.dot(samples, samples) / len(samples)))
