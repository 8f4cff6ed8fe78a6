"""The engine of long work on items: tasks of whole chunks, done here, in processes or elsewhere.

A stage makes the arrays of an artifact, cuts its items into tasks that are whole chunks, and has a
`Work` carried out for each by an executor (`speechscope.work.local.executor`). Whoever works a task
out writes its chunks; what the caller is to have of it, such as sums, is returned. Both depend on
the task alone, and a chunk or a file is renamed into place when it is complete, so a task may be
carried out twice, or by a worker that was taken for lost.
"""

import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import zarr
from numpy.typing import NDArray

from speechscope.errors import SpeechscopeError
from speechscope.store.chunks import chunk_name, filled, write_chunk
from speechscope.store.writer import ArtifactWriter
from speechscope.work.local import Executor
from speechscope.work.progress import Report

LARGE = 1_000_000
"""Bytes of returned arrays above which they come from other processes as a file (chosen)."""


def mixed(*numbers: int) -> int:
    """Return a seed of 63 bits that numbers, such as (seed, item), determine and that looks random.

    Torch takes no more. Source: NumPy's `SeedSequence` (O'Neill 2015).
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


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
    def name(self) -> str:
        """What tells it from the others of an artifact."""
        return f"{self.start}-{self.stop} {self.part}"


@dataclass(frozen=True)
class Values:
    """Values of an array for the items of a task: one chunk along the item axis.

    Parameters
    ----------
    array
        Its name; its dimensions are [..., item, ...], with chunks of one along those before.
    index
        Of the dimensions before the item axis.
    values : (items, ...)
    """

    array: str
    index: tuple[int, ...]
    values: NDArray[Any]


@dataclass(frozen=True)
class Results:
    """What a task gives.

    Parameters
    ----------
    values
        What is written, at once.
    returned
        Arrays for the caller: a few numbers of every item, or sums over the items.
    """

    values: Iterable[Values] = ()
    returned: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class Work(Protocol):
    """What is to be done for a task; picklable where it is to be done elsewhere."""

    def __call__(self, task: Task, progress: Report | None) -> Results:
        """Work out the items of a task; report (parts done, parts in all) where it takes long."""
        ...


@dataclass(frozen=True)
class Done:
    """A task that was carried out: its chunks as described by array and name, what it returned."""

    task: Task
    written: Mapping[str, Mapping[str, Any]]
    returned: Mapping[str, NDArray[Any]]


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
        kept = None if writer.finished is None else writer.finished.block(task.name)
        if kept is None:
            todo = chain([task], todo)
            break
        yield count.over(Done(task, *kept), writer)

    folder, token = writer.folder.resolve(), uuid.uuid4().hex
    wanted = folder / f".wanted-{token}"
    run = _Runner(
        folder, token, wanted, work, executor.elsewhere, executor.remote, executor.computing, count
    )
    wanted.touch()
    try:
        with executor.ordered_map(run, todo, writer.folder) as results:
            for task, written, returned in results:
                done = Done(task, written, _read(returned))
                if writer.finished is not None:
                    writer.finished.add(task.name, written, done.returned)
                yield count.over(done, writer)
    finally:
        wanted.unlink(missing_ok=True)


class _Count:
    """How much of all tasks is done, those that are being worked on included."""

    def __init__(self, total: int, progress: Report | None) -> None:
        self._total, self._progress = total, progress
        self._done = 0
        self._parts: dict[str, int] = {}  # of that, by task
        self._changing = threading.Lock()

    def part(self, task: Task, done: int, total: int) -> None:
        """Note how much of a task is done."""
        with self._changing:
            part = len(task.items) * done // total
            self._done += part - self._parts.get(task.name, 0)
            self._parts[task.name] = part
            if self._progress is not None:
                self._progress(self._done, self._total)

    def over(self, done: Done, writer: ArtifactWriter) -> Done:
        """Note that a task is done, and have the writer know of its chunks."""
        for array, chunks in done.written.items():
            writer.written[array].update(chunks)
        self.part(done.task, 1, 1)
        return done


Returned: TypeAlias = Mapping[str, NDArray[Any]] | Path
"""Arrays, or the file in which they lie."""


@dataclass(frozen=True)
class _Runner:
    """Carries out tasks for an artifact that is being written."""

    folder: Path
    token: str
    wanted: Path  # a file that is there as long as the artifact is being written
    work: Work
    elsewhere: bool
    synced: bool
    computing: AbstractContextManager[object]
    count: _Count | None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "count": None}

    def __call__(self, task: Task) -> tuple[Task, dict[str, dict[str, Any]], Returned]:
        report = None if self.count is None else partial(self.count.part, task)
        with self.computing:
            results = self.work(task, report)
            every = iter(results.values)
        written: dict[str, dict[str, Any]] = {}
        while True:
            with self.computing:  # and not while the values are written
                values = next(every, None)
            if self.elsewhere and not self.wanted.exists():
                raise SpeechscopeError(f"{self.folder} is not being written any more")
            if values is None:
                return task, written, self._returned(task, results.returned)
            name, chunk = self._write(values, task)
            written.setdefault(values.array, {})[name] = chunk

    def _write(self, values: Values, task: Task) -> tuple[str, dict[str, Any]]:
        folder = self.folder / values.array
        array = _array(folder, self.token)
        axis = len(values.index)
        step, rest = array.chunks[axis], array.chunks[axis + 1 :]
        rows = np.asarray(values.values, dtype=array.dtype)
        if rows.shape[1:] != rest or len(rows) != len(task.items) or task.start % step:
            raise ValueError(f"{values.array}: {rows.shape} at {task.start} is not a chunk")
        rows = filled(rows, (step, *rest), array.fill_value)
        corner = (*values.index, task.start // step, *(0 for _ in rest))
        name = chunk_name(corner)
        return name, write_chunk(folder / name, rows, whole=True, synced=self.synced)

    def _returned(self, task: Task, arrays: Mapping[str, NDArray[Any]]) -> Returned:
        """Return arrays, or the file beside the output that large ones are put in."""
        if not self.elsewhere or sum(array.nbytes for array in arrays.values()) <= LARGE:
            return arrays
        # A task may be worked out twice: what is at its name is whole, whichever it is.
        path = self.folder / f".returned-{self.token}-{task.start}-{task.part}"
        draft = path.with_name(f"{path.name}-{uuid.uuid4().hex}")
        with draft.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        draft.replace(path)
        return path


def _read(returned: Returned) -> Mapping[str, NDArray[Any]]:
    if not isinstance(returned, Path):
        return returned
    try:
        with np.load(returned, allow_pickle=False) as file:
            arrays = dict(file)
        returned.unlink()
    except OSError as error:
        raise SpeechscopeError(
            f"{returned.parent}: what a worker found is not here ({error.strerror}); the output "
            "has to be in a folder that all machines share"
        ) from error
    return arrays


@lru_cache(maxsize=32)
def _array(folder: Path, token: str) -> Any:
    """Return the handle of an array, for its chunks; read once a run."""
    return zarr.open_array(folder, mode="r")
