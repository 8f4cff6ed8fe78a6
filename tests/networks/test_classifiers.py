import numpy as np
import oracles
import pytest
import torch

from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU
from speechscope.registry import NETWORKS

PHONES = (1, 201, 16)
FILTER_BANKS = (3, 40, 11)
WAVEFORM = (1, 1, 4000)  # 250 ms at 16 kHz

# Only convolutions, pools and fully connected layers, in order, as the papers count them.
# Churchman 2015, fig. 6: 194 × 1 × 8, 95, 90, 43, 40, 18. Riemens 2015, fig. 2: 201 × 16 × 8,
# 99 × 8, 48 × 4, 22 × 2, then 1000 maps pooled to 1 × 1. Pellegrini 2016, sec. 3: 64 × 7 × 4 (time
# before frequency). Muckenhirn 2019, table 1: maps and units, kernels and shifts; the sizes follow.
SIZES: dict[str, tuple[tuple[int, int, int], list[tuple[int, ...]]]] = {
    "time": (PHONES, [(8, 1, 14), (8, 1, 7), (16, 1, 5), (16, 1, 2), (1000,), (48,)]),
    "freq-large": (PHONES, [(8, 162, 1), (8, 81, 1), (16, 52, 1), (16, 26, 1), (1000,), (48,)]),
    "freq": (PHONES, [(8, 194, 1), (8, 97, 1), (16, 92, 1), (16, 46, 1), (1000,), (48,)]),
    "freq-padded": (
        PHONES,
        [
            (8, 201, 16), (8, 99, 8), (16, 99, 8), (16, 48, 4), (32, 48, 4), (32, 22, 2),
            (1000, 22, 2), (1000, 1, 1), (1000,), (1000,), (48,),
        ],
    ),
    "freq-overlap": (
        PHONES,
        [
            (8, 194, 1), (8, 95, 1), (16, 90, 1), (16, 43, 1), (32, 40, 1), (32, 18, 1),
            (1000,), (1000,), (1000,), (48,),
        ],
    ),
    "freq-overlap-padded": (
        PHONES,
        [
            (8, 201, 16), (8, 99, 8), (16, 99, 8), (16, 48, 4), (32, 48, 4), (32, 22, 2),
            (1000,), (1000,), (1000,), (48,),
        ],
    ),
    "logmel": (
        FILTER_BANKS,
        [(32, 36, 9), (32, 12, 9), (64, 8, 7), (64, 4, 7), (1024,), (1024,), (1024,), (33,)],
    ),
    "raw-phone": (
        WAVEFORM,
        [
            (80, 1, 398), (80, 1, 132), (60, 1, 126), (60, 1, 42), (60, 1, 36), (60, 1, 12),
            (1024,), (39,),
        ],
    ),
    "raw-speaker": (
        WAVEFORM,
        [(80, 1, 398), (80, 1, 132), (80, 1, 123), (80, 1, 41), (100,), (462,)],
    ),
}  # fmt: skip
# Churchman 2015, table 1; fig. 6 for the last two. The others: sec. 2 and table 1 of their papers.
DEPTHS = {
    "time": (2, 2), "freq-large": (2, 2), "freq": (2, 2), "freq-padded": (4, 3),
    "freq-overlap": (3, 4), "freq-overlap-padded": (3, 4),
    "logmel": (2, 4), "raw-phone": (3, 2), "raw-speaker": (2, 2),
}  # fmt: skip


def test_every_registered_network_is_tested_here_or_of_letters() -> None:
    assert {*SIZES, "wav2letter"} == set(NETWORKS.names())


def made(name: str) -> Network:
    shape, sizes = SIZES[name]
    network: Network = NETWORKS[name](shape, classes=sizes[-1][0])
    return network


@pytest.mark.parametrize("name", SIZES)
def test_every_network_has_the_sizes_and_the_depth_its_paper_prints(name: str) -> None:
    network = made(name)
    shape, sizes = SIZES[name]
    pairs = zip(network.table, network.shapes, strict=True)
    assert [found for row, found in pairs if not isinstance(row, ReLU)] == sizes
    kinds = [type(row) for row in network.table]
    assert (kinds.count(Conv), kinds.count(Linear)) == DEPTHS[name]
    found = network.activations(torch.randn(2, *shape), network.names)
    assert [tuple(found[n].shape[1:]) for n in sorted(found)] == list(network.shapes)


@pytest.mark.parametrize("name", SIZES)
def test_every_layer_equals_the_slow_formulas(name: str) -> None:
    torch.manual_seed(0)
    network = made(name).double().eval()
    x = torch.randn(1, *network.input_shape, dtype=torch.float64)
    found = {n: y[0].detach().numpy() for n, y in network.activations(x, network.names).items()}
    before = x[0].numpy()
    for number, (row, layer) in enumerate(zip(network.table, network.names, strict=True), start=1):
        if isinstance(row, Conv):
            weight, bias = (p.detach().numpy() for p in network.parameters_of(layer))
            # The widest convolution by a share of its maps.
            expected = oracles.strided_layer(before, weight[:8], bias[:8], row.stride, row.pads)
            np.testing.assert_allclose(found[number][:8], expected, rtol=1e-9, atol=1e-9)
        elif isinstance(row, MaxPool):
            expected = oracles.region_maximum(before, row.size, row.stride)
            np.testing.assert_array_equal(found[number], expected)
        elif isinstance(row, Linear):
            weight, bias = (p.detach().numpy() for p in network.parameters_of(layer))
            expected = weight @ before.reshape(-1) + bias
            np.testing.assert_allclose(found[number], expected, rtol=1e-9, atol=1e-9)
        else:
            np.testing.assert_array_equal(found[number], np.maximum(before, 0))
        before = found[number]


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("freq-padded", [0.0, 0.0, 0.9]),  # Riemens 2015, fig. 2
        ("logmel", [0.0, 0.5, 0.5, 0.5]),  # Pellegrini 2016, sec. 2
        ("freq-overlap", [0.0, 0.0, 0.0, 0.0]),  # no rate is printed
    ],
)
def test_dropout_stands_where_the_papers_name_a_rate(name: str, rates: list[float]) -> None:
    assert list(made(name).dropout.values()) == rates


def test_the_first_raw_kernel_moves_ten_samples_at_a_time() -> None:
    # Muckenhirn 2019, table 1: kW 30, dW 10: one step to the left is ten samples to the left.
    network = made("raw-phone")
    x = torch.randn(1, 1, 1, 4000)
    first = network.activation(x, "conv1")
    moved = network.activation(torch.roll(x, -10, dims=3), "conv1")
    torch.testing.assert_close(moved[..., :-3], first[..., 1:-2], rtol=1e-4, atol=1e-5)
