"""A first look at the labels of a corpus: which there are, and how long their stretches."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import soundfile

from speechscope.corpus.layouts import Layout
from speechscope.corpus.utterances import BadRecording, Utterance


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


def survey(
    task: Sequence[tuple[Utterance, int, int]],
    *,
    layout: Layout,
    tier: str | None,
    marked: bool,
    rate: int,
) -> Survey:
    """Look at the labels of some utterances, or at the lengths of their recordings.

    Parameters
    ----------
    task
        Utterances, with their speaker and their split, 0 for training.
    layout, tier
        How labels are found.
    marked
        Whether to look at marked stretches; else recordings are measured.
    rate
        Lengths are given at this sampling rate [Hz].
    """
    seen = Survey()
    for utterance, _, split in task:
        try:
            info = soundfile.info(utterance.audio)
            if not marked:
                lengths = [("", round(info.frames * rate / info.samplerate))]
            else:
                marks = layout.marks(utterance, tier)
                factor = rate if marks.per_second else rate / info.samplerate
                lengths = [
                    (s.label, round(s.stop * factor) - round(s.start * factor))
                    for s in marks.segments
                ]
        except (BadRecording, soundfile.SoundFileError, OSError):
            continue  # named when it is read for good
        if marked:
            seen.names.update(label for label, _ in lengths if label)
        if split == 0:
            seen.lengths.update(lengths)
    return seen
