"""Controls answer what they say, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.inversion import chains
from speechscope.inversion.problem import Known
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Table
from speechscope.stages.invert import Invert

TABLE: Table = (Conv(3, (4, 5), "same"), ReLU(), MaxPool((5, 2), (2, 2)), Linear(6))
SEEDS = [4, 5, 6, 7, 8]
SHAPE = (1, 14, 5)


class Items:
    """Training items in memory."""

    def __init__(self, count: int = 300, signed: bool = True) -> None:
        rng = np.random.default_rng(0)
        self.deviation = torch.from_numpy(rng.uniform(0.5, 2, SHAPE))
        self.values = torch.from_numpy(rng.normal(size=(count, *SHAPE))) * self.deviation
        self.labels = rng.integers(0, 4, count)
        self.speakers = rng.integers(0, 3, count)
        self.mean, self.signed = torch.from_numpy(rng.normal(size=SHAPE)), signed

    def inputs(self, places: NDArray[np.int64]) -> Tensor:
        return self.values[torch.from_numpy(places)]


LABELS, SPEAKERS = np.array([0, 1, 2, 3, 9]), np.array([0, 1, 2, 0, 1])


def known(pool: Items) -> Known:
    inputs = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.double)
    return Known(inputs, LABELS, SPEAKERS, pool)


def control(
    method: str, pool: Items, layer: int = 3, told: Known | None = None
) -> chains.Inversion:
    torch.manual_seed(1)
    network = Network(TABLE, SHAPE).double()
    told = known(pool) if told is None else told
    settings = Invert(method=(method,), block=2)
    return chains.invert(network, told.inputs, [layer], settings, SEEDS, known=told)


def test_the_average_is_the_mean_and_the_round_trip_the_input() -> None:
    pool = Items()
    assert not control("average", pool).reconstruction.any()
    trip = control("round-trip", pool)
    torch.testing.assert_close(trip.reconstruction[0, 0], known(pool).inputs.float())
    assert trip.mismatch.max() < 1e-6


def test_the_nearest_is_found_by_a_loop_too() -> None:
    pool, told = Items(), known(Items())
    torch.manual_seed(1)
    network = Network(TABLE, SHAPE).double()
    for layer in (1, 3, 4):
        found = control("nearest", pool, layer).reconstruction[0, 0]
        target = network.activation(told.inputs, layer).detach()
        theirs = network.activation(pool.values, layer).detach()
        for item in range(5):
            apart = [
                float((target[item] - theirs[n]).square().sum())
                if pool.speakers[n] != SPEAKERS[item]
                else np.inf
                for n in range(len(pool.values))
            ]
            torch.testing.assert_close(found[item], pool.values[int(np.argmin(apart))].float())


def place_of(pool: Items, x: Tensor) -> int:
    (place,) = torch.nonzero((pool.values.float() == x).flatten(1).all(1))[:, 0].tolist()
    return int(place)


@pytest.mark.parametrize("method", ["random", "same-class"])
def test_a_chosen_item_is_of_another_speaker(method: str) -> None:
    pool = Items()
    found = control(method, pool).reconstruction[0, 0]
    for item in range(4):
        place = place_of(pool, found[item])
        assert pool.speakers[place] != SPEAKERS[item]
        assert method == "random" or pool.labels[place] == LABELS[item]
    # Nothing is of the class of the last.
    assert found[4].any() == (method == "random")


def test_noise_has_the_deviation_of_the_training_items() -> None:
    pool = Items()
    inputs = torch.zeros(2000, *SHAPE, dtype=torch.double)
    told = Known(inputs, np.zeros(2000, np.int64), np.zeros(2000, np.int64), pool)
    network = Network(TABLE, SHAPE).double()
    settings = Invert(method=("shaped-noise",))
    seeds = list(range(2000))
    found = chains.invert(network, inputs, [1], settings, seeds, known=told).reconstruction[0, 0]
    torch.testing.assert_close(found.std(0).double(), pool.deviation, rtol=0.1, atol=0)
    assert float(found.mean(0).abs().max()) < 0.2


def test_signs_are_drawn_and_magnitudes_stay() -> None:
    pool = Items()
    found = control("random-signs", pool).reconstruction[0, 0] + pool.mean
    given = known(pool).inputs + pool.mean
    torch.testing.assert_close(found.abs(), given.abs(), rtol=0, atol=1e-6)
    same = (found.sign() == given.sign()).float().mean()
    assert 0.4 < float(same) < 0.6
    with pytest.raises(UsageProblem, match="no signs"):
        control("random-signs", Items(signed=False))


def test_controls_say_what_they_need() -> None:
    told = replace(known(Items()), labels=np.full(5, -1))
    with pytest.raises(UsageProblem, match="no class"):
        control("same-class", Items(), told=told)
    network = Network(TABLE, SHAPE).double()
    inputs = torch.zeros(5, *SHAPE, dtype=torch.double)
    with pytest.raises(UsageProblem, match="needs the corpus"):
        chains.invert(network, inputs, [1], Invert(method=("average",)), SEEDS)
