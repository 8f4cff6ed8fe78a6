"""From the files of an utterance to its samples and its labelled stretches, bad ones named."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from speechscope.corpus.audio import read_audio
from speechscope.corpus.layouts import Layout
from speechscope.corpus.letters import letters_of
from speechscope.corpus.phones import PhoneSet
from speechscope.corpus.units import Piece, Recording
from speechscope.corpus.utterances import BadRecording, Segment, Utterance
from speechscope.errors import SpeechscopeError
from speechscope.features.stft import Float

if TYPE_CHECKING:
    from speechscope.stages.prepare import Prepare

# Read speech has a root mean square near a tenth or less of full scale: amplitudes stay near 1.
GAIN_SCALE = 10.0

Task = Sequence[tuple[Utterance, int, int]]
"""Utterances, each with the index of its speaker and that of its split, 0 for training."""


@dataclass
class Summary:
    """What became of recordings.

    What was left out is counted (`dropped`) where the recipe asks for it, and named (`skipped`)
    where something is wrong; `unknown` counts the labels that the phone set does not know.
    """

    items: int = 0
    utterances: int = 0
    samples: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def add(self, other: "Summary") -> None:
        """Add what became of others."""
        self.items += other.items
        self.utterances += other.utterances
        self.samples += other.samples
        self.dropped.update(other.dropped)
        self.skipped += other.skipped
        self.unknown.update(other.unknown)


@dataclass
class Survey:
    """What labels there are; it grows with the number of different ones, not with the corpus.

    Parameters
    ----------
    names
        Labels of all splits.
    lengths
        How often a label of the training split has a length [samples]; the label of a whole
        recording is empty.
    """

    names: set[str] = field(default_factory=set)
    lengths: Counter[tuple[str, int]] = field(default_factory=Counter)

    def add(self, other: "Survey") -> None:
        """Add what was seen elsewhere."""
        self.names |= other.names
        self.lengths.update(other.lengths)

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
                info = soundfile.info(utterance.audio)
                if self.settings.marked:
                    marks = self.layout.marks(utterance, self.settings.tier)
                    stretches = marks.scaled(rate / info.samplerate, rate)
                    lengths = [(s.label, int(s.stop) - int(s.start)) for s in stretches]
                else:
                    lengths = [("", round(info.frames * rate / info.samplerate))]
            except (BadRecording, soundfile.SoundFileError, OSError):
                continue  # named when it is read for good
            seen.names.update(label for label, _ in lengths if label)
            if split == 0:
                seen.lengths.update(lengths)
        return seen

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
                marks = self.layout.marks(utterance, chosen.tier)
                stretches = marks.fit(len(samples), scale, chosen.sample_rate)
        except BadRecording as error:
            summary.skipped.append(f"{utterance.audio}: {error}")
            return None
        if chosen.normalize == "gain":
            samples = samples / np.float32(GAIN_SCALE * root_mean_square(samples))
        if chosen.marked:
            pieces = tuple(self._pieces(utterance, stretches, speaker, summary))
        elif self._fits(len(samples), summary):
            pieces = (Piece(speaker, 0, len(samples)),)
        else:
            return None
        return Recording(samples, pieces, letters, training)

    def _pieces(
        self, utterance: Utterance, stretches: Sequence[Segment], speaker: int, summary: Summary
    ) -> Iterator[Piece]:
        assert self.phones is not None
        of_speaker = self.settings.labels == "speaker"
        for stretch in stretches:
            start, stop, name = int(stretch.start), int(stretch.stop), stretch.label
            if name not in self.known:
                self.known[name] = self.phones.drops(name), self.phones.index(name)
            dropped, label = self.known[name]
            if dropped:
                summary.dropped[f"label {name}" if name else "unlabelled"] += 1
            elif label is None or stop <= start:
                why = f" {name}: holds no samples"
                if label is None:
                    why = f": unknown phone {name!r}"
                    summary.unknown[name] += 1
                place = f"{utterance.labels or utterance.audio}: {start}-{stop}"
                summary.skipped.append(place + why)
            elif self._fits(stop - start, summary):
                yield Piece(speaker if of_speaker else label, start, stop)

    def _fits(self, length: int, summary: Summary) -> bool:
        if self.limit is None or length <= self.limit:
            return True
        summary.dropped[f"longer than {self.limit} samples"] += 1
        return False


def root_mean_square(samples: Float) -> float:
    """Return √(mean of the squares)."""
    return float(np.sqrt(np.dot(samples, samples) / len(samples)))
