"""From a corpus folder to the arrays of ``corpus.zarr``.

Recordings are read, cut and transformed in tasks of a few utterances; what each gives is written
while the next is worked on, so that no more than a few tasks are in memory.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechscope.corpus.arrays import CorpusArrays, put_losses
from speechscope.corpus.layouts import layout_of
from speechscope.corpus.phones import PhoneSet, better_set, phone_set
from speechscope.corpus.reading import Reader, Summary, Survey, Task
from speechscope.corpus.splits import assign, rule_of, wanted_of
from speechscope.corpus.units import Cut, Unit
from speechscope.corpus.utterances import SPLITS, Utterance
from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.registry import UNITS
from speechscope.store.shards import Shard
from speechscope.store.writer import ArtifactWriter
from speechscope.work.local import Executor, Serial

if TYPE_CHECKING:
    from speechscope.stages.prepare import Prepare

AS_IS = "as-is"
"""The phone set whose classes are the labels of the corpus."""
BATCH = 16  # utterances a task: some hundred segments, about 10 MB of spectrograms
BATCH_BYTES = 4_000_000  # of their files: a task of long recordings holds fewer


def prepare(
    root: Path,
    writer: ArtifactWriter,
    settings: "Prepare",
    *,
    executor: Executor | None = None,
    shard: Shard | None = None,
    progress: Callable[[int, int], None] | None = None,
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

    Raises
    ------
    SpeechscopeError
        Nothing usable is in the folder, or its training split is empty.
    """
    spread = partial((executor or Serial()).ordered_map, folder=writer.folder)
    phones = None
    if settings.marked and settings.phone_set != AS_IS:
        phones = phone_set(settings.phone_set, settings.mapping)
    layout = layout_of(root, settings.layout)
    scan = layout.scan(root)
    summary = Summary(skipped=list(scan.problems))
    wanted = wanted_of(scan.utterances, layout.name, settings, summary.dropped)
    rule = rule_of(wanted, settings, summary.notes)
    split_of = assign(wanted, rule, dev=settings.dev, seed=settings.seed)
    speakers = sorted({u.speaker for u in wanted})
    tasks = list(_tasks(wanted, speakers, split_of))
    mine = _part(shard, tasks)
    if mine.start:  # the first shard names what is wrong with the whole
        summary = Summary(notes=summary.notes)
    phones, limit = _surveyed(Reader(layout, settings, phones), tasks, spread)
    if settings.unit == "segment" and limit is not None:
        settings = replace(settings, length=max(limit, settings.length))
    writer.set_config(max_length=limit, samples=settings.length, layout=layout.name)
    unit: Unit = UNITS[settings.unit](settings)
    arrays = CorpusArrays(
        writer,
        unit,
        _classes(settings, phones, speakers),
        speakers,
        [u.key for u in wanted],
        first=sum(map(len, tasks[: mine.start])),
        shard=None if shard is None else shard.config(len(tasks), 1),
    )
    work = partial(_work, reader=Reader(layout, settings, phones, limit), unit=unit)
    _write(arrays, tasks[mine], spread(work, tasks[mine]), summary, progress)
    hint = _hint(summary, settings)
    summary.notes += hint
    if arrays.training_items == 0 and shard is None and (rule != "test" or summary.items == 0):
        reasons = [f"{root} has no usable training {settings.unit}", *hint]
        if summary.skipped:
            count, first = len(summary.skipped), summary.skipped[0]
            reasons.insert(1, f"the first of {count} problems: {first}")
        raise SpeechscopeError("; ".join(reasons))
    put_losses(writer, summary.dropped, summary.skipped, summary.samples / settings.sample_rate)
    return summary


def _surveyed(
    reader: Reader, tasks: Sequence[Task], spread: Callable[..., Any]
) -> tuple[PhoneSet | None, int | None]:
    """Return the phone set, and the longest piece to keep; look at all labels where that needs it.

    Source: Churchman 2015, sec. 3.2: "the vectors above the 95th percentile in length".
    """
    settings, phones = reader.settings, reader.phones
    as_is = settings.marked and phones is None
    seen = Survey()
    if as_is or isinstance(settings.longest, str):
        with spread(reader.survey, tasks) as surveys:
            for some in surveys:
                seen.add(some)
    if as_is:
        phones = phone_set(AS_IS, settings.mapping, seen.names)
    return phones, seen.longest_kept(phones, settings.longest)


def _write(
    arrays: CorpusArrays,
    tasks: Sequence[Task],
    blocks: AbstractContextManager[Iterator[tuple[Cut, Summary]]],
    summary: Summary,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write what is cut from the utterances of tasks."""
    done = 0
    with blocks as results:
        for task, (cut, lost) in zip(tasks, results, strict=True):
            arrays.append(cut, [s for _, s, _ in task], [s for _, _, s in task])
            summary.add(lost)
            done += len(task)
            if progress is not None:
                progress(done, sum(map(len, tasks)))
    arrays.finish(summary.samples)


def _tasks(
    utterances: Sequence[Utterance], speakers: Sequence[str], split_of: Mapping[str, str]
) -> Iterator[Task]:
    """Divide utterances into tasks of bounded size."""
    number = {name: index for index, name in enumerate(speakers)}
    task: list[tuple[Utterance, int, int]] = []
    size = 0
    for utterance in utterances:
        with suppress(OSError):  # a missing recording is named when it is read
            size += utterance.audio.stat().st_size
        split = SPLITS.index(split_of[utterance.identity])
        task.append((utterance, number[utterance.speaker], split))
        if len(task) == BATCH or size >= BATCH_BYTES:
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


def _work(task: Task, *, reader: Reader, unit: Unit) -> tuple[Cut, Summary]:
    """Read and cut the utterances of a task."""
    lost = Summary()
    read = [reader.read(u, speaker, split == 0, lost) for u, speaker, split in task]
    cut = unit.cut(read)
    lost.items, lost.utterances = sum(cut.counts), sum(1 for count in cut.counts if count)
    lost.samples = sum(len(recording.samples) for recording in read if recording is not None)
    return cut, lost


def _classes(settings: "Prepare", phones: PhoneSet | None, speakers: Sequence[str]) -> PhoneSet:
    """Return the classes of the corpus: phones, speakers, or none."""
    if settings.labels == "phone":
        assert phones is not None
        return phones
    names = tuple(speakers) if settings.labels == "speaker" else ()
    return PhoneSet(names, names, tuple(range(len(names))), {})


def _hint(summary: Summary, settings: "Prepare") -> list[str]:
    """Return what to tell of labels that another phone set knows."""
    better = better_set(summary.unknown)
    if better is None:
        return []
    name, share = better
    count = sum(summary.unknown.values())
    return [
        f"{count} labels are not in --phone-set {settings.phone_set}; "
        f"--phone-set {name} knows {share:.0%} of them"
    ]
