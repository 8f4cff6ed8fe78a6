"""A year of use in minutes: memory of long runs, and folders of thousands of artifacts."""

import os
import shutil
import time
from collections import Counter
from pathlib import Path

import numpy as np
from trust.server import ForkServer, Running
from trust.stages import said_well

PAGE = os.sysconf("SC_PAGE_SIZE")
TRAIN = "train --network freq-padded --per-class 6 -q -f --epochs 400 -o out.pt"
INVERT = (
    "invert model.pt --layer 1 --method bp --steps 4 --input noise --count 6000 -q -f -o out.zarr"
)
LONG = {"training, 400 epochs": (TRAIN, 0), "inversion, 94 blocks of 64": (INVERT, 64)}


def watched(running: Running) -> list[int]:
    """Return the memory of a process [bytes], every 50 ms until it ends."""
    seen: list[int] = []
    try:
        while pages := int(Path(f"/proc/{running.pid}/statm").read_text().split()[1]):
            seen.append(pages * PAGE)
            time.sleep(0.05)
    except (FileNotFoundError, ProcessLookupError):
        pass
    return seen


def memory_of(server: ForkServer, work: Path, name: str) -> tuple[float, float]:
    """Run a long command; return its memory in its second quarter, and at its end [bytes]."""
    line, block = LONG[name]
    running = server.start(work, *line.split(), block=block)
    seen = watched(running)
    said_well(running, {0})
    early = seen[len(seen) // 4 : len(seen) // 2]
    return float(np.median(early)), float(np.median(seen[-len(seen) // 8 :]))


def many(work: Path, count: int) -> list[str]:
    """Put copies of one artifact into the folder; return their names."""
    names = [f"run-{number:05d}.zarr" for number in range(count)]
    for name in names:
        shutil.copytree(work / "maximum.zarr", work / name)
    return names


def long_use(server: ForkServer, work: Path, count: int) -> Counter[str]:
    """Count megabytes and milliseconds: of long runs, and of `count` artifacts in a folder."""
    found: Counter[str] = Counter()
    for name in LONG:
        early, late = memory_of(server, work, name)
        found[f"{name}, early [MB]"], found[f"{name}, at the end [MB]"] = (
            round(early / 1e6), round(late / 1e6))  # fmt: skip
        assert late - early < 60e6, (early, late)
    names = many(work, count)
    for words in ("check", "check --deep", "info"):
        chosen = names if words != "info" else names[:1]
        begun = time.monotonic()
        running = server.start(work, *words.split(), *chosen)
        seen = watched(running)
        said_well(running, {0})
        found[f"{words} of {len(chosen)} artifacts [ms]"] = round(1e3 * (time.monotonic() - begun))
        found[f"{words} of {len(chosen)} artifacts [MB]"] = round(max(seen, default=0) / 1e6)
    return found
