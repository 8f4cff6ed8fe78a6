"""Backpropagation to the input: ours against plain PyTorch, batched and one item at a time.

    python benchmarks/bp.py                        # five layers, freq-overlap-padded
    python benchmarks/bp.py --network freq-overlap --items 480 --single 24 --threads 1

Plain PyTorch is what a user would write: an nn.Sequential of the network's layers, automatic
differentiation by the input only (the weights ask for no gradient), and the same bold driver, one
factor an item. Results are compared before anything is timed; then the three take turns, and the
median of each one's times, and of the ratios of neighbouring runs, is printed. The loop over single
items runs `--single` of them and, to show that its time is linear in items, half as many; its time
for all of them is scaled up from there. Ours works in blocks, as `speechscope invert` does, two of
which are worked on at a time where there are two threads, and is timed with a quarter of the
items, too. The loop over single items has one thread, with which it is faster.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from speechscope.inversion.bp import bp
from speechscope.inversion.chains import blocks, side_by_side
from speechscope.inversion.problem import Problem, Reconstruction
from speechscope.networks.layers import Conv, Linear, MaxPool, Network
from speechscope.registry import NETWORKS
from speechscope.stages.invert import Invert
from speechscope.work.device import normal


def sequential(network: Network, layer: int) -> nn.Sequential:
    """Return the first layers as plain modules with the same weights."""
    modules: list[nn.Module] = []
    flat = False
    for name, row in zip(network.names[:layer], network.table[:layer], strict=True):
        if isinstance(row, Conv):
            weight, bias = network.parameters_of(name)
            conv = nn.Conv2d(weight.shape[1], row.maps, row.kernel)
            conv.load_state_dict({"weight": weight, "bias": bias})
            if any(row.pads):
                top, bottom, left, right = row.pads
                modules.append(nn.ZeroPad2d((left, right, top, bottom)))
            modules.append(conv)
        elif isinstance(row, MaxPool):
            modules.append(nn.MaxPool2d(row.size, row.stride))
        elif isinstance(row, Linear):
            if not flat:
                modules.append(nn.Flatten())
                flat = True
            weight, bias = network.parameters_of(name)
            linear = nn.Linear(weight.shape[1], weight.shape[0])
            linear.load_state_dict({"weight": weight, "bias": bias})
            modules.append(linear)
        else:
            modules.append(nn.ReLU())
    return nn.Sequential(*modules).requires_grad_(False)


def plain(
    model: nn.Module, target: Tensor, start: Tensor, l2: float, settings: Invert
) -> tuple[Tensor, Tensor]:
    """Return the best reconstructions and E of every step, as a user would write it."""
    x, best = start.clone(), start.clone()
    factor = torch.ones(len(x))
    lowest = torch.full((len(x),), torch.inf)
    before: Tensor | None = None
    history = []
    for _ in range(settings.steps + 1):
        x.requires_grad_()
        difference = (model(x) - target).flatten(1)
        energy = 0.5 * difference.square().sum(1) + 0.5 * l2 * x.flatten(1).square().sum(1)
        (gradient,) = torch.autograd.grad(energy.sum(), x)
        energy, x = energy.detach(), x.detach()
        history.append(energy)
        better = energy < lowest
        best = torch.where(better[:, None, None, None], x, best)
        lowest = torch.where(better, energy, lowest)
        if before is not None:
            factor = torch.where(
                energy < before,
                factor * settings.up,
                torch.where(energy > before, factor * settings.down, factor),
            )
        before = energy
        x = x - ((settings.step_size or 0.0) * factor)[:, None, None, None] * gradient
    return best, torch.stack(history, dim=1)


def measure(
    network: Network, layer: int, options: argparse.Namespace
) -> tuple[float, float, float]:
    """Print one line for a layer; return seconds for all items: ours, batched, one by one."""
    torch.manual_seed(1)
    items, steps = options.items, options.steps
    inputs = 0.5 * torch.randn(items, *network.input_shape)
    target = network.activation(inputs, layer).detach()
    seeds = list(range(items))
    l2 = 1e-2
    settings = Invert(steps=steps, start=1e-2, rate=options.rate)
    start = normal(seeds, network.input_shape, settings.start)
    model = sequential(network, layer)

    def ours(count: int) -> tuple[Tensor, Tensor]:
        found: dict[int, Reconstruction] = {}

        def work(part: slice) -> None:
            problem = Problem(network, layer, target[part], seeds[part], l2)
            found[part.start] = bp(problem, start[part], settings)

        of_size = replace(settings, block=options.block)
        parts = blocks(network, count, [layer], of_size, target.device)
        side_by_side(work, parts, target.device)
        answers = [found[part.start] for part in parts]
        return torch.cat([a.x for a in answers]), torch.cat([a.objective for a in answers])

    def batched() -> tuple[Tensor, Tensor]:
        return plain(model, target, start, l2, settings)

    def single(count: int) -> None:
        torch.set_num_threads(1)
        for i in range(count):
            plain(model, target[i : i + 1], start[i : i + 1], l2, settings)
        torch.set_num_threads(options.threads)

    x, energy = ours(items)
    expected_x, expected = batched()
    apart = float((energy / expected - 1).abs().max())
    moved = (expected_x - start).flatten(1).norm(dim=1)
    off = float(((x - expected_x).flatten(1).norm(dim=1) / moved).max())
    if apart > 1e-4 or off > 1e-2:
        raise SystemExit(f"layer {layer}: results differ: E by {apart:.1e}, X by {off:.1e}")
    few, quarter = min(options.single or items, items), max(1, items // 4)
    runs: dict[str, Callable[[], object]] = {
        "ours": lambda: ours(items),
        "batched": batched,
        "quarter": lambda: ours(quarter),
        "single": lambda: single(few),
        "half": lambda: single(max(1, few // 2)),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(options.repeats):
        for name, run in runs.items():
            if name in ("single", "half") and repeat >= max(1, options.repeats // 3):
                continue
            began = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - began)
    median = {name: statistics.median(values) for name, values in times.items()}
    ratio = statistics.median(b / a for a, b in zip(times["ours"], times["batched"], strict=True))
    whole = median["single"] * items / few
    linear = (median["ours"] / items) / (median["quarter"] / quarter)
    alone = (median["single"] / few) / (median["half"] / max(1, few // 2))
    print(
        f"{network.names[layer - 1]:>6} {layer:>3} "
        f"{1e3 * median['ours'] / steps:>9.2f} {1e3 * median['batched'] / steps:>9.2f} "
        f"{1e3 * whole / steps:>9.2f} {ratio:>8.2f} "
        f"{whole / median['ours']:>8.2f}   E {apart:.0e}  X {off:.0e}  {linear:.2f}  {alone:.2f}",
        flush=True,
    )
    return median["ours"], median["batched"], whole


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--network", choices=NETWORKS.names(), default="freq-overlap-padded")
    parser.add_argument("--layers", default="1,3,6,9,12")
    parser.add_argument("--items", type=int, default=48)
    parser.add_argument("--block", type=int, default=128, help="items ours works on at a time")
    parser.add_argument("--single", type=int, help="items of the loop (default: all)")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rate", type=float, default=1e-6, help="master learning rate")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    network = NETWORKS[options.network]()
    print(f"{options.network}, {options.items} items, {options.threads} threads; ms a step of all")
    print(
        "  name layer     ours   batched    single  batched/  single/   largest relative      per"
    )
    print("                                              ours     ours   difference   ours one")
    layers = [int(number) for number in options.layers.split(",")]
    rows = [measure(network, layer, options) for layer in layers]
    ours, batched, single = (sum(column) for column in zip(*rows, strict=True))
    print(
        f"all layers together: batched/ours {batched / ours:.2f}, single/ours {single / ours:.2f}"
    )
    print("per item: time an item of all of them over that of a quarter (ours) or half (single)")


if __name__ == "__main__":
    main()
