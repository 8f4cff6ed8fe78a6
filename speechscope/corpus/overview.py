"""What a corpus holds and what of it is used, in a screen: before it is prepared, and after."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from speechscope.corpus.plan import Plan, refuse_loss
from speechscope.corpus.store import Corpus
from speechscope.corpus.utterances import SPLITS
from speechscope.errors import SpeechscopeError
from speechscope.work.local import Executor

MOST_LABELS, MOST_SPEAKERS, MOST_LINES = 60, 6, 5
"""Labels, speakers, and lines of what cannot be used, that are shown."""


def looked_at(root: Path, plan: Plan, executor: Executor) -> dict[str, str]:
    """Return what would be read of a folder, by its labels and by what recordings say they are.

    Nothing is written, and no sound is read: what is damaged inside is found by reading it.
    """
    summary = plan.summary
    with executor.ordered_map(plan.reader.look, plan.tasks) as found:
        for part in found:
            summary.add(part)
    held = [(u.speaker, split) for task in plan.tasks for u, _, split in task]
    shown = {
        "layout": f"{plan.layout.name}, {len(held)} recordings"
        + _listed(summary.tiers, MOST_SPEAKERS, "; tiers "),
        **_who(held, summary.splits),
    }
    if summary.labels:
        unknown, total = sum(summary.unknown.values()), sum(summary.labels.values())
        shown["phone set"] = f"{plan.settings.phone_set} knows {total - unknown} of {total} labels"
        named = Counter({name or "unlabelled": n for name, n in summary.labels.items()})
        shown["labels"] = f"{len(named)}" + _listed(named, MOST_LABELS, ": ")
    shown |= _left_out(summary.dropped, summary.skipped)
    try:
        refuse_loss(root, plan.settings, summary, whole=True)
    except SpeechscopeError as error:
        shown["refused"] = str(error)
    for number, note in enumerate(summary.notes, start=1):
        shown[f"note {number}"] = note
    return shown


def overview(corpus: Corpus) -> dict[str, str]:
    """Return the same of a corpus that was prepared; of its labels, the classes they became."""
    read, config = corpus.artifact.read, corpus.config
    _, first = np.unique(read("utterance"), return_index=True)
    voices = corpus.names("speaker")
    speaker, split = read("speaker")[first], read("split")[first]
    held = [(voices[s], int(n)) for s, n in zip(speaker.tolist(), split.tolist(), strict=True)]
    shown = {
        "layout": f"{config.get('layout')}, {len(held)} recordings",
        **_who(held, Counter(read("split").tolist())),
    }
    if "label" in corpus.artifact and config["labels"] == "phone":
        counts = np.bincount(corpus.labels, minlength=len(corpus.classes)).tolist()
        named = Counter(dict(zip(corpus.classes, counts, strict=True)))
        shown["phone set"] = f"{config.get('phone_set')}, {len(corpus.classes)} classes"
        shown["labels"] = f"{sum(map(bool, counts))}" + _listed(named, MOST_LABELS, ": ")
    return shown | _left_out(config.get("dropped", {}), config.get("skipped", []))


def _who(held: Iterable[tuple[str, int]], items: Mapping[int, int]) -> dict[str, str]:
    """Say who speaks in how many recordings, and how they are divided."""
    every = list(held)
    recordings = Counter(speaker for speaker, _ in every)
    parts = []
    for number, name in enumerate(SPLITS):
        some = [speaker for speaker, split in every if split == number]
        if some:
            parts.append(
                f"{name} {len(some)} recordings of {len(set(some))} speakers "
                f"({items[number]} items)"
            )
    return {
        "speakers": f"{len(recordings)}" + _listed(recordings, MOST_SPEAKERS, ": ", " recordings"),
        "splits": ", ".join(parts),
    }


def _left_out(dropped: Mapping[str, int], skipped: Sequence[str]) -> dict[str, str]:
    shown = {"left out": _listed(Counter(dropped), MOST_LABELS, "") or "nothing"}
    if skipped:
        more = len(skipped) - MOST_LINES
        some = "; ".join(skipped[:MOST_LINES])
        shown["cannot be used"] = some + f"; and {more} more" * (more > 0)
    return shown


def _listed(counts: Counter[str], most: int, before: str, unit: str = "") -> str:
    some = [f"{name} {count}{unit}" for name, count in counts.most_common(most) if count]
    more = ", …" if len(counts) > most else ""
    return before + ", ".join(some) + more if some else ""
