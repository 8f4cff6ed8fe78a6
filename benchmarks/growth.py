"""How commands grow: one Dask worker against two, one process against two, results equal.

    python benchmarks/growth.py model.pt corpus_folder             # workers of a LocalCluster
    python benchmarks/growth.py model.pt corpus_folder --separate  # `dask scheduler`, `dask worker`
    python benchmarks/growth.py model.pt corpus_folder --alone     # processor seconds of one
    python benchmarks/growth.py model.pt --torchrun                # training, 1 process against 2

``invert`` and ``relevance`` do the same items with one worker and with two, each on one thread;
their arrays are compared, digest by digest, with those of this process before anything is timed.
Then they take turns; the medians and the median of the ratios of neighbouring runs are printed.
Connecting and starting workers is not timed: it is the same few seconds however long the work is.
``--json FILE`` writes what `scale_model.py` reads.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # of the workers, which inherit it

import torch

from speechscope import cli
from speechscope.corpus.store import Corpus
from speechscope.inversion.source import CorpusExamples
from speechscope.inversion.writing import BLOCK, Inverter, write_inversion
from speechscope.networks.saved import load_classifier
from speechscope.networks.subject import subject_of
from speechscope.relevance.store import Explainer, write_relevance
from speechscope.stages.invert import Invert
from speechscope.stages.relevance import Relevance
from speechscope.store.artifact import Artifact
from speechscope.store.lineage import ancestor
from speechscope.store.record import Record, new_record
from speechscope.store.writer import create_artifact
from speechscope.work.dask import dask_workers
from speechscope.work.local import Executor, Serial
from speechscope.work.tasks import Results, Task, carry_out, tasks_of

LAYERS, STEPS = (3, 9), 60
METHODS = ("guided", "lrp", "integrated")
TASKS = 200
"""Of nothing, for what a task costs beside its work."""

Write = Callable[[Path, int, Executor], None]  # path, items, who


def invert_with(model: Path) -> Write:
    """Return what writes reconstructions of so many test items."""
    trained = load_classifier(model)
    corpus = Corpus(ancestor(model, trained.checkpoint.record, "corpus"))
    settings = Invert(method=("bp",), steps=STEPS)

    def write(path: Path, items: int, who: Executor) -> None:
        examples = CorpusExamples(corpus, corpus.items("test")[:items])
        with create_artifact(path, "benchmark", record("inversion"), force=True) as writer:
            work = Inverter(settings, corpus, examples, trained.network, LAYERS, {})
            write_inversion(writer, work, step=min(BLOCK, items), executor=who)

    return write


def relevance_with(model: Path) -> Write:
    """Return what writes the relevance of so many test items."""
    subject = subject_of(model, None, None, None, torch.device("cpu"))
    settings = Relevance(method=METHODS, frame=512)

    def write(path: Path, items: int, who: Executor) -> None:
        test = subject.corpus.items("test")[:items]
        work = Explainer(subject, test[:1], settings)
        with create_artifact(path, "benchmark", record("relevance"), force=True) as writer:
            write_relevance(writer, work, test, executor=who)

    return write


def record(kind: str) -> Record:
    """Return the record of an artifact nobody keeps."""
    return new_record(kind, config={}, seed=0, device="cpu")


def nothing(task: Task, progress: Any) -> Results:
    """Do nothing for a task."""
    return Results([])


@contextmanager
def workers_of(count: int, folder: Path, separate: bool) -> Iterator[Executor]:
    """Start a scheduler with so many workers of one thread, and connect to it."""
    with ExitStack() as stack:
        if separate:
            file = folder / f"scheduler-{count}.json"
            at = ["--scheduler-file", str(file), "--no-dashboard"]
            alone = ["--nthreads", "1", "--local-directory", str(folder)]
            started = [run_dask("scheduler", *at, "--host", "127.0.0.1", "--port", "0")]
            stack.callback(end, started)
            started += [run_dask("worker", *at, *alone) for _ in range(count)]
            while not file.exists():
                time.sleep(0.1)
            address = str(file)
        else:
            from distributed import LocalCluster

            cluster = stack.enter_context(
                LocalCluster(  # type: ignore[no-untyped-call]
                    n_workers=count,
                    threads_per_worker=1,
                    dashboard_address=":0",
                    host="127.0.0.1",
                    local_directory=str(folder),
                )
            )
            address = cluster.scheduler_address
        executor = stack.enter_context(dask_workers(address))
        executor._client.wait_for_workers(count, timeout=60)
        yield executor


def end(processes: "list[subprocess.Popen[bytes]]") -> None:
    """End processes."""
    for process in processes:
        process.terminate()
        process.wait()


def run_dask(what: str, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start a scheduler or a worker."""
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.dask_{what}", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},  # of `nothing`
    )


def seconds(run: Callable[[], object]) -> float:
    """Return how long it took."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def grow(
    name: str,
    write: Write,
    folder: Path,
    start: Callable[[int], AbstractContextManager[Executor]],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Time a command with one worker and with two, and print a line."""
    out, few, items = folder / "out.zarr", options.items // 4, options.items
    if options.alone:
        return alone_of(name, write, out, items)
    write(out, few, Serial())
    alone = Artifact(out).contents
    small, times = [], []
    for _ in range(options.repeats):
        times.append([0.0, 0.0])
        for count in (1, 2):
            # One cluster at a time: a worker that waits takes a twentieth of a core all the same.
            with start(count) as who:
                write(out, few, who)  # for which a worker imports what it needs
                if Artifact(out).contents != alone:
                    raise SystemExit(f"{name}: arrays of workers are not those of one process")
                if count == 1:
                    small.append(seconds(partial(write, out, few, who)))
                times[-1][count - 1] = seconds(partial(write, out, items, who))
    here = seconds(lambda: write(out, items, Serial()))
    found = {
        **sizes(out, items),
        "few_items": few,
        "here": here,
        "few": statistics.median(small),
        "one": statistics.median(first for first, _ in times),
        "two": statistics.median(second for _, second in times),
        "ratio": statistics.median(first / second for first, second in times),
    }
    print(
        f"{name:>10} {items} items: this process {here:6.2f} s, 1 worker {found['one']:6.2f} s, "
        f"2 workers {found['two']:6.2f} s, ratio {found['ratio']:.2f}; arrays equal",
        flush=True,
    )
    return found


