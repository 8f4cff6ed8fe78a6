"""One mechanism for long work on items: chunk-aligned blocks, written by whoever works them out.

A command makes the arrays of an artifact, cuts its items into `Task`s that are whole chunks, and
has a `Work` carried out for each: in this process, in others, or on other machines
(`speechscope.parallel.Executor`). What a task writes depends on the task alone, and a chunk is
renamed into place when it is complete, so a task may be carried out twice, or by a worker that was
taken for lost.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray

from speechscope.artifact_writer import ArtifactWriter
from speechscope.chunks import ChunkThreads, write_chunk
from speechscope.parallel import Executor
from speechscope.parcels import Parcel, shipped
from speechscope.unfinished import Finished

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
    """What a task gives: values to be written at once, and small ones for the caller.

    Values must not change afterwards: they are written while later ones are worked out.
    """

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


def carry_out(
    writer: ArtifactWriter,
    work: Work,
    tasks: Iterable[Task],
    executor: Executor,
    *,
    total: int,
    progress: Report | None = None,
) -> Iterator[Done]:
    """Have tasks carried out; yield them in order, each when its chunks are written.

    Of an artifact that is gone on with, those that were carried out are not again.

    Parameters
    ----------
    writer
        Of the arrays; it learns what was written.
    total
        Items times parts of all tasks, for `progress`.
    """
    done = 0
    todo = iter(tasks)
    for task in todo:
        kept = None if writer.finished is None else writer.finished.block(_name(task))
        if kept is None:
            todo = chain([task], todo)
            break
        done += len(task.items)
        yield _adopted(writer, Done(task, *kept))

    def watch(finished: int) -> None:
        if progress is not None:
            progress(done + finished, total)

    begun: _Begun | None = None
    with shipped(work, writer.folder, executor) as do:
        # Other processes write what they work out; here threads do, beside the next task.
        threads = None if executor.elsewhere else writer.threads
        note = None if executor.elsewhere else writer.finished
        folder = writer.folder.resolve()
        errand = _Errand(folder, uuid.uuid4().hex, do, executor.remote, watch, threads, note)
        with executor.ordered_map(errand, todo) as results:
            for result in results:
                if executor.elsewhere and writer.finished is not None:
                    _noted(writer.finished, result.done())
                done += len(result.task.items)
                if progress is not None:
                    progress(done, total)
                if begun is not None:
                    yield _adopted(writer, begun.done())
                begun = result
            if begun is not None:
                yield _adopted(writer, begun.done())


def _adopted(writer: ArtifactWriter, done: Done) -> Done:
    for array, chunks in done.written.items():
        writer.adopt(array, chunks)
    return done


def _noted(finished: Finished | None, done: Done) -> Done:
    if finished is not None:
        finished.add(_name(done.task), done.written, done.small)
    return done


def _name(task: Task) -> str:
    return f"{task.start}-{task.stop} {task.part}"


@dataclass(frozen=True)
class _Begun:
    """A task that is worked out; its chunks are written, or being written."""

    task: Task
    outcome: "Done | Future[Done]"

    def done(self) -> Done:
        """Wait until they are written; raise what kept them from it."""
        return self.outcome.result() if isinstance(self.outcome, Future) else self.outcome


@dataclass(frozen=True)
class _Errand:
    """Carries out tasks for an artifact that is being written."""

    folder: Path
    token: str
    work: Work
    synced: bool
    watch: Callable[[int], None] | None
    threads: ChunkThreads | None
    finished: Finished | None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "watch": None}

    def __call__(self, task: Task) -> _Begun:
        watch, size = self.watch, len(task.items)
        results = self.work(task, watch and (lambda done, total: watch(size * done // total)))
        written: dict[str, dict[str, Any]] = {}
        for found in results.values:
            if isinstance(self.work, Parcel):
                self.work.check()
            name, write = self._chunk(found, task)
            chunks = written.setdefault(found.array, {})
            chunks[name] = write() if self.threads is None else self.threads.submit(write)
        if self.threads is None:
            return _Begun(task, Done(task, written, dict(results.small)))
        return _Begun(task, self.threads.submit(self._written, task, written, dict(results.small)))

    def _written(
        self,
        task: Task,
        writing: Mapping[str, Mapping[str, "Future[dict[str, Any]]"]],
        small: Mapping[str, NDArray[Any]],
    ) -> Done:
        """Wait for the chunks of a task, which were submitted before this, and note it."""
        written = {
            array: {name: chunk.result() for name, chunk in chunks.items()}
            for array, chunks in writing.items()
        }
        return _noted(self.finished, Done(task, written, small))

    def _chunk(self, found: Values, task: Task) -> tuple[str, Callable[[], dict[str, Any]]]:
        """Return the name of a chunk, and what writes it."""
        folder = self.folder / found.array
        array = _array(folder, self.token)
        axis = len(found.where)
        step, rest = array.chunks[axis], array.chunks[axis + 1 :]
        values = np.asarray(found.values)
        if values.shape[1:] != rest or len(values) != len(task.items) or task.start % step:
            raise ValueError(f"{found.array}: {values.shape} at {task.start} is not a chunk")
        corner = (*found.where, task.start // step, *(0 for _ in rest))
        name = "/".join(["c", *map(str, corner)])

        def write() -> dict[str, Any]:
            rows = values.astype(array.dtype, copy=False)
            if len(rows) < step:  # Zarr v3: edge chunks are whole
                rows = np.full((step, *rest), array.fill_value, dtype=array.dtype)
                rows[: len(values)] = values
            return write_chunk(folder / name, rows, whole=True, synced=self.synced)

        return name, write


@lru_cache(maxsize=32)
def _array(folder: Path, token: str) -> Any:
    """Return the handle of an array, for its chunks; read once a run."""
    return zarr.open_array(folder, mode="r")
