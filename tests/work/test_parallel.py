import threading
import time
from collections.abc import Iterator

import pytest

from speechscope.work.local import AHEAD, Threads


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_order_and_few_at_a_time(workers: int) -> None:
    made: list[int] = []

    def tasks() -> Iterator[int]:
        for task in range(20):
            made.append(task)
            yield task

    def slow_first(task: int) -> int:
        time.sleep(0.004 if task % 3 == 0 else 0)
        return task * task

    used = []
    with Threads(workers).ordered_map(slow_first, tasks()) as results:
        for result in results:
            used.append(result)
            assert len(made) - len(used) < AHEAD * workers
    assert used == [task * task for task in range(20)]
    with Threads(workers).ordered_map(slow_first, []) as results:
        assert list(results) == []


def test_workers_work_at_the_same_time() -> None:
    together = threading.Barrier(2, timeout=10)

    def meet(task: int) -> int:
        return together.wait()

    with Threads(2).ordered_map(meet, range(2)) as results:
        assert sorted(results) == [0, 1]


def test_an_error_comes_where_its_result_would() -> None:
    def fails(task: int) -> int:
        if task == 1:
            raise ValueError("one")
        return task

    with Threads(1).ordered_map(fails, range(3)) as results:
        assert next(results) == 0
        with pytest.raises(ValueError, match="one"):
            next(results)


def test_nothing_runs_after_the_block() -> None:
    begun: list[int] = []
    ended: list[int] = []

    def slow(task: int) -> int:
        begun.append(task)
        time.sleep(0.03)
        ended.append(task)
        return task

    with pytest.raises(KeyboardInterrupt), Threads(2).ordered_map(slow, range(50)) as results:
        next(results)
        raise KeyboardInterrupt
    assert begun and sorted(begun) == sorted(ended)
    time.sleep(0.1)
    assert len(begun) <= 2 * AHEAD + 1
