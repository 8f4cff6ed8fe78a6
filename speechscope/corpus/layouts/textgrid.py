"""Praat TextGrids, beside the recordings or in a tree like theirs.

Long and short text files are read, in UTF-8, UTF-16 or ISO 8859-1, and held against the numbers of
tiers and intervals they declare: a file that was cut short is refused. Tiers of points have no
stretches to cut out, and are refused as well.

An interval without a label is kept with an empty label: nobody labelled it, so phone sets drop it.
Only in what the Montreal Forced Aligner wrote (tiers ``phones`` and ``words``, or ``speaker -
phones``) such an interval is a pause, and gets the label ``sil``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from speechscope.corpus.files import paired, read_text
from speechscope.corpus.layouts import Layout
from speechscope.corpus.layouts.librispeech import SUFFIX as TRANS_SUFFIX
from speechscope.corpus.layouts.librispeech import words_of
from speechscope.corpus.utterances import BadRecording, Marks, Segment, Utterance
from speechscope.registry import LAYOUTS

PHONE_TIERS = (
    "phones", "phone", "phonetic", "phonalign", "mau", "segments", "segment", "phonemes", "phoneme",
)  # fmt: skip
"""Usual names of the phone tier, in the order they are looked for; case does not count."""

WORD_TIERS = ("words", "word", "ort-mau", "ort", "tokensalign", "tokens", "orthography", "text")
SILENCES = frozenset({"", "sil", "sp", "#", "<p:>", "<eps>", "<sil>", "_", "pau"})
# Praat writes 17 digits, other programs fewer: boundaries may overlap by rounding, not by more.
OVERLAP_SECONDS = 1e-3

_OF_SPEAKER = " - "
# Of what stands in a file Praat reads texts in quotes, flags, and numbers that stand alone; the
# rest ("intervals [2]:", "xmin =") is for people.
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|\[[^]"\n]*\]|<exists>|(?<![^\s=])([-+.\d]\S*)')
_HEAD = re.compile(r'\s*[^"]*"ooTextFile(?: short)?"[^"]*"TextGrid"')
_NUMBER = re.compile(r"[-+]?(?:\d{1,18}\.?\d{0,30}|\.\d{1,30})(?:[eE][-+]?\d{1,2})?", re.ASCII)


@dataclass(frozen=True)
class Tier:
    """One tier of a TextGrid; of a tier of points only the name is read."""

    name: str
    points: bool
    segments: tuple[Segment, ...]


@LAYOUTS.register("textgrid")
class TextGrids(Layout):
    """See the module; TextGrids lie beside the recordings or mirrored, see `paired`."""

    rank = 2
    needs = "recording that a .TextGrid goes with"

    def knows(self, name: str) -> bool:
        """See `Layout`."""
        return name.endswith(".textgrid")

    def utterances(self, root: Path, problems: list[str]) -> list[Utterance]:
        """See `Layout`."""
        return paired(root, (".textgrid",), (".txt", ".lab"), problems)

    def marks(self, utterance: Utterance, tier: str | None = None) -> Marks:
        """See `Layout`: one tier, in seconds; without a name the phone tier, see `PHONE_TIERS`.

        Refuses a file that is malformed or cut short, has no such tier or two, or one of points.
        """
        path = _grid(utterance)
        chosen = _choose(read(path), (tier,) if tier else PHONE_TIERS, utterance.speaker, path)
        return Marks(chosen.segments, per_second=True).check(path.name)

    def text(self, utterance: Utterance) -> str:
        """See `Layout`: of the file beside the recording, or else of the tier of words."""
        path = _grid(utterance)
        if utterance.text is not None:
            words = read_text(utterance.text).split()
        elif (transcripts := sorted(utterance.audio.parent.glob(f"*{TRANS_SUFFIX}"))) != []:
            return words_of(transcripts[0], utterance.audio)
        else:
            tier = _choose(read(path), WORD_TIERS, utterance.speaker, path)
            labels = [s.label for s in tier.segments if s.label.lower() not in SILENCES]
            words = " ".join(labels).split()
        if not words:
            raise BadRecording(f"{path.name} has no words")
        return " ".join(words)


class _Ended(Exception):
    """The file ends where something should follow."""


def read(path: Path) -> tuple[Tier, ...]:
    """Read all tiers of a TextGrid.

    Raises
    ------
    BadRecording
        It is no TextGrid in text format, is malformed, or holds fewer tiers or intervals than it
        declares.
    """
    text, name = read_text(path, latin=True), path.name
    if text.lstrip().startswith("ooBinaryFile"):
        raise BadRecording(f"{name} is a binary TextGrid: save it as text in Praat")
    if _HEAD.match(text) is None:
        raise BadRecording(f"{name} has no TextGrid's header")
    tokens, tiers, count = _tokens(text, name), [], 0
    try:
        *_, count = _take(tokens, "ttnnn", name)
        tiers += [_tier(tokens, number, name) for number in range(1, int(count) + 1)]
    except _Ended as ended:
        raise BadRecording(f"{name} is cut short: it holds {ended} of {count:g} tiers") from None
    if next(tokens, None) is not None:
        raise BadRecording(f"{name} is malformed: it goes on after its {count:g} tiers")
    aligner = {tier.name.split(_OF_SPEAKER)[-1] for tier in tiers} >= {"phones", "words"}
    return tuple(_pauses(tier) if aligner else tier for tier in tiers)


def _tokens(text: str, name: str) -> Iterator[str | float]:
    """Yield the texts and numbers of a file, one after another."""
    for match in _TOKEN.finditer(text):
        if match[1] is not None:
            yield match[1].replace('""', '"')
        elif match[2] is not None:
            if _NUMBER.fullmatch(match[2]) is None:
                raise BadRecording(f"{name} is malformed: {match[2]} is no number")
            if match[2].startswith("-") and float(match[2]):
                raise BadRecording(f"{name} has a negative time")
            yield float(match[2])


def _take(tokens: Iterator[str | float], form: str, name: str) -> list[Any]:
    """Return the next tokens: a text for each ``t`` of a form, a number for each ``n``."""
    values = list(islice(tokens, len(form)))
    for value, kind in zip(values, form, strict=False):
        if isinstance(value, str) != (kind == "t"):
            raise BadRecording(f"{name} is malformed: something is missing before {value!r}")
    if len(values) < len(form):
        raise _Ended(0)
    return values


def _grid(utterance: Utterance) -> Path:
    if utterance.labels is None:
        raise BadRecording("has no .TextGrid that goes with it")
    return utterance.labels


def _tier(tokens: Iterator[str | float], number: int, name: str) -> Tier:
    try:
        kind, title, _, end, size = _take(tokens, "ttnnn", name)
    except _Ended:
        raise _Ended(number - 1) from None
    title, points = " ".join(title.split()), kind != "IntervalTier"
    segments: list[Segment] = []
    try:
        for _ in range(int(size)):
            *times, label = _take(tokens, "nt" if points else "nnt", name)
            segments.append(Segment(times[0], times[-1], label.strip()))
    except _Ended:
        raise BadRecording(
            f"{name} is cut short: tier {number} holds {len(segments)} of {size:g} intervals"
        ) from None
    if points:
        return Tier(title, points=True, segments=())
    for place, (above, segment) in enumerate(pairwise(segments), start=2):
        if segment.start < above.stop - OVERLAP_SECONDS:
            raise BadRecording(f"{name}: interval {place} of tier {title} overlaps the one above")
    if segments and segments[-1].stop > end + OVERLAP_SECONDS:
        raise BadRecording(f"{name}: tier {title} has intervals after its end")
    return Tier(title, points=False, segments=tuple(segments))


def _choose(tiers: tuple[Tier, ...], names: tuple[str, ...], speaker: str, path: Path) -> Tier:
    """Return the tier of the first of the names that the file has.

    ``speaker - phones`` counts as ``phones``; of several speakers' tiers it is that of `speaker`.
    """
    for name in names:
        wanted = name.lower()
        exact = [t for t in tiers if t.name.lower() == wanted]
        last = [t for t in tiers if t.name.lower().split(_OF_SPEAKER)[-1] == wanted]
        own = [t for t in last if t.name.lower().split(_OF_SPEAKER)[0] == speaker.lower()]
        chosen = exact or (own if len(last) > 1 and own else last)
        if len(chosen) > 1:
            raise BadRecording(
                f"{path.name} has several such tiers: {', '.join(t.name for t in chosen)}"
            )
        if chosen:
            if chosen[0].points:
                raise BadRecording(f"{path.name}: tier {chosen[0].name} is one of points")
            return chosen[0]
    there = ", ".join(tier.name for tier in tiers) or "none"
    what = f"no tier {names[0]}" if len(names) == 1 else "no tier of a usual name"
    raise BadRecording(f"{path.name} has {what}; its tiers are: {there}")


def _pauses(tier: Tier) -> Tier:
    if tier.name.split(_OF_SPEAKER)[-1] != "phones":
        return tier
    named = tuple(Segment(s.start, s.stop, s.label or "sil") for s in tier.segments)
    return Tier(tier.name, tier.points, named)
