"""Stopped work goes on where it was, and ends with the arrays of work that was never stopped."""

import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from trust.campaign import ENDS
from trust.server import ForkServer
from trust.stages import LITTLE, fingerprint, left_over, said_well

BLOCK = 3
INVERT = "invert decoder.pt --layer 1,9 --method bp,decode+bp --steps 12 --all -q -o out.zarr"
TRAIN = f"train --network freq-padded {LITTLE} --epochs 8 -q -o out.pt"


def until(path: Path, lines: int, seconds: float = 900.0) -> None:
    """Wait until a file has so many lines."""
    limit = time.monotonic() + seconds
    while not (path.exists() and len(path.read_text().splitlines()) >= lines):
        assert time.monotonic() < limit
        time.sleep(0.002)


@pytest.mark.parametrize("sent", ENDS)
def test_an_inversion_goes_on(server: ForkServer, work: Path, sent: signal.Signals) -> None:
    said_well(server.run(work, *INVERT.split(), block=BLOCK), {0})
    whole = fingerprint(work / "out.zarr")
    shutil.rmtree(work / "out.zarr")
    log = work / ".out.zarr.partial" / ".finished"
    for blocks in (1, 3):
        running = server.start(work, *INVERT.split(), "--resume", block=BLOCK)
        until(log, blocks + 1)
        running.send(sent, group=True)
        assert running.wait() in ENDS[sent]
        assert not (work / "out.zarr").exists()
    before = (work / ".out.zarr.partial/original/c.0.0.0.0").stat().st_mtime_ns
    said_well(server.run(work, *INVERT.split(), "--resume", block=BLOCK), {0})
    assert fingerprint(work / "out.zarr") == whole
    assert (work / "out.zarr/original/c.0.0.0.0").stat().st_mtime_ns == before  # it did go on
    assert not left_over(work)


def stopped(server: ForkServer, work: Path, blocks: int = 2) -> Path:
    running = server.start(work, *INVERT.split(), block=BLOCK)
    until(work / ".out.zarr.partial" / ".finished", blocks + 1)
    running.send(signal.SIGKILL, group=True)
    running.wait()
    return work / ".out.zarr.partial"


def test_other_settings_and_another_parent_are_refused(server: ForkServer, work: Path) -> None:
    partial = stopped(server, work)
    done = server.run(work, *INVERT.split(), "--resume", "--l2", "0.7", block=BLOCK)
    said_well(done, {3})
    assert "begun with l2 0.3, now 0.7" in done.err and partial.exists()
    done = server.run(work, *INVERT.split(), "--resume", "--seed", "4", block=BLOCK)
    said_well(done, {3})
    line = f"decode-train --layer 1,9 --together 1 {LITTLE} --seed 3 -f -q"
    said_well(server.run(work, *line.split()), {0})
    done = server.run(work, *INVERT.split(), "--resume", block=BLOCK)
    said_well(done, {3})
    assert "begun with another parent" in done.err
    said_well(server.run(work, *INVERT.split(), block=BLOCK), {0})  # without: from the start


def test_a_chunk_or_a_line_that_was_lost_is_done_again(server: ForkServer, work: Path) -> None:
    said_well(server.run(work, *INVERT.split(), block=BLOCK), {0})
    whole = fingerprint(work / "out.zarr")
    shutil.rmtree(work / "out.zarr")
    partial = stopped(server, work, 3)
    chunk = partial / "reconstruction/c.0.1.1.0.0.0"  # the deeper layer is done first
    chunk.write_bytes(bytes(chunk.stat().st_size))  # as a loss of power may leave it
    with (partial / ".finished").open("a") as log:
        log.write('{"block": "9", "chu')
    said_well(server.run(work, *INVERT.split(), "--resume", block=BLOCK), {0})
    assert fingerprint(work / "out.zarr") == whole


@pytest.mark.parametrize(
    "sent", (signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.heavy))
)
def test_training_goes_on(server: ForkServer, work: Path, sent: signal.Signals) -> None:
    said_well(server.run(work, *TRAIN.split()), {0})
    whole = fingerprint(work / "out.pt")
    (work / "out.pt").unlink()
    rng = np.random.default_rng(int(sent))
    state = work / ".out.pt.resume"
    for _ in range(2):
        running = server.start(work, *TRAIN.split(), "--resume")
        limit = time.monotonic() + 900
        before = state.stat().st_mtime_ns if state.exists() else 0
        while not (state.exists() and state.stat().st_mtime_ns > before):
            assert time.monotonic() < limit and not (work / "out.pt").exists()
            time.sleep(0.002)
        time.sleep(float(rng.uniform(0, 0.05)))
        running.send(sent, group=True)
        assert running.wait() in {0, *ENDS[sent]}
    said_well(server.run(work, *TRAIN.split(), "--resume"), {0})
    assert fingerprint(work / "out.pt") == whole
    assert not left_over(work)
