"""What a corpus of many hours costs on a cluster, from what `growth.py` measured on this machine.

    python benchmarks/growth.py model.pt corpus_folder --json measured.json
    python benchmarks/scale_model.py measured.json --hours 1000

The model of a command with W workers, of one thread each:

    T(W) = a + max(b · items / W, d · tasks)

a and b come from two lengths of work with one worker, or b from the processor seconds of one
process (`growth.py --alone`), where nothing else can be timed; d, what the command itself spends on
a task, from tasks that do nothing. What is left over is checked: the time that the model gives for
two workers against the time measured. Bytes and files are proportional to items. Memory is
counted from what the code holds: 40 bytes an item in the command (labels, splits and places of the
corpus), about 350 bytes a chunk file (its digest), and one chunk of each array in a worker.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WORKERS = (1, 16, 64, 256, 1024)
CHUNK = 256  # items of a task
STEPS, LAYERS = 2000, 5  # of invert's default settings
PER_ITEM, PER_FILE = 40, 350  # bytes of memory
INODES = 1_000_000
"""Files that a user of a cluster's file system is commonly allowed (an assumption)."""


def line(measured: Mapping[str, float]) -> tuple[float, float]:
    """Return a [s] and b [s an item] of one worker."""
    if "cpu" in measured:
        return 0.0, measured["cpu"] / measured["items"]
    rate = (measured["one"] - measured["few"]) / (measured["items"] - measured["few_items"])
    return max(0.0, measured["few"] - rate * measured["few_items"]), rate


def check(name: str, measured: Mapping[str, float]) -> None:
    """Print what the model says of two workers beside what was measured."""
    fixed, rate = line(measured)
    if "two" not in measured:
        print(f"{name:>10}: b = {1e3 * rate:.2f} ms an item, of a processor's time; not checked")
        return
    tasks = -(-measured["items"] // CHUNK) * measured.get("layers", 1)
    share = -(-tasks // 2) / tasks  # an odd task is one worker's
    expected = fixed + rate * measured["items"] * share
    off = expected / measured["two"] - 1
    print(
        f"{name:>10}: a = {fixed:.2f} s, b = {1e3 * rate:.2f} ms an item; two workers: model "
        f"{expected:.2f} s, measured {measured['two']:.2f} s ({off:+.0%})"
    )


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def size(count: float) -> str:
    """Return bytes as people say them."""
    for scale, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} B"


def extrapolated(
    name: str, measured: Mapping[str, float], items: float, task: float, more: float
) -> float:
    """Print the cost of so many items; `more` is the work and output beside what was measured."""
    fixed, rate = line(measured)
    layers = LAYERS if "layers" in measured and name == "invert" else 1
    tasks = items / CHUNK * layers
    files = measured["files"] / measured["items"] * items
    volume = measured["bytes"] / measured["items"] * items
    if name == "invert":
        files *= layers / measured["layers"]
        volume *= layers / measured["layers"]
    print(f"\n{name}: {items:.2e} items, {tasks:.2e} tasks")
    for workers in WORKERS:
        work, serial = rate * more * items / workers, task * tasks
        bound = "the command's own share" if serial > work else "work"
        network = (2 * volume) / max(work, serial)
        print(
            f"  {workers:5} workers: {duration(fixed + max(work, serial)):>9}  ({bound} decides; "
            f"{size(network)}/s to and from the disk)"
        )
    memory = PER_ITEM * items + PER_FILE * files
    print(
        f"  output {size(volume)} in {files:.2e} files; memory of the command {size(memory)}; "
        f"work is shared up to {rate * more * items / (task * tasks):.0f} workers"
    )
    return files


def main() -> None:
    """Read the options and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("measured", type=Path, nargs="+", help="what growth.py --json wrote")
    parser.add_argument("--hours", type=float, default=1000)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    for path in options.measured:
        found |= json.loads(path.read_text())
    prepare = found["prepare"]
    per_hour = prepare["items"] / prepare["hours"]
    items = per_hour * options.hours
    print(f"measured on this machine: {per_hour:.0f} items an hour of speech")
    commands = [name for name in ("invert", "relevance") if name in found]
    for name in commands:
        check(name, found[name])
    rate = prepare["one"] / prepare["hours"]
    faster = prepare["one"] / prepare["two"]
    print(f"   prepare: {rate:.1f} s an hour of speech with one thread, {faster:.2f} × with two")

    print(f"\n{options.hours:.0f} hours")
    volume = prepare["bytes"] / prepare["hours"] * options.hours
    files = prepare["files"] / prepare["hours"] * options.hours
    print(
        f"prepare, one machine: {duration(rate * options.hours)} with one thread, "
        f"{duration(rate / faster * options.hours)} with two; {size(volume)} in {files:.2e} files; "
        f"memory of the labels {size(PER_ITEM * items)}"
    )
    counts = {"prepare": files}
    for name in commands:
        measured = found[name]
        more = STEPS / measured["steps"] * LAYERS / measured["layers"] if name == "invert" else 1.0
        counts[name] = extrapolated(name, measured, items, found["task"], more)
    worst = max(counts, key=lambda name: counts[name])
    hours = INODES / (counts[worst] / options.hours)
    print(
        f"\nfirst to break: the number of files of {worst}: {INODES:.0e} of them "
        f"are {hours:.0f} hours of speech; --shard and a folder a shard divide them"
    )


if __name__ == "__main__":
    main()
