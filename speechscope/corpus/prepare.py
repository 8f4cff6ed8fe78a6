"""From a corpus folder to the arrays of ``corpus.zarr``.

Recordings are read, cut and transformed in tasks of a few utterances; what each gives is written
while the next is worked on, so that no more than a few tasks are in memory.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechscope.corpus import layouts
from speechscope.corpus.arrays import SPLIT_NAMES, CorpusArrays
from speechscope.corpus.lengths import percentile
from speechscope.corpus.parts import Part, put_losses
from speechscope.corpus.phone_sets import PhoneSet, better_set, phone_set
from speechscope.corpus.reading import Losses, Reader
from speechscope.corpus.settings import Settings
from speechscope.corpus.survey import Survey, survey
from speechscope.corpus.units.build import unit_of
from speechscope.corpus.units.cut import Cut, Recording, Unit
from speechscope.corpus.utterances import Utterance
from speechscope.corpus.wanted import splits_of, wanted_of
from speechscope.errors import SpeechscopeError
from speechscope.store.shards import Shard
from speechscope.store.writer import ArtifactWriter
from speechscope.work.local import Executor, Serial
from speechscope.work.tasks import ordered_map

AS_IS = "as-is"
"""The phone set whose classes are the labels of the corpus."""
BATCH = 16  # utterances a task: some hundred segments, about 10 MB of spectrograms
BATCH_BYTES = 4_000_000  # of their files: a task of long recordings holds fewer


@dataclass
class Summary:
    """What became of a corpus."""

    items: int = 0
    utterances: int = 0
    samples: int = 0
    rate: int = 1
    losses: Losses = field(default_factory=Losses)
    notes: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How much speech could be read."""
        return self.samples / self.rate

    def add(self, block: "Block") -> None:
        """Add what became of a block."""
        self.items += sum(block.cut.counts)
        self.utterances += sum(1 for count in block.cut.counts if count)
        self.samples += block.samples
        self.losses.add(block.losses)


@dataclass(frozen=True)
class Block:
    """Some utterances, worked out: rows of the corpus arrays, and what was left out.

    The counts of `cut` are of all utterances, those that could not be read included.
    """

    cut: Cut
    samples: int
    losses: Losses


Task = Sequence[tuple[Utterance, int, int]]
"""Utterances, each with the index of its speaker and that of its split."""


