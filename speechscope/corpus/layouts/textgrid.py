"""Praat TextGrids, beside the recordings or in a tree like theirs.

Long and short text files are read, in UTF-8, UTF-16 or ISO 8859-1, by praatio, and held against
the numbers of tiers and intervals they declare: a file that was cut short is refused. Tiers of
points have no stretches to cut out, and are refused as well.

An interval without a label is kept with an empty label: nobody labelled it, so phone sets drop it.
Only in what the Montreal Forced Aligner wrote (tiers ``phones`` and ``words``, or ``speaker -
phones``) such an interval is a pause, and gets the label ``sil``.
"""

import math
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from praatio.utilities import errors as praatio_errors
from praatio.utilities import textgrid_io

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
_SIZE = re.compile(r"^[ \t]*(?:intervals|points) ?: size ?= ?(\d{1,9})[ \t]*$", re.MULTILINE)
_HEAD = re.compile(
    r'File type = "ooTextFile(?: short)?"\s*(?:Object class = )?"TextGrid"\s*'
    r"(?:xmin ?= ?)?[-\d.e]+\s+(?:xmax ?= ?)?[\d.e]+\s+(?:tiers\? ?)?<exists>\s*"
    r"(?:size ?= ?)?(\d{1,9})\s",
    re.IGNORECASE,
)
_SHORT_SIZE = re.compile(
    r'^"(?:IntervalTier|TextTier)"[ \t]*\n"(?:[^"]|"")*"[ \t]*\n'  # class, name
    r'(?:[^\n"]*\n){2}[ \t]*(\d{1,9})[ \t]*$',  # start, end, size
    re.MULTILINE,
)
_EXPONENT = re.compile(
    r"^([ \t]*(?:xmin|xmax|number) ?= ?)(-?\d[\d.]*e[-+]?\d{1,3})[ \t]*$",
    re.MULTILINE | re.IGNORECASE,
)
_NEGATIVE = re.compile(r"^[ \t]*(?:xmin|xmax|number) ?= ?-[0.]*[1-9]", re.MULTILINE)
_FIELD = re.compile(r'(?:text|mark|name) ?= ?"')
_BLOCK = re.compile(r"(?:intervals|points|item) ?\[")


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


def read(path: Path) -> tuple[Tier, ...]:
    """Read all tiers of a TextGrid.

    Raises
    ------
    BadRecording
        It is no TextGrid in text format, is malformed, or holds fewer tiers or intervals than it
        declares.
    """
    text = read_text(path, latin=True).strip() + "\n"
    if text.startswith("ooBinaryFile"):
        raise BadRecording(f"{path.name} is a binary TextGrid: save it as text in Praat")
    head = _HEAD.match(text)
    if head is None:
        raise BadRecording(f"{path.name} has no TextGrid's header")
    text = _EXPONENT.sub(lambda match: f"{match[1]}{_plain(match[2])}", text)
    # praatio leaves signs out.
    if _NEGATIVE.search(text):
        raise BadRecording(f"{path.name} has a negative time")
    # praatio's patterns take time in the square of the fields in one block.
    if any(len(_FIELD.findall(block)) > 1 for block in _BLOCK.split(text)):
        raise BadRecording(f"{path.name} is malformed: an interval has two labels")
    try:
        tiers = textgrid_io.parseTextgridStr(text, includeEmptyIntervals=True)["tiers"]
        found = tuple(_tier(tier, path.name) for tier in tiers)
    except (
        praatio_errors.PraatioException, ValueError, IndexError, OverflowError
    ) as error:  # fmt: skip
        raise BadRecording(f"{path.name} is malformed ({_reason(error)})") from error
    _compare(text, int(head[1]), [len(tier["entries"]) for tier in tiers], path.name)
    aligner = {tier.name.split(_OF_SPEAKER)[-1] for tier in found} >= {"phones", "words"}
    return tuple(_pauses(tier) if aligner else tier for tier in found)


def _grid(utterance: Utterance) -> Path:
    if utterance.labels is None:
        raise BadRecording("has no .TextGrid that goes with it")
    return utterance.labels


def _tier(tier: dict[str, object], name: str) -> Tier:
    """Convert praatio's tier, whose times are text."""
    title, entries = " ".join(str(tier["name"]).split()), tier["entries"]
    if tier["class"] != "IntervalTier":
        return Tier(title, points=True, segments=())
    assert isinstance(entries, list)
    segments = tuple(Segment(float(start), float(stop), label) for start, stop, label in entries)
    for number, (above, segment) in enumerate(pairwise(segments), start=2):
        if not segment.start >= above.stop - OVERLAP_SECONDS:
            raise BadRecording(f"{name}: interval {number} of tier {title} overlaps the one above")
    if segments and not segments[-1].stop <= float(str(tier["xmax"])) + OVERLAP_SECONDS:
        raise BadRecording(f"{name}: tier {title} has intervals after its end")
    return Tier(title, points=False, segments=segments)


def _compare(text: str, tiers: int, found: list[int], name: str) -> None:
    """Compare the entries found in each tier with what the file declares."""
    sizes = [int(size) for size in (_SIZE.findall(text) or _SHORT_SIZE.findall(text))]
    if tiers != len(found) or len(sizes) != len(found):
        raise BadRecording(f"{name} is cut short: it holds {len(found)} of {tiers} tiers")
    for number, (size, entries) in enumerate(zip(sizes, found, strict=True), start=1):
        if size != entries:
            raise BadRecording(
                f"{name} is cut short: tier {number} holds {entries} of {size} intervals"
            )


def _choose(tiers: tuple[Tier, ...], names: tuple[str, ...], speaker: str, path: Path) -> Tier:
    """Return the tier of the first of the names that the file has.

    ``speaker - phones`` counts as ``phones``; of several speakers' tiers it is that of `speaker`.
    """
    for name in names:
        wanted = name.lower()
        exact = [t for t in tiers if t.name.lower() == wanted]
        last = [t for t in tiers if t.name.lower().split(_OF_SPEAKER)[-1] == wanted]
        own = [t for t in last if t.name.lower().split(_OF_SPEAKER)[0] == speaker.lower()]
        found = exact or (own if len(last) > 1 and own else last)
        if len(found) > 1:
            raise BadRecording(
                f"{path.name} has several such tiers: {', '.join(t.name for t in found)}"
            )
        if found:
            if found[0].points:
                raise BadRecording(f"{path.name}: tier {found[0].name} is one of points")
            return found[0]
    there = ", ".join(tier.name for tier in tiers) or "none"
    what = f"no tier {names[0]}" if len(names) == 1 else "no tier of a usual name"
    raise BadRecording(f"{path.name} has {what}; its tiers are: {there}")


def _pauses(tier: Tier) -> Tier:
    if tier.name.split(_OF_SPEAKER)[-1] != "phones":
        return tier
    named = tuple(Segment(s.start, s.stop, s.label or "sil") for s in tier.segments)
    return Tier(tier.name, tier.points, named)


def _plain(number: str) -> str:
    value = float(number)
    return f"{value:.20f}" if math.isfinite(value) else number


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
