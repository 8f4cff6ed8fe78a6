import pytest
import torch
from torch import Tensor

from speechscope.fast.pooling import FEW
from speechscope.fast.pooling import pooled as fast
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, pooled
from speechscope.work.accelerators import Unsupported

GEOMETRIES = [
    ((3, 4, 1, 41), (1, 3), (1, 3)),
    ((3, 4, 21, 1), (5, 1), (2, 1)),
    ((3, 4, 20, 16), (5, 2), (2, 2)),
    ((2, 3, 12, 9), (3, 1), (3, 1)),
    ((2, 3, 7, 8), (2, 3), (3, 1)),
]


def both(
    x: Tensor, size: tuple[int, int], stride: tuple[int, int], relu: bool
) -> list[tuple[Tensor, Tensor]]:
    found = []
    for form in (pooled, fast):
        leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        y = form(leaf, size, stride, relu)
        slope = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        found.append((y.detach(), torch.autograd.grad(y, leaf, slope)[0]))
    return found


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize(("shape", "size", "stride"), GEOMETRIES)
def test_values_and_slopes_are_those_of_the_plain_form(
    shape: tuple[int, ...], size: tuple[int, int], stride: tuple[int, int], relu: bool
) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for lies in (x, x.transpose(0, 1).contiguous().transpose(0, 1)):
        plain, ours = both(lies, size, stride, relu)
        assert torch.equal(plain[0], ours[0])
        torch.testing.assert_close(plain[1], ours[1], rtol=1e-6, atol=1e-6)


def test_of_equal_maxima_the_first_has_the_slope() -> None:
    x = torch.randint(-2, 3, (4, 5, 12, 16), generator=torch.Generator().manual_seed(0)).float()
    plain, ours = both(x, (3, 2), (2, 2), True)
    torch.testing.assert_close(plain, ours, rtol=1e-6, atol=1e-6)


def test_what_is_not_a_number_stays_so() -> None:
    x = torch.zeros(1, 1, 1, 9)
    x[0, 0, 0, 4] = torch.nan
    assert fast(x, (1, 3), (1, 3), True)[0, 0, 0].isnan().tolist() == [False, True, False]


def test_two_threads_share_the_planes() -> None:
    x = torch.randn(3, 7, 2, FEW // 21, generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        plain, ours = both(x, (1, 3), (1, 2), True)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(plain, ours, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("x", [torch.zeros(1, 1, 4, 5).double(), torch.zeros(1, 1, 4, 3)])
def test_what_has_no_fast_form_is_left_to_the_plain_one(x: Tensor) -> None:
    with pytest.raises(Unsupported):
        fast(x, (2, 3), (2, 3), False)


@pytest.mark.parametrize(
    "rows", [(ReLU(), MaxPool((2, 1), (2, 1))), (MaxPool((2, 1), (2, 1)), ReLU())]
)
def test_a_pool_and_its_relu_are_one_unless_what_lies_between_is_wanted(
    rows: tuple[ReLU | MaxPool, ...],
) -> None:
    network = Network((Conv(3, (3, 4)), *rows, Linear(None)), (1, 9, 4), 5)
    x = torch.randn(2, 1, 9, 4, generator=torch.Generator().manual_seed(0))
    asked: list[bool] = []

    def pool(x: Tensor, size: tuple[int, int], stride: tuple[int, int], relu: bool) -> Tensor:
        asked.append(relu)
        return pooled(x, size, stride, relu)

    every = network.activations(x, [1, 2, 3, 4], pool=pool)
    assert not asked
    for layer in (3, 4):
        assert torch.equal(network.activation(x, layer, pool=pool), every[layer])
    assert asked == [True, True]
    assert torch.equal(network.activation(every[1], 3, 1, pool), every[3])
    assert torch.equal(network.activation(every[2], 3, 2, pool), every[3])
    assert len(asked) == 3
