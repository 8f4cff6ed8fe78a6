"""One mechanism for long work on items: chunk-aligned blocks, written by whoever works them out.

A command makes the arrays of an artifact, cuts its items into `Task`s that are whole chunks, and
has a `Work` carried out for each: in this process, in others, or on other machines
(`speechscope.work.parallel.Executor`). What a task writes depends on the task alone, and a chunk is
renamed into place when it is complete, so a task may be carried out twice, or by a worker that was
taken for lost.
"""

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray

from speechscope.store.chunks import chunk_name, filled, write_chunk
from speechscope.store.writer import ArtifactWriter
from speechscope.work.parallel import Executor
from speechscope.work.parcels import Parcel, shipped

Report = Callable[[int, int], None]  # (done, total)


@dataclass(frozen=True)
class Task:
    """Items of a range, and which part of the work on them.

    Parameters
    ----------
    start, stop
        Where the items stand in the artifact: one chunk along its item axis.
    items : (stop - start,) indices of them where they come from.
    part
        Such as the place of a layer.
    """

    start: int
    stop: int
    items: NDArray[np.int64]
    part: int = 0

    @property
    def place(self) -> slice:
        """The range as a slice."""
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class Values:
    """Values of an array for the items of a task: one chunk along the item axis.

    Parameters
    ----------
    array
        Its name; its dimensions are [..., item, ...], with chunks of one along those before.
    where
        Indices of the dimensions before the item axis.
    values : (items, ...)
    """

    array: str
    where: tuple[int, ...]
    values: NDArray[Any]


@dataclass(frozen=True)
class Results:
    """What a task gives: values to be written at once, and small ones for the caller."""

    values: Iterable[Values]
    small: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class Work(Protocol):
    """What is to be done for a task; picklable where it is to be done elsewhere."""

    def __call__(self, task: Task, progress: Report | None) -> Results:
        """Work out the items of a task; report (parts done, parts in all) where it takes long."""
        ...


@dataclass(frozen=True)
class Done:
    """A task that was carried out: descriptions of its chunks by array and name, small values."""

    task: Task
    written: Mapping[str, Mapping[str, Any]]
    small: Mapping[str, NDArray[Any]]


def tasks_of(items: NDArray[np.integer[Any]], step: int, parts: int = 1) -> Iterator[Task]:
    """Cut items into tasks of one chunk each, all parts of a chunk after one another."""
    for start in range(0, len(items), step):
        stop = min(len(items), start + step)
        some = np.asarray(items[start:stop], dtype=np.int64)
        for part in range(parts):
            yield Task(start, stop, some, part)


def in_turn(
    work: Work, turn: AbstractContextManager[object], task: Task, report: Report | None
) -> Results:
    """Work out a task, holding `turn` while something is computed and not between the values."""
    with turn:
        results = work(task, report)
        values = iter(results.values)

    def each() -> Iterator[Values]:
        while True:
            with turn:
                found = next(values, None)
            if found is None:
                return
            yield found

    return Results(each(), results.small)


def carry_out(
    writer: ArtifactWriter,
    work: Work,
    tasks: Iterable[Task],
    executor: Executor,
    *,
    total: int,
    progress: Report | None = None,
) -> Iterator[Done]:
    """Have tasks carried out; yield them in order, their chunks being written.

    Of an artifact that is gone on with, those that were carried out are not again.

    Parameters
    ----------
    writer
        Of the arrays; it learns what was written.
    total
        Items times parts of all tasks, for `progress`.
    """
    count = _Count(total, progress)
    todo = iter(tasks)
    for task in todo:
        kept = None if writer.finished is None else writer.finished.block(_name(task))
        if kept is None:
            todo = chain([task], todo)
            break
        count.over(task)
        yield _adopted(writer, Done(task, *kept))

    with shipped(work, writer.folder, executor) as do:
        errand = _Errand(
            writer.folder.resolve(), uuid.uuid4().hex, do, executor.remote, count, executor.turn
        )
        with executor.ordered_map(errand, todo) as results:
            for result in results:
                if writer.finished is not None:
                    writer.finished.add(_name(result.task), result.written, result.small)
                count.over(result.task)
                yield _adopted(writer, result)


def _adopted(writer: ArtifactWriter, done: Done) -> Done:
    for array, chunks in done.written.items():
        writer.adopt(array, chunks)
    return done


def _name(task: Task) -> str:
    return f"{task.start}-{task.stop} {task.part}"


class _Count:
    """How much of all tasks is done, those that are being worked on included."""

    def __init__(self, total: int, progress: Report | None) -> None:
        self._total, self._progress = total, progress
        self._done = 0
        self._parts: dict[str, int] = {}
        self._changing = threading.Lock()

    def part(self, task: Task, done: int, total: int) -> None:
        """Note how much of a task is done."""
        with self._changing:
            self._parts[_name(task)] = len(task.items) * done // total
            self._tell()

    def over(self, task: Task) -> None:
        """Note that a task is done."""
        with self._changing:
            self._parts.pop(_name(task), None)
            self._done += len(task.items)
            self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._done + sum(self._parts.values()), self._total)


@dataclass(frozen=True)
class _Errand:
    """Carries out tasks for an artifact that is being written."""

    folder: Path
    token: str
    work: Work
    synced: bool
    count: _Count | None
    turn: AbstractContextManager[object]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "count": None}

    def __call__(self, task: Task) -> Done:
        report = None if self.count is None else partial(self.count.part, task)
        results = in_turn(self.work, self.turn, task, report)
        written: dict[str, dict[str, Any]] = {}
        for found in results.values:
            if isinstance(self.work, Parcel):
                self.work.check()
            name, chunk = self._write(found, task)
            written.setdefault(found.array, {})[name] = chunk
        return Done(task, written, dict(results.small))

    def _write(self, found: Values, task: Task) -> tuple[str, dict[str, Any]]:
        folder = self.folder / found.array
        array = _array(folder, self.token)
        axis = len(found.where)
        step, rest = array.chunks[axis], array.chunks[axis + 1 :]
        rows = np.asarray(found.values, dtype=array.dtype)
        if rows.shape[1:] != rest or len(rows) != len(task.items) or task.start % step:
            raise ValueError(f"{found.array}: {rows.shape} at {task.start} is not a chunk")
        rows = filled(rows, (step, *rest), array.fill_value)
        corner = (*found.where, task.start // step, *(0 for _ in rest))
        name = chunk_name(corner)
        return name, write_chunk(folder / name, rows, whole=True, synced=self.synced)


@lru_cache(maxsize=32)
def _array(folder: Path, token: str) -> Any:
    """Return the handle of an array, for its chunks; read once a run."""
    return zarr.open_array(folder, mode="r")
