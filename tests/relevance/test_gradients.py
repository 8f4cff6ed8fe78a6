"""Gradients, integrated gradients, noise and occlusion on functions whose answers are known."""

import numpy as np
import oracles
import pytest
import torch
from explaining import before, whole
from torch import Tensor, nn

from speechscope.errors import UsageProblem
from speechscope.networks.tracing import module_graph, table_graph
from speechscope.registry import NETWORKS
from speechscope.relevance.explain import explained, per_class, predicted, relevance_by, score
from speechscope.relevance.gradient import (
    class_activation,
    gradient_times_input,
    integrated_gradients,
    sensitivity,
    smoothgrad,
)
from speechscope.relevance.guided import guided_backpropagation
from speechscope.relevance.occlusion import occlusion
from speechscope.stages.relevance import Relevance

ZERO = torch.zeros(2, dtype=torch.long)


def cubic(x: Tensor) -> Tensor:
    """Scores Σ x³ and −Σ x³."""
    total = (x**3).flatten(1).sum(1)
    return torch.stack([total, -total], 1)


def test_gradients_of_a_known_function() -> None:
    x = torch.randn(2, 1, 3, 4).double()
    torch.testing.assert_close(sensitivity(whole(cubic), x, ZERO), 3 * x**2)
    torch.testing.assert_close(sensitivity(whole(cubic), x, ZERO + 1), -3 * x**2)
    torch.testing.assert_close(gradient_times_input(whole(cubic), x, ZERO), 3 * x**3)


def test_integrated_gradients_are_exact_for_polynomials_and_complete() -> None:
    x = torch.randn(2, 1, 3, 4).double()
    found = integrated_gradients(whole(cubic), x, ZERO, Relevance(steps=2))
    torch.testing.assert_close(found, x**3)
    torch.manual_seed(0)
    network = NETWORKS["freq"]((1, 201, 16), 5).eval().requires_grad_(False)
    x = torch.randn(2, 1, 201, 16)
    total = integrated_gradients(whole(network), x, ZERO, Relevance(steps=200)).flatten(1).sum(1)
    wanted = score(network(x), ZERO) - score(network(torch.zeros_like(x)), ZERO)
    torch.testing.assert_close(total, wanted, rtol=0.01, atol=0.01)


def test_smoothgrad_averages_over_noise_of_the_items_own() -> None:
    x = torch.randn(2, 1, 40, 50).double()
    x[1] *= 3
    settings = Relevance(samples=40, noise=0.2)
    found = smoothgrad(whole(cubic), x, ZERO, settings, [1, 2])
    # E 3 (x + e)² = 3 x² + 3 σ².
    spread = 0.2 * (x.flatten(1).amax(1) - x.flatten(1).amin(1))
    more = (found - 3 * x**2).flatten(1).mean(1)
    torch.testing.assert_close(more, 3 * spread**2, rtol=0.05, atol=0)
    alone = smoothgrad(whole(cubic), x[1:], ZERO[1:], settings, [2])
    torch.testing.assert_close(alone, found[1:])
    assert not torch.equal(found, smoothgrad(whole(cubic), x, ZERO, settings, [3, 2]))


@pytest.mark.parametrize(("size", "stride"), [(3, 3), (4, 3), (5, 1), (50, 2)])
def test_occlusion_is_the_slow_mean_over_windows(size: int, stride: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 11))
    settings = Relevance(patch=f"2x{size}", stride=f"1x{stride}")
    found = occlusion(whole(cubic), torch.tensor(x).view(2, 1, 1, 11), ZERO, settings)
    for item, row in enumerate(x):
        wanted = oracles.occluded(lambda v: float((v**3).sum()), row, min(size, 11), stride)
        np.testing.assert_allclose(found[item].flatten().numpy(), wanted, atol=1e-12)


def test_guided_is_the_gradient_where_no_gradient_is_negative() -> None:
    torch.manual_seed(0)
    network = NETWORKS["logmel"]((3, 40, 11), 5).eval().requires_grad_(False)
    x = torch.randn(2, 3, 40, 11)
    of = whole(table_graph(network))
    assert not torch.allclose(guided_backpropagation(of, x, ZERO), sensitivity(of, x, ZERO))
    for name in network.names:
        if name.startswith(("conv", "fc")):
            network.parameters_of(name)[0].data.abs_()
    torch.testing.assert_close(guided_backpropagation(of, x, ZERO), sensitivity(of, x, ZERO))


def test_scores_of_several_positions_are_added() -> None:
    scores = torch.tensor([[[1.0, 2.0], [5.0, -4.0]]])
    torch.testing.assert_close(per_class(scores), torch.tensor([[3.0, 1.0]]))
    assert predicted(scores).tolist() == [0]
    assert score(scores, torch.tensor([1])).tolist() == [1.0]


def test_grad_cam_by_hand() -> None:
    model = nn.Sequential(nn.AvgPool2d((1, 2)), nn.Flatten(), nn.Linear(2, 1, bias=False)).eval()
    model[2].weight.data = torch.tensor([[1.0, 3.0]])
    x = torch.tensor([1.0, 3, 5, 9]).view(1, 1, 1, 4)
    graph = module_graph(model, x)
    found = class_activation(graph, x, ZERO[:1], before(graph, "1"))
    # Two positions, 2 and 7, weighted by the mean slope 2, between them a quarter of the way each.
    torch.testing.assert_close(found.flatten(), torch.tensor([4.0, 6.5, 11.5, 14]))


def test_grad_cam_weights_the_last_convolutions_maps() -> None:
    torch.manual_seed(0)
    network = NETWORKS["freq-overlap"]((1, 201, 16), 5).eval().requires_grad_(False)
    x, target = torch.randn(2, 1, 201, 16), torch.tensor([1, 3])
    graph = table_graph(network)
    found = relevance_by("grad-cam", explained(network, x), x, target, Relevance(), [0, 0])
    torch.testing.assert_close(found, class_activation(graph, x, target, before(graph, "pool3")))
    assert not torch.allclose(found, class_activation(graph, x, target, before(graph, "pool2")))


def test_over_shifts_no_place_of_a_coarse_grid_is_preferred() -> None:
    # Every fourth sample alone counts; moved by 0 … 3 samples, all count a quarter.
    def coarse(x: Tensor) -> Tensor:
        return (2 * x[..., ::4]).flatten(1).sum(1, keepdim=True)

    settings = Relevance(shifts=4)
    x = torch.randn(2, 1, 1, 12).double()
    found = relevance_by("gradient", whole(coarse), x, ZERO, settings, [0, 0])
    # What is moved out at the end is not seen.
    seen = [sum((n + j) % 4 == 0 and n + j < 12 for j in range(4)) for n in range(12)]
    wanted = torch.tensor([2 * count / 4 for count in seen]).double()
    torch.testing.assert_close(found, wanted.expand_as(x))
    # What divides the score keeps to the sample it divides it to, wherever that was moved.
    found = relevance_by("gradient-x-input", whole(coarse), x, ZERO, settings, [0, 0])
    torch.testing.assert_close(found, wanted * x)
    with pytest.raises(UsageProblem, match="--shifts: only what enters a network for waveforms"):
        relevance_by("gradient", whole(coarse), x.view(2, 1, 3, 4), ZERO, settings, [0, 0])
