"""Spreading independent tasks over processes, in order and in bounded memory."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

_END = object()
AHEAD = 2  # tasks in flight per worker: enough to keep all busy, few enough to stay small


def ahead(values: Iterable[Result]) -> Iterator[Result]:
    """Yield values, the next one being worked out in a thread while this one is used."""
    source = iter(values)
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, source, _END)
        while True:
            value = following.result()
            if value is _END:
                return
            following = pool.submit(next, source, _END)
            yield value  # type: ignore[misc]


def ordered_map(
    function: Callable[[Task], Result], tasks: Iterable[Task], workers: int
) -> Iterator[Result]:
    """Yield ``function(task)`` for every task, in the order of the tasks.

    At most ``AHEAD * workers`` results are held. With one worker everything runs in this process.
    The results do not depend on `workers` as long as `function` depends on its task alone.
    """
    if workers <= 1:
        yield from map(function, tasks)
        return
    # Fork would copy this process's threads' locks (torch, zarr); a fork server starts clean.
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                pending.append(pool.submit(function, task))
                if len(pending) >= AHEAD * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
