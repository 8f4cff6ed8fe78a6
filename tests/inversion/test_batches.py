"""What a method answers depends on an item, its seed and the settings, on nothing around it."""

from dataclasses import replace

import pytest
import torch

from speechscope.fast import changed_rows
from speechscope.inversion.anneal import anneal
from speechscope.inversion.chains import invert
from speechscope.inversion.problem import Problem
from speechscope.networks.decoders import Decoder
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Table
from speechscope.stages.invert import Invert

TABLE: Table = (Conv(3, (4, 5), "same"), ReLU(), MaxPool((5, 2), (2, 2)), Linear(6))
SEEDS = [11, 12, 13, 14, 15, 16, 17]


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(1)
    return Network(TABLE, (1, 14, 5)).double().requires_grad_(False)


@pytest.fixture(scope="module")
def inputs() -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(7, 1, 14, 5, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize(
    ("methods", "rule", "average"),
    [
        (["anneal", "bp", "decode", "align", "decode+bp"], "bold", 1),
        (["bp", "decode+bp"], "adam", 2),
        (["bp", "decode+bp"], "lbfgs", 1),
        (["align+bp+anneal"], "adagrad", 2),
    ],
)
def test_the_same_seed_gives_the_same_at_any_batch_size(
    network: Network, inputs: torch.Tensor, methods: list[str], rule: str, average: int
) -> None:
    """Within 1e-5: double precision, in which another order of summation decides nothing."""
    settings = Invert(
        method=tuple(methods),
        l2=0.05,
        average=average,
        noise=0.1,
        steps=12,
        start=0.3,
        optimizer=rule,
        rate=0.05 if rule == "bold" else 0.02,
        proposals=110,
        chains=2,
        reach=0.3,
    )
    torch.manual_seed(5)
    decoders = {3: Decoder(network, 3).double()}

    def run(block: int, first: int = 0, last: int = 7) -> torch.Tensor:
        return invert(
            network,
            inputs[first:last],
            [3],
            replace(settings, block=block),
            SEEDS[first:last],
            restorers={"decode": decoders, "align": decoders},
        ).reconstruction

    whole = run(7)
    assert torch.equal(run(7), whole)
    for block in (1, 4):
        torch.testing.assert_close(run(block), whole, rtol=1e-5, atol=1e-5)
    # Nor do neighbours matter.
    torch.testing.assert_close(run(7, 2, 5), whole[:, :, 2:5], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "temperature"), [(1, 1e-2), (1, 10.0), (3, 1e-6), (4, 1e-2), (4, 10.0)]
)
def test_the_best_of_annealing_never_rises(
    monkeypatch: pytest.MonkeyPatch,
    network: Network,
    inputs: torch.Tensor,
    layer: int,
    temperature: float,
) -> None:
    # Sums are taken afresh on the way, and a hot chain is mostly far above its best.
    monkeypatch.setattr(changed_rows, "FRESH", 200)
    target = network.activation(inputs, layer)
    whole = Problem(network, layer, target, SEEDS, 0.05)
    settings = Invert(proposals=430, chains=2, reach=0.3, temperature=temperature, cooling=1.0)
    start = 0.3 * torch.randn(7, 1, 14, 5, generator=torch.Generator().manual_seed(3)).double()
    for begun in (None, start):
        found = anneal(whole, begun, settings)
        assert found.objective.shape == (7, 6)
        assert bool((found.objective.diff(dim=1) <= 0).all())
        energy = whole.objective().energy(found.x)
        torch.testing.assert_close(energy, found.objective[:, -1], rtol=1e-9, atol=1e-9)
        if temperature < 1:
            assert bool((found.objective[:, -1] < found.objective[:, 0]).all())
