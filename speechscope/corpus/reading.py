"""From the files of an utterance to its samples and its labelled stretches, bad ones named."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from speechscope.corpus.audio import read_audio
from speechscope.corpus.layouts import Layout
from speechscope.corpus.letters import letters_of
from speechscope.corpus.phone_sets import PhoneSet
from speechscope.corpus.units.cut import Float, Labels, Piece, Recording
from speechscope.corpus.utterances import BadRecording, Segment, Utterance

# Read speech has a root mean square near a tenth or less of full scale: amplitudes stay near 1.
GAIN_SCALE = 10.0


@dataclass
class Losses:
    """What was left out: counted where the recipe asks for it, named where something is wrong.

    `unknown` counts the labels that the phone set does not know.
    """

    dropped: Counter[str] = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Losses") -> None:
        """Add what was left out elsewhere."""
        self.dropped.update(other.dropped)
        self.skipped += other.skipped
        self.unknown.update(other.unknown)


@dataclass(frozen=True)
class Reader:
    """Reads utterances; shared by threads.

    Parameters
    ----------
    layout, tier
        How labels are found; the tier of files that have several.
    labels
        ``phone``: stretches by their phone. ``letter``: the whole utterance, with its letters.
        ``speaker``: by the speaker; stretches where `marked`, else the whole utterance.
    marked
        Whether pieces are the marked stretches.
    phones
        The phone set, where pieces are marked stretches.
    limit
        Pieces above this length are dropped [samples]; None keeps all.
    rate
        Sampling rate [Hz].
    gain
        Whether recordings are scaled to one root mean square, 1 / `GAIN_SCALE`.

    Attributes
    ----------
    known
        Whether a label is dropped, and its class: looking one up takes a while, and there are few.
    """

    layout: Layout
    tier: str | None
    labels: Labels
    marked: bool
    phones: PhoneSet | None
    limit: int | None
    rate: int
    gain: bool
    known: dict[str, tuple[bool, int | None]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def read(
        self, utterance: Utterance, speaker: int, training: bool, losses: Losses
    ) -> Recording | None:
        """Read one utterance; None where nothing of it can be used, which `losses` then says.

        Parameters
        ----------
        utterance
            What to read.
        speaker
            Index of its speaker.
        training
            Whether it is of the training split.
        losses
            Receives what was left out.
        """
        try:
            samples, scale = read_audio(utterance.audio, self.rate)
            letters = None
            if self.labels == "letter":
                letters = letters_of(self.layout.text(utterance))
            if self.marked:
                marks = self.layout.marks(utterance, self.tier)
                stretches = marks.fit(len(samples), scale, self.rate)
        except BadRecording as error:
            losses.skipped.append(f"{utterance.audio}: {error}")
            return None
        if self.gain:
            samples = samples / np.float32(GAIN_SCALE * root_mean_square(samples))
        if self.marked:
            pieces = self._pieces(utterance, stretches, speaker, losses)
        elif self._fits(len(samples), losses):
            pieces = [Piece(speaker, 0, len(samples))]
        else:
            return None
        return Recording(samples, tuple(pieces), letters, training)

    def _pieces(
        self,
        utterance: Utterance,
        stretches: Sequence[Segment],
        speaker: int,
        losses: Losses,
    ) -> list[Piece]:
        pieces = []
        assert self.phones is not None
        for stretch in stretches:
            start, stop, name = int(stretch.start), int(stretch.stop), stretch.label
            if name not in self.known:
                self.known[name] = self.phones.drops(name), self.phones.index(name)
            dropped, label = self.known[name]
            if dropped:
                losses.dropped[f"label {name}" if name else "unlabelled"] += 1
            elif label is None or stop <= start:
                reason = (
                    f": unknown phone {name!r}" if label is None else f" {name}: holds no samples"
                )
                where = f"{utterance.labels or utterance.audio}: {start}-{stop}"
                losses.skipped.append(where + reason)
                losses.unknown.update([name] if label is None else ())
            elif self._fits(stop - start, losses):
                pieces.append(Piece(speaker if self.labels == "speaker" else label, start, stop))
        return pieces

    def _fits(self, length: int, losses: Losses) -> bool:
        if self.limit is None or length <= self.limit:
            return True
        losses.dropped[f"longer than {self.limit} samples"] += 1
        return False


def root_mean_square(samples: Float) -> float:
    """Return √(mean of the squares)."""
    return float(np.sqrt(np.dot(samples, samples) / len(samples)))
