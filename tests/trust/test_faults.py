"""Signals, disks that fail, two runs on one output: the old output or the new one, said in a line.

A few of each here; `pytest -m heavy tests/trust` makes more, `tests/trust/long_run.py` thousands.
"""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from trust import campaign, stages
from trust.campaign import Target
from trust.server import ForkServer
from trust.stages import CHEAP, LITTLE, STAGES, fingerprint, said_well

from speechscope.store.record import FORMAT_VERSION, OLDEST

FEW = ("prepare", "decode-train", "invert", "maximize", "merge")
"""Stages of the default suite: one of each way to write."""


def target(server: ForkServer, laid: Path, folder: Path, name: str) -> Target:
    return Target(server, laid, folder, name)


@pytest.mark.parametrize("name", FEW)
def test_a_few_signals(server: ForkServer, laid: Path, tmp_path: Path, name: str) -> None:
    assert sum(campaign.kills(target(server, laid, tmp_path, name), 3, seed=1).values()) >= 3


@pytest.mark.parametrize("name", ("prepare", "invert --wav"))
def test_a_few_changes_of_the_disk_that_fail(
    server: ForkServer, laid: Path, tmp_path: Path, name: str
) -> None:
    aim = target(server, laid, tmp_path, name)
    found = campaign.failing_changes(aim, ("enospc", "kill", "eio"), 3, seed=1)
    assert found["changes"] > 10


@pytest.mark.parametrize("name", ("train", pytest.param("report", marks=pytest.mark.heavy)))
def test_files_that_cannot_grow(server: ForkServer, laid: Path, tmp_path: Path, name: str) -> None:
    campaign.small_files(target(server, laid, tmp_path, name), 3)


@pytest.mark.heavy
@pytest.mark.parametrize("name", STAGES)
def test_signals_at_any_moment(server: ForkServer, laid: Path, tmp_path: Path, name: str) -> None:
    campaign.kills(target(server, laid, tmp_path, name), 20, seed=2)


@pytest.mark.heavy
@pytest.mark.parametrize("name", STAGES)
def test_every_change_of_the_disk(
    server: ForkServer, laid: Path, tmp_path: Path, name: str
) -> None:
    aim = target(server, laid, tmp_path, name)
    campaign.failing_changes(aim, ("enospc", "kill", "eio", "term", "int"), 30, seed=2)


@pytest.mark.heavy
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
@pytest.mark.parametrize("name", STAGES)
def test_a_disk_that_is_full(server: ForkServer, laid: Path, tmp_path: Path, name: str) -> None:
    campaign.full_disk(target(server, laid, tmp_path, name), 20)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ("prepare", "train", "invert", "report", "synth"))
def test_signals_to_a_program_just_started(
    server: ForkServer, laid: Path, tmp_path: Path, name: str
) -> None:
    campaign.cold_signals(target(server, laid, tmp_path, name), 12, seed=2)


@pytest.mark.parametrize("name", ("prepare", "train"))
def test_a_read_only_folder(server: ForkServer, laid: Path, tmp_path: Path, name: str) -> None:
    aim = target(server, laid, tmp_path, name)
    aim.set(fresh=True)
    done = server.run(aim.workdir, *aim.stage.line("-q"), at=1, do="erofs")
    said_well(done, {1})
    assert "cannot be written: Read-only file system" in done.err
    assert aim.outcome(fresh=True) == "none"


@pytest.mark.parametrize("name", ("prepare", "maximize"))
def test_two_runs_on_one_output(server: ForkServer, laid: Path, tmp_path: Path, name: str) -> None:
    aim = target(server, laid, tmp_path, name)
    for number in range(3):
        aim.set(fresh=True)
        first = server.start(aim.workdir, *aim.stage.line("-q"))
        time.sleep(0.1 * number * aim.seconds)
        second = server.start(aim.workdir, *aim.stage.line("-q", old=True))
        codes = sorted((first.wait(), second.wait()))
        assert codes in ([0, 1], [0, 2]), codes
        said_well(first, {0, 1, 2})
        said_well(second, {0, 1, 2})
        assert fingerprint(aim.output) == (aim.new if first.wait() == 0 else aim.old)
    aim.recover()


@pytest.mark.parametrize("name", ("prepare", "train", "invert"))
def test_an_input_that_vanishes(server: ForkServer, laid: Path, tmp_path: Path, name: str) -> None:
    aim = target(server, laid, tmp_path, name)
    for share in (0.2, 0.5, 0.8):
        aim.set(fresh=True)
        kept = aim.workdir / "kept"
        source = aim.workdir / aim.stage.reads
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, kept)
        running = server.start(aim.workdir, *aim.stage.line("-q"))
        time.sleep(share * aim.seconds)
        stages.remove(source)
        said_well(running, {0, 1, 3, 4})
        if running.wait() == 0:
            assert fingerprint(aim.output) == aim.new
        elif running.wait() == 4:
            assert "skipped" in running.err  # what was lost is named, here and in the artifact
        else:
            assert not aim.output.exists()
        kept.rename(source)
    aim.recover()


