"""What going on with a stopped training costs, and what a second process is worth.

    python benchmarks/resume.py CORPUS [--epochs N] [--per-class N] [--repeats N]

`speechscope train` over N epochs; over half of them and then over all with --resume; and, started
by torchrun, in two processes of one thread each. Each is a process of its own; final weights are
compared first. Printed are the seconds of an epoch, those outside the epochs (starting, reading the
corpus, keeping the state, writing), in which a resumed run may differ from one begun anew, and the
processor time of everything, which other programs on the machine hardly change.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from speechscope.store.checkpoint import Checkpoint


class Run(NamedTuple):
    """One training: the seconds of its median epoch, those outside its epochs, processor time."""

    epoch: float
    outside: float
    processor: float


def run(
    corpus: Path,
    model: Path,
    arguments: argparse.Namespace,
    *,
    epochs: int,
    again: bool = False,
    processes: int = 1,
) -> Run:
    """Train, to `model`."""
    before = len(Checkpoint(model).values["history"]) if again else 0
    start = [sys.executable, "-W", "ignore"]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [*start, "-m", "speechscope", "train", str(corpus), "-q", "-o", str(model)]
    command += ["--epochs", str(epochs), "--per-class", str(arguments.per_class)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(2 // processes)}
    begun, used = time.perf_counter(), processor()
    subprocess.run(
        command + ["--resume"] * again, check=True, env=environment, stdout=subprocess.DEVNULL
    )
    wall = time.perf_counter() - begun
    seconds = [epoch["seconds"] for epoch in Checkpoint(model).values["history"][before:]]
    return Run(statistics.median(seconds), wall - sum(seconds), processor() - used)


def processor() -> float:
    """Return the processor time of all processes started so far that have ended [s]."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def apart(first: Path, second: Path) -> float:
    """Return the largest difference between the last weights of two models."""
    one, other = (Checkpoint(path).values["state"]["weights"] for path in (first, second))
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--epochs", type=int, default=6, help="an even number")
    parser.add_argument("--per-class", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    names = ("whole", "first half", "resumed", "two processes")
    found: dict[str, list[Run]] = {name: [] for name in names}
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as folder:
            models = {name: Path(folder) / f"{name.split()[0]}.pt" for name in found}
            half, epochs = arguments.epochs // 2, arguments.epochs
            whole = run(arguments.corpus, models["whole"], arguments, epochs=epochs)
            first = run(arguments.corpus, models["resumed"], arguments, epochs=half)
            resumed = run(arguments.corpus, models["resumed"], arguments, epochs=epochs, again=True)
            two = run(
                arguments.corpus, models["two processes"], arguments, epochs=epochs, processes=2
            )
            if apart(models["whole"], models["resumed"]):
                raise SystemExit("the resumed run ended with other weights")
            found["whole"].append(whole)
            found["resumed"].append(resumed)
            found["first half"].append(first)
            found["two processes"].append(two)
            print(
                "  ".join(f"{n} {r[-1].epoch:.2f} s an epoch" for n, r in found.items()), flush=True
            )
            print(f"one process against two: {apart(models['whole'], models['two processes']):.1e}")
    for name, runs in found.items():
        print(
            f"{name:14} {statistics.median(r.epoch for r in runs):6.2f} s an epoch, "
            f"{statistics.median(r.outside for r in runs):5.2f} s outside the epochs, "
            f"{statistics.median(r.processor for r in runs):6.2f} s of processor time"
        )


if __name__ == "__main__":
    main()
