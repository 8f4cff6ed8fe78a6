"""What shorter products change: a training in float32, TF32 and bfloat16, on the CPU.

    python benchmarks/precision.py corpus.zarr [--epochs 3] [--per-class 20]

TF32 is made of float32 by rounding what every product takes, forward and back, to eleven bits;
bfloat16 is what ``--precision bf16`` does, where this processor's kernels are right
(tests/networks/test_kernels.py). The same batches, first weights and units left out in all of them.
"""

import argparse
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from speechscope.corpus.store import Corpus
from speechscope.networks.saved import build
from speechscope.stages.train import Train
from speechscope.training import step
from speechscope.training.classifier import ClassifierTraining
from speechscope.training.source import CorpusSource

HALVES = "float32, in half batches"
"""The same sums in another order: what rounding alone makes of a training."""
PRODUCTS = ("mm", "addmm", "bmm", "convolution", "convolution_backward")


def rounded(x: Any) -> Any:
    """Return float32 values to eleven bits, the nearest; others as they are."""
    if not isinstance(x, Tensor) or x.dtype != torch.float32:
        return x
    return (x.contiguous().view(torch.int32) + 0x1000).bitwise_and(~0x1FFF).view(torch.float32)


class TF32(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Has products take rounded numbers."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name.removeprefix("aten::") in PRODUCTS:
            args = tuple(rounded(one) for one in args)
        return func(*args, **(kwargs or {}))


def trained(corpus: Corpus, precision: str, epochs: int, per_class: int) -> dict[str, Any]:
    """Return the last row of a training's history, and its weights."""
    settings = Train(
        precision=precision if precision == "bf16" else "float32",
        epochs=epochs,
        per_class=per_class,
        test_per_class=per_class,
        dev=0.0,
    )
    source = CorpusSource(corpus, ("train", "dev", "test"), torch.device("cpu"))
    network = build("freq-overlap", corpus.input_shape, len(corpus.classes))
    training = ClassifierTraining(network, source, settings)
    training.step = step.Step(network, settings)  # the form that a GPU runs
    way: AbstractContextManager[Any] = nullcontext()
    if precision == "tf32":
        way = TF32()  # type: ignore[no-untyped-call]
    elif precision == HALVES:
        way = mock.patch.object(step, "fitting", lambda usual, *_: usual // 2)
    with way:
        training.run()
    return {**training.history[-1], "weights": training.best["weights"]}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--per-class", type=int, default=20)
    given = parser.parse_args()
    first: dict[str, Any] = {}
    for precision in ("float32", HALVES, "tf32", "bf16"):
        found = trained(Corpus(given.corpus), precision, given.epochs, given.per_class)
        first = first or found
        pairs = [(found["weights"][n].flatten(), w.flatten()) for n, w in first["weights"].items()]
        one, other = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        apart = float((one - other).norm() / other.norm())
        said = f"loss {found['loss']:.4f}, on test {found['test_loss']:.4f}"
        print(
            f"{precision:24} {said}, class-balanced {found['balanced_folded']:.2%}, weights "
            f"{apart:.2%} from those of float32",
            flush=True,
        )


if __name__ == "__main__":
    main()
