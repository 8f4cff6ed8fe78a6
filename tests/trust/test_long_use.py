"""A year of use: nothing grows, folders hold thousands, and what was done is on record."""

import gc
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from trust import stages, use
from trust.server import ForkServer
from trust.stages import said_well

from speechscope.corpus.store import Corpus
from speechscope.store.artifact import Artifact
from speechscope.store.checkpoint import Checkpoint
from speechscope.store.lineage import verify

PAGE = os.sysconf("SC_PAGE_SIZE")


def held() -> tuple[int, int]:
    """Return the memory [bytes] and the open files of this process."""
    gc.collect()
    memory = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
    return memory, len(list(Path("/proc/self/fd").iterdir()))


def growth(do: Callable[[], object], rounds: int, warm: int) -> tuple[float, int]:
    """Return what each of the last rounds added to the memory [bytes] and to the open files."""
    for _ in range(warm):
        do()
    memory, files = held()
    for _ in range(rounds):
        do()
    after, left = held()
    return (after - memory) / rounds, left - files


def readers(work: Path) -> dict[str, Callable[[], object]]:
    """What a session that stays open does again and again."""
    return {
        "artifact": lambda: Artifact(work / "inversion.zarr").read("reconstruction"),
        "deep": lambda: verify(work / "corpus.zarr", deep=True),
        "checkpoint": lambda: Checkpoint(work / "decoder.pt").values,
        "corpus": lambda: Corpus(work / "corpus.zarr").centred(np.arange(6)),
    }


@pytest.mark.parametrize("name", ("artifact", "deep", "checkpoint", "corpus"))
def test_opening_again_and_again_leaves_nothing_open(work: Path, name: str) -> None:
    _, files = growth(readers(work)[name], rounds=12, warm=3)
    assert files == 0


@pytest.mark.heavy
@pytest.mark.parametrize("name", ("artifact", "deep", "checkpoint", "corpus"))
def test_opening_again_and_again_takes_no_memory(work: Path, name: str) -> None:
    added, files = growth(readers(work)[name], rounds=400, warm=60)
    assert files == 0 and added < 8_000  # a leaked array would be 80,000 and more


@pytest.mark.heavy
@pytest.mark.parametrize(("name", "most"), [*zip(use.LONG, (20e6, 60e6), strict=True)])
def test_a_long_run_takes_no_more_memory(
    server: ForkServer, work: Path, name: str, most: float
) -> None:
    early, late = use.memory_of(server, work, name)
    # The history and its checkpoint grow by a line an epoch.
    assert late - early < most, (early, late)


def test_a_folder_of_many_artifacts(server: ForkServer, work: Path) -> None:
    names = use.many(work, 150)
    done = server.run(work, "check", "--deep", *names)
    said_well(done, {0})
    assert done.out.count("every byte read") == len(names)
    damaged = work / names[77] / "optimum/c.0.0.0.0"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    done = server.run(work, "check", *names)
    said_well(done, {3})
    assert names[77] in done.err


@pytest.mark.heavy
def test_a_folder_of_thousands(server: ForkServer, work: Path) -> None:
    names = use.many(work, 3000)
    done = server.run(work, "check", "--deep", *names)
    said_well(done, {0})
    line = stages.STAGES["prepare"].line("-q")
    said_well(server.run(work, *line), {0})


def test_an_artifact_tells_all_that_was_done(server: ForkServer, work: Path) -> None:
    done = server.run(work, "info", "inversion.zarr", "--json")
    facts = json.loads(done.out)
    words = [line.split(" ", 1)[1] for line in facts["history"]]
    assert [word.split()[1] for word in words] == ["prepare", "train", "decode-train", "invert"]
    assert "--network freq-padded" in words[1] and facts["seed"] == 0
    assert {"speechscope", "python", "torch", "zarr"} <= set(facts["software"])
    (work / "model.pt").rename(work / "moved.pt")
    done = server.run(work, "info", "inversion.zarr")
    said_well(done, {0})
    assert "(the model model.pt: not there as it was)" in done.out
    values = torch.load(work / "decoder.pt", weights_only=True)
    assert values["speechscope"]["argv"][1] == "decode-train"
