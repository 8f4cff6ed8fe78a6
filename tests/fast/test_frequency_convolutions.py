import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from speechscope.fast import frequency_convolutions
from speechscope.fast.frequency_convolutions import FrequencyConvolutions, pool, unpool
from speechscope.registry import NETWORKS


def outputs(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve (B, bins, channels) with (maps, taps, channels), to (B, maps, bins')."""
    return functional.conv1d(x.transpose(1, 2), weight.transpose(1, 2))


def lines(y: Tensor) -> Tensor:
    """Return even and odd bins of (B, maps, bins) as (2, maps, B, line), with others behind."""
    even, odd = y[..., ::2], y[..., 1::2]
    out = y.new_full((2, y.shape[1], y.shape[0], even.shape[2]), 1e9)
    out[0], out[1, ..., : odd.shape[2]] = even.transpose(0, 1), odd.transpose(0, 1)
    return out


# An odd and an even number of outputs; more items than are worked on at a time.
@pytest.mark.parametrize(("bins", "size", "items"), [(23, 5, 11), (24, 4, 8), (24, 2, 3)])
def test_both_ways_equal_automatic_derivatives(bins: int, size: int, items: int) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(items, bins, 3, generator=rng, dtype=torch.float64).requires_grad_()
    weight = torch.randn(4, 6, 3, generator=rng, dtype=torch.float64).requires_grad_()
    bias = torch.randn(4, generator=rng, dtype=torch.float64).requires_grad_()
    y = outputs(x, weight)
    z = functional.max_pool1d(y + bias[:, None], size, 2).relu().transpose(1, 2)
    grad = torch.randn(z.shape, generator=rng, dtype=torch.float64)
    expected = torch.autograd.grad(z, (weight, bias, x), grad)

    by_lines, flat = lines(y.detach()).numpy(), x.detach().flatten(1).numpy()
    out = np.empty(z.shape)
    pool(by_lines, bias.detach().numpy(), size, out)
    np.testing.assert_allclose(out, z.detach(), rtol=1e-12, atol=1e-12)
    kernel = weight.detach().flatten(1).numpy()
    found = np.empty_like(kernel), np.empty(4), np.empty_like(flat)
    unpool(grad.numpy(), by_lines, bias.detach().numpy(), size, flat, kernel, *found, 3)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other.reshape(one.shape), rtol=1e-10, atol=1e-12)


def test_of_equal_maxima_the_first_gets_it_all() -> None:
    # Bins 2, 7, 7, 1, 7: regions 0 to 2 and 2 to 4 of three bins, the first of the maxima at 1, 2.
    y = lines(torch.tensor([[[2.0, 7.0, 7.0, 1.0, 7.0]]])).numpy()
    rows = np.array([[1, 0, 0, 0, 0]], np.float32)
    by_kernel, by_bias = np.empty((1, 1), np.float32), np.empty(1, np.float32)
    by_rows = np.empty((1, 5), np.float32)
    grad, one = np.array([[[10.0], [100.0]]], np.float32), np.ones((1, 1), np.float32)
    unpool(grad, y, np.zeros(1, np.float32), 3, rows, one, by_kernel, by_bias, by_rows, 1)
    assert by_rows.tolist() == [[0, 10, 100, 0, 0]]
    assert by_bias.tolist() == [110]


@pytest.mark.parametrize("place", range(5))
def test_what_is_not_a_number_stays_so(place: int) -> None:
    y = torch.arange(5.0)
    y[place] = torch.nan
    out = np.zeros((1, 1, 1), np.float32)
    pool(lines(y.view(1, 1, 5)).numpy(), np.zeros(1, np.float32), 5, out)
    assert np.isnan(out).all()


def test_windows_in_parts_give_the_same_units(monkeypatch: pytest.MonkeyPatch) -> None:
    network = NETWORKS["freq-overlap"]().double()
    x = torch.randn(8, 1, 201, 16, generator=torch.Generator().manual_seed(0)).double()
    whole, parts = (torch.empty(8, 576, dtype=torch.float64) for _ in range(2))
    FrequencyConvolutions(network, 8).forward(x, whole)
    monkeypatch.setattr(frequency_convolutions, "WINDOWS", 3 * 97 * 9 * 16)  # of three items
    FrequencyConvolutions(network, 8).forward(x, parts)
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-14)
