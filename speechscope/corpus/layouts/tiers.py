"""Label files of several tiers: which of them has the phones, and whose they are.

The layouts that read such files (Praat, ELAN, EMU, the Montreal Forced Aligner) give the tiers of a
file; everything else is said here once.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from speechscope.corpus.files import read_text, word
from speechscope.corpus.layouts import Layout
from speechscope.corpus.layouts.librispeech import SUFFIX as TRANS_SUFFIX
from speechscope.corpus.layouts.librispeech import words_of
from speechscope.corpus.pairing import Problems, paired
from speechscope.corpus.utterances import BadRecording, Marks, Segment, Utterance

PHONE_TIERS = (
    "phones", "phone", "phonetic", "phonalign", "mau", "segments", "segment", "phonemes", "phoneme",
)  # fmt: skip
"""Usual names of the phone tier, in the order they are looked for; case does not count."""

WORD_TIERS = ("words", "word", "ort-mau", "ort", "tokensalign", "tokens", "orthography", "text")
SILENCES = frozenset({"", "sil", "sp", "#", "<p:>", "<eps>", "<sil>", "_", "pau"})
_OF_SPEAKER = " - "
_NUMBERED = re.compile(r"(.+)#(\d{1,3})")
# L2-ARCTIC's README: canonical phone, perceived phone, and s(ubstituted), a(dded) or d(eleted).
_TAGGED = re.compile(r"\s*([^,]*?)\s*,\s*([^,]*?)\s*,\s*([asd])\s*,?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Tier:
    """One tier; of a tier of points only the name is read.

    Parameters
    ----------
    name
        Of the tier, without its speaker.
    speaker
        Whose it is, where the file says; else nothing.
    """

    name: str
    points: bool
    segments: tuple[Segment, ...]
    speaker: str = ""

    @property
    def title(self) -> str:
        """The name as the file has it."""
        return f"{self.speaker}{_OF_SPEAKER}{self.name}" if self.speaker else self.name

    def renamed(self) -> "Tier":
        """Return the tier with the speaker of a name such as ``speaker - phones``."""
        speaker, dash, name = self.name.rpartition(_OF_SPEAKER)
        return replace(self, name=name, speaker=speaker) if dash and speaker and name else self


class TierFiles(Layout):
    """A layout of label files with tiers; they lie beside the recordings or in a tree like theirs.

    Attributes
    ----------
    suffixes, texts
        Of the label files, and of files with words.
    """

    suffixes: tuple[str, ...] = ()
    texts: tuple[str, ...] = (".txt",)

    def knows(self, name: str) -> bool:
        """See `Layout`."""
        return name.endswith(self.suffixes)

    def tiers(self, path: Path) -> Sequence[Tier]:
        """Return the tiers of a label file.

        Raises
        ------
        BadRecording
            It is malformed or cut short.
        """
        raise NotImplementedError

    def inside(self, path: Path) -> Sequence[str]:
        """Return the names of the recordings that a label file is of, where it says them.

        Raises
        ------
        BadRecording
            It is malformed or cut short.
        """
        return []

    def tiers_of(self, utterance: Utterance) -> Sequence[Tier]:
        """Return the tiers of a recording; see `tiers`."""
        return self.tiers(self._file(utterance))

    def voices(self, utterance: Utterance) -> Sequence[str]:
        """Return the speakers that a label file names; what is wrong with it is told elsewhere."""
        try:
            return list(dict.fromkeys(t.speaker for t in self._wanted(self.tiers_of(utterance))))
        except BadRecording:
            return []

    def _wanted(self, tiers: Sequence[Tier]) -> list[Tier]:
        """Return the tiers that could be chosen, by the first pattern that any has."""
        for name in self._names():
            found = matching(tiers, name)
            if found:
                return found
        return []

    def _names(self, tier: str | None = None) -> tuple[str, ...]:
        given = tier or self.tier
        return (given,) if given else PHONE_TIERS

    def utterances(self, root: Path, problems: list[str]) -> list[Utterance]:
        """See `Layout`: one for each speaker that a label file names."""
        found = paired(root, self.suffixes, self.texts, problems, self.needs, self.inside)
        every = self.sorting().utterances(root, found, problems)
        spoken = [one for u in every for one in self._spoken(u)]
        voices = {u.speaker for u in spoken if u.voice}
        if voices and isinstance(problems, Problems):
            shown = ", ".join(sorted(voices)[:3])
            problems.notes.append(f"{len(voices)} speakers by their tiers: {shown}")
        return spoken

    def _spoken(self, utterance: Utterance) -> list[Utterance]:
        voices = [v for v in self.voices(utterance) if v]
        if not voices:
            return [utterance]
        return [
            replace(utterance, speaker=word(v), name=word(f"{utterance.name}"), voice=v)
            for v in voices
        ]

    def marks(self, utterance: Utterance, tier: str | None = None) -> Marks:
        """See `Layout`: one tier, in seconds; without a name the phone tier, see `PHONE_TIERS`.

        Refuses a file that is malformed or cut short, has no such tier or two, or one of points.
        """
        path = self._file(utterance)
        tiers = self.tiers_of(utterance)
        chosen = choose(tiers, self._names(tier), utterance, path.name)
        segments = [replace(s, label=self._said(s.label)) for s in _without_others(chosen, tiers)]
        if segments and not any(s.label for s in segments):
            raise BadRecording(f"{path.name}: no label in tier {chosen.title}")
        return Marks(tuple(segments), per_second=True, tier=chosen.name).check(path.name)

    def _said(self, label: str) -> str:
        """Return what of a label such as ``AA1,AO,s`` is asked for; of a deletion, nothing."""
        match = _TAGGED.fullmatch(label)
        if match is None:
            return label
        canonical, perceived, kind = match[1], match[2].rstrip("*"), match[3].lower()
        if self.annotated == "canonical":
            return "" if kind == "a" else canonical
        return "" if kind == "d" or perceived.lower() == "err" else perceived

    def _file(self, utterance: Utterance) -> Path:
        if utterance.labels is None:
            raise BadRecording(f"has no {self.suffixes[0]} that goes with it")
        return utterance.labels

    def text(self, utterance: Utterance) -> str:
        """See `Layout`: of the file beside the recording, or else of the tier of words."""
        path = self._file(utterance)
        if utterance.text is not None:
            words = read_text(utterance.text).split()
        elif (transcripts := sorted(utterance.audio.parent.glob(f"*{TRANS_SUFFIX}"))) != []:
            return words_of(transcripts[0], utterance.audio)
        else:
            tier = choose(self.tiers_of(utterance), WORD_TIERS, utterance, path.name)
            labels = [s.label for s in tier.segments if s.label.lower() not in SILENCES]
            words = " ".join(labels).split()
        if not words:
            raise BadRecording(f"{path.name} has no words")
        return " ".join(words)


def matching(tiers: Iterable[Tier], pattern: str) -> list[Tier]:
    """Return the tiers of a name, else those that a pattern with ``*`` fits; case does not count.

    ``speaker - phones`` counts as ``phones``, too.
    """
    every = list(tiers)
    exact = [t for t in every if t.title.lower() == pattern.lower()]
    names = [p.strip().lower() for p in pattern.split("|")]
    return exact or [
        t for t in every if any(fnmatchcase(n.lower(), p) for n in (t.name, t.title) for p in names)
    ]


def choose(tiers: Sequence[Tier], names: Sequence[str], utterance: Utterance, where: str) -> Tier:
    """Return the tier of the first of the names that the file has; with labels, where any has.

    Of several speakers' tiers it is that of the utterance; of two of one name the one with labels,
    or that of a number: ``phones#2`` is the second.
    """
    first: Tier | None = None
    for name in names:
        numbered = _NUMBERED.fullmatch(name)
        found = matching(tiers, name)
        if numbered is not None and not found:
            found = matching(tiers, numbered[1])[int(numbered[2]) - 1 :][:1]
        chosen = found
        if utterance.voice:
            chosen = [t for t in found if t.speaker == utterance.voice]
        elif len(found) > 1:
            own = [t for t in found if t.speaker.lower() == utterance.speaker.lower()]
            chosen = own or found
        if len(chosen) > 1:
            chosen = [t for t in chosen if any(s.label for s in t.segments)] or chosen[:1]
        if len(chosen) > 1:
            several = ", ".join(t.title for t in chosen)
            raise BadRecording(
                f"{where} has several such tiers: {several}; --tier '{chosen[0].title}#2' takes "
                "the second"
            )
        if chosen and any(s.label for s in chosen[0].segments) and not chosen[0].points:
            return chosen[0]
        first = first or next(iter(chosen), None)
    if first is not None and first.points:
        raise BadRecording(f"{where}: tier {first.title} is one of points")
    if first is not None:
        return first
    there = ", ".join(tier.title for tier in tiers) or "none"
    what = f"no tier {names[0]}" if len(names) == 1 else "no tier of a usual name"
    raise BadRecording(f"{where} has {what}; its tiers are: {there}; name one with --tier")


def _without_others(chosen: Tier, tiers: Sequence[Tier]) -> tuple[Segment, ...]:
    """Return the stretches of a tier; where another speaks, a pause of its speaker is none."""
    others = sorted(
        (s.start, s.stop)
        for t in tiers
        if chosen.speaker and t.speaker != chosen.speaker and t.name == chosen.name
        for s in t.segments
        if s.label.lower() not in SILENCES
    )
    if not others:
        return chosen.segments
    return tuple(
        replace(s, label="")
        if s.label.lower() in SILENCES and any(a < s.stop and s.start < b for a, b in others)
        else s
        for s in chosen.segments
    )
