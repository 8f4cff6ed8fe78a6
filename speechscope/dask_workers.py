"""Spreading tasks over the workers of a Dask scheduler, on this machine or on many.

A task whose worker is lost is given to another by the scheduler. Results come back in order, with
no more than a few a worker on their way.
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
from time import monotonic
from typing import Any

from speechscope.errors import SpeechscopeError
from speechscope.parallel import AHEAD, Result, Task

ANSWER = 10.0  # seconds for a scheduler to answer (chosen)
PATIENCE = 300.0
"""Seconds to wait for the first worker, or for one after the last was lost (chosen)."""
_ADDRESS = re.compile(r"([a-z]+://)?[^/\s]+:\d+")
LOOK = 1.0  # seconds between looks at whether any worker is left


class DaskWorkers:
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
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[Iterator[Result]]:
        """See `speechscope.parallel.Executor`.

        Raises
        ------
        SpeechscopeError
            The scheduler is lost, there are no workers, or a task ends every worker it is given to.
        """
        pending: deque[Any] = deque()
        try:
            yield self._in_order(function, iter(tasks), pending)
        finally:
            with suppress(Exception):  # there may be no scheduler any more
                if pending:
                    self._client.cancel(list(pending))

    def _in_order(
        self, function: Callable[[Task], Result], tasks: Iterator[Task], pending: deque[Any]
    ) -> Iterator[Result]:
        from distributed.client import FutureCancelledError
        from distributed.comm.core import CommClosedError
        from distributed.scheduler import KilledWorker

        name = f"speechscope-{uuid.uuid4().hex}"
        number = 0
        try:
            while True:
                while len(pending) < AHEAD * self._threads():
                    try:
                        task = next(tasks)
                    except StopIteration:
                        break
                    key = f"{name}-{number}"
                    pending.append(self._client.submit(function, task, key=key, pure=False))
                    number += 1
                if not pending:
                    return
                yield self._result(pending[0])
                pending.popleft()
        except KilledWorker as error:
            raise SpeechscopeError(
                "Dask workers ended whenever they were given one of the tasks, as they do when "
                "memory runs out (dask worker --memory-limit)"
            ) from error
        except (FutureCancelledError, asyncio.CancelledError, CommClosedError) as error:
            raise SpeechscopeError(
                "the Dask scheduler is gone; start one and run this again"
            ) from error

    def _result(self, future: Any) -> Any:
        """Wait for a result as long as there are workers."""
        seen = monotonic()
        while True:
            try:
                return future.result(timeout=LOOK)
            except TimeoutError:
                if future.status == "error":  # it is the task's own
                    raise
            now = monotonic()
            if self._threads(default=0):
                seen = now
            elif now - seen > PATIENCE:
                raise SpeechscopeError(
                    f"the Dask scheduler has had no worker for {PATIENCE:.0f} s; start workers "
                    "(dask worker) and run this again"
                )

    def _threads(self, default: int = 1) -> int:
        """Return how many tasks the workers can do at a time."""
        return sum(self._client.nthreads().values()) or default


@contextmanager
def dask_workers(scheduler: str) -> Iterator[DaskWorkers]:
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
        yield DaskWorkers(client)
    finally:
        with suppress(Exception):
            client.close(timeout=ANSWER)


def _children(name: str) -> list[str]:
    return [known for known in logging.root.manager.loggerDict if known.startswith(f"{name}.")]
