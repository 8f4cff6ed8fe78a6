import numpy as np
import oracles
import pytest
import torch

from speechscope.networks.decoders import (
    BlindUnpooling,
    at_switches,
    pooling_switches,
    region_weights,
    switch_unpool,
    transpose_kernel,
    transpose_pads,
)


def test_blind_unpooling_as_drawn_by_churchman() -> None:
    # Churchman 2015, fig. 7: regions of 2 every 1 average where they overlap.
    unpool = BlindUnpooling((2, 2), (1, 1), (3, 3))
    pooled = torch.tensor([[6.0, 4.0], [6.0, 4.0]])[None, None]
    expected = torch.tensor([[6.0, 5.0, 4.0]]).expand(3, 3)
    torch.testing.assert_close(unpool(pooled)[0, 0], expected)


POOLINGS = pytest.mark.parametrize(
    ("size", "stride", "shape"),
    [
        ((5, 2), (2, 2), (201, 16)),
        ((5, 1), (2, 1), (194, 1)),
        ((5, 1), (2, 1), (11, 3)),  # nothing left over
        ((2, 2), (2, 2), (7, 5)),  # a leftover bin and a leftover frame
        ((3, 3), (2, 3), (10, 11)),  # leftovers of one and of two
        ((2, 3), (4, 5), (13, 14)),  # gaps between the regions
        ((4, 2), (1, 1), (9, 6)),
    ],
)


@POOLINGS
def test_blind_unpooling_equals_the_loops(
    size: tuple[int, int], stride: tuple[int, int], shape: tuple[int, int]
) -> None:
    regions = [(shape[a] - size[a]) // stride[a] + 1 for a in (0, 1)]
    pooled = np.random.default_rng(0).normal(size=(2, 3, *regions))
    unpool = BlindUnpooling(size, stride, shape).double()
    found = unpool(torch.from_numpy(pooled)).numpy()
    for b in range(2):
        for c in range(3):
            expected = oracles.blind_unpooling(pooled[b, c], size, stride, shape)
            # The averaging weights are single-precision fractions.
            np.testing.assert_allclose(found[b, c], expected, rtol=1e-6, atol=1e-6)


def test_unpooling_weights_are_averages() -> None:
    weights = region_weights(5, 2, 201)
    assert weights.shape == (201, 99)
    torch.testing.assert_close(weights.sum(1), torch.ones(201))
    assert weights[100][48:51].tolist() == pytest.approx([1 / 3] * 3)
    assert weights[101][49:51].tolist() == [0.5, 0.5]
    assert weights[0].tolist() == [1.0] + [0.0] * 98


def test_elements_of_no_region_take_the_nearest_the_earlier_of_two() -> None:
    # Regions of one element at 0, 3 and 6; then one at 0 and one at 2, both one step from 1.
    assert region_weights(1, 3, 8).argmax(1).tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
    assert region_weights(1, 2, 3).argmax(1).tolist() == [0, 0, 1]


def test_repeated_frames_are_recognised() -> None:
    assert BlindUnpooling((5, 2), (2, 2), (99, 8)).repeat == 2
    assert BlindUnpooling((5, 1), (2, 1), (99, 8)).repeat == 1
    assert BlindUnpooling((5, 2), (2, 2), (99, 7)).repeat == 0  # a frame is left over
    assert BlindUnpooling((5, 3), (2, 2), (99, 7)).repeat == 0  # the regions overlap


@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (3, 4, 1, 2), (1, 0, 2, 0)])
def test_the_convolution_transpose_is_the_adjoint(pads: tuple[int, int, int, int]) -> None:
    # <conv(x), y> = <x, transpose(y)> for all x and y: sizes and alignment are those of the input.
    rng = np.random.default_rng(1)
    weight = rng.normal(size=(3, 2, 8, 4))
    x = rng.normal(size=(2, 13, 7))
    convolved = oracles.convolution(x, weight, pads)
    y = rng.normal(size=convolved.shape)
    back = oracles.convolution(
        y, transpose_kernel(torch.from_numpy(weight)).numpy(), transpose_pads((8, 4), pads)
    )
    assert back.shape == x.shape
    assert np.sum(convolved * y) == pytest.approx(np.sum(x * back), rel=1e-12)


def test_the_transposed_kernel_is_riemens_formula() -> None:
    weight = torch.arange(2 * 3 * 4 * 5, dtype=torch.float64).view(2, 3, 4, 5)
    found = transpose_kernel(weight)
    for k in range(2):
        for d in range(3):
            for i in range(4):
                for j in range(5):
                    assert found[d, k, i, j] == weight[k, d, 3 - i, 4 - j]


@POOLINGS
def test_switch_unpooling_equals_the_loops(
    size: tuple[int, int], stride: tuple[int, int], shape: tuple[int, int]
) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 3, *shape))
    switches = pooling_switches(torch.from_numpy(x), size, stride)
    # Not the maxima themselves: regions that share one are given different values.
    values = rng.normal(size=switches.shape)
    found = switch_unpool(torch.from_numpy(values), switches, shape).numpy()
    maxima = at_switches(torch.from_numpy(x), switches).numpy()
    for b in range(2):
        for c in range(3):
            where = oracles.pooling_switches(x[b, c], size, stride)
            expected = where[..., 0] * shape[1] + where[..., 1]
            np.testing.assert_array_equal(switches[b, c].numpy(), expected)
            np.testing.assert_array_equal(maxima[b, c], x[b, c][where[..., 0], where[..., 1]])
            expected = oracles.switch_unpooling(values[b, c], where, shape)
            np.testing.assert_array_equal(found[b, c], expected)


def test_the_maxima_themselves_return_to_their_places() -> None:
    # Riemens 2015, B.8.2: regions that share a maximum write the same value.
    x = torch.tensor([[1.0, 7.0, 2.0, 3.0, 9.0]])[None, None]
    switches = pooling_switches(x, (1, 3), (1, 1))
    assert switches.flatten().tolist() == [1, 1, 4]
    restored = switch_unpool(at_switches(x, switches), switches, (1, 5))
    assert restored.flatten().tolist() == [0.0, 7.0, 0.0, 0.0, 9.0]
    # Different values for one place: that of the last region stays.
    values = torch.tensor([5.0, -6.0, 8.0]).view(1, 1, 1, 3)
    assert switch_unpool(values, switches, (1, 5)).flatten().tolist() == [0.0, -6.0, 0.0, 0.0, 8.0]


def test_derivatives_of_switch_unpooling_go_back_through_the_switches() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 2, 9, 6, dtype=torch.float64)
    switches = pooling_switches(x, (5, 2), (2, 2))
    values = torch.randn(switches.shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: switch_unpool(v, switches, (9, 6)), (values,))
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: at_switches(x, switches), (x,))
