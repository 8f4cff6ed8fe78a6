"""ELAN's ``.eaf``: tiers of annotations between time slots.

Times are in milliseconds; slots without one lie evenly between their neighbours, as ELAN shows
them. Read with the standard library: pympi-ling reads the same elements, but knows no participants
of tiers as speakers and no slots without a time.

Source: H. Sloetjes et al., "ELAN Annotation Format", version 3.0.
"""

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from speechscope.corpus.files import check_regular, read_text
from speechscope.corpus.layouts.tiers import Tier, TierFiles
from speechscope.corpus.utterances import BadRecording, Segment
from speechscope.registry import LAYOUTS

MOST_DIGITS = 12
"""Of milliseconds: thirty years."""
_DECLARED = re.compile(r"\s*<\?xml[^>]*\?>")
Spans = dict[str, tuple[float, float]]


@LAYOUTS.register("elan")
class Elan(TierFiles):
    """See the module; a tier's speaker is its participant, or follows ``@`` in its name."""

    rank = 7
    needs = "recording that an .eaf goes with"
    suffixes = (".eaf",)

    def tiers(self, path: Path) -> Sequence[Tier]:
        """See `TierFiles`."""
        check_regular(path)
        text = read_text(path)
        if "<!DOCTYPE" in text:  # no ELAN writes one, and entities can fill the memory
            raise BadRecording(f"{path.name} is malformed: an .eaf has no document type")
        try:
            # Decoded already: what it says of its encoding does not count.
            root = ET.fromstring(_DECLARED.sub("", text).encode())
        except (ET.ParseError, ValueError) as error:
            raise BadRecording(f"{path.name} is malformed: {error}") from error
        if root.tag != "ANNOTATION_DOCUMENT":
            raise BadRecording(f"{path.name} is no ELAN document")
        slots = _slots(root, path.name)
        spans: Spans = {}
        tiers = [_tier(element, slots, spans, path.name) for element in root.iter("TIER")]
        if not tiers:
            raise BadRecording(f"{path.name} holds no tier")
        return tiers


def _slots(root: ET.Element, name: str) -> dict[str, float]:
    """Return the time [s] of every slot; those without one are spread between their neighbours."""
    order = root.find("TIME_ORDER")
    elements = [] if order is None else order.findall("TIME_SLOT")
    given = [e.get("TIME_VALUE") for e in elements]
    if not all(v is None or (v.isdecimal() and len(v) <= MOST_DIGITS) for v in given):
        raise BadRecording(f"{name} is malformed: a time slot is no number of milliseconds")
    known = [(n, int(v)) for n, v in enumerate(given) if v is not None]
    times: dict[str, float] = {}
    for number, element in enumerate(elements):
        before = next(((n, v) for n, v in reversed(known) if n <= number), None)
        after = next(((n, v) for n, v in known if n >= number), None)
        if before is None or after is None:
            raise BadRecording(f"{name} is malformed: its first or last time slot has no time")
        (a, low), (b, high) = before, after
        part = (number - a) / (b - a) if b > a else 0.0
        times[element.get("TIME_SLOT_ID", "")] = (low + (high - low) * part) / 1000
    return times


def _tier(element: ET.Element, slots: dict[str, float], spans: Spans, name: str) -> Tier:
    title = " ".join(element.get("TIER_ID", "").split())
    short, at, suffix = title.partition("@")
    speaker = element.get("PARTICIPANT", "").strip() or suffix.strip()
    held = element.findall("ANNOTATION/*")
    parents = Counter(a.get("ANNOTATION_REF") for a in held if a.tag == "REF_ANNOTATION")
    segments = []
    for annotation in held:
        key, parent = annotation.get("ANNOTATION_ID", ""), annotation.get("ANNOTATION_REF", "")
        try:
            if annotation.tag == "REF_ANNOTATION":
                span = spans[parent]
            else:
                span = tuple(slots[annotation.get(f"TIME_SLOT_REF{n}", "")] for n in (1, 2))  # type: ignore[assignment]
        except KeyError as error:
            raise BadRecording(f"{name} is malformed: annotation {key} names {error}") from None
        spans[key] = span
        segments.append(Segment(*span, (annotation.findtext("ANNOTATION_VALUE") or "").strip()))
    # Several annotations of one parent have no times of their own.
    points = any(count > 1 for count in parents.values())
    tier = Tier(short.strip() if at else title, points, tuple(sorted(segments)), speaker)
    return tier if tier.speaker else tier.renamed()
