"""Everything a GPU is used for, in one run of at most six minutes.

    python benchmarks/gpu.py                  # on the first CUDA device
    python benchmarks/gpu.py --small          # little of everything: does the script run?

First the loops at TIMIT's size, on random inputs: seconds; how many times as long the plain PyTorch
loop takes on the same device; and the share of the roofline: of the time that the products would
take at the rate of a large product, or the bytes at that of a large copy, whichever is longer. Both
rates are measured first. Then the commands: the rows of tests/device/rows.py, each against its
arrays from the CPU, as many as the time allows.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from device import rows

from speechscope.clustering.kmeans import manhattan_kmeans
from speechscope.clustering.reduction import principal_components
from speechscope.clustering.spectral import spectral
from speechscope.features.representations import Representation
from speechscope.features.stft import Transform
from speechscope.inversion.problem import Problem
from speechscope.navai.averages import Averages
from speechscope.networks.autoencoders import Autoencoder, Scheme
from speechscope.networks.layers import Network
from speechscope.networks.saved import build
from speechscope.registry import INVERSION, RELEVANCE
from speechscope.relevance.explain import explained, relevance_by
from speechscope.stages.invert import Invert
from speechscope.stages.relevance import Relevance
from speechscope.stages.train import Train
from speechscope.training.optimizers import AdaGrad, Optimizer
from speechscope.training.step import Step
from speechscope.work import device as devices

SHAPE, CLASSES = (1, 201, 16), 48
SECONDS = 330.0


@dataclass
class Sizes:
    """How much of everything: TIMIT's numbers, or little."""

    epoch: int = 24_000  # 48 classes of 500
    batch: int = 128
    inverted: int = 480
    steps: int = 200
    explained: int = 7_000  # about TIMIT's core test set
    segments: int = 40_000
    points: int = 3_300
    side: int = 8_192


LITTLE = Sizes(32, 16, 4, 3, 4, 16, 60, 64)


@dataclass
class Rates:
    """What the device does at best: multiplications and additions, and bytes, a second."""

    products: float
    copies: float


def synchronised(device: torch.device) -> float:
    """Return the time when all that was asked of the device is done [s]."""
    torch.get_device_module(device).synchronize()
    return time.perf_counter()


def seconds(run: Callable[[], object], device: torch.device, rounds: int = 1) -> float:
    """Return what a round takes, after one that does not count."""
    run()
    begun = synchronised(device)
    for _ in range(rounds):
        run()
    return (synchronised(device) - begun) / rounds


def rates(device: torch.device, side: int) -> Rates:
    """Measure a large product, in single precision, and a large copy."""
    a = torch.rand(side, side, device=device)
    other = torch.empty_like(a)
    product = seconds(lambda: torch.mm(a, a, out=other), device, 5)
    copy = seconds(lambda: other.copy_(a), device, 5)
    return Rates(2 * side**3 / product, 2 * a.nbytes / copy)


@dataclass
class Loop:
    """A loop that is timed.

    Parameters
    ----------
    run
        The loop.
    part
        So much of `whole` that its multiplications can be counted in little time.
    share
        How much of the loop `part` is.
    moved
        Bytes that have to be read or written at least.
    plain
        The same in plain PyTorch.
    """

    run: Callable[[], object]
    part: Callable[[], object] | None = None
    share: float = 1.0
    moved: float = 0.0
    plain: Callable[[], object] | None = None


def inputs(count: int, device: torch.device) -> Tensor:
    """Return normally distributed inputs."""
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(0)).to(device)


def network(device: torch.device, *, trained: bool = False) -> Network:
    """Return `freq-overlap` with random weights."""
    made = build("freq-overlap", SHAPE, CLASSES)
    made.reset_parameters(torch.Generator().manual_seed(0))
    return made.to(device).train(trained).requires_grad_(trained)


