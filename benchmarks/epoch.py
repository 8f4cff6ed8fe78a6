"""One epoch of training, against the plain PyTorch that a user would write.

    python benchmarks/epoch.py [--threads N] [--repeats N] [--per-class N] [--against 0 1-same]

The same items, initial weights and batches. First both are trained with the same units left out
and their losses compared step by step; then whole epochs are timed in turn, each in a process of
its own, and the medians and the median of the ratios within a round are printed. The plain network
is an nn.Sequential with nn.Dropout, fed by a DataLoader with as many workers (persistent ones).

Ours runs in the environment that the command makes (threads that sleep while they wait), the plain
loop in PyTorch's own, which its user has, and once ("same") in ours, so that what is due to the
environment and what to the code stand apart.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from speechscope.fast.training_step import FastStep
from speechscope.networks.layers import Conv, Linear, Network
from speechscope.registry import NETWORKS
from speechscope.stages.train import Train
from speechscope.training.classifier import ClassifierTraining
from speechscope.training.source import CorpusSource, resample

CLASSES = 48
BATCH = 128
LR = 0.01
DROPOUT = 0.5
TOLERANCE = 1e-9
"""Largest relative difference of a loss: rounding, grown over the steps compared."""


class KeptUnits(nn.Module):
    """Dropout of given units, to compare like with like."""

    kept: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Return x with the other units 0, scaled as nn.Dropout does."""
        mask = torch.zeros(x.shape[1])
        mask[self.kept] = x.shape[1] / len(self.kept)
        return x * mask


def plain(weights: dict[str, Tensor], dropout: Iterable[nn.Module]) -> nn.Sequential:
    """Return freq-overlap as a user would write it, with given weights."""
    layers: list[nn.Module] = []
    for before, maps, kernel in ((1, 8, (8, 16)), (8, 16, (6, 1)), (16, 32, (4, 1))):
        layers += [nn.Conv2d(before, maps, kernel), nn.ReLU(), nn.MaxPool2d((5, 1), (2, 1))]
    layers += [nn.Flatten()]
    before = 576
    for drop in dropout:
        layers += [nn.Linear(before, 1000), nn.ReLU(), drop]
        before = 1000
    layers += [nn.Linear(1000, CLASSES)]
    network = nn.Sequential(*layers)
    with torch.no_grad():
        for parameter, value in zip(network.parameters(), weights.values(), strict=True):
            parameter.copy_(value)
    return network


def plain_epoch(network: nn.Module, loader: Iterable[tuple[Tensor, Tensor]]) -> list[float]:
    """Train for an epoch; return the loss of every step."""
    optimizer = torch.optim.Adagrad(network.parameters(), lr=LR)
    criterion = nn.CrossEntropyLoss()
    network.train()
    losses = []
    for x, wanted in loader:
        optimizer.zero_grad()
        loss = criterion(network(x), wanted)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


class Items(CorpusSource):
    """Random items in place of those of a corpus."""

    held = True

    def __init__(self, count: int) -> None:
        rng = torch.Generator().manual_seed(0)
        self.y = torch.randint(CLASSES, (count,), generator=rng)
        # About as hard as speech: were the classes learnt at once, the derivatives would become
        # too small for normal numbers, with which processors are many times slower.
        centres = 0.03 * torch.randn(CLASSES, 1, 201, 16, generator=rng)
        self.x = torch.randn(count, 1, 201, 16, generator=rng) + centres[self.y]
        self.fold = np.arange(CLASSES)

    @property
    def mean(self) -> torch.Tensor:
        """Return zeros."""
        return torch.zeros(1, 201, 16)

    def labels(self, split: str) -> NDArray[np.int64]:
        """Return labels; the test split has a few items, as only training is timed."""
        labels: NDArray[np.int64] = self.y.numpy()
        return labels[: {"train": None, "dev": 0, "test": CLASSES}[split]]

    def fetch(self, split: str, positions: NDArray[np.integer]) -> Tensor:
        """Return inputs."""
        return torch.index_select(self.x, 0, torch.from_numpy(positions))


