"""Relevance against Captum and Zennit, and against one forward and backward pass.

    python benchmarks/relevance.py                          # four networks, random weights
    python benchmarks/relevance.py --foreign                # a transformer that is not ours
    python benchmarks/relevance.py --stream model.pt        # a whole test split to disk

Each method explains the same batch on one thread; results are compared before anything is timed,
then all take turns, and the median of each one's times is printed. The floor is one forward and one
backward pass, to the input alone, of the network in PyTorch's own layers. With --foreign, processor
time over that of the passes a method needs, each written down plainly and run in turn with it. With
--stream, the test split of a model's corpus is explained with and without writing, in turns, in
processes of their own; time by the clock, the processor's time and the largest memory of each are
printed.
"""

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import peers

from speechscope.networks.foreign import fitted
from speechscope.networks.subject import subject_of
from speechscope.registry import NETWORKS
from speechscope.relevance.explain import derivative, explained
from speechscope.relevance.gradient import integrated_gradients, sensitivity, smoothgrad
from speechscope.relevance.guided import guided_backpropagation
from speechscope.relevance.lrp import lrp
from speechscope.relevance.store import Explainer, write_relevance
from speechscope.stages.relevance import Relevance
from speechscope.store.record import new_record
from speechscope.store.writer import create_artifact
from speechscope.work.tasks import Task, tasks_of

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
    "lrp-ε of Captum's ε": "lrp-ε Captum",
    "lrp-αβ": "lrp-αβ Zennit",
    "integrated × 8": "integrated × 8 Captum",
}
Run = Callable[[], Tensor]


