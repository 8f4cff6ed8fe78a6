"""Scores of relevance, on functions whose answers are known."""

import numpy as np
import scipy.stats
import torch
from torch import Tensor

from speechscope.networks.layers import Linear, Network, ReLU
from speechscope.scores.relevance import (
    agreement,
    area,
    randomised,
    ranked,
    removal_curves,
    sensitivity_n,
)

WEIGHT = torch.tensor([3.0, -2.0, 1.0, 0.5, -0.25, 2.0, 1.5, -1.0]).double()
TARGET = torch.zeros(3, dtype=torch.long)


def linear(x: Tensor) -> Tensor:
    """Two scores: a weighted sum, and 0."""
    total = x.flatten(1) @ WEIGHT
    return torch.stack([total, torch.zeros_like(total)], 1)


def test_sensitivity_n_is_one_for_what_each_value_adds() -> None:
    x = torch.randn(3, 1, 2, 4).double()
    relevance = x * WEIGHT.view(1, 1, 2, 4)
    settings = {"share": 0.4, "samples": 20, "seeds": [0, 1, 2]}
    found = sensitivity_n(linear, x, TARGET, relevance, **settings)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, 1.0)
    found = sensitivity_n(linear, x, TARGET, -relevance, **settings)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, -1.0)
    found = sensitivity_n(linear, x, TARGET, torch.ones_like(x), **settings)  # type: ignore[arg-type]
    assert found.isnan().all()


def test_curves_take_the_most_relevant_values_first() -> None:
    x = torch.randn(3, 1, 2, 4).double()
    relevance = torch.randn(3, 1, 2, 4).double()
    deletion, insertion = removal_curves(linear, x, TARGET, relevance, steps=4)
    for item in range(3):
        order = np.argsort(-relevance[item].flatten().numpy())
        values = x[item].flatten().numpy()
        for step in range(5):
            kept = values.copy()
            kept[order[: 2 * step]] = 0
            logits = [kept @ WEIGHT.numpy(), (values - kept) @ WEIGHT.numpy()]
            wanted = 1 / (1 + np.exp(-np.array(logits)))
            found = [float(deletion[item, step]), float(insertion[item, step])]
            np.testing.assert_allclose(found, wanted)
    np.testing.assert_allclose(area(torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 1.0]])), [0.5, 1.0])


def test_agreement_is_spearmans() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 4, 30))
    first[1, :10] = 0  # ties share a rank
    found = agreement(ranked(torch.tensor(first)), ranked(torch.tensor(second)))
    wanted = [scipy.stats.spearmanr(a, b).statistic for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(found, wanted)
    second[2], first[3, 4] = 1, np.nan  # no order, and no number
    found = agreement(ranked(torch.tensor(first)), ranked(torch.tensor(second)))
    assert found.isnan().tolist() == [False, False, True, True]


def test_a_randomised_network_is_another_and_leaves_the_first() -> None:
    network = Network((Linear(5), ReLU(), Linear(None)), (1, 2, 3), 4).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    one, same, other = (randomised(network, seed) for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[n], v) for n, v in network.state_dict().items())
    x = torch.randn(2, 1, 2, 3)
    assert torch.equal(one(x), same(x))
    assert not torch.allclose(one(x), other(x)) and not torch.allclose(one(x), network(x))
    plain = torch.nn.Linear(3, 2)
    assert not torch.equal(randomised(plain, 0)(torch.ones(3)), plain(torch.ones(3)))
