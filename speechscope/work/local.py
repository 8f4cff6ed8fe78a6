"""Executors: what runs independent tasks, in order and in bounded memory.

In this process: one after another, in threads, or two that overlap. Threads suffice for decoding,
Fourier transforms, compression and the disk, which let one another run, and nothing is copied. What
needs processes or other machines is run by `speechscope.work.processes` or `speechscope.work.dask`.
"""

import ctypes
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol, TypeVar

from speechscope.errors import UsageProblem

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD = 2
"""Tasks in flight per worker: enough to keep all busy, few enough to stay small."""
OVERLAPPED = 2
"""Tasks that `Overlapping` has at a time."""


class Executor(Protocol):
    """Something that runs independent tasks.

    Attributes
    ----------
    elsewhere
        Whether functions and tasks go to other processes, and so have to be picklable.
    remote
        Whether those may be on other machines.
    computing
        What a task holds while it computes, where those of this process do so one at a time.
    """

    elsewhere: bool = False
    remote: bool = False
    computing: AbstractContextManager[object] = nullcontext()

    def ordered_map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], folder: Path | None = None
    ) -> AbstractContextManager[Iterator[Result]]:
        """Give ``function(task)`` for every task, in the order of the tasks, in bounded memory.

        The results do not depend on the executor as long as `function` depends on its task alone.
        When the block ends, however it ends, nothing is running and nothing more is begun.

        Parameters
        ----------
        folder
            Where an output is being built; other processes find the function there.

        Raises
        ------
        SpeechscopeError
            The function cannot be sent to other processes.
        """
        ...


class Serial(Executor):
    """Runs each task in this thread, when its result is asked for."""

    @contextmanager
    def ordered_map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], folder: Path | None = None
    ) -> Iterator[Iterator[Result]]:
        """See `Executor`."""
        yield map(function, tasks)


class Threads(Executor):
    """Runs tasks in threads of this process; at most ``AHEAD * workers`` results are held."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    @contextmanager
    def ordered_map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], folder: Path | None = None
    ) -> Iterator[Iterator[Result]]:
        """See `Executor`."""
        pool = ThreadPoolExecutor(self._workers)
        try:
            yield _in_order(pool, function, tasks, AHEAD * self._workers)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class Overlapping(Executor):
    """Runs tasks two at a time: while one writes, the other computes.

    Both compute at a time where the products of a network are so short that dividing each among
    threads costs as much as it saves; otherwise only one does. Where the block ends early, as by an
    interrupt, what is running is stopped.

    Parameters
    ----------
    together
        Whether both may compute at a time, each with half of the threads that PyTorch may use; if
        it may use but one, only one does.
    """

    def __init__(self, *, together: bool) -> None:
        import torch

        allowed = torch.get_num_threads()
        together = together and allowed >= OVERLAPPED
        self._threads = allowed // OVERLAPPED if together else allowed
        if not together:
            self.computing = threading.Lock()

    @contextmanager
    def ordered_map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], folder: Path | None = None
    ) -> Iterator[Iterator[Result]]:
        """See `Executor`."""
        import torch

        running: set[int] = set()
        changing = threading.Lock()

        def noted(task: Task) -> Result:
            with changing:
                running.add(threading.get_ident())
            try:
                return function(task)
            finally:
                with changing:
                    running.discard(threading.get_ident())

        pool = ThreadPoolExecutor(
            OVERLAPPED, initializer=torch.set_num_threads, initargs=(self._threads,)
        )
        try:
            yield _in_order(pool, noted, tasks, AHEAD * OVERLAPPED)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            with changing:
                for thread in running:
                    _interrupt(thread)
            pool.shutdown(wait=True)


def _in_order(
    pool: ThreadPoolExecutor, function: Callable[[Task], Result], tasks: Iterable[Task], most: int
) -> Iterator[Result]:
    """Yield ``function(task)`` for every task, in their order, at most so many ahead."""
    pending: deque[Future[Result]] = deque()
    for task in tasks:
        pending.append(pool.submit(function, task))
        if len(pending) == most:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _interrupt(thread: int) -> None:
    """Raise an exception in a thread, where its program next comes back from a product.

    Of Python's C API, and in no module of its: a thread cannot be stopped otherwise, and what it is
    at may take minutes.
    """
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt)
    )


def block_size(items: int, most: int, at_a_time: int) -> int:
    """Return the size of blocks of nearly the same size, none larger than `most`.

    Their number is a multiple of `at_a_time`, so that none is worked on alone.
    """
    count = at_a_time * -(-items // (at_a_time * most))
    return max(1, -(-items // max(1, count)))


@contextmanager
def executor(
    workers: int = 1,
    scheduler: str | None = None,
    *,
    threads: bool = False,
    alone: Executor | None = None,
) -> Iterator[Executor]:
    """Give what ``--workers`` and ``--scheduler`` mean, while the block lasts.

    Parameters
    ----------
    workers
        Threads or processes of this machine.
    scheduler
        Address or file of a Dask scheduler instead.
    threads
        Whether threads do: for tasks that mostly decode, transform and compress.
    alone
        What runs tasks in this process where no others are asked for; None: one after another.

    Raises
    ------
    UsageProblem
        Both were asked for.
    SpeechscopeError
        The scheduler cannot be used.
    """
    if scheduler is not None:
        if workers > 1:
            raise UsageProblem("--workers and --scheduler exclude each other")
        from speechscope.work.dask import dask_workers

        with dask_workers(scheduler) as connected:
            yield connected
    elif threads:
        yield Threads(workers)
    elif workers > 1:
        from speechscope.work.processes import Processes

        yield Processes(workers)
    else:
        yield alone or Serial()