def epoch(sizes: Sizes, device: torch.device) -> Loop:
    """Return an epoch of training, and one by `torch.optim` with dropout of single units."""
    step = Step(network(device, trained=True), Train(batch=sizes.batch))
    x, generator = inputs(sizes.batch, device), torch.Generator().manual_seed(0)
    wanted = torch.arange(sizes.batch, device=device) % CLASSES
    other = network(device, trained=True)
    rule = torch.optim.Adagrad(other.parameters(), lr=0.01)

    def once() -> None:
        step(x.__getitem__, wanted, generator)

    def plainly() -> None:
        rule.zero_grad()
        nn.functional.cross_entropy(other(x), wanted).backward()  # type: ignore[no-untyped-call]
        rule.step()

    count = max(1, sizes.epoch // sizes.batch)
    return Loop(repeated(once, count), once, 1 / count, plain=repeated(plainly, count))


def decoder(sizes: Sizes, device: torch.device) -> Loop:
    """Return a pass of `decode-train` through the training items, of layer 9."""
    encoder = network(device)
    made = Autoencoder(encoder, 9, Scheme(), torch.Generator().manual_seed(0))
    made.decoder.to(device).requires_grad_(True)
    weights = list(made.decoder.parameters())
    rule = Optimizer(weights, [AdaGrad(0.01)] * len(weights))
    x = inputs(sizes.batch, device)

    def once() -> None:
        with torch.no_grad():
            code = encoder.activation(x, 9)
        rule.add((made.decoder(code) - x).square().sum() / len(x))
        rule.step()

    other = Autoencoder(encoder, 9, Scheme(), torch.Generator().manual_seed(0)).decoder.to(device)
    usual = torch.optim.Adagrad(other.requires_grad_(True).parameters(), lr=0.01)

    def plainly() -> None:
        with torch.no_grad():
            code = encoder.activation(x, 9)
        usual.zero_grad()
        loss = (other(code) - x).square().sum() / len(x)
        loss.backward()
        usual.step()

    count = max(1, sizes.epoch // sizes.batch)
    return Loop(repeated(once, count), once, 1 / count, plain=repeated(plainly, count))


def inverted(
    method: str, layers: tuple[int, ...], steps: int, sizes: Sizes, device: torch.device
) -> Loop:
    """Return steps of a method of inversion; plainly, the same on E without what spares work."""
    net, x = network(device), inputs(sizes.inverted, device)
    with torch.no_grad():
        targets = net.activations(x, layers)
    settings = Invert(rate=1e-4, stop=0.0, steps=steps, proposals=steps)
    guess = torch.zeros_like(x).requires_grad_()
    rule = torch.optim.SGD([guess], 1e-4)

    def energy(place: Tensor, layer: int) -> Tensor:
        return 0.5 * (net.activation(place, layer) - targets[layer]).square().flatten(1).sum(1)

    def descends(layer: int) -> None:
        for _ in range(steps):
            rule.zero_grad()
            energy(guess, layer).sum().backward()  # type: ignore[no-untyped-call]
            rule.step()

    @torch.no_grad()
    def anneals(layer: int) -> None:
        place = torch.zeros_like(x)
        now = energy(place, layer)
        for _ in range(steps):
            proposed = place.clone()
            proposed[:, :, 50:55] += 0.05 * torch.rand(len(x), 1, 5, SHAPE[2], device=device)
            then = energy(proposed, layer)
            better = then < now
            place = torch.where(better[:, None, None, None], proposed, place)
            now = torch.where(better, then, now)

    def run() -> None:
        for layer in layers:
            problem = Problem(net, layer, targets[layer], list(range(len(x))), 0.0)
            INVERSION[method](problem, None, settings)

    def plainly() -> None:
        for layer in layers:
            (descends if method == "bp" else anneals)(layer)

    return Loop(run, run, plain=plainly)


def relevance(method: str, sizes: Sizes, device: torch.device) -> Loop:
    """Return a method of relevance of a whole test split; plainly, one way there and back."""
    net, block = network(device), min(256, sizes.explained)
    x = inputs(block, device)
    target = torch.arange(block, device=device) % CLASSES
    of, settings = explained(net, x[:1], None), Relevance()
    seeds = list(range(block))

    def once() -> None:
        relevance_by(method, of, x, target, settings, seeds)

    def plainly() -> None:
        place = x.detach().requires_grad_()
        torch.autograd.grad(net(place).gather(1, target[:, None]).sum(), place)

    count = -(-sizes.explained // block)
    return Loop(repeated(once, count), once, 1 / count, plain=repeated(plainly, count))


def navai(sizes: Sizes, device: torch.device) -> Loop:
    """Return the sums of all items with four alignments."""
    block = min(256, sizes.explained)
    x = inputs(block, device)
    target = torch.arange(block, device=device) % CLASSES
    shift = torch.arange(4 * block, device=device).view(4, -1) % 9 - 4
    averages = Averages(4, CLASSES, SHAPE, device=device, seed=0)
    count = -(-sizes.explained // block)
    run = repeated(lambda: averages.add(x, target, shift), count)
    sums = torch.zeros(4, CLASSES, *SHAPE, dtype=torch.float64, device=device)

    def plainly() -> None:
        for one, label in zip(x.double(), target.tolist(), strict=True):
            for aligned in sums:
                aligned[label] += one

    moved = count * 4 * 3 * 3 * 8.0 * x.numel()
    return Loop(run, moved=moved, plain=repeated(plainly, count))


def prepare(features: str, sizes: Sizes, device: torch.device) -> Loop:
    """Return the spectra of all segments of a corpus."""
    signals = np.random.default_rng(0).normal(0, 0.1, (sizes.segments, 2554)).astype(np.float32)
    bins = 201 if features == "real" else 64
    made = Representation(features, Transform(2554, 267, 122, bins, 16000), device=str(device))
    out = np.empty((len(signals), *made.shape), dtype=np.float32)

    def run() -> None:
        for first in range(0, len(signals), 4096):
            made.segments(signals[first : first + 4096], out=out[first : first + 4096])

    window = torch.hamming_window(267, device=device)

    def plainly() -> None:
        for first in range(0, len(signals), 128):
            there = torch.from_numpy(signals[first : first + 128]).to(device)
            spectra = torch.stft(there, 400, 145, 267, window, center=False, return_complex=True)
            spectra.real.cpu()

    plain = plainly if features == "real" else None
    return Loop(run, moved=float(signals.nbytes + out.nbytes), plain=plain)


def clusters(what: str, sizes: Sizes, device: torch.device) -> Loop:
    """Return a clustering of a layer of 1,792 units, or its principal components."""
    points = np.random.default_rng(0).normal(size=(sizes.points, 1792)).astype(np.float32)
    points[:, :20] *= 20
    work: dict[str, Callable[[], object]] = {
        "pca": lambda: principal_components(points),
        "kmeans": lambda: manhattan_kmeans(points, min(33, sizes.points // 4), 0),
        "spectral": lambda: spectral(points, 33, 0),
    }

    def run() -> None:
        with devices.computing(device):
            work[what]()

    there = torch.from_numpy(points).to(device)

    def plainly() -> None:
        centred = there - there.mean(0)
        if what == "pca":
            torch.linalg.svd(centred, full_matrices=False)
        elif what == "kmeans":
            centres = centred[:33].clone()
            for _ in range(20):
                of = torch.cdist(centred, centres, p=1).argmin(1)
                for number in range(len(centres)):
                    if (of == number).any():
                        centres[number] = centred[of == number].median(0).values
        else:
            weights = (-torch.cdist(centred, centred).square() / centred.square().mean()).exp()
            torch.linalg.eigh(weights.double())

    return Loop(run, moved=float(points.nbytes), plain=plainly)


def repeated(run: Callable[[], object], count: int) -> Callable[[], object]:
    """Return what runs a function so many times."""

    def every() -> None:
        for _ in range(count):
            run()

    return every


def loops(sizes: Sizes, device: torch.device) -> Iterator[tuple[str, Callable[[], Loop]]]:
    """Yield what is timed, each made when its turn comes."""
    yield f"epoch of {sizes.epoch}", lambda: epoch(sizes, device)
    yield f"decode-train, {sizes.epoch} items", lambda: decoder(sizes, device)
    count = sizes.inverted
    yield (
        f"bp, {count} items × 5 layers × {sizes.steps}",
        lambda: inverted("bp", (1, 3, 6, 9, 12), sizes.steps, sizes, device),
    )
    yield (
        f"anneal, {count} items, layer 9 × {sizes.steps}",
        lambda: inverted("anneal", (9,), sizes.steps, sizes, device),
    )
    for name in RELEVANCE.names():
        yield f"relevance {name} --all", partial(relevance, name, sizes, device)
    yield "navai, the sums", lambda: navai(sizes, device)
    for features in ("real", "log-mel", "mfcc", "gammatone"):
        yield f"prepare {features}", partial(prepare, features, sizes, device)
    for what in ("pca", "kmeans", "spectral"):
        yield f"cluster {what}", partial(clusters, what, sizes, device)


def measured(loop: Loop, device: torch.device, best: Rates) -> str:
    """Time a loop; return its line."""
    took = seconds(loop.run, device)
    needed = loop.moved / best.copies
    if loop.part is not None:
        with FlopCounterMode(display=False) as counter:
            loop.part()
        needed = max(needed, counter.get_total_flops() / loop.share / best.products)
    times = f"{seconds(loop.plain, device) / took:8.2f}" if loop.plain is not None else f"{'':8}"
    return f"{took:10.3f} s {times} × {needed / took:8.1%}"


def commands(until: float, small: bool) -> None:
    """Run rows against their arrays from the CPU, until the time is over."""
    seen: set[str] = set()
    order = {}
    for name, row in sorted(rows.ROWS.items(), key=lambda row: not row[1].default):
        command = row.line.split()[0]
        order[name] = command in seen, not row.default  # one of every command first
        seen.add(command)
    chosen = sorted(rows.ROWS.items(), key=lambda row: order[row[0]])
    for number, (name, row) in enumerate(chosen):
        if time.perf_counter() > until or (small and number >= 2):
            print(f"{len(chosen) - number} more commands: not run, no time left")
            return
        try:
            found = rows.run(row, name.replace(" ", "-"))
        except RuntimeError as error:
            found = [str(error).strip().splitlines()[-1]]
        print(f"{name:36} {'equal' if not found else '; '.join(found[:3])}", flush=True)


def main(arguments: list[str] | None = None, kind: str = "cuda") -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--small", action="store_true", help="little of everything")
    small = parser.parse_args(arguments).small
    begun, sizes = time.perf_counter(), LITTLE if small else Sizes()
    with rows.pretend(kind), tempfile.TemporaryDirectory() as folder:
        device = devices.choose("cuda:0")
        best = rates(device, sizes.side)
        name: Any = torch.get_device_module(device).get_device_name(device)
        print(f"{name}: {best.products / 1e12:.1f} TFLOP/s, {best.copies / 1e9:.0f} GB/s")
        print(f"{'':36} {'time':>12} {'plain':>10} {'roofline':>8}")
        for what, make in loops(sizes, device):
            if time.perf_counter() - begun > SECONDS / 2:
                print(f"{what:36} not run, no time left")
                continue
            print(f"{what:36} {measured(make(), device, best)}", flush=True)
        here = Path.cwd()
        os.chdir(folder)
        try:
            commands(begun + SECONDS, small)
        finally:
            os.chdir(here)


if __name__ == "__main__":
    main()
