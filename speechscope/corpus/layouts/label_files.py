"""Label files of one tier: xlabel (ESPS, Festival, EMU) and HTK ``.lab``.

- xlabel: a header ended by a line ``#``, then ``end colour label``, times in seconds; a stretch
  begins where the one above it ends.
- HTK: ``start end label``, times in units of 100 ns (S. Young et al., "The HTK Book", sec. 6.2).
- The same with times in seconds, told by a decimal point.
"""

import re
from pathlib import Path

from speechscope.corpus.files import numbered_lines, paired
from speechscope.corpus.layouts import Layout
from speechscope.corpus.utterances import BadRecording, Marks, Segment, Utterance
from speechscope.registry import LAYOUTS

SUFFIXES = (".lab", ".xlabel")
HTK_UNIT = 1e-7  # seconds
# A recording is longer than this [100 ns]: whole-numbered times below are seconds or milliseconds.
SHORTEST = 100_000

_NUMBER = r"\d{1,18}(?:\.\d{0,18})?(?:[eE][-+]?\d{1,2})?|\.\d{1,18}"
_XLABEL = re.compile(rf"\s*({_NUMBER})\s+-?\d{{1,9}}(?:\s+(.*?))?\s*", re.ASCII)
_TIMED = re.compile(rf"\s*({_NUMBER})\s+({_NUMBER})\s+(\S+)(?:\s.*)?", re.ASCII)


@LAYOUTS.register("lab")
class LabelFiles(Layout):
    """See the module; label files lie beside the recordings or mirrored, see `paired`."""

    rank = 4
    needs = "recording that a .lab goes with"

    def knows(self, name: str) -> bool:
        """See `Layout`."""
        return name.endswith(SUFFIXES)

    def utterances(self, root: Path, problems: list[str]) -> list[Utterance]:
        """See `Layout`."""
        return paired(root, SUFFIXES, (".txt",), problems)

    def marks(self, utterance: Utterance, tier: str | None = None) -> Marks:
        """See `Layout`; refuses what is in none of the three formats. Times are in seconds."""
        if utterance.labels is None:
            raise BadRecording("has no .lab that goes with it")
        name = utterance.labels.name
        lines = numbered_lines(utterance.labels)
        header = next((n for n, line in lines if line.strip() == "#"), 0)
        numbered = [(n, line) for n, line in lines if n > header]
        segments = _xlabel(numbered, name) if header else _timed(numbered, name)
        return Marks(tuple(segments), per_second=True).check(name)


def _fields(
    lines: list[tuple[int, str]], pattern: re.Pattern[str], form: str, name: str
) -> list[tuple[str, ...]]:
    matches = [(number, pattern.fullmatch(line)) for number, line in lines]
    for number, match in matches:
        if match is None:
            raise BadRecording(f"{name} line {number} is not `{form}`")
    return [match.groups() for _, match in matches if match is not None]


def _xlabel(lines: list[tuple[int, str]], name: str) -> list[Segment]:
    segments: list[Segment] = []
    start = 0.0
    for end, label in _fields(lines, _XLABEL, "end colour label", name):
        # xlabel's fields are separated by semicolons; the first is the label.
        segments.append(Segment(start, float(end), (label or "").split(";")[0].strip()))
        start = float(end)
    return segments


def _timed(lines: list[tuple[int, str]], name: str) -> list[Segment]:
    rows = _fields(lines, _TIMED, "start end label", name)
    whole = all(start.isdecimal() and stop.isdecimal() for start, stop, _ in rows)
    if rows and whole and max(int(stop) for _, stop, _ in rows) < SHORTEST:
        raise BadRecording(
            f"{name} ends before 10 ms by HTK's unit of 100 ns; give seconds a decimal point"
        )
    unit = HTK_UNIT if whole else 1.0
    return [Segment(float(start) * unit, float(stop) * unit, label) for start, stop, label in rows]
