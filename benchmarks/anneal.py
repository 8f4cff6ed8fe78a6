"""Simulated annealing: proposals a second against evaluating plain PyTorch for each.

    python benchmarks/anneal.py                         # all layers, both networks

Plain PyTorch is the network as an nn.Sequential, run forward once for every proposal. Energies of
the same proposals are compared before anything is timed.
"""

import argparse
import time

import torch
from bp import sequential
from torch import Tensor

from speechscope.inversion.anneal import SWEEP, AnnealSettings, Neighbours, anneal
from speechscope.inversion.problem import Problem
from speechscope.inversion.proposals import make_proposals
from speechscope.networks.classifiers import TABLES
from speechscope.networks.layers import Network


def measure(network: Network, layer: int, items: int, proposals: int, rows: int) -> None:
    """Print one line for a layer."""
    torch.manual_seed(1)
    inputs = 0.1 * torch.randn(items, *network.input_shape)
    target = network.activation(inputs, layer).detach()
    settings = AnnealSettings(
        proposals=proposals,
        chains=1,
        rows=rows,
        share=0.5,
        reach=0.05,
        temperature=1e-3,
        cooling=1e-3,
        seed=0,
    )
    seeds = list(range(items))
    model = sequential(network, layer)

    def plain(x: Tensor, goal: Tensor) -> Tensor:
        with torch.no_grad():
            y: Tensor = model(x)
            return 0.5 * (y - goal).flatten(1).square().sum(1).double()

    few = min(items, 8)
    changes, _, first = Neighbours(
        seeds[:few], settings, network.input_shape[1], network.input_shape[2], target
    ).sweep(SWEEP)
    x = inputs[:few] * 0.5
    fast = make_proposals(network, layer, target[:few], rows)
    fast.load(x)
    apart = 0.0
    for step in range(SWEEP):
        low, high = max(0, first[step]), min(x.shape[2], first[step] + rows)
        band = changes[step, :, low - first[step] : high - first[step], :, None]
        found = fast.propose(band, low)
        x = x.clone()
        x[:, :, low:high] += band.permute(0, 3, 1, 2)
        apart = max(apart, float((found / plain(x, target[:few]) - 1).abs().max()))
        fast.settle(torch.ones(few, dtype=torch.bool))
    if apart > 1e-4:
        raise SystemExit(f"layer {layer}: energies differ by {apart:.1e}")

    began = time.perf_counter()
    anneal(Problem(network, layer, target, seeds, 0.1), None, settings)
    ours = items * proposals / (time.perf_counter() - began)
    one, count = x[:1], 0
    began = time.perf_counter()
    while time.perf_counter() - began < 0.5:
        plain(one, target[:1])
        count += 1
    single = count / (time.perf_counter() - began)
    batch = inputs[: min(items, 256)]
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < 0.5:
        plain(batch, target[: len(batch)])
        count += len(batch)
    batched = count / (time.perf_counter() - began)
    print(
        f"{network.names[layer - 1]:>6} {layer:>3} {ours:>10.0f} {single:>10.0f} {batched:>10.0f} "
        f"{ours / single:>8.1f} {ours / batched:>8.1f}   E {apart:.0e}",
        flush=True,
    )


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--network", choices=sorted(TABLES), action="append")
    parser.add_argument("--layers", default="1,3,6,9,12")
    parser.add_argument("--items", type=int, default=480)
    parser.add_argument("--proposals", type=int, default=400)
    parser.add_argument("--rows", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.network or sorted(TABLES):
        torch.manual_seed(0)
        network = Network(TABLES[name])
        print(f"{name}, {options.items} chains, {options.threads} threads; proposals a second")
        print("  name layer       ours     single    batched  /single /batched   relative apart")
        for layer in (int(number) for number in options.layers.split(",")):
            measure(network, layer, options.items, options.proposals, options.rows)


if __name__ == "__main__":
    main()
