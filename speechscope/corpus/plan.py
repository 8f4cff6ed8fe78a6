"""What is to be read of a corpus folder, and how: found out before anything is read for good."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechscope.corpus.layouts import Layout, layout_for
from speechscope.corpus.phones import (
    AS_IS,
    AUTO,
    PhoneSet,
    better_set,
    fitting,
    phone_set,
    share_known,
)
from speechscope.corpus.reading import REACHED, Reader, Summary, Survey, Task
from speechscope.corpus.splits import assign, rule_of, wanted_of
from speechscope.corpus.utterances import SPLITS, Utterance
from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.store.shards import Shard

if TYPE_CHECKING:
    from speechscope.stages.prepare import Prepare

FEW = 0.05
"""Of the labels: so many that no set knows are errors, not another set."""
SURE = 15.0
"""ln of how much more likely labels have to be at another rate (chosen: three million times)."""
LOOKED_AT = 64
"""Tasks whose labels are looked at to choose a phone set."""
LONGER = ": --max-length none"
KEPT_BY = {"SA sentences": ": --keep-sa", "longer than": LONGER}
"""What keeps things that are left out, by what they are called."""
BATCH_BYTES = 4_000_000  # of their files: a task of long recordings holds fewer


@dataclass(frozen=True)
class Plan:
    """What is to be read of a folder, how, and what it is made into.

    Parameters
    ----------
    layout, settings
        How it is laid out; the settings with what was found out: the phone set, and the length.
    wanted, speakers
        The utterances, and who speaks.
    tasks, mine
        What is read at once, and which of that is to be done.
    phones, limit
        The phone set, and the longest piece to keep.
    seen
        What labels there are, as far as they were looked at.
    summary
        What is known before anything is read.
    """

    layout: Layout
    settings: "Prepare"
    wanted: list[Utterance]
    speakers: list[str]
    tasks: list[Task]
    mine: slice
    phones: PhoneSet | None
    limit: int | None
    seen: Survey
    summary: Summary

    @classmethod
    def of(
        cls,
        root: Path,
        settings: "Prepare",
        spread: Callable[..., Any],
        batch: int,
        shard: Shard | None = None,
    ) -> "Plan":
        """Look at a folder, and at its labels as far as that is needed."""
        summary = Summary()
        if settings.mapping is not None and settings.phone_set not in (AUTO, "ipa"):
            phone_set(settings.phone_set, settings.mapping)  # refuses it
        layout = layout_for(root, settings, summary.notes)
        try:
            scan = layout.scan(root)
        except SpeechscopeError as error:
            raise SpeechscopeError("; ".join([str(error), *summary.notes])) from error
        summary.notes += scan.notes
        for problem in scan.problems:
            summary.skip(problem)
        wanted = wanted_of(scan.utterances, layout.name, settings, summary.dropped)
        if not wanted:
            raise _nothing(root, settings, summary)
        rule = rule_of(wanted, settings, summary.notes)
        split_of = assign(wanted, rule, dev=settings.dev, seed=settings.seed)
        speakers = sorted({u.speaker for u in wanted})
        tasks = list(_tasks(wanted, speakers, split_of, batch))
        mine = _part(shard, tasks)
        if mine.start:  # the first shard names what is wrong with the whole
            summary = Summary(notes=summary.notes)
        reader = Reader(layout, settings)
        seen = _survey(reader, tasks, spread)
        settings, phones = _phones(root, settings, seen, summary)
        of_items = None if settings.unit == "utterance" else phones
        limit = seen.longest_kept(of_items, settings.longest)
        if settings.unit == "segment" and limit is not None:
            settings = replace(settings, length=max(limit, settings.length))
        if settings.whole:
            settings = replace(settings, length=limit or settings.length)
        return cls(layout, settings, wanted, speakers, tasks, mine, phones, limit, seen, summary)

    @property
    def reader(self) -> Reader:
        """What reads it."""
        return Reader(self.layout, self.settings, self.phones, self.limit)


def _survey(
    reader: Reader, tasks: Sequence[Task], spread: Callable[..., Any], *, look: bool = False
) -> Survey:
    """Look at the labels, as far as the settings need it: at all, or at some of every part.

    Source: Churchman 2015, sec. 3.2: "the vectors above the 95th percentile in length".
    """
    settings, seen = reader.settings, Survey()
    named = settings.marked or settings.timed
    choose = named and settings.phone_set == AUTO and settings.mapping is None
    every = look or reader.measures or (named and settings.phone_set == AS_IS)
    some = tasks if every else tasks[:: -(-len(tasks) // LOOKED_AT)] if choose else ()
    if some:
        with spread(reader.survey, some) as surveys:
            for found in surveys:
                seen.add(found)
    if choose and not every and fitting(seen.names) == AS_IS:
        return _survey(reader, tasks, spread, look=True)
    return seen


def _phones(
    root: Path, settings: "Prepare", seen: Survey, summary: Summary
) -> tuple["Prepare", PhoneSet | None]:
    """Return the phone set, and the settings that name it where it was to be found out."""
    if not settings.marked and not (settings.timed and seen.names):
        return settings, None
    name = settings.phone_set
    if name == AUTO:
        name = fitting(seen.names) if settings.mapping is None else "ipa"
        if settings.mapping is None and seen.names and settings.marked:
            summary.notes.append(f"--phone-set {name}: {_why(name, seen)}")
    if name == AS_IS and not seen.names:
        if seen.problems:
            summary.skip(seen.problems[0], count=seen.failed)
        raise _nothing(root, settings, summary)
    return replace(settings, phone_set=name), phone_set(name, settings.mapping, seen.names)


def _why(name: str, seen: Survey) -> str:
    if name == AS_IS:
        return "no other set knows the labels"
    return f"it knows {share_known(name, seen.names):.0%} of the labels"


def refuse_loss(root: Path, settings: "Prepare", summary: Summary, *, whole: bool) -> None:
    """Refuse a corpus that nothing can be trained on, or most labels of which would be lost.

    Raises
    ------
    SpeechscopeError
        It is one; the message says what was left out, and what to do.
    """
    _refuse_rate(root, summary)
    unknown = sum(summary.unknown.values())
    hint = _hint(summary, settings)
    summary.notes += [*summary.remarked, *hint]
    known = sum(summary.labels.values()) - unknown - summary.labels[""]
    if whole and unknown > known and not settings.skip_bad:
        first = next(
            line
            for why, line in zip(summary.lost, summary.skipped, strict=True)
            if why.startswith("unknown phone")
        )
        raise SpeechscopeError(
            "; ".join(
                [
                    f"{root}: {unknown} of {unknown + known} labels are not in --phone-set "
                    f"{settings.phone_set}, so nothing is written: {first}",
                    *hint,
                ]
            )
        )
    if not whole:
        return
    if summary.splits[0] == 0 and (settings.split != "test" or not summary.items):
        raise _nothing(root, settings, summary)
    if 0 < summary.reach < REACHED:
        summary.notes.append(
            f"labels of no recording reach past {summary.reach:.0%} of it; where they count at "
            "another rate than it, --label-rate says so"
        )
    if summary.splits[SPLITS.index("test")] == 0:
        summary.notes.append(
            "no item to test on: train, score and report will miss them; "
            "--split share:0.25 tests on a quarter of the speakers (or recordings of one)"
        )


def _refuse_rate(root: Path, summary: Summary) -> None:
    """Refuse labels that fit what is heard under them at another rate than the recordings'."""
    gains = {rates: heard.gain for rates, heard in summary.loudness.items()}
    own, other = max(gains, key=lambda rates: gains[rates], default=(0.0, 0.0))
    if gains.get((own, other), 0.0) > SURE:
        raise SpeechscopeError(
            f"{root}: has labels at another rate: in {summary.loudness[own, other].recordings} "
            f"recordings they end early, and fit what is heard under them at {other:.0f} Hz, not "
            f"at {own:.0f}, so nothing is written; --label-rate {other:.0f} takes them so, "
            f"--label-rate {own:.0f} as they stand"
        )


