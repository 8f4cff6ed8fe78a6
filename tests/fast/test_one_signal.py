import pytest
import torch

from speechscope.fast.one_signal import convolve as fast
from speechscope.networks.maps import convolve
from speechscope.work.accelerators import Unsupported

GEOMETRIES = [
    ((2, 1, 50), (4, 1, 7), (3,), (2,)),
    ((2, 1, 50), (4, 1, 50), (1,), (0,)),
    ((2, 1, 1, 50), (4, 1, 1, 7), (1, 3), (0, 0)),
    ((2, 1, 50, 1), (4, 1, 7, 1), (3, 1), (2, 0)),
]


@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), GEOMETRIES)
def test_filters_of_one_signal_are_those_of_the_plain_form(
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...],
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(kernel, generator=generator, dtype=torch.float64)
    results = []
    for form in (convolve, fast):
        y = form(x, weight, stride, padding, (1,) * len(stride), 1)
        s = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        results.append((y, torch.autograd.grad(y, x, s)[0]))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "kernel", "padding", "dilation"),
    [
        ((2, 2, 50), (4, 2, 7), (0,), (1,)),
        ((2, 1, 50), (4, 1, 7), (0,), (2,)),
        ((2, 1, 5, 50), (4, 1, 5, 7), (0, 0), (1, 1)),
        ((2, 1, 1, 50), (4, 1, 1, 7), (1, 0), (1, 1)),
    ],
)
def test_other_convolutions_have_no_fast_form(
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
) -> None:
    x, weight = torch.randn(shape, requires_grad=True), torch.randn(kernel)
    with pytest.raises(Unsupported):
        fast(x, weight, (1,) * len(padding), padding, dilation, 1)