def right_conv2d() -> bool:
    """Whether nn.Conv2d's weight derivative is right for the first layer.

    oneDNN's is wrong on some processors when the kernel is as wide as the input (seen with
    PyTorch 2.13, oneDNN 3.12, AVX-512, width 16).
    """
    x, grad = torch.randn(2, 1, 201, 16), torch.randn(2, 8, 194, 1)
    found = []
    for kind in (torch.float32, torch.float64):
        weight = torch.zeros(8, 1, 8, 16, dtype=kind, requires_grad=True)
        nn.functional.conv2d(x.to(kind), weight).backward(grad.to(kind))  # type: ignore[no-untyped-call]
        assert weight.grad is not None
        found.append(weight.grad.double())
    return bool((found[0] - found[1]).abs().max() < 1e-3 * found[1].abs().max())


def compare_losses(items: Items, positions: NDArray[np.int64], steps: int) -> float:
    """Return the largest relative difference between the losses of both, units being equal.

    In double precision: AdaGrad's first steps are the signs of the derivatives, and the rounding
    of those near zero drives any two single-precision runs apart. It also keeps oneDNN out.
    """
    network = fresh().double()
    step = FastStep(network, Train(lr=LR, dropout=DROPOUT, batch=BATCH))
    drops = [KeptUnits() for _ in range(3)]
    other = plain(network.state_dict(), drops).double()
    with torch.no_grad():
        for parameter, value in zip(other.parameters(), network.parameters(), strict=True):
            parameter.copy_(value)
    optimizer = torch.optim.Adagrad(other.parameters(), lr=LR)
    generator = torch.Generator().manual_seed(1)
    worst = 0.0
    for index in range(steps):
        part = torch.from_numpy(positions[index * BATCH : (index + 1) * BATCH])
        x, wanted = items.x[part].double(), items.y[part]
        mine = float(step(x.__getitem__, wanted, generator)[0]) / len(wanted)
        for drop, kept in zip(drops, step.kept, strict=True):
            drop.kept = kept
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(other(x), wanted)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        worst = max(worst, abs(mine - float(loss.detach())) / float(loss.detach()))
    return worst


def fresh() -> Network:
    """Return the network with its first weights."""
    network: Network = NETWORKS["freq-overlap"](classes=CLASSES)
    network.reset_parameters(torch.Generator().manual_seed(0))
    return network


def timed_plain(items: Items, positions: NDArray[np.int64], dropout: float, workers: int) -> float:
    """Return the seconds of an epoch of the plain loop, its workers running already.

    From the second batch on, as if the first took as long as the others: the time workers need to
    start is not counted.
    """
    network = plain(fresh().state_dict(), [nn.Dropout(dropout) for _ in range(3)])
    plain_epoch(network, [(items.x[:BATCH], items.y[:BATCH])] * 10)
    data = Subset(TensorDataset(items.x, items.y), positions.tolist())
    loader = DataLoader(data, BATCH, num_workers=workers, persistent_workers=workers > 0)
    batches = iter(loader)
    next(batches)
    begun = time.perf_counter()
    plain_epoch(network, batches)
    return (time.perf_counter() - begun) * len(loader) / (len(loader) - 1)


def timed_ours(items: Items, settings: Train) -> float:
    """Return the seconds of an epoch here, everything that `train` does included."""
    ClassifierTraining(fresh(), items, replace(settings, per_class=20)).run()
    begun = time.perf_counter()
    ClassifierTraining(fresh(), items, settings).run()
    return time.perf_counter() - begun


def product_rate(threads: int) -> float:
    """Return the GFLOP a second of products of matrices that stay in a processor's caches."""
    torch.set_num_threads(1)
    a, out = torch.randn(512, 512), [torch.empty(512, 512) for _ in range(threads)]
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(5):
            begun = time.perf_counter()
            list(pool.map(lambda y: [torch.mm(a, a, out=y) for _ in range(100)], out))
            best = max(best, threads * 100 * 2 * 512**3 / (time.perf_counter() - begun) / 1e9)
    return best