def timed(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    """Return the median of several rounds of each [s], after one that does not count."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if round_:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


class Plainest(nn.Module):
    """A network whose reshape and padding are no layers: Captum has no rules for those."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.runs: list[Callable[[Tensor], Tensor]] = []
        for number, layer in enumerate(layers):
            if isinstance(layer, nn.Flatten):
                self.runs.append(partial(torch.flatten, start_dim=1))
            elif isinstance(layer, nn.ZeroPad2d):
                self.runs.append(partial(nn.functional.pad, pad=layer.padding))
            else:
                self.add_module(str(number), layer)
                self.runs.append(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        for run in self.runs:
            x = run(x)
        return x


def contenders(name: str, batch: int, dtype: torch.dtype) -> dict[str, Run]:
    """Return what is timed."""
    from captum.attr import LRP, GuidedBackprop, IntegratedGradients
    from zennit.composites import LayerMapComposite
    from zennit.rules import AlphaBeta, Epsilon, Pass

    torch.manual_seed(0)
    network = NETWORKS[name](SHAPES[name], 48).to(dtype).eval().requires_grad_(False)
    plain = peers.plain(network)
    of = explained(network, torch.empty(0))
    x, target = torch.randn(batch, *SHAPES[name], dtype=dtype), torch.arange(batch) % 48

    def zennit(rule: object) -> Run:
        layers = [(nn.ReLU, Pass()), (nn.Conv2d, rule), (nn.Linear, rule)]
        return lambda: peers.zennit(plain, x, target, LayerMapComposite(layers))

    def ours(rule: str, epsilon: float = 1e-6) -> Run:
        settings = Relevance(rule=rule, epsilon=epsilon)
        return lambda: lrp(of, x, target, settings)

    def grad() -> Tensor:
        return x.clone().requires_grad_()

    return {
        "floor": lambda: derivative(plain, x, target),
        "gradient": lambda: sensitivity(of, x, target),
        "guided": lambda: guided_backpropagation(of, x, target),
        "guided Captum": lambda: GuidedBackprop(plain).attribute(grad(), target),
        "lrp-ε": ours("epsilon"),
        "lrp-ε Zennit": zennit(Epsilon(1e-6)),
        "lrp-ε of Captum's ε": ours("epsilon", 1e-9),
        "lrp-ε Captum": lambda: LRP(Plainest(plain)).attribute(grad(), target),
        "lrp-αβ": ours("alpha-beta"),
        "lrp-αβ Zennit": zennit(AlphaBeta(2, 1, stabilizer=1e-6)),
        "integrated × 8": lambda: integrated_gradients(of, x, target, Relevance(steps=8)),
        "integrated × 8 Captum": lambda: IntegratedGradients(plain).attribute(
            x, 0.0, target, n_steps=8
        ),
    }


WIDTHS = (64, 512)


class Transformer(nn.Module):
    """An encoder of waveforms, as wav2vec 2.0 is, in PyTorch's own layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first, second = nn.Conv1d(1, width, 10, 5), nn.Conv1d(width, width, 8, 8)
        self.front = nn.Sequential(first, nn.GELU(), second)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.scores = nn.Linear(width, 32)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (B, 32) of waveforms (B, 1, N)."""
        out: Tensor = self.scores(self.encoder(self.front(x).transpose(1, 2)).mean(1))
        return out


def foreign(width: int, batch: int, rounds: int) -> None:
    """Print processor time of methods over that of the passes they need."""
    torch.manual_seed(0)
    plain = Transformer(width).eval().requires_grad_(False)
    x, target = torch.randn(batch, 1, 1, 8000), torch.arange(batch) % 32
    network, _ = fitted(plain, x)
    of, steps = explained(network, x), 8
    settings = Relevance(steps=steps, samples=steps)
    seeds = list(range(batch))

    def passes(count: int) -> Run:
        return lambda: sum(derivative(lambda z: plain(z.flatten(1, 2)), x, target)
                           for _ in range(count))  # type: ignore[return-value] # fmt: skip

    pairs: dict[str, tuple[Run, Run]] = {
        "gradient": (lambda: sensitivity(of, x, target), passes(1)),
        f"integrated × {steps}": (
            lambda: integrated_gradients(of, x, target, settings), passes(steps)),
        f"smoothgrad × {steps}": (
            lambda: smoothgrad(of, x, target, settings, seeds), passes(steps)),
        "lrp": (lambda: lrp(of, x, target, settings), passes(1)),
    }  # fmt: skip
    for name, (ours, floor) in pairs.items():
        ratios = []
        for _ in range(rounds + 1):
            times = [time.process_time()]
            for run in (ours, floor):
                run()
                times.append(time.process_time())
            ratios.append((times[1] - times[0]) / (times[2] - times[1]))
        median = statistics.median(ratios[1:])
        print(f"{width} wide: {name:16} {median:6.2f} × the passes", flush=True)


def verdict(times: dict[str, float]) -> str:
    """Return the ratios that are asked for, in one line."""
    fastest = min(times["lrp-ε Zennit"], times["lrp-ε Captum"])
    return (
        f"  guided {times['guided'] / times['floor']:.2f} × floor (bar 1.15), "
        f"ε {fastest / times['lrp-ε']:.2f} × as fast (bar 1.5), "
        f"αβ {times['lrp-αβ Zennit'] / times['lrp-αβ']:.2f} × as fast (bar 2), "
        f"integrated {times['integrated × 8'] / times['floor'] / 8:.2f} × 8 floors (bar 1)"
    )


def nowhere(work: Explainer, items: NDArray[np.int64]) -> None:
    """Explain items as `write_relevance` does, and forget what was found."""
    tasks = list(tasks_of(items, work.chunk_items(len(items))))
    who = work.alone(len(tasks))

    def forget(task: Task) -> None:
        with who.computing:
            for _ in work(task, None).values:
                pass

    with who.ordered_map(forget, tasks) as results:
        for _ in results:
            pass


def explain(model: Path, method: str, limit: int, threads: int, folder: str) -> None:
    """Explain test items, to disk or with an empty `folder` to nowhere; print time and memory."""
    torch.set_num_threads(threads)
    subject = subject_of(model, None, None, None, torch.device("cpu"))
    items = subject.corpus.items("test")
    settings = Relevance(method=tuple(method.split(",")), steps=8, samples=8, noise=0.1)
    work = Explainer(subject, items[:1], settings)
    nowhere(work, items[:64])
    wanted = items[:limit]
    record = new_record("relevance", config={}, seed=0, device="cpu", parents=[])
    clock, processor = time.perf_counter(), time.process_time()
    if folder:
        path = Path(folder) / "relevance.zarr"
        with create_artifact(path, "Relevance", record, force=True) as writer:
            write_relevance(writer, work, wanted)
    else:
        nowhere(work, wanted)
    found = {
        "items": len(wanted),
        "clock": time.perf_counter() - clock,
        "processor": time.process_time() - processor,
        "memory": peak(),
    }
    print(json.dumps(found))


def peak() -> float:
    """Return the largest memory of this process so far [MB]."""
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def stream(model: Path, method: str, rounds: int, limits: list[int], threads: int) -> None:
    """Print time and memory of explaining parts of a test split, with and without the disk."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        for limit in limits:
            found: dict[str, list[dict[str, float]]] = {folder: [], "": []}
            for _ in range(rounds):
                for where, done in found.items():
                    arguments = [str(model), "--method", method, "--limit", str(limit)]
                    command = [sys.executable, __file__, "--one", *arguments, "--to", where]
                    command += ["--threads", str(threads)]
                    ran = subprocess.run(command, capture_output=True, text=True, check=True)
                    done.append(json.loads(ran.stdout))
                    for path in Path(folder).iterdir():
                        shutil.rmtree(path)  # replacing it is not timed
            disk, none = found[folder], found[""]
            print(f"{method}, {disk[0]['items']} items, {threads} threads")
            for clock in ("clock", "processor"):
                one, two = (statistics.median(d[clock] for d in done) for done in (disk, none))
                print(f"  {clock:9} {one:.2f} s with the disk, {two:.2f} s ({one / two - 1:+.1%})")
            one, two = (max(d["memory"] for d in done) for done in (disk, none))
            print(f"  memory    {one:.0f} MB with the disk, {two:.0f} MB", flush=True)


def main() -> None:
    """Print one line a method and network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default=",".join(SHAPES))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--foreign", action="store_true")
    parser.add_argument("--stream", type=Path, metavar="MODEL")
    parser.add_argument("--method", default="guided")
    parser.add_argument("--limits", default="1000,1000000", help="items of the test split at most")
    parser.add_argument("--threads", type=int, default=1, help="of the computing, with --stream")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--to", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return explain(options.one, options.method, options.limit, options.threads, options.to)
    if options.stream:
        limits = [int(text) for text in options.limits.split(",")]
        return stream(options.stream, options.method, options.rounds, limits, options.threads)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if options.foreign:
        for width in WIDTHS:
            foreign(width, max(2, options.batch * WIDTHS[0] // width), options.rounds)
        return None
    for name in options.networks.split(","):
        # In double precision: in single, rounding decides now and then which of two nearly equal
        # values is the maximum.
        runs = contenders(name, 4, torch.float64)
        for one, other in SAME.items():
            error = peers.error(runs[one](), runs[other]())
            if error > 1e-6:
                sys.exit(f"{name}: {one} and {other} differ by {error:.1e}")
        runs = contenders(name, options.batch, torch.float32)
        del runs["lrp-ε of Captum's ε"]
        times = timed(runs, options.rounds)
        print(f"{name}, {options.batch} items")
        for method, seconds in times.items():
            print(f"  {method:22} {seconds * 1e3:9.1f} ms  {seconds / times['floor']:6.2f} × floor")
        print(verdict(times), flush=True)


if __name__ == "__main__":
    main()
