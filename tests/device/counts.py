"""Kernels, copies and waits of the hot loops, as the pretend device counts them.

    python tests/device/counts.py [WORD ...]     # in a folder for what is made

It drives the command line alone, so that it also counts an older version, the checkout of which
stands first on PYTHONPATH, before ``tests``. One "kernel" is one operation of PyTorch for which a
device launches at least one. A wait is whatever the host cannot go on before: a number that is
asked for, a copy of pageable memory.
"""

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

FEW = "--epochs 1 --per-class 3 --batch 8"
MADE = {
    "seg.zarr": "prepare timit",
    "utt.zarr": "prepare timit --recipe krug2018",
    "model.pt": f"train seg.zarr {FEW}",
    "rel.zarr": "relevance model.pt --method gradient,lrp --items 0:4",
}
"""What the lines read that are counted, and how it is made on the CPU."""


@dataclass(frozen=True)
class Counts:
    """What one round of a loop does.

    Parameters
    ----------
    kernels, waits
        As said above.
    pageable, back
        Copies of pageable memory to the device, and copies to the host, numbers included.
    """

    kernels: float = 0.0
    waits: float = 0.0
    pageable: float = 0.0
    back: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.kernels:9.2f} kernels {self.waits:8.3f} waits {self.pageable:8.3f} pageable "
            f"{self.back:8.3f} back"
        )


def counted(run: Callable[[], object], of: str = "") -> tuple[Counts, float]:
    """Return what a run does, and how often a kernel of this name (without it once)."""
    from device import fakegpu

    fakegpu.reset_counts()
    run()
    found: Any = fakegpu.counts()
    kernels, waits = found["kernels"], found["syncs"]
    pageable = waits.get("copy to device of pageable memory", 0)
    counts = Counts(sum(kernels.values()), sum(waits.values()), pageable, found["to_host"][0])
    often = sum(count for name, count in kernels.items() if of and of in name)
    return counts, float(often or 1)


def difference(few: str, many: str, rounds: float = 0.0, of: str = "") -> Counts:
    """Return what each round costs beyond the first: of a line less of another, by the rounds.

    There are so many more rounds in `many`, or calls of a kernel.
    """
    (a, less), (b, more) = (counted(lambda line=line: called(line), of) for line in (few, many))  # type: ignore[misc]
    count = rounds or more - less
    parts = ("kernels", "waits", "pageable", "back")
    return Counts(*((getattr(b, name) - getattr(a, name)) / count for name in parts))


def called(line: str) -> None:
    """Run a command line; what it says is shown where it fails."""
    from speechscope import cli

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = cli.run(line.split())
    if code not in (0, 4):
        raise RuntimeError(f"speechscope {line}: exit {code}\n{said.getvalue()}")


def make(name: str) -> None:
    """Make what is read, on the CPU, if it is not there; and what that reads."""
    import corpora

    if not OLD:  # other processes may make it, too
        from device import rows

        if name in rows.MADE:
            rows.make(name)
        return
    if name == "timit" and not Path(name).exists():
        corpora.spoken(Path(name), speakers=3, sentences=2)
    if name in MADE and not Path(name).exists():
        for word in MADE[name].split():
            make(word)
        there = "" if OLD and name in ("seg.zarr", "utt.zarr") else "--device cpu"
        called(f"{MADE[name]} {there} -o {name} -q")


def line(command: str, output: str) -> str:
    """Return a line on the device; and make what it reads."""
    for word in command.split():
        make(word)
    return f"{command} --device cuda -o {output} -f -q" if output else f"{command} --device cuda"


def steps(optimizer: str) -> Counts:
    """Return the counts of a training step of `freq-overlap`."""
    given = f"train seg.zarr --epochs 1 --batch 16 --optimizer {optimizer} --per-class"
    few, many = (line(f"{given} {count}", "new.pt") for count in (8, 24))
    return difference(few, many, of="_log_softmax.out")


def inverted(method: str, few: int, many: int) -> Counts:
    """Return the counts of a step of a method at layer 9."""
    given = f"invert model.pt --layer 9 --items 0:4 --method {method}"
    count = "--steps" if method == "bp" else "--proposals"
    less, more = (line(f"{given} {count} {number}", "new.zarr") for number in (few, many))
    return difference(less, more, rounds=many - few)


def scored() -> Counts:
    """Return the counts of a block of `score relevance.zarr`."""
    scores = importlib.import_module(
        "speechscope.relevance.scorecard" if OLD else "speechscope.scores.relevance"
    )
    score = line("score rel.zarr", "")
    found = []
    for blocks in (1, 2):
        with mock.patch.object(scores, "BLOCK", 4 // blocks):
            found.append(counted(lambda: called(score))[0])
    a, b = found
    return Counts(
        b.kernels - a.kernels, b.waits - a.waits, b.pageable - a.pageable, b.back - a.back
    )


def letters() -> Counts:
    """Return the counts of a batch of letters, trained on or answered."""
    given = f"train utt.zarr --recipe krug2018 --width 0.03 {'' if OLD else '--dev 0'} --batch"
    few, many = (line(f"{given} {count} --epochs 1", "new.pt") for count in (2, 1))
    return difference(few, many, of="_log_softmax.out")


def whole(command: str, output: str) -> Counts:
    """Return the counts of a command line."""
    given = line(command, output)
    return counted(lambda: called(given))[0]


OLD = importlib.util.find_spec("speechscope.work") is None
LOOPS: dict[str, Callable[[], Counts]] = {
    "training step, freq-overlap, AdaGrad": lambda: steps("adagrad"),
    "training step, freq-overlap, Adam": lambda: steps("adam"),
    "bp step at layer 9": lambda: inverted("bp", 17, 65),
    "annealing round at layer 9": lambda: inverted("anneal", 100, 300),
    "letters, a batch": letters,
    "navai, a small run": lambda: whole(
        "navai model.pt --align none,max-lrp --least 1", "new.zarr"
    ),
    "score relevance.zarr, a block": scored,
}
"""What is counted."""


@contextlib.contextmanager
def pretend() -> Iterator[None]:
    """Have ``--device cuda`` mean the pretend device, in this version or in an old one."""
    from device import fakegpu

    if not OLD:
        from device import rows

        with rows.pretend(fakegpu.NAME):
            yield
        return
    device = importlib.import_module("speechscope.device")
    import torch

    def choose(name: str) -> torch.device:
        return torch.device("cpu" if name == "cpu" else fakegpu.NAME)

    with mock.patch.object(device, "choose", choose):
        yield


def main() -> None:
    """Print the table."""
    os.chdir(os.environ.get("ROWS", "."))
    with pretend():
        for name, count in LOOPS.items():
            if not sys.argv[1:] or any(word in name for word in sys.argv[1:]):
                print(f"{name:40} {count()}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
