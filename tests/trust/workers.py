"""Workers that die: processes of ``--workers``, Dask workers, processes of ``torchrun``.

The command that gave them work goes on, and what it writes is what it writes undisturbed.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import growing
import numpy as np
from trust import stages
from trust.server import ForkServer
from trust.stages import LITTLE, fingerprint, left_over, remove, said_well

INVERT = f"{stages.INVERT} --steps 200 -q -f -o out.zarr"
"""Seconds of work in several blocks."""
TRAIN = f"train --network freq-padded {LITTLE} --epochs 6 -q -f --resume -o out.pt"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
            "--max-restarts=3", "-m", "speechscope")  # fmt: skip
RESTART_SECONDS = 900.0


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that are alive."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            state, parent = status.read_text().rsplit(")", 1)[1].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(status.parent.name))
    return found


def workers_of(pid: int) -> list[int]:
    """Return those of ``--workers``, of the processes that a command started."""
    return [child for child in children(pid) if "spawn_main" in words(child)]


def words(pid: int) -> str:
    """Return the command line of a process."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def kill_one(found: Callable[[], list[int]], rng: np.random.Generator, until: float) -> bool:
    """Kill one of the processes that `found` finds, once it finds any; say whether it did."""
    while time.monotonic() < until:
        if pids := found():
            with suppress(ProcessLookupError):
                os.kill(int(rng.choice(pids)), signal.SIGKILL)
                return True
        time.sleep(0.01)
    return False


def lost_processes(server: ForkServer, work: Path, count: int, seed: int) -> Counter[str]:
    """Kill one of two processes of ``--workers`` at random moments."""
    rng = np.random.default_rng([seed, 6])
    whole, _ = undisturbed(server, work)
    found: Counter[str] = Counter()
    begun = time.monotonic()
    said_well(server.run(work, *INVERT.split(), "--workers", "2", block=stages.BLOCK), {0})
    usual = time.monotonic() - begun
    assert fingerprint(work / "out.zarr") == whole
    for _ in range(count):
        running = server.start(work, *INVERT.split(), "--workers", "2", block=stages.BLOCK)
        begun = time.monotonic()
        time.sleep(float(rng.uniform(0.0, 0.9)) * usual)
        killed = kill_one(lambda pid=running.pid: workers_of(pid), rng, begun + 1.5 * usual)  # type: ignore[misc]
        said_well(running, {0})
        assert fingerprint(work / "out.zarr") == whole, "another result"
        assert not left_over(work), left_over(work)
        found["a process killed, equal" if killed else "over before, equal"] += 1
    return found


def lost_dask_workers(server: ForkServer, work: Path, count: int, seed: int) -> Counter[str]:
    """Kill one of two Dask workers at random moments."""
    rng = np.random.default_rng([seed, 7])
    whole, usual = undisturbed(server, work)
    found: Counter[str] = Counter()
    room = work.parent / "dask"
    room.mkdir(exist_ok=True)
    with growing.cluster(room) as dask:
        line = [*INVERT.split(), "--scheduler", dask.wait_for_file()]
        for _ in range(count):
            running = server.start(work, *line, block=stages.BLOCK)
            time.sleep(float(rng.uniform(0.0, 1.5)) * usual)
            worker = dask.workers.pop(int(rng.integers(2)))
            worker.kill()
            worker.wait()
            said_well(running, {0})
            assert fingerprint(work / "out.zarr") == whole, "another result"
            assert not left_over(work), left_over(work)
            found["a worker killed, equal"] += 1
            dask.begin_workers(1)
    return found


def undisturbed(server: ForkServer, work: Path) -> tuple[str, float]:
    """Return what one process makes, and how long it takes."""
    begun = time.monotonic()
    said_well(server.run(work, *INVERT.split(), block=stages.BLOCK), {0})
    return fingerprint(work / "out.zarr"), time.monotonic() - begun


def lost_ranks(server: ForkServer, work: Path, count: int, seed: int) -> Counter[str]:
    """Kill one of two processes of ``torchrun`` at random moments; it replaces both."""
    rng = np.random.default_rng([seed, 8])
    output = work / "out.pt"
    remove(output)
    begun = time.monotonic()
    process = torchrun(work)
    assert process.wait(RESTART_SECONDS) == 0, (work / "torchrun").read_text()
    usual, whole = time.monotonic() - begun, fingerprint(output)
    found: Counter[str] = Counter()
    for _ in range(count):
        remove(output)
        process = torchrun(work)
        begun = time.monotonic()
        time.sleep(float(rng.uniform(0.1, 0.95)) * usual)
        killed = kill_one(lambda pid=process.pid: children(pid), rng, begun + 1.5 * usual)  # type: ignore[misc]
        assert process.wait(RESTART_SECONDS) == 0, (work / "torchrun").read_text()
        assert fingerprint(output) == whole, "another result"
        names = left_over(work)
        assert not names, names
        found["a process killed, equal" if killed else "over before, equal"] += 1
    return found


def torchrun(work: Path) -> "subprocess.Popen[bytes]":
    """Start a training of two processes."""
    with (work / "torchrun").open("wb") as file:
        return subprocess.Popen(
            [sys.executable, *TORCHRUN, *TRAIN.split()],
            cwd=work,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


LOST = {"processes": lost_processes, "dask": lost_dask_workers, "torchrun": lost_ranks}
"""What is killed, and what it is killed by."""
