"""Measure this checkout against an older one: the same commands, in turn, on the same inputs.

    python benchmarks/versions.py OLD_CHECKOUT CORPUS_FOLDER [--repeats 5] [--only epoch,bp]

Every round runs each command once with either version, in changing order; what is printed is the
median over rounds of the ratio of processor time and of time by the clock, new to old (1.05: 5 %
slower). Time to import is part of it: that is what a user waits for.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NEW = Path(__file__).resolve().parents[1]
MODEL = "train -f -q --epochs 1 --per-class 150 -o model.pt"
COMMANDS = {
    "help": "invert --help",
    "prepare": "prepare {corpus} -f -q -o again.zarr",
    "epoch": "train -f -q --epochs 4 --per-class 400 -o epoch.pt",
    "epoch-padded": "train -f -q --epochs 1 --per-class 150 --network freq-overlap-padded -o e.pt",
    "decode-train": "decode-train -f -q --layer 9 --epochs 1 --together 1 -o decoder.pt",
    "bp": "invert model.pt -f -q --layer 9 --method bp --steps 300 --per-class 8 -o bp.zarr",
    "anneal": "invert model.pt -f -q --layer 9 --method anneal --proposals 2000 --per-class 4 "
    "-o anneal.zarr",
    "guided": "relevance -f -q --method guided --all -o guided.zarr",
    "lrp": "relevance -f -q --method lrp --rule epsilon --all -o lrp.zarr",
    "alpha-beta": "relevance -f -q --method lrp --rule alpha-beta --all -o ab.zarr",
    "navai": "navai -f -q -o navai.zarr",
    "kmeans": "cluster -f -q --layer pool1,pool3 --reduce none --algorithm kmeans "
    "--no-probes --any --split train -o clusters.zarr",
    "report": "report bp.zarr -f -q -o report.html",
}


def run(tree: Path, words: str, folder: Path) -> tuple[float, float]:
    """Run a command of a checkout; return its time by the clock and on the processors [s]."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    clock = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "speechscope", *words.split()],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )
    clock = time.perf_counter() - clock
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{tree}: {words}: {done.stderr.strip()}")
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure, and print a line a command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", default=",".join(COMMANDS))
    options = parser.parse_args()
    trees = {"old": options.old.resolve(), "new": NEW}
    folder = Path(tempfile.mkdtemp(prefix="versions-"))
    try:
        for version in trees:  # the older cannot read what the newer writes
            (folder / version).mkdir()
            run(trees["old"], f"prepare {options.corpus.resolve()} -q", folder / version)
            run(trees["old"], MODEL, folder / version)
        print(f"{'command':14} {'old':>8} {'new':>8} {'clock':>7} {'cpu':>7}  (medians, ratios)")
        for name in options.only.split(","):
            words = COMMANDS[name].format(corpus=options.corpus.resolve())
            times: dict[str, list[tuple[float, float]]] = {"old": [], "new": []}
            for number in range(options.repeats + 1):  # the first round compiles and fills caches
                order = ("old", "new") if number % 2 else ("new", "old")
                for version in order:
                    times[version].append(run(trees[version], words, folder / version))
            pairs = list(zip(times["old"][1:], times["new"][1:], strict=True))
            clock, processor = (
                statistics.median(new[which] / old[which] for old, new in pairs) for which in (0, 1)
            )
            seconds = [statistics.median(pair[side][0] for pair in pairs) for side in (0, 1)]
            print(
                f"{name:14} {seconds[0]:8.2f} {seconds[1]:8.2f} {clock:7.3f} {processor:7.3f}",
                flush=True,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
