"""Spreading independent tasks over threads, in order and in bounded memory.

Threads, not processes: decoding, Fourier transforms, compression and the disk let one another run,
and nothing is copied from one process to another. What does need processes, or other machines, is
run by another `Executor`: `speechscope.work.processes`, `speechscope.work.dask_workers`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD = 2  # tasks in flight per worker: enough to keep all busy, few enough to stay small


class Executor(Protocol):
    """Something that runs independent tasks.

    Attributes
    ----------
    elsewhere
        Whether functions and tasks go to other processes, and so have to be picklable.
    remote
        Whether those may be on other machines.
    turn
        What a task holds while it computes, where tasks of this process are to do so one at a time.
    """

    elsewhere: bool
    remote: bool
    turn: AbstractContextManager[object] = nullcontext()

    def ordered_map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> AbstractContextManager[Iterator[Result]]:
        """Give ``function(task)`` for every task, in the order of the tasks, in bounded memory.

        When the block ends, however it ends, nothing more is begun.
        """
        ...


class Here(Executor):
    """Runs each task in this thread, when its result is asked for."""

    elsewhere = remote = False

    @contextmanager
    def ordered_map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[Iterator[Result]]:
        """See `Executor`."""
        yield map(function, tasks)


class Threads(Executor):
    """Runs tasks in threads of this process."""

    elsewhere = remote = False

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def ordered_map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> AbstractContextManager[Iterator[Result]]:
        """See `Executor`."""
        return ordered_map(function, tasks, self._workers)


@contextmanager
def ordered_map(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Iterator[Iterator[Result]]:
    """Give ``function(task)`` for every task, in the order of the tasks, while the block runs.

    At most ``AHEAD * workers`` results are held; they are worked out while earlier ones are used.
    They do not depend on `workers` as long as `function` depends on its task alone. When the block
    ends, however it ends, no task is running any more.
    """
    pool = ThreadPoolExecutor(workers)
    try:
        yield in_order(pool, function, iter(tasks), AHEAD * workers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def in_order(
    pool: ThreadPoolExecutor,
    function: Callable[[Task], Result],
    tasks: Iterator[Task],
    most: int,
) -> Iterator[Result]:
    """Yield ``function(task)`` for every task, in their order, at most so many ahead."""
    pending: deque[Future[Result]] = deque()
    for task in tasks:
        pending.append(pool.submit(function, task))
        if len(pending) == most:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
