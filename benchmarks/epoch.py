"""One epoch of training, against the plain PyTorch that a user would write.

    python benchmarks/epoch.py [--threads N] [--repeats N] [--per-class N] [--workers N]

The same items, initial weights and batches. First both are trained with the same units left out
and their losses compared step by step; then whole epochs are timed in turn, and the median of the
ratios is printed. The plain network is an nn.Sequential with nn.Dropout, fed by a DataLoader.
"""

import argparse
import statistics
import time
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from speechscope.networks.classifiers import TABLES
from speechscope.networks.layers import Network
from speechscope.training.augment import Augmentation
from speechscope.training.loop import train
from speechscope.training.optimizers import AdaGrad
from speechscope.training.outcome import TrainSettings
from speechscope.training.resampling import resample
from speechscope.training.step import Step

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


class Items:
    """Random items, as `speechscope.training.loop.Source` asks for them."""

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
        return self.x[torch.from_numpy(positions)]


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
    step = Step(network, AdaGrad(LR), l2=0.0, dropout=DROPOUT, batch=BATCH)
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
        mine = float(step(x.__getitem__, wanted, generator)[0])
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
    network = Network(TABLES["freq-overlap"], classes=CLASSES)
    network.reset_parameters(torch.Generator().manual_seed(0))
    return network


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--per-class", type=int, default=500)
    parser.add_argument("--dropout", type=float, default=DROPOUT)
    parser.add_argument("--workers", type=int, default=0, help="of the plain DataLoader")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    items = Items(20_000)
    settings = TrainSettings(
        epochs=1,
        per_class=arguments.per_class,
        test_per_class=1,
        batch=BATCH,
        rule=AdaGrad(LR),
        l2=0.0,
        dropout=arguments.dropout,
        seed=0,
        resampled=True,
        smoothing=0.0,
        patience=0,
        augment=Augmentation(),
    )
    rng = np.random.default_rng([0, 0, 0])
    positions = rng.permutation(resample(items.labels("train"), arguments.per_class, rng))
    if not right_conv2d():
        print("note: this PyTorch's nn.Conv2d has a wrong derivative here; timed all the same")
    worst = compare_losses(items, positions, 30)
    print(f"losses of 30 steps, same units left out: largest relative difference {worst:.1e}")
    if worst > TOLERANCE:
        raise SystemExit(f"the losses differ by more than {TOLERANCE}")
    ratios, times = [], []
    for _ in range(arguments.repeats):
        weights = fresh().state_dict()
        network = plain(weights, [nn.Dropout(arguments.dropout) for _ in range(3)])
        data = Subset(TensorDataset(items.x, items.y), positions.tolist())
        begun = time.perf_counter()
        plain_epoch(network, DataLoader(data, BATCH, num_workers=arguments.workers))
        middle = time.perf_counter()
        train(fresh(), items, settings)
        end = time.perf_counter()
        times.append((middle - begun, end - middle))
        ratios.append((middle - begun) / (end - middle))
        print(f"plain {times[-1][0]:6.2f} s   here {times[-1][1]:6.2f} s   {ratios[-1]:.2f}×")
    print(
        f"{len(positions)} items, {arguments.threads} threads, dropout {arguments.dropout}: "
        f"median {statistics.median(ratios):.2f}× "
        f"(plain {statistics.median(t[0] for t in times):.2f} s, "
        f"here {statistics.median(t[1] for t in times):.2f} s)"
    )


if __name__ == "__main__":
    main()
