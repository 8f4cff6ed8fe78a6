r"""Label files of one tier: xlabel (ESPS, Festival, EMU, Buckeye), HTK and HTS, and Audacity's.

- xlabel: a header ended by a line ``#``, then ``end colour label``, times in seconds; a stretch
  begins where the one above it ends. Some tools leave out the header; the colour tells.
- HTK: ``start end label [score [model [score]]]``, times in units of 100 ns (S. Young et al., "The
  HTK Book", sec. 6.2). Rows of states become the stretch of their model. Of triphones (``a-b+c``)
  and HTS's full-context labels the label is the phone in the middle.
- The same with times in seconds, told by a decimal point; Audacity's rows of frequencies (``\``)
  are passed over.

Whole-numbered times that end with their recording as sample numbers are such (`Marks.placed`).
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from speechscope.corpus.files import numbered_lines
from speechscope.corpus.layouts import Layout
from speechscope.corpus.pairing import paired
from speechscope.corpus.utterances import BadRecording, Marks, Segment, Utterance
from speechscope.registry import LAYOUTS

HTK_UNIT = 1e-7  # seconds
FEWEST = 100  # a recording is longer in any unit but seconds

_NUMBER = r"\d{1,18}(?:[.,]\d{0,18})?(?:[eE][-+]?\d{1,2})?|\.\d{1,18}"
_XLABEL = re.compile(rf"\s*({_NUMBER})\s+-?\d{{1,9}}(?:\s+(.*?))?\s*", re.ASCII)
# A label that nobody wrote is empty behind a tab.
_TIMED = re.compile(rf"\s*({_NUMBER})\s+({_NUMBER})(?:\s+(\S.*?)\s*|\t\s*)", re.ASCII)
_FREQUENCIES = re.compile(r"\s*\\\s+-?[\d.,]+\s+-?[\d.,]+\s*", re.ASCII)
_SCORE = re.compile(r"-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?", re.ASCII)
_STATE = re.compile(r"[sS]\d{1,2}|(.*)\[(\d{1,2})\]", re.ASCII)
_CENTRE = re.compile(r"[^-+]*?-(.+?)\+.*")

Lines = Sequence[tuple[int, str]]


@LAYOUTS.register("lab")
class LabelFiles(Layout):
    """See the module; label files lie beside the recordings or mirrored, see `paired`."""

    rank = 4
    tiered = False
    needs = "recording that a .lab goes with"
    suffixes: tuple[str, ...] = (".lab", ".xlabel", ".rec", ".phones")
    texts: tuple[str, ...] = (".txt",)

    def knows(self, name: str) -> bool:
        """See `Layout`."""
        return name.endswith(self.suffixes)

    def recognises(self, path: Path) -> bool:
        """See `Layout`: it can be read."""
        try:
            return bool(marks_of(numbered_lines(path), path.name).segments)
        except BadRecording:
            return False

    def utterances(self, root: Path, problems: list[str]) -> list[Utterance]:
        """See `Layout`."""
        found = paired(root, self.suffixes, self.texts, problems, self.needs)
        return self.sorting().utterances(root, found, problems)

    def marks(self, utterance: Utterance, tier: str | None = None) -> Marks:
        """See `Layout`; refuses what is in none of the formats. Times are in seconds."""
        if utterance.labels is None:
            raise BadRecording(f"has no {self.suffixes[0]} that goes with it")
        return marks_of(numbered_lines(utterance.labels), utterance.labels.name)


def marks_of(lines: Lines, name: str) -> Marks:
    """Return the marks on the lines of a label file, or of a part of one.

    Raises
    ------
    BadRecording
        The lines are in none of the formats.
    """
    lines = [(n, line) for n, line in lines if _FREQUENCIES.fullmatch(line) is None]
    header = next((n for n, line in lines if line.strip() == "#"), 0)
    body = [(n, line) for n, line in lines if n > header]
    if header or _without_header(body):
        return Marks(tuple(_xlabel(body, name)), per_second=True).check(name)
    return _timed(body, name).check(name)


def _without_header(lines: Lines) -> bool:
    """Whether the second of the columns is one whole number: it is a colour and no time."""
    columns = [line.split()[:2] for _, line in lines]
    return (
        len(columns) > 1
        and all(len(c) == 2 and "." in c[0] and c[1].isdecimal() for c in columns)
        and len({c[1] for c in columns}) == 1
    )


def _fields(lines: Lines, pattern: re.Pattern[str], form: str, name: str) -> list[tuple[str, ...]]:
    matches = [(number, pattern.fullmatch(line)) for number, line in lines]
    for number, match in matches:
        if match is None:
            raise BadRecording(f"{name} line {number} is not `{form}`")
    return [match.groups() for _, match in matches if match is not None]


def _xlabel(lines: Lines, name: str) -> list[Segment]:
    segments: list[Segment] = []
    start = 0.0
    for end, label in _fields(lines, _XLABEL, "end colour label", name):
        # xlabel's fields are separated by semicolons; the first is the label.
        stop = _seconds(end)
        segments.append(Segment(start, stop, (label or "").split(";")[0].strip()))
        start = stop
    return segments


def _timed(lines: Lines, name: str) -> Marks:
    fields = _fields(lines, _TIMED, "start end label", name)
    rows = [(start, stop, rest or "") for start, stop, rest in fields]
    whole = all(start.isdecimal() and stop.isdecimal() for start, stop, _ in rows)
    if rows and whole and max(int(stop) for _, stop, _ in rows) < FEWEST:
        raise BadRecording(
            f"{name} ends before 10 ms by HTK's unit of 100 ns; give seconds a decimal point"
        )
    unit = HTK_UNIT if whole else 1.0
    states = whole and all(_STATE.fullmatch(rest.split(" ")[0]) for _, _, rest in rows)
    named = [
        (
            Segment(_seconds(start) * unit, _seconds(stop) * unit, ""),
            *_named(rest, scored=whole, states=states),
        )
        for start, stop, rest in rows
    ]
    segments = _of_models(named)
    if any(_CENTRE.fullmatch(s.label) for s in segments):
        segments = [replace(s, label=_centre(s.label)) for s in segments]
    return Marks(tuple(segments), per_second=True, whole=unit if whole else 0.0)


def _seconds(cell: str) -> float:
    """Read a number, of languages with decimal commas too."""
    return float(cell.replace(",", "."))


def _named(rest: str, *, scored: bool, states: bool) -> tuple[str, str]:
    """Return the label, and HTK's name of the model that begins with it, or nothing.

    Labels may hold blanks; a number behind the first word is a score where a point says so, or
    where times are HTK's.
    """
    words = rest.split()
    if states and len(words) == 2 and _SCORE.fullmatch(words[1]) is None:
        return words[0], words[1]
    score = len(words) > 1 and _SCORE.fullmatch(words[1]) is not None
    if score and "\t" not in rest.strip() and (scored or (len(words) == 2 and "." in words[1])):
        return words[0], words[2] if len(words) > 2 else ""
    label, *more = (cell.strip() for cell in rest.split("\t"))
    return label if more and _SCORE.fullmatch(more[0]) else " ".join(rest.split()), ""


def _of_models(rows: Sequence[tuple[Segment, str, str]]) -> list[Segment]:
    """Return the stretch of every model, where rows are its states; else those of the rows."""
    states = [_STATE.fullmatch(label) for _, label, _ in rows]
    named = bool(rows) and bool(rows[0][2])
    numbered = all(match is not None and match[2] for match in states)
    if not rows or not all(states) or not (named or numbered):
        return [replace(segment, label=label) for segment, label, _ in rows]
    models: list[Segment] = []
    above = ("", 99)
    for (segment, label, model), match in zip(rows, states, strict=True):
        assert match is not None
        here = (match[1] or "", int(match[2] or label[1:]))
        begins = bool(model) if named else here[0] != above[0] or here[1] <= above[1]
        if begins:
            models.append(replace(segment, label=model or here[0]))
        else:
            models[-1] = replace(models[-1], stop=segment.stop)
        above = here
    return models


def _centre(label: str) -> str:
    """Return the phone in the middle of a triphone, of a biphone or of a full-context label."""
    match = _CENTRE.fullmatch(label)
    if match is not None:
        return match[1]
    return label.rpartition("-")[2] if "-" in label else label.partition("+")[0]
