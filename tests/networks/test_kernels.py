"""The kernels of PyTorch that the networks run on are right on this machine."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from speechscope.networks.kernels import Case, applied, cases, faults


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
