"""Spreading tasks over processes of this machine; one that dies costs only time.

The processes are started afresh (``spawn``): a copy of a process whose libraries have threads can
lock up. They end with this one, however it ends, so none goes on writing into an output that is
another run's by then.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

from speechscope.errors import SpeechscopeError
from speechscope.work.parallel import AHEAD, Executor, Result, Task

LOSSES = 3
"""Times that processes may die before it is taken for a property of the task (chosen)."""


class Processes(Executor):
    """Runs tasks in processes, each with its share of the cores."""

    elsewhere = True
    remote = False

    def __init__(self, workers: int) -> None:
        self._workers = workers

    @contextmanager
    def ordered_map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[Iterator[Result]]:
        """See `speechscope.work.parallel.Executor`.

        Raises
        ------
        SpeechscopeError
            Processes died `LOSSES` times; what they were at is begun again until then.
        """
        pools = _Pools(self._workers)
        try:
            yield _in_order(pools, function, iter(tasks), AHEAD * self._workers)
        finally:
            pools.end()


class _Pools:
    """One pool at a time, replaced when one of its processes has died."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._lost = 0
        self._begin()

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, self._open = context.Pipe(duplex=False)
        self._ours = ours
        share = max(1, (os.cpu_count() or 1) // self._workers)
        # Processes that hear the keyboard while they import would meet it with a traceback. Were
        # the tracker not running yet, their start would start it, and unblock interrupts.
        resource_tracker.ensure_running()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._pool = ProcessPoolExecutor(self._workers, context, _start, (ours, share))
            self._pool.submit(os.getpid)  # with the first task all of them are started
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def submit(self, function: Callable[[Task], Result], task: Task) -> Future[Result]:
        return self._pool.submit(function, task)

    def replace(self) -> None:
        self._lost += 1
        self.end()
        if self._lost >= LOSSES:
            raise SpeechscopeError(
                f"worker processes ended {self._lost} times, as they do when memory runs out; "
                "use fewer --workers, or 1 to see the error"
            )
        self._begin()

    def end(self) -> None:
        """End the processes at once, and wait until they have."""
        self._open.close()  # they wait for this
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._ours.close()


def _in_order(
    pools: _Pools, function: Callable[[Task], Result], tasks: Iterator[Task], most: int
) -> Iterator[Result]:
    pending: deque[tuple[Task, Future[Result]]] = deque()
    more = True
    while more or pending:
        try:
            while more and len(pending) < most:
                task = next(tasks, _END)
                if task is _END:
                    more = False
                    break
                pending.append((task, Future()))  # it is kept, should the pool be broken
                pending[-1] = task, pools.submit(function, task)
            if not pending:
                return
            result = pending[0][1].result()
        except BrokenProcessPool:
            pools.replace()
            pending = deque(
                (task, future if _has_result(future) else pools.submit(function, task))
                for task, future in pending
            )
            continue
        pending.popleft()
        yield result


_END: Any = object()


def _has_result(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _start(ours: Connection, share: int) -> None:
    """Prepare a process: the keyboard's interrupt and the end of its tasks are the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.setdefault("OMP_NUM_THREADS", str(share))  # before anything imports torch

    def end_with_parent() -> None:
        try:
            ours.recv()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