def sizes(out: Path, items: int) -> dict[str, Any]:
    """Return what was written for so many items: arrays that grow with them, in blocks."""
    held = Artifact(out)
    grown = [entry for name, entry in held.contents.items() if "item" in held.dims(name)[:-1]]
    return {
        "items": items,
        "layers": len(LAYERS),
        "steps": STEPS,
        "bytes": sum(entry["bytes"] for entry in grown),
        "files": sum(entry["chunks"] for entry in grown),
        "memory": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,  # of Linux, in KiB
    }


def alone_of(name: str, write: Write, out: Path, items: int) -> dict[str, Any]:
    """Count the processor seconds of this process, which other processes do not change much."""
    write(out, items // 4, Serial())
    began = time.process_time()
    write(out, items, Serial())
    found = {**sizes(out, items), "cpu": time.process_time() - began}
    print(
        f"{name:>10} {items} items: {found['cpu']:.2f} s of one processor, "
        f"{found['memory'] / 1e6:.0f} MB at most",
        flush=True,
    )
    return found


def task_cost(folder: Path, who: Executor) -> float:
    """Return what a task costs beside its work [s]."""
    import growth  # as workers can, which are not this program
    import numpy as np

    with create_artifact(folder / "none.zarr", "benchmark", record("none"), force=True) as writer:
        tasks = list(tasks_of(np.arange(TASKS), 1))
        took = seconds(lambda: list(carry_out(writer, growth.nothing, tasks, who, total=TASKS)))
    return took / TASKS


def preparing(root: Path, folder: Path, repeats: int) -> dict[str, Any]:
    """Time `prepare` with one thread and with two."""
    out = folder / "corpus.zarr"

    def run(workers: int) -> None:
        with redirect_stdout(StringIO()):
            done = cli.run(["prepare", str(root), "-qfo", str(out), "--workers", str(workers)])
        if done not in (0, 4):
            raise SystemExit(f"prepare {root}: exit code {done}")

    run(1)
    times = [[seconds(partial(run, n)) for n in (1, 2)] for _ in range(repeats)]
    held = Artifact(out)
    hours = held.array("waveform").shape[0] / 16000 / 3600
    found = {
        "hours": hours,
        "items": held.array("label").shape[0],
        "one": statistics.median(first for first, _ in times),
        "two": statistics.median(second for _, second in times),
        "bytes": sum(entry["bytes"] for entry in held.contents.values()),
        "files": sum(entry["chunks"] for entry in held.contents.values()),
    }
    print(f"   prepare {3600 * hours:.0f} s of speech: {found['one']:.2f} s, {found['two']:.2f} s")
    return found


GROUPS = ((1, 1), (1, 2), (2, 1))
"""Processes, and threads of each."""


def training(corpus: Path, folder: Path, repeats: int, more: list[str]) -> None:
    """Time the last epoch of one process with one thread and with two, and of two processes."""
    took: dict[tuple[int, int], list[float]] = {group: [] for group in GROUPS}
    for _ in range(repeats):
        for processes, threads in GROUPS:
            torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
            launch = [*torchrun, "-m"] if processes > 1 else []
            line = ["train", str(corpus), *more, "--json", "-qf", "-o", str(folder / "model.pt")]
            done = subprocess.run(
                [sys.executable, "-m", *launch, "speechscope", *line],
                env={**os.environ, "OMP_NUM_THREADS": str(threads)},
                capture_output=True,
                text=True,
                check=True,
            )
            took[processes, threads].append(float(json.loads(done.stdout)["last"]["seconds"]))
    usual = took[1, 2]
    for (processes, threads), times in took.items():
        ratio = statistics.median(a / b for a, b in zip(usual, times, strict=True))
        print(
            f"training, an epoch: {processes} of {threads} threads "
            f"{statistics.median(times):6.2f} s, {ratio:.2f} times as fast as 1 of 2",
            flush=True,
        )


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("root", type=Path, nargs="?", help="a corpus folder, for prepare")
    parser.add_argument("--separate", action="store_true")
    parser.add_argument("--torchrun", action="store_true")
    parser.add_argument("--per-class", type=int, default=500, help="of --torchrun")
    parser.add_argument("--alone", action="store_true", help="this process, in processor seconds")
    parser.add_argument("--only", default="invert,relevance")
    parser.add_argument("--items", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.torchrun:
            record_of = load_classifier(options.model).checkpoint.record
            more = ["--epochs", "2", "--per-class", str(options.per_class)]
            training(ancestor(options.model, record_of, "corpus"), folder, options.repeats, more)
            return
        start = partial(workers_of, folder=folder, separate=options.separate)
        made = {"invert": invert_with, "relevance": relevance_with}
        for command in options.only.split(","):
            found[command] = grow(command, made[command](options.model), folder, start, options)
        if not options.alone:
            with start(1) as one:
                found["task"] = task_cost(folder, one)
            print(f"   a task costs {1e3 * found['task']:.1f} ms beside its work")
        if options.root is not None:
            found["prepare"] = preparing(options.root, folder, options.repeats)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
