"""Work for the tests of growth, importable by every process, and a Dask cluster of two workers."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speechscope.errors import UsageProblem
from speechscope.store.artifact import Artifact
from speechscope.store.record import new_record
from speechscope.store.writer import create_artifact
from speechscope.work.local import Executor
from speechscope.work.progress import Report
from speechscope.work.tasks import Results, Task, Values, carry_out, tasks_of

ITEMS, STEP, PARTS = 100, 16, 2
"""Seven chunks, the last of four items."""


@dataclass
class Powers:
    """Squares and cubes of items; what it does on the way is for one of its tasks.

    Parameters
    ----------
    notes
        A folder: of each death, and of each task begun.
    deadly, deaths
        Where the task of the first part starts that ends its process, and how often it does.
    refused
        Where the task starts that raises an error.
    slow
        Seconds a task takes.
    """

    notes: Path
    deadly: int = -1
    deaths: int = 0
    refused: int = -1
    slow: float = 0.0

    def __call__(self, task: Task, progress: Report | None) -> Results:
        (self.notes / f"begun-{task.start}-{task.part}-{os.getpid()}").touch()
        died = len(list(self.notes.glob("died-*")))
        if (task.start, task.part) == (self.deadly, 0) and died < self.deaths:
            (self.notes / f"died-{died}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if task.start == self.refused:
            raise UsageProblem("not this one")
        time.sleep(self.slow)
        values = np.repeat(task.items[:, None], 3, axis=1).astype(np.float32) ** (task.part + 2)
        return Results([Values("power", (task.part,), values)], {"item": task.items})


def write(path: Path, work: Powers, executor: Executor) -> Artifact:
    """Make an artifact of powers."""
    record = new_record("powers", config={}, seed=0, device="cpu")
    items = np.arange(ITEMS)[::-1]
    with create_artifact(path, "Powers", record, force=True) as writer:
        writer.create(
            "power",
            (PARTS, ITEMS, 3),
            np.float32,
            ("part", "item", "copy"),
            chunks=(1, STEP, 3),
        )
        tasks = tasks_of(items, STEP, PARTS)
        done = list(carry_out(writer, work, tasks, executor, total=ITEMS * PARTS))
        small = [d.returned["item"] for d in done if d.task.part == 0]
        writer.put("item_index", np.concatenate(small), ("item",))
    return Artifact(path)


@contextmanager
def local_cluster() -> Iterator[str]:
    """Start a scheduler and two workers in this process; give their address."""
    distributed: Any = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=False,
        protocol="tcp://",
        host="127.0.0.1",
        dashboard_address=":0",
    ) as cluster:
        yield cluster.scheduler_address


@contextmanager
def cluster(folder: Path, workers: int = 2, failures: int = 3) -> Iterator["Cluster"]:
    """Start a scheduler and workers as separate processes."""
    started = Cluster(folder, failures)
    try:
        started.begin(workers)
        yield started
    finally:
        for process in started.workers + started.schedulers:
            process.kill()
            process.wait()


class Cluster:
    """Processes of a Dask cluster."""

    def __init__(self, folder: Path, failures: int) -> None:
        self.file = folder / "scheduler.json"
        self.schedulers: list[subprocess.Popen[bytes]] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        self._folder = folder
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(failures),
        }

    def begin(self, workers: int) -> None:
        at = ["--scheduler-file", str(self.file), "--no-dashboard"]
        self.schedulers.append(self._start("scheduler", *at, "--host", "127.0.0.1", "--port", "0"))
        self.begin_workers(workers)

    def begin_workers(self, workers: int) -> None:
        at = ["--scheduler-file", str(self.file), "--no-dashboard"]
        alone = ["--nthreads", "1", "--no-nanny", "--local-directory", str(self._folder)]
        for _ in range(workers):
            self.workers.append(self._start("worker", *at, *alone))

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-W", "ignore", "-m", "distributed.cli.dask_" + arguments[0]]
        return subprocess.Popen(
            [*command, *arguments[1:]],
            cwd="/",  # as on another machine, nothing is where the command is
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def pid(self) -> int:
        """Of the scheduler."""
        return self.schedulers[0].pid

    def wait_for_file(self) -> str:
        """Return the scheduler file, once it is there."""
        until = time.monotonic() + 60
        while not self.file.exists():
            if self.schedulers[-1].poll() is not None:
                raise RuntimeError("the scheduler ended: is distributed installed?")
            if time.monotonic() > until:
                raise TimeoutError("the scheduler did not start")
            time.sleep(0.05)
        return str(self.file)
