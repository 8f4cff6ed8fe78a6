"""The same arrays whoever works them out, and whoever is lost on the way."""

import itertools
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import growing
import numpy as np
import pytest

from speechscope.errors import ArtifactError, SpeechscopeError, UsageProblem
from speechscope.store.artifact import Artifact
from speechscope.store.chunks import write_chunk
from speechscope.work import tasks
from speechscope.work.dask import dask_workers
from speechscope.work.local import Serial, Threads
from speechscope.work.processes import Processes, SharedFunction, shared
from speechscope.work.tasks import tasks_of


@pytest.fixture
def expected(tmp_path: Path) -> Artifact:
    made = growing.write(tmp_path / "here.zarr", growing.Powers(tmp_path), Serial())
    items = np.arange(100.0)[::-1]
    power = np.stack([np.repeat(items[:, None], 3, 1) ** n for n in (2, 3)])
    np.testing.assert_array_equal(made.read("power"), power.astype(np.float32))
    np.testing.assert_array_equal(made.read("item_index"), items)
    made.verify()
    return made


def test_tasks_are_whole_chunks() -> None:
    tasks = list(tasks_of(np.arange(20, 55), 16, parts=2))
    assert [(t.start, t.stop, t.part) for t in tasks[:3]] == [(0, 16, 0), (0, 16, 1), (16, 32, 0)]
    assert tasks[-1].stop == 35 and tasks[-1].items.tolist() == [52, 53, 54]


def test_threads_and_processes_give_the_arrays_of_one(expected: Artifact, tmp_path: Path) -> None:
    for executor in (Threads(3), Processes(2)):
        made = growing.write(tmp_path / "other.zarr", growing.Powers(tmp_path), executor)
        assert made.contents == expected.contents
        made.verify()
        assert not list(made.path.glob(".function*"))


def test_a_process_that_dies_costs_only_time(expected: Artifact, tmp_path: Path) -> None:
    work = growing.Powers(tmp_path, deadly=48, deaths=1)
    made = growing.write(tmp_path / "other.zarr", work, Processes(2))
    assert (tmp_path / "died-0").exists()
    assert made.contents == expected.contents


def test_a_task_that_always_kills_is_an_error(tmp_path: Path) -> None:
    work = growing.Powers(tmp_path, deadly=48, deaths=99)
    with pytest.raises(SpeechscopeError, match="ended 3 times"):
        growing.write(tmp_path / "other.zarr", work, Processes(2))
    assert not (tmp_path / "other.zarr").exists()
    assert not (tmp_path / ".other.zarr.partial").exists()


def test_an_error_in_a_process_is_the_commands(tmp_path: Path) -> None:
    work = growing.Powers(tmp_path, refused=48)
    with pytest.raises(UsageProblem, match="not this one"):
        growing.write(tmp_path / "other.zarr", work, Processes(2))
    assert not (tmp_path / "other.zarr").exists()


