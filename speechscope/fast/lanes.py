"""Two halves of a batch, worked on at the same time by two threads.

The products of a small network are too short to be divided among threads: starting and joining
them costs as much as it saves. Whole halves of a batch, each with arrays of its own, are long.
The halves are the same however many threads there are, so that results do not depend on it.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from speechscope.work.device import threads

LANES = 2


class Lanes:
    """The halves of a batch.

    Parameters
    ----------
    count
        How many parts a batch has: `LANES` on the CPU, 1 where the device does it all at once.

    Attributes
    ----------
    together
        Whether lanes work at the same time: where PyTorch may use several threads now. If not,
        one may follow the other in the same arrays.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.together = count > 1 and torch.get_num_threads() > 1
        self._pool: ThreadPoolExecutor | None = None

    def parts(self, items: int) -> list[slice]:
        """Return the part of `items` that each lane has; the last may be smaller, or empty."""
        size = -(-items // self.count)
        return [slice(min(i * size, items), min((i + 1) * size, items)) for i in range(self.count)]

    def run(self, work: Callable[[int], None]) -> None:
        """Call ``work(lane)`` for every lane, and return when all are done."""
        if not self.together:
            for lane in range(self.count):
                work(lane)
            return
        if self._pool is None:
            # A lane's thread does not divide its products further, nor does this one.
            self._pool = ThreadPoolExecutor(
                self.count - 1, initializer=torch.set_num_threads, initargs=(1,)
            )
        with threads(1):
            others = [self._pool.submit(work, lane) for lane in range(1, self.count)]
            try:
                work(0)
            finally:
                # Their arrays are ours: nothing may go on while another writes them.
                errors = [other.exception() for other in others]
            for error in errors:
                if error is not None:
                    raise error
