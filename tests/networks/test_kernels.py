"""The kernels of PyTorch that the networks run on are right on this machine."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from speechscope.networks.kernels import Case, applied, cases, faults, wrong_layers


@pytest.mark.parametrize(("name", "case"), [pytest.param(n, c, id=n) for n, c in cases()])
def test_layers_of_the_networks_are_right_in_both_directions(name: str, case: Case) -> None:
    assert not faults(*applied(case))


def test_a_wrong_kernel_is_seen() -> None:
    def wrong(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return functional.linear(x, weight, bias) + (weight - weight.detach()).sum()

    arguments = [torch.randn(3, 4), torch.randn(5, 4), torch.randn(5)]
    found = [text.partition(":")[0] for text in faults(wrong, functional.linear, arguments)]
    kinds = ("torch.float32", "torch.bfloat16")
    assert found == [f"{kind} derivative by the weight" for kind in kinds]


class Wrong(nn.Conv1d):
    """A convolution that is wrong in half precision, as some were on some processors."""

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if x.dtype == torch.float64 else y * 1.2


def test_a_layer_that_this_processor_computes_wrongly_is_named_with_the_remedy() -> None:
    network = nn.Sequential(nn.Conv1d(1, 3, 5), Wrong(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    x = torch.randn(2, 1, 10)
    assert wrong_layers(network, lambda: network(x)) == [], "single precision is doctor's"
    half = network.bfloat16()
    (line,) = wrong_layers(half, lambda: half(x.bfloat16()))
    assert line.startswith("layer 1: off by 0.2 of its size") and "float32 weights" in line
    assert not half[1]._forward_hooks
