"""From a corpus folder to the arrays of ``corpus.zarr``.

Recordings are read, cut and transformed in tasks of a few utterances; what each gives is written
while the next is worked on, so that no more than a few tasks are in memory.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechscope.corpus.arrays import CorpusArrays, put_losses
from speechscope.corpus.phones import PhoneSet
from speechscope.corpus.plan import Plan, refuse_loss
from speechscope.corpus.reading import Reader, Summary, Task
from speechscope.corpus.units import Cut, Recording, Rows, Unit
from speechscope.corpus.units.window import UNLABELLED, WholeWaveforms, named
from speechscope.corpus.update import Before
from speechscope.corpus.utterances import Utterance
from speechscope.registry import UNITS
from speechscope.store.shards import Shard
from speechscope.store.writer import ArtifactWriter
from speechscope.work.local import Executor, Serial

if TYPE_CHECKING:
    from speechscope.stages.prepare import Prepare

BATCH = 16
"""Utterances a task: some hundred segments, about 10 MB of spectrograms."""
LONG = 4096
"""Segments of one recording that are cut at a time; some 50 MB."""


class Stretches:
    """A recording of many segments, cut as it is written; at once where another process cuts it."""

    def __init__(self, recording: Recording, unit: Unit) -> None:
        self._recording, self._unit = recording, unit

    def __iter__(self) -> Iterator[Cut]:
        pieces = self._recording.pieces
        for first in range(0, len(pieces), LONG):
            part = replace(self._recording, pieces=pieces[first : first + LONG])
            yield self._unit.cut([part])

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


def prepare(
    root: Path,
    writer: ArtifactWriter,
    settings: "Prepare",
    *,
    executor: Executor | None = None,
    shard: Shard | None = None,
    progress: Callable[[int, int], None] | None = None,
    before: Path | None = None,
) -> Summary:
    """Write the corpus arrays of DESIGN sec. 2 for a corpus folder, or a manifest.

    Parameters
    ----------
    settings
        Those of the stage, resolved.
    executor
        What reads, cuts and transforms; None: this process. The arrays do not depend on it.
    shard
        Which of the tasks to do; None: all.
    progress
        Called with (utterances done, utterances in all).
    before
        The same corpus, prepared before: what has not changed since is taken from there.

    Raises
    ------
    SpeechscopeError
        Nothing usable is in the folder, or its training split is empty.
    """
    spread = partial((executor or Serial()).ordered_map, folder=writer.folder)
    plan = Plan.of(root, settings, spread, BATCH, shard)
    settings, summary = plan.settings, plan.summary
    writer.set_config(
        max_length=plan.limit,
        samples=settings.length,
        layout=plan.layout.name,
        phone_set=settings.phone_set,
    )
    unit = _unit(settings, plan.phones)
    classes = _classes(settings, plan.phones, plan.speakers)
    arrays = CorpusArrays(
        writer,
        unit,
        classes,
        plan.speakers,
        [u.key for u in plan.wanted],
        first=sum(map(len, plan.tasks[: plan.mine.start])),
        shard=None if shard is None else shard.config(len(plan.tasks), 1),
    )
    kept = None if before is None else Before.of(before, writer.config, classes, unit)
    if before is not None and kept is None:
        summary.notes.append(f"{before} was prepared otherwise: all is read again")
    work = partial(_work, reader=plan.reader, unit=unit, before=kept)
    _write(arrays, plan.tasks[plan.mine], spread(work, plan.tasks[plan.mine]), summary, progress)
    refuse_loss(root, settings, summary, whole=shard is None)
    lines = summary.skipped if shard is None else summary.as_lines()
    put_losses(writer, summary.dropped, lines, summary.samples / settings.sample_rate)
    return summary


def _unit(settings: "Prepare", phones: PhoneSet | None) -> Unit:
    names = named(phones) if settings.unit == "utterance" else ()
    kind = WholeWaveforms if settings.whole else UNITS[settings.unit]
    unit: Unit = kind(settings, names)
    return unit


def _write(
    arrays: CorpusArrays,
    tasks: Sequence[Task],
    blocks: AbstractContextManager[Iterator[tuple[Iterable[Cut], Summary]]],
    summary: Summary,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write what is cut from the utterances of tasks."""
    done = 0
    with blocks as results:
        for task, (cuts, lost) in zip(tasks, results, strict=True):
            for number, cut in enumerate(cuts):
                speakers, splits = [s for _, s, _ in task], [s for _, _, s in task]
                arrays.append(cut, speakers, splits, more=number > 0)
            summary.add(lost)
            done += len(task)
            if progress is not None:
                progress(done, sum(map(len, tasks)))
    arrays.finish(summary.samples)


def _work(
    task: Task, *, reader: Reader, unit: Unit, before: Before | None = None
) -> tuple[Iterable[Cut], Summary]:
    """Read and cut the utterances of a task; those that have not changed are taken as they are."""
    lost = Summary()
    cuts: Iterable[Cut]
    kept = [_kept(one, reader, before, lost) for one in task]
    read = [
        reader.read(u, speaker, split == 0, lost) if rows is None else None
        for rows, (u, speaker, split) in zip(kept, task, strict=True)
    ]
    lost.samples += sum(len(recording.samples) for recording in read if recording is not None)
    if any(rows is not None for rows in kept):
        parts = [
            rows or (None if recording is None else unit.cut([recording]).rows)
            for rows, recording in zip(kept, read, strict=True)
        ]
        cut = unit.together(parts, [split == 0 for _, _, split in task])
        cuts, counts = [cut], cut.counts
    elif len(task) == 1 and read[0] is not None and unit.divides(read[0], LONG):
        cuts, counts = Stretches(read[0], unit), [len(read[0].pieces)]
    else:
        cut = unit.cut(read)
        cuts, counts = [cut], cut.counts
    for count, recording, (utterance, _, split) in zip(counts, read, task, strict=True):
        lost.splits[split] += count
        if not count and recording is not None and recording.pieces:
            lost.skip("is too short to hold an item", str(utterance.audio))
    lost.items, lost.utterances = sum(counts), sum(1 for count in counts if count)
    return cuts, lost


def _kept(
    one: tuple[Utterance, int, int], reader: Reader, before: Before | None, lost: Summary
) -> Rows | None:
    """Return the rows of an utterance as it was prepared before, if it has not changed since."""
    utterance, speaker, _ = one
    if before is None or before.changed(utterance):
        return None
    seen = Summary(kept=1)
    length, pieces = reader.glance(utterance, speaker, seen)
    rows = before.rows(utterance, length, pieces) if pieces else None
    if rows is not None:
        lost.add(seen)
    return rows


def _classes(settings: "Prepare", phones: PhoneSet | None, speakers: Sequence[str]) -> PhoneSet:
    """Return the classes of the corpus: phones, speakers, or none."""
    if settings.whole:
        return PhoneSet.of((UNLABELLED,), {})
    if settings.labels == "phone":
        assert phones is not None
        return phones
    names = tuple(speakers) if settings.labels == "speaker" else ()
    return PhoneSet(names, names, tuple(range(len(names))), {})