def step_flop(kept: float) -> float:
    """Return the GFLOP of the products of a step when a share of the hidden units is left in."""
    network = fresh()
    total = 0.0
    for number, name in enumerate(network.names, start=1):
        row = network.table[number - 1]
        if not isinstance(row, (Conv, Linear)):
            continue
        weight, _ = network.parameters_of(name)
        forward = float(weight.numel())
        if isinstance(row, Conv):
            _, bins, frames = network.shapes[number - 1]
            forward *= bins * frames
        else:
            forward *= kept if name != "fc1" else 1.0  # units it reads
            forward *= kept if weight.shape[0] != CLASSES else 1.0  # units it makes
        # Forward, and back by the weights and by the inputs, which the first layer does without.
        total += forward * BATCH * 2 * (2 if number == 1 else 3)
    return total / 1e9


class Contestant:
    """A process that runs an epoch whenever it is asked to, in an environment of its own."""

    def __init__(self, kind: str, arguments: argparse.Namespace) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
        if kind == "ours" or kind.endswith("same"):
            environment["OMP_WAIT_POLICY"] = "PASSIVE"
        command = [sys.executable, "-W", "ignore", __file__, "--contestant", kind]
        for name in ("threads", "per_class", "dropout"):
            command += ["--" + name.replace("_", "-"), str(getattr(arguments, name))]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.times: list[float] = []

    def run(self) -> None:
        """Run an epoch and keep its seconds."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print("run", file=self._process.stdin, flush=True)
        self.times.append(float(self._process.stdout.readline()))

    def end(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve(kind: str, items: Items, positions: NDArray[np.int64], settings: Train) -> None:
    """Run an epoch for every line on standard input, and print its seconds."""
    for _ in sys.stdin:
        if kind == "ours":
            print(timed_ours(items, settings), flush=True)
        else:
            workers = int(kind.split("-")[1])
            print(timed_plain(items, positions, settings.dropout, workers), flush=True)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--per-class", type=int, default=500)
    parser.add_argument("--dropout", type=float, default=DROPOUT)
    parser.add_argument(
        "--against",
        nargs="+",
        default=["0-same", "1-same", "0", "1", "2"],
        help="plain loops: workers of the DataLoader, and -same where in our environment",
    )
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    items = Items(20_000)
    rng = np.random.default_rng([0, 0, 0])
    positions = rng.permutation(resample(items.labels("train"), arguments.per_class, rng))
    if arguments.contestant:
        settings = Train(
            epochs=1,
            per_class=arguments.per_class,
            test_per_class=1,
            batch=BATCH,
            lr=LR,
            dropout=arguments.dropout,
        )
        serve(arguments.contestant, items, positions, settings)
        return
    if not right_conv2d():
        print("note: this PyTorch's nn.Conv2d has a wrong derivative here; timed all the same")
    worst = compare_losses(items, positions, 30)
    print(f"losses of 30 steps, same units left out: largest relative difference {worst:.1e}")
    if worst > TOLERANCE:
        raise SystemExit(f"the losses differ by more than {TOLERANCE}")
    del items
    kinds = [f"plain-{one}" for one in arguments.against]
    found = {kind: Contestant(kind, arguments) for kind in ["ours", *kinds]}
    rates = []
    for _ in range(arguments.repeats):
        rates.append(product_rate(arguments.threads))
        for kind, one in found.items():
            one.run()
            print(f"{kind} {one.times[-1]:.2f} s", end="  ", flush=True)
        print()
    for one in found.values():
        one.end()
    ours, steps = found["ours"].times, -(-len(positions) // BATCH)
    print(f"{len(positions)} items, {arguments.threads} threads, dropout {arguments.dropout}")
    for kind in kinds:
        times = found[kind].times
        ratio = statistics.median(a / b for a, b in zip(times, ours, strict=True))
        print(f"{kind:14} {statistics.median(times):6.2f} s   {ratio:.2f} x ours")
    middle, rate = statistics.median(ours), statistics.median(rates)
    flop = step_flop(1 - arguments.dropout)
    print(
        f"ours           {middle:6.2f} s: {1e3 * middle / steps:.1f} ms a step of {flop:.2f} GFLOP "
        f"of products, {flop * steps / middle / rate:.0%} of the {rate:.0f} GFLOP/s reached on "
        "products in cache"
    )


if __name__ == "__main__":
    main()
