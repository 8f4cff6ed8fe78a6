"""Spreading tasks over the workers of a Dask scheduler, on this machine or on many.

A task whose worker is lost is given to another by the scheduler. Results come back in order, with
no more than a few a worker on their way. A worker is given its next long task when it is free, not
before: nobody then waits for one that has two while another has none.
"""

import asyncio
import importlib
import logging
import re
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from speechscope.errors import SpeechscopeError
from speechscope.work.local import AHEAD, Executor, Result, Task
from speechscope.work.processes import shared

ANSWER = 10.0  # seconds for a scheduler to answer (chosen)
PATIENCE = 300.0
"""Seconds to wait for the first worker, or for one after the last was lost (chosen)."""
_ADDRESS = re.compile(r"([a-z]+://)?[^/\s]+:\d+")
INTERVAL = 1.0  # seconds between two counts of the workers
BRIEF = 0.2
"""Seconds of a task below which the next is sent ahead; sending one takes some 10 ms."""
WAITING = 4  # results a worker that may wait for one before them


class Dask(Executor):
    """Runs tasks on the workers of a scheduler.

    Parameters
    ----------
    client
        A ``distributed.Client`` that is connected.
    """

    elsewhere = remote = True

    def __init__(self, client: Any) -> None:
        self._client = client

    @contextmanager
    def ordered_map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], folder: Path | None = None
    ) -> Iterator[Iterator[Result]]:
        """See `speechscope.work.local.Executor`.

        Raises
        ------
        SpeechscopeError
            The scheduler is lost, there are no workers, or a task ends every worker it is given to.
        """
        with shared(function, folder) as there:
            running = _Running(self._client, there, iter(tasks))
            try:
                yield running.results()
            finally:
                with suppress(Exception):  # there may be no scheduler any more
                    running.cancel()


class _Running:
    """The tasks of one map that are on their way."""

    def __init__(self, client: Any, function: Callable[..., Any], tasks: Iterator[Any]) -> None:
        self._client, self._function, self._tasks = client, function, tasks
        self._name = f"speechscope-{uuid.uuid4().hex}"
        self._number = 0
        self._pending: deque[Any] = deque()  # in order
        self._begun: dict[str, float] = {}  # of those that run
        self._ended: SimpleQueue[Any] = SimpleQueue()
        self._more, self._brief = True, False
        self._threads, self._counted, self._seen = 0, -INTERVAL, monotonic()

    def cancel(self) -> None:
        """Have nothing more done."""
        if self._pending:
            self._client.cancel(list(self._pending))

    def results(self) -> Iterator[Any]:
        """Yield the results in the order of the tasks."""
        from distributed.client import FutureCancelledError
        from distributed.comm.core import CommClosedError
        from distributed.scheduler import KilledWorker

        try:
            while self._send():
                first = self._pending[0] if self._pending else None
                if first is not None and first.done():
                    with suppress(TimeoutError):
                        result = self._result(first)
                        self._pending.popleft()
                        yield result
                else:
                    self._wait()
        except KilledWorker as error:
            raise SpeechscopeError(
                "Dask workers ended whenever they were given one of the tasks, as they do when "
                "memory runs out (dask worker --memory-limit)"
            ) from error
        except (FutureCancelledError, asyncio.CancelledError, CommClosedError) as error:
            raise SpeechscopeError(
                "the Dask scheduler is gone; start one and run this again"
            ) from error

    def _send(self) -> bool:
        """Send tasks to workers that are free, or about to be; say whether any are on their way."""
        while not self._ended.empty():
            self._note(self._ended.get())
        threads = max(1, self._count_threads())
        most = threads * (AHEAD if self._brief else 1)
        while self._more and len(self._begun) < most and len(self._pending) < WAITING * threads:
            try:
                task = next(self._tasks)
            except StopIteration:
                self._more = False
                break
            key = f"{self._name}-{self._number}"
            future = self._client.submit(self._function, task, key=key, pure=False)
            self._begun[key] = monotonic()
            self._pending.append(future)
            future.add_done_callback(self._ended.put)
            self._number += 1
        return self._more or bool(self._pending)

    def _wait(self) -> None:
        """Wait until a task has ended, as long as there are workers."""
        try:
            ended = self._ended.get(timeout=INTERVAL)
        except Empty:
            now = monotonic()
            if self._count_threads():
                self._seen = now
            elif now - self._seen > PATIENCE:
                raise SpeechscopeError(
                    f"the Dask scheduler has had no worker for {PATIENCE:.0f} s; start workers "
                    "(dask worker) and run this again"
                ) from None
            return
        self._note(ended)

    def _note(self, ended: Any) -> None:
        """Note that a task has ended; raise what ended all its workers.

        At once, and not when its turn comes: results before it may have been lost with them.
        """
        from distributed.scheduler import KilledWorker

        self._seen = monotonic()
        self._brief = self._seen - self._begun.pop(ended.key) < BRIEF
        if ended.status == "error":
            error = ended.exception(timeout=ANSWER)
            if isinstance(error, KilledWorker):
                raise error

    def _result(self, future: Any) -> Any:
        """Return a result that is there.

        Raises
        ------
        TimeoutError
            The worker that had it was lost, and another works it out.
        """
        try:
            return future.result(timeout=ANSWER)
        except TimeoutError as error:
            if future.status == "error":  # it is the task's own
                raise SpeechscopeError(f"a task failed: {error}") from error
            raise

    def _count_threads(self) -> int:
        """Return how many tasks the workers can do at a time, as of `INTERVAL` seconds ago."""
        now = monotonic()
        if not self._threads or now - self._counted >= INTERVAL:
            self._threads, self._counted = sum(self._client.nthreads().values()), now
        return self._threads


@contextmanager
def dask_workers(scheduler: str) -> Iterator[Dask]:
    """Connect to a scheduler.

    Parameters
    ----------
    scheduler
        Its address, such as ``tcp://host:8786``, or the path of its ``--scheduler-file``.

    Raises
    ------
    SpeechscopeError
        Dask is not installed, or nothing answers there.
    """
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError as error:
        raise SpeechscopeError("--scheduler needs Dask: pip install 'speechscope[dask]'") from error
    # Its errors reach us as exceptions; what it logs beside them would be a second message.
    for name in ("distributed", *_children("distributed")):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    if _ADDRESS.fullmatch(scheduler):
        place: dict[str, Any] = {"address": scheduler}
    elif Path(scheduler).is_file():
        place = {"scheduler_file": scheduler}
    else:
        raise SpeechscopeError(
            f"--scheduler {scheduler}: no such scheduler file, and no address such as "
            "tcp://host:8786"
        )
    try:
        client = distributed.Client(
            **place, timeout=ANSWER, set_as_default=False, name="speechscope"
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SpeechscopeError(
            f"--scheduler {scheduler}: no Dask scheduler answers there "
            f"({' '.join(str(error).split())[:160]})"
        ) from error
    try:
        yield Dask(client)
    finally:
        with suppress(Exception):
            client.close(timeout=ANSWER)


def _children(name: str) -> list[str]:
    return [known for known in logging.root.manager.loggerDict if known.startswith(f"{name}.")]
