from pathlib import Path

import corpora
import numpy as np
import pytest
import torch
from torch import Tensor

from speechscope.cli import run
from speechscope.corpus.store import Corpus
from speechscope.features.representations import fill_deltas
from speechscope.inversion.anneal import anneal
from speechscope.inversion.bp import bp
from speechscope.inversion.problem import Objective, Problem, complete, static_channels
from speechscope.inversion.source import derivation
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Table
from speechscope.stages.invert import Invert
from speechscope.store.artifact import Artifact

TABLE: Table = (Conv(3, (4, 5), "same"), ReLU(), MaxPool((5, 2), (2, 2)), Linear(6))


def with_deltas(static: np.ndarray, orders: int) -> np.ndarray:
    """Static channels and their derivatives, as `prepare` makes them."""
    values = np.zeros((len(static), orders * static.shape[1], *static.shape[2:]), static.dtype)
    values[:, : static.shape[1]] = static
    fill_deltas(values, static.shape[1])
    return values


class Prepared:
    """As much of a corpus as `derivation` asks for."""

    unit = "segment"
    input_shape = (6, 7, 9)

    def __init__(self, deltas: int, normalize: str = "none") -> None:
        self.config = {"deltas": deltas, "normalize": normalize}


def matrices(deltas: int, normalize: str = "none") -> Tensor | None:
    return derivation(Prepared(deltas, normalize))  # type: ignore[arg-type]


def test_the_matrices_make_the_deltas_of_prepare() -> None:
    static = np.random.default_rng(0).normal(size=(3, 2, 7, 9)).astype(np.float32)
    for deltas in (1, 2):
        derived = matrices(deltas)
        assert derived is not None
        found = complete(torch.from_numpy(static), derived)
        np.testing.assert_allclose(found.numpy(), with_deltas(static, deltas + 1), atol=1e-6)
        assert torch.equal(static_channels(found, derived), torch.from_numpy(static))
    assert matrices(0) is None
    assert matrices(2, "band") is None


def problem(layer: int = 4, l2: float = 0.05) -> Problem:
    torch.manual_seed(3)
    network = Network(TABLE, (3, 14, 9)).double().requires_grad_(False)
    static = np.random.default_rng(1).normal(size=(4, 1, 14, 9))
    derived = matrices(2)
    assert derived is not None
    target = network.activation(torch.from_numpy(with_deltas(static, 3)), layer)
    return Problem(network, layer, target, [4, 5, 6, 7], l2, derived=derived.double())


@pytest.mark.parametrize("layer", [1, 3, 4])
def test_the_derivative_is_that_of_the_static_channels(layer: int) -> None:
    whole = problem(layer)
    static = torch.randn(4, 1, 14, 9, dtype=torch.float64, requires_grad=True)
    x = complete(static, whole.derived)
    y = whole.network.activation(x, layer)
    wanted = 0.5 * (y - whole.target).flatten(1).square().sum(1)
    wanted = wanted + 0.5 * whole.l2 * x.flatten(1).square().sum(1)
    (expected,) = torch.autograd.grad(wanted.sum(), static)
    plain = Objective(whole.network, layer, whole.target, whole.l2, whole.derived)
    for objective in (whole.objective(), plain):
        energy, gradient = objective.evaluate(static.detach())
        torch.testing.assert_close(energy, wanted.detach())
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", ["bp", "anneal"])
def test_what_is_found_has_the_deltas_of_its_static_channels(method: str) -> None:
    whole = problem()
    # A start whose channels do not belong together, such as a decoder's answer.
    start = 0.1 * torch.randn(4, 3, 14, 9, dtype=torch.float64)
    for given in (None, start):
        if method == "bp":
            found = bp(whole, given, Invert(steps=20, start=1e-2, rate=1e-2))
        else:
            found = anneal(whole, given, Invert(proposals=150, reach=0.4))
        assert found.x.shape == (4, 3, 14, 9)
        static = found.x[:, :1].numpy()
        np.testing.assert_allclose(found.x.numpy(), with_deltas(static, 3), atol=1e-6)
        energy = Objective(whole.network, 4, whole.target, whole.l2).energy(found.x)
        lowest = found.objective.nan_to_num(torch.inf).amin(1)
        torch.testing.assert_close(energy, lowest, rtol=1e-6, atol=0)
        assert bool((lowest < found.objective[:, 0]).all())


def test_deltas_go_through_the_commands(workdir: Path) -> None:
    corpora.timit(workdir / "timit", speakers=4)
    small = ["--epochs", "1", "--per-class", "8", "--quiet"]
    for deltas, network in (("2", "freq-overlap"), ("1", "freq-overlap-padded")):
        assert run(["prepare", "timit", "--deltas", deltas, "-q", "-f"]) == 0
        assert run(["train", *small, "--network", network, "-f"]) == 0
        train = ["decode-train", "--layer", "3", "--per-class", "4", "--epochs", "1", "-q", "-f"]
        assert run(train) == 0
        more = ["--steps", "4", "--rate", "1e-3", "--proposals", "120", "--align-epochs", "1"]
        methods = "bp,anneal,decode+bp,decode+anneal,align"
        assert run(["invert", "--layer", "3", "--method", methods, *more, "-q", "-f"]) == 0
        found = Artifact(Path("inversion.zarr"), "inversion")
        mean = Corpus(Path("corpus.zarr")).mean
        orders = int(deltas) + 1
        for row, name in enumerate(found.flags("technique")):
            x = found.read("reconstruction", (row, 0)) - mean
            np.testing.assert_allclose(x, with_deltas(x[:, :1], orders), atol=1e-5, err_msg=name)
            assert np.all(np.isfinite(found.read("waveform", (row, 0))))
