"""Label files of one tier: xlabel (ESPS, Festival, EMU) and HTK ``.lab``.

- xlabel: a header ended by a line ``#``, then ``end colour label``, times in seconds; a stretch
  begins where the one above it ends.
- HTK: ``start end label``, times in units of 100 ns (S. Young et al., "The HTK Book", sec. 6.2).
- The same with times in seconds, told by a decimal point.
"""

import re
from pathlib import Path

from speechscope.corpus.files import check_folder, read_text
from speechscope.corpus.layouts.pairs import scan_pairs
from speechscope.corpus.utterances import BadRecording, Marks, Scan, Segment, Utterance
from speechscope.errors import SpeechscopeError

SUFFIXES = (".lab", ".xlabel")
HTK_UNIT = 1e-7  # seconds
# A recording is longer than this [100 ns]: whole-numbered times below are seconds or milliseconds.
SHORTEST = 100_000

_NUMBER = r"\d{1,18}(?:\.\d{0,18})?(?:[eE][-+]?\d{1,2})?|\.\d{1,18}"
_XLABEL = re.compile(rf"\s*({_NUMBER})\s+-?\d{{1,9}}(?:\s+(.*?))?\s*", re.ASCII)
_TIMED = re.compile(rf"\s*({_NUMBER})\s+({_NUMBER})\s+(\S+)(?:\s.*)?", re.ASCII)


class LabelFiles:
    """See the module."""

    name = "lab"
    tiers = False

    def knows(self, name: str) -> bool:
        """Whether a file of this lower-case name marks the layout."""
        return name.endswith(SUFFIXES)

    def scan(self, root: Path) -> Scan:
        """Find recordings with a ``.lab`` beside them or mirrored, see `scan_pairs`.

        Raises
        ------
        SpeechscopeError
            There is no such folder, or no such recording in it.
        """
        check_folder(root)
        found = scan_pairs(root, SUFFIXES, (".txt",))
        if not found.utterances:
            raise SpeechscopeError(f"{root} holds no recording that a .lab goes with")
        return found

    def marks(self, utterance: Utterance, tier: str | None = None) -> Marks:
        """Read a label file; times are in seconds.

        Raises
        ------
        BadRecording
            It is in none of the three formats, or times run backwards.
        """
        if utterance.labels is None:
            raise BadRecording("has no .lab that goes with it")
        name = utterance.labels.name
        lines = read_text(utterance.labels).split("\n")
        header = next((n for n, line in enumerate(lines, 1) if line.strip() == "#"), 0)
        numbered = [(n, line) for n, line in enumerate(lines, 1) if n > header and line.strip()]
        segments = _xlabel(numbered, name) if header else _timed(numbered, name)
        return Marks(tuple(segments), per_second=True).check(name)

    def text(self, utterance: Utterance) -> str:
        """Read the ``.txt`` beside the recording.

        Raises
        ------
        BadRecording
            There is none, or it is empty.
        """
        if utterance.text is None:
            raise BadRecording("has no .txt beside it")
        words = read_text(utterance.text).split()
        if not words:
            raise BadRecording(f"{utterance.text.name} is empty")
        return " ".join(words)


def _xlabel(lines: list[tuple[int, str]], name: str) -> list[Segment]:
    segments: list[Segment] = []
    start = 0.0
    for number, line in lines:
        match = _XLABEL.fullmatch(line)
        if match is None:
            raise BadRecording(f"{name} line {number} is not `end colour label`")
        stop = float(match[1])
        # xlabel's fields are separated by semicolons; the first is the label.
        segments.append(Segment(start, stop, (match[2] or "").split(";")[0].strip()))
        start = stop
    return segments


def _timed(lines: list[tuple[int, str]], name: str) -> list[Segment]:
    rows = []
    for number, line in lines:
        match = _TIMED.fullmatch(line)
        if match is None:
            raise BadRecording(f"{name} line {number} is not `start end label`")
        rows.append(match.groups())
    whole = all(start.isdecimal() and stop.isdecimal() for start, stop, _ in rows)
    if rows and whole and max(int(stop) for _, stop, _ in rows) < SHORTEST:
        raise BadRecording(
            f"{name} ends before 10 ms by HTK's unit of 100 ns; give seconds a decimal point"
        )
    unit = HTK_UNIT if whole else 1.0
    return [Segment(float(start) * unit, float(stop) * unit, label) for start, stop, label in rows]
