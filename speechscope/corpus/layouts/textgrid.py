"""Praat TextGrids, beside the recordings or in a tree like theirs.

Long, short and chronological text files and collections are read, in UTF-8, UTF-16 or ISO 8859-1,
and held against the numbers of tiers and intervals they declare: a file that was cut short is
refused. Tiers of points have no stretches to cut out, and are refused as well.

An interval without a label is kept with an empty label: nobody labelled it, so phone sets drop it.
Only in what the Montreal Forced Aligner wrote (tiers ``phones`` and ``words``, or ``speaker -
phones``) such an interval is a pause, and gets the label ``sil``.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain, islice, pairwise, takewhile
from pathlib import Path
from typing import Any

from speechscope.corpus.files import read_text, top_of
from speechscope.corpus.layouts.tiers import Tier, TierFiles
from speechscope.corpus.pairing import UNUSUAL, folded
from speechscope.corpus.utterances import BadRecording, Segment, Utterance
from speechscope.registry import LAYOUTS

# Praat writes 17 digits, other programs fewer: boundaries may overlap by rounding, not by more.
OVERLAP_SECONDS = 1e-3

# Of what stands in a file Praat reads texts in quotes, flags, and numbers that stand alone; the
# rest ("intervals [2]:", "xmin =") is for people.
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|\[[^]"\n]*\]|<exists>|(?<![^\s=])([-+.\d]\S*)')
_HEAD = re.compile(r'\s*[^"]*"ooTextFile(?: short)?"[^"]*"(TextGrid|Collection)"')
_CHRONOLOGICAL = re.compile(r'\s*"Praat chronological TextGrid text file"')
# Numbers that rounding made a little less than zero.
_NOTHING = -1e-9
_KINDS = ("IntervalTier", "TextTier")
_SPEAKERS = re.compile(r'"[^"\n]+ - [^"\n]+"')
_NUMBER = re.compile(r"[-+]?(?:\d{1,18}\.?\d{0,30}|\.\d{1,30})(?:[eE][-+]?\d{1,2})?", re.ASCII)


@LAYOUTS.register("textgrid")
class TextGrids(TierFiles):
    """See the module; TextGrids lie beside the recordings or mirrored, see `paired`."""

    rank = 2
    needs = "recording that a .TextGrid goes with"
    suffixes = (".textgrid", ".collection")
    texts = (".txt", ".lab")

    def inside(self, path: Path) -> Sequence[str]:
        """See `TierFiles`: those of a collection."""
        match = _HEAD.match(top_of(path))
        return list(collection(path)) if match is not None and match[1] == "Collection" else []

    def tiers_of(self, utterance: Utterance) -> Sequence[Tier]:
        """See `TierFiles`."""
        return read(self._file(utterance), utterance.audio.stem)

    def voices(self, utterance: Utterance) -> Sequence[str]:
        """See `TierFiles`; a file without a name such as ``speaker - phones`` is not read twice."""
        try:
            text = read_text(self._file(utterance), latin=True)
        except BadRecording:
            return []
        return super().voices(utterance) if _SPEAKERS.search(text) else []


Tokens = Iterator[str | float]
Grids = dict[str, tuple[list[Tier], int]]


class _Ended(Exception):
    """The file ends where something should follow."""


def read(path: Path, recording: str | None = None) -> tuple[Tier, ...]:
    """Read all tiers of a TextGrid; of a collection, those of the grid with a recording's name.

    Praat writes an underscore for most signs in that name. Without one it is that of the file.

    Raises
    ------
    BadRecording
        It is no TextGrid in text format, is malformed, or holds fewer tiers or intervals than it
        declares.
    """
    text, name = read_text(path, latin=True), path.name
    if text.lstrip().startswith("ooBinaryFile"):
        raise BadRecording(f"{name} is a binary TextGrid: save it as text in Praat")
    chronological, head = _CHRONOLOGICAL.match(text), _HEAD.match(text)
    if head is None and chronological is None:
        raise BadRecording(f"{name} has no TextGrid's header")
    tokens, tiers, count = _tokens(text, name), [], 0
    try:
        if chronological is not None:
            *_, count = _take(tokens, "tnnn", name)
            tiers = _in_time(tokens, int(count), name)
        elif head is not None and head[1] == "Collection":
            tiers, count = _own(collection(path), path, recording or path.stem)
            tokens = iter(())
        else:
            *_, count = _take(tokens, "ttnnn", name)
            tiers, tokens = _tiers(tokens, int(count), name)
    except _Ended as ended:
        raise BadRecording(f"{name} is cut short: it holds {ended} of {count:g} tiers") from None
    if next(tokens, None) is not None:
        raise BadRecording(f"{name} is malformed: it goes on after its {count:g} tiers")
    found = [tier.renamed() for tier in tiers]
    aligner = {tier.name for tier in found} >= {"phones", "words"}
    return tuple(_pauses(tier) if aligner else tier for tier in found)


def _in_time(tokens: Tokens, count: int, name: str) -> list[Tier]:
    """Read the tiers of a chronological TextGrid: stretches in the order they begin in."""
    kinds = [_take(tokens, "ttnn", name) for _ in range(count)]
    held: list[list[Segment]] = [[] for _ in kinds]
    try:
        for token in tokens:
            if not isinstance(token, float) or not 1 <= token <= count:
                raise BadRecording(f"{name} is malformed: {token!r} is the number of no tier")
            points = kinds[int(token) - 1][0] != "IntervalTier"
            *times, label = _take(tokens, "nt" if points else "nnt", name)
            held[int(token) - 1].append(Segment(times[0], times[-1], label.strip()))
    except _Ended:
        raise BadRecording(f"{name} is cut short: its last interval is not whole") from None
    return [
        _checked(
            Tier(" ".join(kind[1].split()), kind[0] != "IntervalTier", ()), inside, kind[3], name
        )
        for kind, inside in zip(kinds, held, strict=True)
    ]


def collection(path: Path) -> Grids:
    """Return the tiers, and how many were declared, of every grid in a collection, by its name.

    Raises
    ------
    BadRecording
        It is malformed or cut short, or holds something else, or two grids of one name.
    """
    status = path.stat()
    return _collected(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)  # each of its recordings asks for it
def _collected(path: Path, *_: int) -> Grids:
    text = read_text(path, latin=True)
    try:
        return _parted(_tokens(text, path.name), path)
    except _Ended:
        raise BadRecording(f"{path.name} is cut short: not all of its grids are whole") from None


def _parted(tokens: Tokens, path: Path) -> Grids:
    grids: Grids = {}
    *_, several = _take(tokens, "ttn", path.name)
    for _ in range(int(several)):
        kind, title = _take(tokens, "tt", path.name)
        if kind != "TextGrid":
            raise BadRecording(f"{path.name} is a collection with a {kind!r}: save the grids alone")
        *_, count = _take(tokens, "nnn", path.name)
        tiers, tokens = _tiers(tokens, int(count), path.name)
        title = " ".join(title.split())
        if title in grids:
            raise BadRecording(f"{path.name} is a collection with two grids called {title}")
        grids[title] = tiers, int(count)
    if next(tokens, None) is not None:
        raise BadRecording(f"{path.name} is malformed: it goes on after its {several:g} grids")
    return grids


def _own(grids: Grids, path: Path, recording: str) -> tuple[list[Tier], int]:
    """Return the tiers of a recording in a collection, or else of its only grid."""
    plain = {UNUSUAL.sub("_", folded(title)): grid for title, grid in grids.items()}
    own = plain.get(UNUSUAL.sub("_", folded(recording)))
    if own is None and len(grids) != 1:
        raise BadRecording(
            f"{path.name} is a collection of {', '.join(list(grids)[:5]) or 'nothing'}: none has "
            "the name of the recording; save each as a TextGrid of its own"
        )
    return own or next(iter(grids.values()))


def _tokens(text: str, name: str) -> Tokens:
    """Yield the texts and numbers of a file, one after another."""
    for match in _TOKEN.finditer(text):
        if match[1] is not None:
            yield match[1].replace('""', '"')
        elif match[2] is not None:
            if _NUMBER.fullmatch(match[2]) is None:
                raise BadRecording(f"{name} is malformed: {match[2]} is no number")
            value = float(match[2])
            if value < _NOTHING:
                raise BadRecording(f"{name} has a negative time")
            yield max(value, 0.0)


def _take(tokens: Tokens, form: str, name: str) -> list[Any]:
    """Return the next tokens: a text for each ``t`` of a form, a number for each ``n``."""
    values = list(islice(tokens, len(form)))
    for value, kind in zip(values, form, strict=False):
        if isinstance(value, str) != (kind == "t"):
            raise BadRecording(f"{name} is malformed: something is missing before {value!r}")
    if len(values) < len(form):
        raise _Ended(0)
    return values


def _tiers(tokens: Tokens, count: int, name: str) -> tuple[list[Tier], Tokens]:
    """Read so many tiers; return them, and what follows."""
    tiers: list[Tier] = []
    for number in range(1, count + 1):
        tiers.append(_tier(tokens, number, name))
        following = next(tokens, None)
        if isinstance(following, float):
            rest = takewhile(lambda token: token not in _KINDS, tokens)
            size = len(tiers[-1].segments)
            held = size + sum(isinstance(token, str) for token in rest)
            raise BadRecording(
                f"{name}: tier {tiers[-1].name} declares {size} intervals but holds {held}; "
                "MFA 3.0.0 wrote such files: update it, and align again"
            )
        if following is not None:
            tokens = chain([following], tokens)
    return tiers, tokens


def _tier(tokens: Tokens, number: int, name: str) -> Tier:
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
    return _checked(Tier(title, points, ()), segments, end, name)


def _checked(tier: Tier, segments: list[Segment], end: float, name: str) -> Tier:
    """Return a tier with its stretches; they follow one another up to its end."""
    if tier.points:
        return tier
    for place, (above, segment) in enumerate(pairwise(segments), start=2):
        if segment.start < above.stop - OVERLAP_SECONDS:
            raise BadRecording(
                f"{name}: interval {place} of tier {tier.name} overlaps the one above"
            )
    if segments and segments[-1].stop > end + OVERLAP_SECONDS:
        raise BadRecording(f"{name}: tier {tier.name} has intervals after its end")
    return replace(tier, segments=tuple(segments))


def _pauses(tier: Tier) -> Tier:
    if tier.name != "phones" or not any(s.label for s in tier.segments):
        return tier
    return replace(tier, segments=tuple(replace(s, label=s.label or "sil") for s in tier.segments))
