"""Tasks two at a time in this process, each by a thread of its own.

While one task writes, the other computes. Both compute at a time where the products of a network
are so short that dividing each among threads costs as much as it saves; otherwise they take turns.
What a task gives does not depend on what runs beside it.
"""

import ctypes
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from speechscope.work.parallel import AHEAD, Executor, Result, Task, in_order

LANES = 2


class Overlapping(Executor):
    """Runs tasks in two threads; see `speechscope.work.parallel.Executor`.

    Where the block ends early, as by an interrupt, what is running is stopped.

    Parameters
    ----------
    together
        Whether both may compute at a time, each with half of the threads that PyTorch may use; if
        it may use but one, they take turns.
    """

    elsewhere = remote = False

    def __init__(self, *, together: bool) -> None:
        allowed = torch.get_num_threads()
        together = together and allowed >= LANES
        self._each = allowed // LANES if together else allowed
        if not together:
            self.turn = threading.Lock()

    @contextmanager
    def ordered_map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[Iterator[Result]]:
        """See `speechscope.work.parallel.Executor`."""
        running: set[int] = set()
        changing = threading.Lock()

        def alone(task: Task) -> Result:
            with changing:
                running.add(threading.get_ident())
            try:
                return function(task)
            finally:
                with changing:
                    running.discard(threading.get_ident())

        pool = ThreadPoolExecutor(LANES, initializer=torch.set_num_threads, initargs=(self._each,))
        try:
            yield in_order(pool, alone, iter(tasks), AHEAD * LANES)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            with changing:
                for thread in running:
                    _stop(thread)
            pool.shutdown(wait=True)


def block_size(items: int, most: int, lanes: int) -> int:
    """Return the size of blocks of nearly the same size, none larger than `most`.

    Their number is a multiple of `lanes`, so that none is worked on alone.
    """
    count = lanes * -(-items // (lanes * most))
    return max(1, -(-items // max(1, count)))


def _stop(thread: int) -> None:
    """Raise an exception in a thread, where its program next comes back from a product."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt)
    )
