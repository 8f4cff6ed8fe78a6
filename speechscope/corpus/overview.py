"""What a corpus folder holds and what of it is used, in a screen: before and after it is read."""

from collections import Counter
from pathlib import Path

from speechscope.corpus.plan import Plan, refuse_loss
from speechscope.corpus.reading import Summary
from speechscope.corpus.utterances import SPLITS
from speechscope.errors import SpeechscopeError
from speechscope.work.local import Executor

MOST_LABELS, MOST_SPEAKERS, MOST_LINES = 60, 6, 5
"""Labels, speakers, and lines of what cannot be used, that are shown."""


def overview(plan: Plan, summary: Summary) -> dict[str, str]:
    """Return what is read of a folder, whose it is, which labels occur, and what is left out."""
    recordings: Counter[str] = Counter(u.speaker for u in plan.wanted)
    shown = {
        "layout": f"{plan.layout.name}, {len(plan.wanted)} recordings"
        + _listed(summary.tiers, MOST_SPEAKERS, "; tiers "),
        "speakers": f"{len(recordings)}" + _listed(recordings, MOST_SPEAKERS, ": ", " recordings"),
        "splits": _splits(plan, summary),
    }
    if summary.labels:
        unknown = sum(summary.unknown.values())
        total = sum(summary.labels.values())
        shown["phone set"] = f"{plan.settings.phone_set} knows {total - unknown} of {total} labels"
        named = Counter({name or "unlabelled": n for name, n in summary.labels.items()})
        shown["labels"] = f"{len(named)}" + _listed(named, MOST_LABELS, ": ")
    shown["left out"] = _listed(summary.dropped, MOST_LABELS, "") or "nothing"
    if summary.skipped:
        some = "; ".join(summary.skipped[:MOST_LINES])
        more = len(summary.skipped) - MOST_LINES
        shown["cannot be used"] = f"{summary.skipped_items}: {some}" + f"; and {more} more" * (
            more > 0
        )
    return shown


def _listed(counts: Counter[str], most: int, before: str, unit: str = "") -> str:
    some = [f"{name} {count}{unit}" for name, count in counts.most_common(most) if count]
    more = ", …" if len(counts) > most else ""
    return before + ", ".join(some) + more if some else ""


def _splits(plan: Plan, summary: Summary) -> str:
    """Return the recordings, speakers and items of every split."""
    parts = []
    for number, name in enumerate(SPLITS):
        held = [u for task in plan.tasks for u, _, split in task if split == number]
        if held:
            speakers = len({u.speaker for u in held})
            parts.append(
                f"{name} {len(held)} recordings of {speakers} speakers "
                f"({summary.splits[number]} items)"
            )
    return ", ".join(parts)


def looked_at(root: Path, plan: Plan, executor: Executor) -> dict[str, str]:
    """Return the overview of a folder by its labels, and by what recordings say they are.

    Nothing is written, and no sound is read: what is damaged inside is found by reading it.
    """
    summary = plan.summary
    with executor.ordered_map(plan.reader.look, plan.tasks) as found:
        for part in found:
            summary.add(part)
    shown = overview(plan, summary)
    try:
        refuse_loss(root, plan.settings, summary, whole=True)
    except SpeechscopeError as error:
        shown["refused"] = str(error)
    for number, note in enumerate(summary.notes, start=1):
        shown[f"note {number}"] = note
    return shown
