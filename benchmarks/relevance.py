"""Relevance against Captum and Zennit, and against one forward and backward pass.

Each method explains the same batch on one thread; the fastest of several alternating rounds counts.
Results are compared before anything is timed. The floor is one forward and one backward pass, to
the input alone, of the network in PyTorch's own layers.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import peers

from speechscope.networks.classifiers import TABLES
from speechscope.networks.layers import Network
from speechscope.relevance.gradient import sensitivity
from speechscope.relevance.guided import guided_backpropagation
from speechscope.relevance.integrated import integrated_gradients
from speechscope.relevance.lrp import lrp
from speechscope.relevance.rules import composite
from speechscope.tracing.table_graph import table_graph

SHAPES = {
    "freq-overlap": (1, 201, 16),
    "freq-overlap-padded": (1, 201, 16),
    "logmel": (3, 40, 11),
    "raw-phone": (1, 1, 4000),
}
SAME = {
    "floor": "gradient",
    "guided": "guided Captum",
    "lrp-ε": "lrp-ε Zennit",
    "lrp-αβ": "lrp-αβ Zennit",
    "integrated × 8": "integrated × 8 Captum",
}
Run = Callable[[], Tensor]


def timed(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    """Return the fastest of several rounds of each [s]."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def contenders(name: str, batch: int, dtype: torch.dtype) -> dict[str, Run]:
    """Return what is timed."""
    from captum.attr import GuidedBackprop, IntegratedGradients
    from zennit.composites import LayerMapComposite
    from zennit.rules import AlphaBeta, Epsilon, Pass

    torch.manual_seed(0)
    network = Network(TABLES[name], SHAPES[name], 48).to(dtype).eval().requires_grad_(False)
    plain = peers.plain(network)
    graph = table_graph(network)
    x, target = torch.randn(batch, *SHAPES[name], dtype=dtype), torch.arange(batch) % 48

    def zennit(rule: object) -> Run:
        layers = [(nn.ReLU, Pass()), (nn.Conv2d, rule), (nn.Linear, rule)]
        return lambda: peers.zennit(plain, x, target, LayerMapComposite(layers))

    def ours(rule: str) -> Run:
        return lambda: lrp(graph, x, target, composite(rule, epsilon=1e-6, gamma=0.0, alpha=2.0))

    def grad() -> Tensor:
        return x.clone().requires_grad_()

    return {
        "floor": lambda: sensitivity(plain, x, target),
        "gradient": lambda: sensitivity(network, x, target),
        "guided": lambda: guided_backpropagation(graph, x, target),
        "guided Captum": lambda: GuidedBackprop(plain).attribute(grad(), target),
        "lrp-ε": ours("epsilon"),
        "lrp-ε Zennit": zennit(Epsilon(1e-6)),
        "lrp-αβ": ours("alpha-beta"),
        "lrp-αβ Zennit": zennit(AlphaBeta(2, 1, stabilizer=1e-6)),
        "integrated × 8": lambda: integrated_gradients(network, x, target, steps=8),
        "integrated × 8 Captum": lambda: IntegratedGradients(plain).attribute(
            x, 0.0, target, n_steps=8
        ),
    }


def main() -> None:
    """Print one line a method and network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default=",".join(SHAPES))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in options.networks.split(","):
        # In double precision: in single, rounding decides now and then which of two nearly equal
        # values is the maximum.
        runs = contenders(name, 4, torch.float64)
        for one, other in SAME.items():
            error = peers.error(runs[one](), runs[other]())
            if error > 1e-7:
                sys.exit(f"{name}: {one} and {other} differ by {error:.1e}")
        runs = contenders(name, options.batch, torch.float32)
        best = timed(runs, options.rounds)
        print(f"{name}, {options.batch} items")
        for method, seconds in best.items():
            print(f"  {method:22} {seconds * 1e3:9.1f} ms  {seconds / best['floor']:6.2f} × floor")


if __name__ == "__main__":
    main()