def test_a_few_flipped_bytes(server: ForkServer, work: Path) -> None:
    found = campaign.flips(server, work, 10, seed=1, run_every=7)
    assert found["found by check --deep"] > 3


def test_a_few_lost_chunks(server: ForkServer, work: Path) -> None:
    found = campaign.lost_chunks(server, work, 3, seed=1)
    assert found["deleted"] >= 10 and found["swapped"] > 0


CHANGED = {
    "corpus.zarr": (
        "prepare timit --bins 101",
        ["score model.pt", f"decode-train {LITTLE} -o out.pt", "relevance -o out.zarr",
         "maximize --layer conv1 --unit 0 --steps 1 -o out.zarr"],
    ),
    "model.pt": (
        f"train --network freq-padded {LITTLE} --seed 9",
        [f"{stages.INVERT} -o out.zarr", "score relevance.zarr"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("parent", CHANGED)
def test_a_parent_that_changed_since(server: ForkServer, work: Path, parent: str) -> None:
    line, children = CHANGED[parent]
    done = server.run(work, *line.split(), "-q", "-f", "-o", parent)
    said_well(done, {0})
    for child in children:
        done = server.run(work, *child.split())
        said_well(done, {3})
        assert "it changed since" in done.err


@pytest.mark.parametrize(
    ("given", "code", "why"),
    [
        ("part-1 part-1", 2, "missing: 2"),
        ("part-2", 2, "missing: 1"),
        ("part-1 part-2 part-2", 2, "given twice"),
        ("part-1 other-2", 3, "--seed 1, not 0"),
        ("part-1 part-2 other-2", 3, "--seed 1, not 0"),
        ("part-1 gone-2", 1, "does not exist"),
        ("part-1 cut-2", 3, "chunks are there"),
        ("part-1 flipped-2", 3, "damaged"),
    ],
)
def test_shards_that_are_not_those_of_one_artifact(
    server: ForkServer, work: Path, given: str, code: int, why: str
) -> None:
    said_well(server.run(work, *STAGES["merge"].line("-q", old=True)), {0})
    before = fingerprint(work / "out.zarr")
    for name in ("cut", "flipped"):
        path = stages.copy_of(work / "part-2-of-2.zarr", work / f"{name}-2-of-2.zarr")
        chunk = campaign.chunk_files(path / "reconstruction")[-1]
        content = bytearray(chunk.read_bytes())
        content[len(content) // 2] ^= 4
        chunk.unlink() if name == "cut" else chunk.write_bytes(content)
    paths = [f"{name}-of-2.zarr" for name in given.split()]
    done = server.run(work, "merge", *paths, "-q", "-f", "-o", "out.zarr")
    said_well(done, {code})
    assert why in done.err
    assert fingerprint(work / "out.zarr") == before and not stages.left_over(work)


@pytest.mark.parametrize("name", sorted(stages.READERS))
def test_other_formats_are_refused_by_name(server: ForkServer, work: Path, name: str) -> None:
    from trust import forgery

    for version in (OLDEST - 1, FORMAT_VERSION + 1):
        if name.endswith(".pt"):
            values = torch.load(work / name, weights_only=True)
            values["speechscope"]["format_version"] = version
            torch.save(values, work / name)
        else:
            forgery.reseal_root(work / name, "", format_version=version)
        for line in (f"info {name}", stages.READERS[name][-1]):
            done = server.run(work, *line.split())
            said_well(done, {3})
            assert f"format version {version}; this speechscope reads {OLDEST}" in done.err


@pytest.mark.parametrize("name", [n for n in sorted(stages.READERS) if n.endswith(".pt")])
def test_a_foreign_checkpoint(server: ForkServer, work: Path, name: str) -> None:
    torch.save({"w": torch.zeros(3)}, work / name)
    for line in stages.READERS[name]:
        done = server.run(work, *line.split())
        said_well(done, {3})
        assert "not written by speechscope" in done.err


def test_every_writing_command_is_attacked() -> None:
    from speechscope.stages import STAGES as COMMANDS

    attacked = {stage.arguments.split()[0] for stage in STAGES.values()}
    # listen writes by relevance and report, demo by all of them.
    reading = {"score", "info", "check", "doctor", "help"}
    assert attacked == set(COMMANDS) - reading - {"listen", "demo"}
    assert set(CHEAP) < set(STAGES) and np.all([s.other or s.before for s in STAGES.values()])
