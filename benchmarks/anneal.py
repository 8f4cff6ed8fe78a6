"""Simulated annealing: proposals a second against evaluating plain PyTorch for each.

    python benchmarks/anneal.py                         # all layers, both networks

Plain PyTorch is the network as an nn.Sequential, run forward once for every proposal, by one thread
or by as many as ours has, whichever is faster. Energies of the same proposals are compared before
anything is timed; then both take turns, and medians are printed. Ours runs in a process with the
environment that the command makes (threads that sleep while they wait), plain PyTorch in its own.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from bp import sequential
from torch import Tensor

from speechscope.inversion.anneal import SWEEP, Chains, Neighbours
from speechscope.inversion.chains import invert
from speechscope.networks.layers import Network
from speechscope.registry import NETWORKS
from speechscope.stages.invert import Invert
from speechscope.work.accelerators import fastest

BLOCK = Invert().block


def rate(plain: Callable[[Tensor, Tensor], Tensor], x: Tensor, goal: Tensor, most: int) -> float:
    """Return the items a second of forward passes with so many threads."""
    torch.set_num_threads(most)
    plain(x, goal)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < 0.5:
        plain(x, goal)
        count += len(x)
    return count / (time.perf_counter() - began)


def problem(name: str, items: int) -> tuple[Network, Tensor]:
    """Return a network and the inputs to reconstruct, the same in every process."""
    torch.manual_seed(0)
    network = NETWORKS[name]()
    torch.manual_seed(1)
    return network, 0.1 * torch.randn(items, *network.input_shape)


def settings_of(options: argparse.Namespace) -> Invert:
    """Return the settings of annealing."""
    return Invert(
        method=("anneal",),
        proposals=options.proposals,
        rows=options.rows,
        temperature=1e-3,
        cooling=1e-3,
        l2=0.1,
        block=options.block,
    )


def serve(options: argparse.Namespace) -> None:
    """For every network and layer on standard input, print the proposals a second."""
    for line in sys.stdin:
        name, layer = line.split()
        network, inputs = problem(name, options.items)
        began = time.perf_counter()
        seeds = list(range(options.items))
        invert(network, inputs, [int(layer)], settings_of(options), seeds)
        taken = time.perf_counter() - began
        print(options.items * options.proposals / taken, flush=True)


class Ours:
    """A process that anneals whenever it is asked to, in the environment of the command."""

    def __init__(self, options: argparse.Namespace) -> None:
        command = [sys.executable, __file__, "--serve"]
        for name in ("items", "proposals", "rows", "threads", "block"):
            command += [f"--{name}", str(getattr(options, name))]
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def rate(self, name: str, layer: int) -> float:
        """Return the proposals a second."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(name, layer, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())


def measure(name: str, layer: int, ours: Ours, options: argparse.Namespace) -> None:
    """Print one line for a layer."""
    items, rows, threads = (getattr(options, one) for one in ("items", "rows", "threads"))
    network, inputs = problem(name, items)
    target = network.activation(inputs, layer).detach()
    model = sequential(network, layer)

    def plain(x: Tensor, goal: Tensor) -> Tensor:
        with torch.no_grad():
            y: Tensor = model(x)
            return 0.5 * (y - goal).flatten(1).square().sum(1).double()

    few = min(items, 8)
    changes, _, first = Neighbours(
        range(few), settings_of(options), network.input_shape[1], network.input_shape[2], target
    ).sweep(SWEEP)
    x = inputs[:few] * 0.5
    chains = fastest(Chains)(network, layer, target[:few], 0.0, x)
    anything = torch.full((few,), torch.inf, dtype=torch.float64)
    apart = 0.0
    for step in range(SWEEP):
        low, high = max(0, first[step]), min(x.shape[2], first[step] + rows)
        band = changes[step, :, None, low - first[step] : high - first[step]]
        chains.step(band, low, anything)
        x = x.clone()
        x[:, :, low:high] += band
        apart = max(apart, float((chains.energy / plain(x, target[:few]) - 1).abs().max()))
    if apart > 1e-4:
        raise SystemExit(f"layer {layer}: energies differ by {apart:.1e}")

    one, batch = x[:1], inputs[: min(items, 256)]
    rates: dict[str, list[float]] = {"ours": [], "single": [], "batched": []}
    for _ in range(options.repeats):
        rates["ours"].append(ours.rate(name, layer))
        # The faster of one thread and of as many as ours has.
        for kind, what in (("single", one), ("batched", batch)):
            rates[kind].append(
                max(rate(plain, what, target[: len(what)], most) for most in {1, threads})
            )
    torch.set_num_threads(threads)
    over = {
        kind: statistics.median(a / b for a, b in zip(rates["ours"], rates[kind], strict=True))
        for kind in ("single", "batched")
    }
    median, single, batched = (statistics.median(rates[kind]) for kind in rates)
    print(
        f"{network.names[layer - 1]:>6} {layer:>3} {median:>10.0f} {single:>10.0f} "
        f"{batched:>10.0f} {over['single']:>8.1f} {over['batched']:>8.1f}   E {apart:.0e}",
        flush=True,
    )


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--network", choices=NETWORKS.names(), action="append")
    parser.add_argument("--layers", default="1,3,6,9,12")
    parser.add_argument("--items", type=int, default=480)
    parser.add_argument("--proposals", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--block", type=int, default=BLOCK)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.serve:
        return serve(options)
    ours = Ours(options)
    for name in options.network or ("freq-overlap", "freq-overlap-padded"):
        print(
            f"{name}, {options.items} chains of {options.proposals} proposals, "
            f"{options.threads} threads; proposals a second"
        )
        print("  name layer       ours     single    batched  /single /batched   relative apart")
        for layer in (int(number) for number in options.layers.split(",")):
            measure(name, layer, ours, options)


if __name__ == "__main__":
    main()