def _nothing(root: Path, settings: "Prepare", summary: Summary) -> SpeechscopeError:
    """Say that nothing is left to train on: what was left out, why, and what keeps it."""
    training = "" if settings.split == "test" else "training "
    reasons = [f"{root} has no usable {training}{settings.unit}"]
    if summary.lost:
        count, first = summary.skipped_items, summary.skipped[0]
        reasons.append(f"the first of {count} problems: {first}")
    reasons += [
        f"{count} {why}{next((flag for part, flag in KEPT_BY.items() if part in why), '')}"
        for why, count in summary.dropped.items()
        if count
    ]
    others = {SPLITS[n]: count for n, count in sorted(summary.splits.items()) if n and count}
    if others:
        shown = ", ".join(f"{count} are for {name}" for name, count in others.items())
        reasons.append(f"{shown}: --split share:0.25")
    hint = _hint(summary, settings)
    if not any(line in reasons for line in hint):
        reasons += hint
    return SpeechscopeError("; ".join(reasons))


def _hint(summary: Summary, settings: "Prepare") -> list[str]:
    """Return what to tell of labels that the phone set does not know."""
    count = sum(summary.unknown.values())
    if not count:
        return []
    better = better_set(summary.labels)
    knows = "takes every label as it is"
    if better is not None:
        name, share = better
        if name == settings.phone_set:
            return []
        knows = f"knows {share:.0%} of all"
    elif count < FEW * sum(summary.labels.values()):
        return []
    else:
        name = AS_IS
    return [
        f"{count} labels are not in --phone-set {settings.phone_set}; --phone-set {name} {knows}"
    ]


def _tasks(
    utterances: Sequence[Utterance],
    speakers: Sequence[str],
    split_of: Mapping[str, str],
    batch: int,
) -> Iterator[Task]:
    """Divide utterances into tasks of bounded size, of so many at most."""
    number = {name: index for index, name in enumerate(speakers)}
    task: list[tuple[Utterance, int, int]] = []
    size = 0
    for utterance in utterances:
        with suppress(OSError):  # a missing recording is named when it is read
            size += utterance.audio.stat().st_size
        split = SPLITS.index(split_of[utterance.identity])
        task.append((utterance, number[utterance.speaker], split))
        if len(task) == batch or size >= BATCH_BYTES:
            yield task
            task, size = [], 0
    if task:
        yield task


def _part(shard: Shard | None, tasks: Sequence[Task]) -> slice:
    """Return which of the tasks are done: all, or those of a shard."""
    count = len(tasks)
    if shard is None:
        return slice(0, count)
    if shard.of > count:
        raise UsageProblem(
            f"--shard {shard.number}/{shard.of}: {sum(map(len, tasks))} utterances are divided "
            f"into {count} tasks; give at most {count} shards"
        )
    return shard.part(count, 1)
