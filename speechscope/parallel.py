"""Spreading independent tasks over threads, in order and in bounded memory.

Threads, not processes: decoding, Fourier transforms, compression and the disk let one another run,
and nothing is copied from one process to another.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD = 2  # tasks in flight per worker: enough to keep all busy, few enough to stay small


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
        yield _in_order(pool, function, iter(tasks), AHEAD * workers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor,
    function: Callable[[Task], Result],
    tasks: Iterator[Task],
    most: int,
) -> Iterator[Result]:
    pending: deque[Future[Result]] = deque()
    for task in tasks:
        pending.append(pool.submit(function, task))
        if len(pending) == most:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