def prepare(
    root: Path,
    writer: ArtifactWriter,
    settings: Settings,
    *,
    executor: Executor | None = None,
    shard: Shard | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Write the corpus arrays of DESIGN sec. 2 for a corpus folder.

    Parameters
    ----------
    root
        The corpus folder, or a manifest.
    writer
        Receives the arrays; memory stays bounded by the blocks in flight.
    settings
        See `Settings`.
    executor
        Who reads, cuts and transforms; None: this process. The arrays do not depend on it.
    shard
        Which of the tasks to do; None: all.
    progress
        Called with (utterances done, utterances in all).

    Returns
    -------
    Summary
        Counts, and one line for each item that had to be left out.

    Raises
    ------
    SpeechscopeError
        Nothing usable is in the folder, or its training split is empty.
    UsageProblem
        The settings do not fit together, or do not fit this corpus.
    """
    executor = executor or Serial()
    phones = None
    if settings.marked and settings.phone_set != AS_IS:
        phones = phone_set(settings.phone_set, settings.mapping)
    layout = layouts.find(root, settings.layout)
    found = layout.scan(root)
    summary = Summary(rate=settings.transform.rate, losses=Losses(skipped=list(found.problems)))
    wanted = wanted_of(found.utterances, layout, settings, summary.losses)
    split_of, note = splits_of(wanted, settings)
    summary.notes += note
    speakers = sorted({u.speaker for u in wanted})
    place = {name: index for index, name in enumerate(speakers)}
    tasks = list(
        _tasks([(u, place[u.speaker], SPLIT_NAMES.index(split_of[u.identity])) for u in wanted])
    )
    part = Part(shard, tasks)
    if part.place.start:  # the first shard names what is wrong with the whole
        summary.losses = Losses()
    seen = Survey()
    unnamed = settings.marked and phones is None
    if unnamed or isinstance(settings.longest, str):
        look = partial(
            survey,
            layout=layout,
            tier=settings.tier,
            marked=settings.marked,
            rate=settings.transform.rate,
        )
        with ordered_map(look, tasks, executor, writer.folder) as parts:
            for some in parts:
                seen.add(some)
    if unnamed:
        phones = phone_set(AS_IS, settings.mapping, seen.names)
    limit = longest_kept(seen, phones, settings.longest)
    transform = settings.transform
    if settings.unit == "segment" and limit is not None:
        transform = replace(transform, samples=max(limit, transform.samples))
    writer.set_config(max_length=limit, samples=transform.samples, layout=layout.name)
    unit, channels = unit_of(
        settings.unit,
        transform,
        settings.features,
        deltas=settings.deltas,
        normalize=settings.normalize,
        context=settings.context,
        letters=settings.labels == "letter",
        padding=settings.padding,
        duration=settings.duration,
    )
    reader = Reader(
        layout=layout,
        tier=settings.tier,
        labels=settings.labels,
        marked=settings.marked,
        phones=phones,
        limit=limit,
        rate=transform.rate,
        gain=settings.normalize == "gain",
    )
    arrays = CorpusArrays(
        writer,
        unit,
        **_classes(phones, speakers, settings),
        speakers=speakers,
        utterances=[u.key for u in wanted],
        channels=channels,
        first=part.before,
    )
    mine, done = tasks[part.place], 0
    cut = partial(_work, reader=reader, unit=unit)
    with ordered_map(cut, mine, executor, writer.folder) as blocks:
        for task, block in zip(mine, blocks, strict=True):
            arrays.append(block.cut, [s for _, s, _ in task], [s for _, _, s in task])
            part.add(block.cut)
            done += len(task)
            summary.add(block)
            if progress is not None:
                progress(done, part.utterances)
    arrays.finish()
    part.finish(writer, arrays.roles, unit.mean()[1], summary.samples)
    hint = _hint(summary.losses, settings)
    summary.notes += hint
    if arrays.training_items == 0 and part.whole:
        skipped = summary.losses.skipped
        reason = f"; the first of {len(skipped)} problems: {skipped[0]}" if skipped else ""
        reason += "".join(f"; {line}" for line in hint)
        raise SpeechscopeError(f"{root} has no usable training {settings.unit}{reason}")
    put_losses(writer, summary.losses.dropped, summary.losses.skipped, summary.seconds)
    return summary


def longest_kept(seen: Survey, phones: PhoneSet | None, max_length: int | str | None) -> int | None:
    """Return the length [samples] above which pieces are discarded; None keeps all.

    For a share such as ``95%`` it is that percentile of the training pieces' lengths
    (Churchman 2015, sec. 3.2: "the vectors above the 95th percentile in length").

    Raises
    ------
    SpeechscopeError
        There is no training piece to take it of.
    """
    if not isinstance(max_length, str):
        return max_length
    lengths: Counter[int] = Counter()
    for (label, length), count in seen.lengths.items():
        if phones is None or (label and not phones.drops(label)):
            lengths[length] += count
    if not lengths:
        raise SpeechscopeError("there is no training item to take the percentile of")
    return percentile(lengths, float(max_length.rstrip("%")))


def _hint(losses: Losses, settings: Settings) -> list[str]:
    """Return what to tell of labels that another phone set knows."""
    found = better_set(losses.unknown)
    if found is None:
        return []
    name, share = found
    count = sum(losses.unknown.values())
    return [
        f"{count} labels are not in --phone-set {settings.phone_set}; "
        f"--phone-set {name} knows {share:.0%} of them"
    ]


def _tasks(utterances: Task) -> Iterator[Task]:
    """Divide utterances into tasks of bounded size."""
    task: list[tuple[Utterance, int, int]] = []
    size = 0
    for entry in utterances:
        with suppress(OSError):  # a missing recording is named when it is read
            size += entry[0].audio.stat().st_size
        task.append(entry)
        if len(task) == BATCH or size >= BATCH_BYTES:
            yield task
            task, size = [], 0
    if task:
        yield task


def _work(task: Task, *, reader: Reader, unit: Unit) -> Block:
    return _cut(*_read(task, reader), unit)


def _read(task: Task, reader: Reader) -> tuple[list[Recording | None], Losses]:
    losses = Losses()
    found = [reader.read(u, speaker, split == 0, losses) for u, speaker, split in task]
    return found, losses


def _cut(found: Sequence[Recording | None], losses: Losses, unit: Unit) -> Block:
    recordings = [recording for recording in found if recording is not None]
    cut = unit.cut(recordings)
    samples = sum(len(recording.samples) for recording in recordings)
    read = np.array([recording is not None for recording in found])
    return Block(_with_unread(cut, unit, read), samples, losses)


def _with_unread(cut: Cut, unit: Unit, read: NDArray[np.bool_]) -> Cut:
    """Count the utterances that could not be read: they have no items and no length."""

    def filled(values: ArrayLike) -> NDArray[np.int64]:
        out = np.zeros(len(read), dtype=np.int64)
        out[read] = values
        return out

    edges = [c.name for c in unit.columns() if c.dims == ("utterance_edge",)]
    rows = {**cut.rows, **{name: filled(cut.rows[name]) for name in edges}}
    return replace(cut, rows=rows, counts=filled(cut.counts).tolist())


def _classes(
    phones: PhoneSet | None, speakers: Sequence[str], settings: Settings
) -> dict[str, Sequence[Any]]:
    """Return the classes, the folded classes and the fold of the corpus."""
    if settings.labels == "phone":
        assert phones is not None
        return {"classes": phones.classes, "classes_folded": phones.folded, "fold": phones.fold}
    names = speakers if settings.labels == "speaker" else ()
    return {"classes": names, "classes_folded": names, "fold": range(len(names))}
