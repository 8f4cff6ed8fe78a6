"""The Montreal Forced Aligner's other outputs: a ``.csv`` or a ``.json`` beside each recording.

Columns are ``Begin,End,Label,Type,Speaker``; the JSON holds ``tiers`` of ``entries`` (start, end,
label), as praatio writes them.
"""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechscope.corpus.files import read_text, top_of
from speechscope.corpus.layouts import WORDS_RANK
from speechscope.corpus.layouts.emu import parsed
from speechscope.corpus.layouts.tiers import Tier, TierFiles
from speechscope.corpus.utterances import BadRecording, Segment
from speechscope.registry import LAYOUTS

_COLUMNS = ("begin", "end", "label", "type")


@LAYOUTS.register("mfa")
class Aligner(TierFiles):
    """See the module."""

    rank = WORDS_RANK
    needs = "recording that a .csv or .json of the Montreal Forced Aligner goes with"
    suffixes = (".csv", ".json")

    def recognises(self, path: Path) -> bool:
        """See `Layout`: it begins with the columns, or names tiers."""
        top = top_of(path)
        if path.suffix.lower() == ".csv":
            return top.lower().startswith("begin,end,label,type")
        return '"tiers"' in top

    def tiers(self, path: Path) -> Sequence[Tier]:
        """See `TierFiles`."""
        try:
            rows = _rows(path) if path.suffix.lower() == ".csv" else _entries(path)
        except (KeyError, TypeError, ValueError, AttributeError, csv.Error) as error:
            raise BadRecording(f"{path.name} is no output of the aligner ({error})") from None
        held: dict[tuple[str, str], dict[Segment, None]] = {}
        for name, speaker, segment in rows:
            held.setdefault((name, speaker), {})[segment] = None
        tiers = [
            Tier(name, points=False, segments=tuple(sorted(segments)), speaker=speaker)
            for (name, speaker), segments in held.items()
        ]
        if not tiers:
            raise BadRecording(f"{path.name} holds no tier")
        return [tier if tier.speaker else tier.renamed() for tier in tiers]


def _rows(path: Path) -> list[tuple[str, str, Segment]]:
    reader = csv.reader(io.StringIO(read_text(path)), strict=True)
    head = [cell.strip().lower() for cell in next(reader, [])]
    if not set(_COLUMNS) <= set(head):
        raise ValueError(f"its columns are not {', '.join(_COLUMNS)}")
    found = []
    for row in reader:
        if any(map(str.strip, row)):
            cells = dict(zip(head, map(str.strip, row), strict=True))
            segment = _segment(*(cells[column] for column in _COLUMNS[:3]))
            found.append((cells["type"], cells.get("speaker", ""), segment))
    return found


def _entries(path: Path) -> list[tuple[str, str, Segment]]:
    tiers: dict[str, Any] = parsed(path)["tiers"]
    return [
        (name, "", _segment(*entry))
        for name, tier in tiers.items()
        if tier["type"] == "interval"
        for entry in tier["entries"]
    ]


def _segment(start: object, stop: object, label: object) -> Segment:
    return Segment(float(str(start)), float(str(stop)), str(label).strip())
