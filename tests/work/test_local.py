"""Executors of this process: order, bounded memory, and two tasks at a time."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import growing
import numpy as np
import pytest
import torch

from speechscope.store.chunks import write_chunk
from speechscope.store.record import new_record
from speechscope.store.writer import create_artifact
from speechscope.work import tasks
from speechscope.work.local import AHEAD, Overlapping, Serial, Threads, block_size
from speechscope.work.progress import Report
from speechscope.work.tasks import Results, Task, Values, carry_out, tasks_of


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


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("together", [False, True])
def test_the_arrays_are_those_of_one_after_another(tmp_path: Path, together: bool) -> None:
    expected = growing.write(tmp_path / "here.zarr", growing.Powers(tmp_path), Serial())
    executor = Overlapping(together=together)
    made = growing.write(tmp_path / "other.zarr", growing.Powers(tmp_path), executor)
    assert made.contents == expected.contents


class Noting:
    """Notes how many tasks compute at a time; both values of a task are worked out when asked for.

    Parameters
    ----------
    wait
        Called in the middle of each computation.
    """

    def __init__(self, wait: Any = None) -> None:
        self.most = self.now = 0
        self.threads: set[int] = set()
        self._wait = wait or (lambda: time.sleep(0.002))
        self._changing = threading.Lock()

    def _compute(self) -> None:
        with self._changing:
            self.now += 1
            self.most = max(self.most, self.now)
            self.threads.add(torch.get_num_threads())
        self._wait()
        with self._changing:
            self.now -= 1

    def __call__(self, task: Task, progress: Report | None) -> Results:
        self._compute()

        def values() -> Iterator[Values]:
            for part in range(2):
                self._compute()
                assert progress is not None
                progress(part + 1, 2)
                yield Values("power", (part,), np.zeros((len(task.items), 3), np.float32))

        return Results(values())


def noted(path: Path, work: Noting, executor: Overlapping, tasks: int) -> list[tuple[int, int]]:
    """Carry out tasks of 16 items; return what progress said."""
    record = new_record("powers", config={}, seed=0, device="cpu")
    told: list[tuple[int, int]] = []
    count = 16 * tasks
    with create_artifact(path, "Powers", record, force=True) as writer:
        dims = ("part", "item", "copy")
        writer.create("power", (2, count, 3), np.float32, dims, chunks=(1, 16, 3))
        done = carry_out(
            writer,
            work,
            tasks_of(np.arange(count), 16),
            executor,
            total=count,
            progress=lambda done, total: told.append((done, total)),
        )
        assert [d.task.start for d in done] == list(range(0, count, 16))
    return told


def test_where_they_take_turns_one_computes_with_all_threads(tmp_path: Path) -> None:
    work = Noting()
    noted(tmp_path / "a.zarr", work, Overlapping(together=False), 6)
    assert work.most == 1 and work.threads == {2}


def test_together_both_compute_with_half_of_the_threads(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=20)  # broken if one computes alone
    work = Noting(both.wait)
    noted(tmp_path / "a.zarr", work, Overlapping(together=True), 6)
    assert work.most == 2 and work.threads == {1}


def test_with_one_thread_they_take_turns_whatever_is_asked(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    work = Noting()
    noted(tmp_path / "a.zarr", work, Overlapping(together=True), 6)
    assert work.most == 1 and work.threads == {1}


def test_one_computes_while_the_other_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    later = threading.Event()

    def compute() -> None:
        begun.append(threading.get_ident())
        if len(set(begun)) == 2:
            later.set()

    def write(*arguments: Any, **options: Any) -> Any:
        assert later.wait(20), "nothing was computed during the first write"
        return write_chunk(*arguments, **options)

    monkeypatch.setattr(tasks, "write_chunk", write)
    noted(tmp_path / "a.zarr", Noting(compute), Overlapping(together=False), 2)


@pytest.mark.parametrize("together", [False, True])
def test_progress_counts_both_and_never_falls(tmp_path: Path, together: bool) -> None:
    told = noted(tmp_path / "a.zarr", Noting(), Overlapping(together=together), 12)
    done = [one for one, _ in told]
    assert done == sorted(done) and done[-1] == 192
    assert {total for _, total in told} == {192}
    assert 8 in done  # half of a task


@pytest.mark.parametrize(
    ("items", "most", "lanes", "size"),
    [
        (5995, 256, 2, 250),  # 24 blocks
        (256, 256, 2, 128),
        (257, 256, 2, 129),
        (256, 256, 1, 256),
        (300, 256, 1, 150),
        (1, 256, 2, 1),
        (0, 256, 2, 1),
    ],
)
def test_blocks_are_of_one_size_and_even(items: int, most: int, lanes: int, size: int) -> None:
    assert block_size(items, most, lanes) == size
