"""The Python API: stages as commands run them, and methods on arrays in memory."""

from pathlib import Path
from typing import Any

import corpora
import pytest
import torch
from torch import Tensor

import speechscope
from speechscope.errors import UsageProblem
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU
from speechscope.networks.saved import Model
from speechscope.store.artifact import Artifact


class Untrained:
    """As much of a model as the functions of arrays ask for."""

    def __init__(self, network: Network) -> None:
        self.network, self.classes = network.eval(), ("a", "b", "c")


def model(shape: tuple[int, int, int] = (1, 14, 5)) -> Model:
    torch.manual_seed(0)
    table = (Conv(3, (4, 3)), ReLU(), MaxPool((2, 1), (2, 1)), Linear(3))
    return Untrained(Network(table, shape))  # type: ignore[return-value]


@pytest.fixture
def inputs() -> Tensor:
    return torch.randn(3, 1, 14, 5, generator=torch.Generator().manual_seed(1))


def test_a_stage_runs_under_the_names_of_its_command(workdir: Path) -> None:
    corpora.timit(workdir / "timit", speakers=2, sentences=2)
    prepared = speechscope.run("prepare", folder="timit", max_length=2554)
    assert prepared.path == Path("corpus.zarr")  # type: ignore[attr-defined]
    speechscope.run("train", epochs=1, per_class=4)
    written = speechscope.run("invert", layer=(1, "pool1"), method="bp", steps=3, items="0:2")
    assert written.path == Path("inversion.zarr")  # type: ignore[attr-defined]
    found = Artifact(Path("inversion.zarr"), "inversion")
    assert found.read("layer_number").tolist() == [1, 3]
    assert found.record["config"]["steps"] == 3
    assert found.read("steps").max() == 3
    rows = speechscope.run("score", artifacts=("inversion.zarr",)).rows  # type: ignore[attr-defined]
    assert list(dict.fromkeys(row["layer"] for row in rows)) == [1, 3]


@pytest.mark.parametrize(
    ("stage", "given", "said"),
    [
        ("invert", {"rows": 0}, "--rows 0: at least 1"),
        ("invert", {"depth": 3}, "depth is not a setting of invert"),
        ("invert", {"optimizer": "newton"}, "choose from bold, adagrad, adam, lbfgs"),
        ("inverse", {}, "stage inverse: choose from demo, synth, prepare"),
    ],
)
def test_what_a_command_refuses_is_refused(
    workdir: Path, stage: str, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageProblem, match=said):
        speechscope.run(stage, **given)


def test_the_rate_is_that_of_the_optimizer(inputs: Tensor) -> None:
    """A first step of Adam or AdaGrad moves every number by the rate."""

    def moved(**settings: Any) -> Tensor:
        found = speechscope.invert(model(), inputs, [1], steps=1, l2=0.0, **settings)
        # With one step and two evaluations, the better of the two is returned: go uphill for none.
        still = speechscope.invert(model(), inputs, [1], steps=0, l2=0.0)
        return (found.reconstruction - still.reconstruction).abs()

    for optimizer, usual in (("adam", 0.01), ("adagrad", 0.02)):
        assert float(moved(optimizer=optimizer).max()) == pytest.approx(usual, rel=1e-3)
        given = moved(optimizer=optimizer, rate=0.05)
        assert float(given.max()) == pytest.approx(0.05, rel=1e-3)
    assert float(moved(optimizer="bold").max()) < 1e-3 < float(moved(rate=0.01).max())


def test_settings_are_those_of_the_stage(inputs: Tensor) -> None:
    given: dict[str, Any]
    for given in ({"depth": 3}, {"wav": "sounds"}, {"per_class": 2}, {"align_epochs": 1}):
        with pytest.raises(UsageProblem, match=next(iter(given))):
            speechscope.invert(model(), inputs, [1], steps=0, **given)
    with pytest.raises(UsageProblem, match=r"--down 2\.0: at most 1"):
        speechscope.invert(model(), inputs, [1], down=2.0)
    for given in ({"depth": 3}, {"target": "label"}, {"items": "0"}):
        with pytest.raises(UsageProblem, match=next(iter(given))):
            speechscope.explain(model(), inputs, **given)
    with pytest.raises(UsageProblem, match="unit has no meaning"):
        speechscope.maximize(model(), "fc1", ["0"], unit="1")


def test_shifts_are_honoured_for_waveforms_and_refused_elsewhere(inputs: Tensor) -> None:
    torch.manual_seed(0)
    table = (Conv(4, (1, 10), stride=(1, 5)), ReLU(), Linear(3))
    waves = Untrained(Network(table, (1, 1, 60)))
    x = torch.randn(2, 1, 1, 60)
    alone = speechscope.explain(waves, x, [0, 1], shifts=1)  # type: ignore[arg-type]
    several = speechscope.explain(waves, x, [0, 1], shifts=5)  # type: ignore[arg-type]
    # A step of five samples: over five shifts no place is preferred.
    assert not torch.allclose(alone, several)
    with pytest.raises(UsageProblem, match="--shifts: only what enters a network for waveforms"):
        speechscope.explain(model(), inputs, [0, 1, 2], shifts=5)


def test_inversion_recovers_what_a_layer_holds(inputs: Tensor) -> None:
    found = speechscope.invert(
        model(), inputs, [1, "pool1"], ["bp", "bp+anneal"], rate=1e-2, steps=50, proposals=100
    )
    assert found.reconstruction.shape == (2, 2, 3, 1, 14, 5)
    assert bool((found.objective[..., -1].nan_to_num(0) < found.objective[..., 0]).all())


def test_an_optimum_excites_its_unit() -> None:
    best = speechscope.maximize(model(), "fc1", ["0", "b"], steps=20)
    assert bool((best.activation[:, -1] > best.activation[:, 0]).all())