# What starts the tests may have interrupts ignored, as a shell has for what it puts aside.
PARENT = """
import signal, sys
from pathlib import Path
import growing
from speechscope.work.processes import Processes
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(sys.argv[1])
    growing.write(folder / "never.zarr", growing.Powers(folder, slow=600), Processes(2))
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_their_parent(tmp_path: Path, end: signal.Signals) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    while len(begun := list(tmp_path.glob("begun-*"))) < 2:
        assert parent.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    parent.send_signal(end)
    parent.wait(60)
    for pid in {int(path.name.split("-")[-1]) for path in begun}:
        while is_alive(pid):
            assert time.monotonic() < until, "a process outlived its parent"
            time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")  # the dead are there until somebody asks for them
    return not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_dask_workers_give_the_arrays_of_one_though_one_is_killed(
    expected: Artifact, tmp_path: Path
) -> None:
    with growing.cluster(tmp_path, failures=1) as dask:
        with dask_workers(dask.wait_for_file()) as executor:
            work = growing.Powers(tmp_path, deadly=48, deaths=1)
            made = growing.write(tmp_path / "other.zarr", work, executor)
            assert (tmp_path / "died-0").exists()
            assert made.contents == expected.contents
            made.verify()
            with pytest.raises(UsageProblem, match="not this one"):
                growing.write(tmp_path / "no.zarr", growing.Powers(tmp_path, refused=48), executor)
        dask.begin_workers(1)  # two again, and both are killed
        with (
            dask_workers(dask.wait_for_file()) as executor,
            pytest.raises(SpeechscopeError, match="workers ended"),
        ):
            work = growing.Powers(tmp_path, deadly=48, deaths=99)
            growing.write(tmp_path / "no.zarr", work, executor)
    assert not (tmp_path / "no.zarr").exists()


def test_a_scheduler_that_vanishes_is_one_line(tmp_path: Path) -> None:
    with growing.cluster(tmp_path, workers=1) as dask:
        with (
            dask_workers(dask.wait_for_file()) as executor,
            pytest.raises(SpeechscopeError, match="scheduler is gone"),
        ):
            growing.write(tmp_path / "no.zarr", Vanishing(tmp_path, dask.pid), executor)
    assert not (tmp_path / "no.zarr").exists()
    assert not (tmp_path / ".no.zarr.partial").exists()


class Vanishing(growing.Powers):
    """Kills the scheduler in the third chunk."""

    def __init__(self, notes: Path, scheduler: int) -> None:
        super().__init__(notes)
        self._scheduler = scheduler

    def __call__(self, task, progress):  # type: ignore[no-untyped-def]
        if task.start == 32:
            os.kill(self._scheduler, signal.SIGKILL)
            time.sleep(1)
        return super().__call__(task, progress)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nowhere.json", "no such scheduler file"),
        ("nowhere", "no such scheduler file"),
        ("tcp://127.0.0.1:9", "no Dask scheduler answers"),
    ],
)
def test_no_scheduler_is_one_line(
    address: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speechscope.work.dask.ANSWER", 0.2)
    with pytest.raises(SpeechscopeError, match=message), dask_workers(address):
        pass


def test_no_worker_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speechscope.work.dask.PATIENCE", 0.1)
    with (
        growing.cluster(tmp_path, workers=0) as dask,
        dask_workers(dask.wait_for_file()) as executor,
        pytest.raises(SpeechscopeError, match="no worker"),
    ):
        growing.write(tmp_path / "no.zarr", growing.Powers(tmp_path), executor)


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SpeechscopeError, match=r"speechscope\[dask\]"), dask_workers("h:1"):
        pass


def test_a_shared_function_is_opened_only_as_it_was_written(tmp_path: Path) -> None:
    work: Any = growing.Powers(tmp_path)
    with shared(work, tmp_path) as sent:
        function: Any = sent
        assert len(pickle.dumps(function)) < 1000
        other = SharedFunction(function.path, function.digest, "0.0", "")
        with pytest.raises(SpeechscopeError, match="same release"):
            other(1, 2)
        function.path.write_bytes(pickle.dumps(os.getpid))
        with pytest.raises(SpeechscopeError, match="not what was written"):
            function()
    with pytest.raises(SpeechscopeError, match="all machines share"):
        function()


def test_what_cannot_be_sent_is_said(tmp_path: Path) -> None:
    def local(task: int) -> int:
        return task

    with (
        pytest.raises(SpeechscopeError, match="cannot be sent"),
        Processes(2).ordered_map(local, range(2), tmp_path),
    ):
        pass
    with Threads(2).ordered_map(local, range(2), tmp_path) as results:
        assert list(results) == [0, 1]


def test_a_worker_stops_when_its_output_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere(Serial):
        elsewhere = True

    monkeypatch.setattr(Path, "touch", lambda *_: None)  # of what says that it is wanted
    with pytest.raises(SpeechscopeError, match="not being written any more"):
        growing.write(tmp_path / "no.zarr", growing.Powers(tmp_path), Elsewhere())


def test_large_arrays_come_back_as_files_and_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere(Serial):
        elsewhere = True

    here = growing.write(tmp_path / "here.zarr", growing.Powers(tmp_path), Serial())
    monkeypatch.setattr(tasks, "LARGE", 8)
    files: list[str] = []
    load = np.load

    def noted(file: Any, **options: Any) -> Any:
        files.append(file.name)
        return load(file, **options)

    monkeypatch.setattr(np, "load", noted)
    there = growing.write(tmp_path / "there.zarr", growing.Powers(tmp_path), Elsewhere())
    assert there.contents == here.contents and len(set(files)) == len(files) > 10
    assert not list(there.path.rglob(".*"))
    monkeypatch.setattr(np, "load", lambda *_, **__: (_ for _ in ()).throw(OSError(2, "no")))
    with pytest.raises(SpeechscopeError, match="all machines share"):
        growing.write(tmp_path / "no.zarr", growing.Powers(tmp_path), Elsewhere())


@pytest.mark.parametrize("failing", [1, 2 * 7])  # the last is waited for after all tasks
def test_what_cannot_be_written_is_the_commands_error(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = itertools.count(1)

    def full(*arguments: Any, **options: Any) -> Any:
        if next(numbers) == failing:
            raise OSError(28, "No space left on device")
        return write_chunk(*arguments, **options)

    monkeypatch.setattr(tasks, "write_chunk", full)
    with pytest.raises(OSError, match="No space left"):
        growing.write(tmp_path / "no.zarr", growing.Powers(tmp_path), Serial())
    assert not (tmp_path / "no.zarr").exists()
    assert not (tmp_path / ".no.zarr.partial").exists()


def test_a_chunk_that_is_not_there_is_noticed(tmp_path: Path) -> None:
    class Losing(growing.Powers):
        """Loses a chunk after it was written, as a folder that is not shared does."""

        def __call__(self, task: Any, progress: Any) -> Any:
            for chunk in ((tmp_path / ".no.zarr.partial") / "power").glob("c.*"):
                if task.start == 96:
                    chunk.write_bytes(b"")
            return super().__call__(task, progress)

    with pytest.raises(ArtifactError, match="all machines share"):
        growing.write(tmp_path / "no.zarr", Losing(tmp_path), Serial())
    assert not (tmp_path / "no.zarr").exists()
