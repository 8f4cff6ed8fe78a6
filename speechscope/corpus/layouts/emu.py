"""EMU-SDMS: ``NAME_annot.json`` beside ``NAME.wav``, levels of segments in samples.

A segment of length n ends with the sample n after its first, and the next begins with the one after
that. Source: R. Winkelmann et al., "EMU-SDMS", Computer Speech & Language 45, 2017; its manual, ch.
"The EMU-SDMS database format".
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechscope.corpus.files import read_text
from speechscope.corpus.layouts.tiers import Tier, TierFiles
from speechscope.corpus.utterances import BadRecording, Segment
from speechscope.registry import LAYOUTS


def parsed(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises
    ------
    BadRecording
        It is malformed.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise BadRecording(f"{path.name} is malformed: {error}") from None


@LAYOUTS.register("emu")
class Emu(TierFiles):
    """See the module; levels of segments are tiers."""

    rank = 3
    needs = "recording that an _annot.json goes with"
    suffixes = ("_annot.json",)

    def tiers(self, path: Path) -> Sequence[Tier]:
        """See `TierFiles`."""
        try:
            document = parsed(path)
            rate = document.get("sampleRate", 0)
            found = [
                _tier(level, float(rate)) for level in document["levels"] if level["type"] != "ITEM"
            ]
        except (KeyError, TypeError, AttributeError, ValueError, ZeroDivisionError) as error:
            raise BadRecording(f"{path.name} is no annotation of EMU ({error})") from None
        if not found:
            raise BadRecording(f"{path.name} holds no level with times")
        return found


def _tier(level: dict[str, Any], rate: float) -> Tier:
    points = level["type"] != "SEGMENT"
    segments = [
        Segment(
            item["sampleStart"] / rate,
            (item["sampleStart"] + item["sampleDur"] + 1) / rate,
            _label(item, str(level["name"])),
        )
        for item in ([] if points else level["items"])
    ]
    return Tier(str(level["name"]), points, tuple(sorted(segments)))


def _label(item: dict[str, Any], level: str) -> str:
    """Return the value of the attribute that is called as the level is, or else of the first."""
    values = {label["name"]: str(label["value"]).strip() for label in item.get("labels", [])}
    return values.get(level, next(iter(values.values()), ""))
