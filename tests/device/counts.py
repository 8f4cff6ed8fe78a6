"""Kernels, copies and waits of the hot loops, as the pretend device counts them.

    python tests/device/counts.py        # in a folder for what is made

One "kernel" is one operation of PyTorch for which a device launches at least one. A wait is
whatever the host cannot go on before: a number that is asked for, a copy of pageable memory.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from device import rows

from speechscope.corpus.store import Corpus
from speechscope.inversion.bp import bp
from speechscope.inversion.problem import Problem
from speechscope.networks.saved import build, load_model
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.registry import INVERSION
from speechscope.stages.invert import Invert
from speechscope.stages.train import Train
from speechscope.training.letters import LetterTraining
from speechscope.training.source import CorpusUtterances
from speechscope.training.step import Step


@dataclass(frozen=True)
class Counts:
    """What one round of a loop does."""

    kernels: float
    waits: float
    pageable: float

    def __str__(self) -> str:
        return f"{self.kernels:9.2f} kernels {self.waits:8.3f} waits {self.pageable:8.3f} pageable"


def counted(run: Callable[[], object], rounds: float = 1.0) -> Counts:
    """Return what a run does, divided by its rounds."""
    from device import fakegpu

    fakegpu.reset_counts()
    run()
    found: Any = fakegpu.counts()
    waits = sum(found["syncs"].values())
    pageable = found["syncs"].get("copy to device of pageable memory", 0)
    return Counts(sum(found["kernels"].values()) / rounds, waits / rounds, pageable / rounds)


def difference(run: Callable[[int], object], few: int, many: int) -> Counts:
    """Return what each round costs beyond the first ones: of many less of few, by their number."""
    a, b = counted(lambda: run(few)), counted(lambda: run(many))
    more = many - few
    return Counts(
        (b.kernels - a.kernels) / more,
        (b.waits - a.waits) / more,
        (b.pageable - a.pageable) / more,
    )


def train(optimizer: str) -> Counts:
    """Return the counts of a training step of `freq-overlap`, its inputs on the device."""
    place = torch.device("fakegpu")
    network = build("freq-overlap", (1, 201, 16), 48).to(place)
    step = Step(network, Train(optimizer=optimizer, batch=16))
    x = torch.zeros(16, 1, 201, 16, device=place)
    wanted = torch.zeros(16, dtype=torch.int64, device=place)
    generator = torch.Generator().manual_seed(0)

    def run(count: int) -> None:
        for _ in range(count):
            step(x.__getitem__, wanted, generator)

    return difference(run, 1, 5)


def inverted(method: str, count: str, few: int, many: int) -> Counts:
    """Return the counts of a step of a method at layer 9."""
    place = torch.device("fakegpu")
    rows.make("model.pt")
    model, corpus = load_model(Path("model.pt")), Corpus(Path("seg.zarr"))
    network = model.network.to(place)
    x = torch.from_numpy(corpus.centred(corpus.items("test")[:8])).to(place)
    with torch.no_grad():
        target = network.activation(x, 9)

    def run(steps: int) -> None:
        given: dict[str, Any] = {count: steps}
        settings = Invert(layer=("9",), rate=1e-4, stop=0.0, **given)
        problem = Problem(network, 9, target, list(range(8)), 0.0)
        (bp if method == "bp" else INVERSION[method])(problem, None, settings)

    return difference(run, few, many)


def letters() -> Counts:
    """Return the counts of a batch of letters, trained on."""
    rows.make("utt.zarr")
    corpus = Corpus(Path("utt.zarr"))
    channels, bins = corpus.mean.shape
    network = Wav2Letter(bins, 0.03, channels=channels).to("fakegpu")
    training = LetterTraining(network, CorpusUtterances(corpus), Train(batch=4, lr=1e-3))
    batches = training.batches()

    def run() -> None:
        for batch in training.read(batches):
            training.learn(batch, 0.0)

    return counted(run, len(batches))


def printed(line: str, *reads: str) -> Counts:
    """Return the counts of a command line."""
    for name in reads:
        rows.make(name)
    return counted(lambda: rows.called(line))


LOOPS: dict[str, tuple[str, Callable[[], Counts]]] = {
    "training step, freq-overlap, AdaGrad": ("336, 3 copies", lambda: train("adagrad")),
    "training step, freq-overlap, Adam": ("", lambda: train("adam")),
    "bp step at layer 9": ("109, 1 wait", lambda: inverted("bp", "steps", 20, 60)),
    "annealing round at layer 9": (
        "103, 1 wait",
        lambda: inverted("anneal", "proposals", 100, 300),
    ),
    "letters, a batch": ("1,239 waits a run", letters),
    "navai, a small run": (
        "19,479 kernels a run",
        lambda: printed(
            "navai model.pt --align none,max-lrp --least 1 --device cuda -o n.zarr -f -q",
            "model.pt",
        ),
    ),
    "score relevance.zarr": (
        "6,497; 139 copies",
        lambda: printed("score rel.zarr --device cuda", "rel.zarr"),
    ),
}
"""What is counted, and what it was before it was looked at."""


def main() -> None:
    """Print the table."""
    os.chdir(os.environ.get("ROWS", "."))
    from device import fakegpu

    with rows.pretend(fakegpu.NAME):
        for name, (before, count) in LOOPS.items():
            if not sys.argv[1:] or any(word in name for word in sys.argv[1:]):
                print(f"{name:40} {count()}   was {before or '?'}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
