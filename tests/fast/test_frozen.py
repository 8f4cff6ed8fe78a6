import pytest
import torch
from torch import Tensor

from speechscope.fast.frozen import make_block, plan
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Shape, Table
from speechscope.registry import NETWORKS
from speechscope.work.accelerators import Unsupported

CASES: list[tuple[Table, Shape]] = [
    (NETWORKS["freq-overlap"]().table, (1, 201, 16)),
    (NETWORKS["freq-overlap-padded"]().table, (1, 201, 16)),
    # Pooling before the ReLU, more channels, a leftover frame, four bins in a region.
    (
        (
            Conv(5, (4, 6), "same"),
            MaxPool((4, 2), (2, 2)),
            ReLU(),
            Conv(20, (3, 1), "same"),
            ReLU(),
            MaxPool((3, 2), (3, 2)),
            Linear(7),
            Linear(None),
        ),
        (2, 24, 9),
    ),
    # No pooling, pooling of time only, one region for everything, frames between regions unused.
    ((Conv(4, (3, 2)), ReLU(), Conv(3, (2, 2)), MaxPool((1, 2), (1, 3)), ReLU()), (2, 9, 9)),
    ((Conv(4, (3, 2)), MaxPool((7, 8), (1, 1)), ReLU(), Linear(None)), (1, 9, 9)),
    ((Linear(6), ReLU(), Linear(None)), (2, 5, 3)),
]


def run(network: Network, layer: int, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """The activations and the derivative by x of sum(activations · grad), through blocks."""
    blocks = [make_block(network, rows, len(x) + 2) for rows in plan(network, layer)]
    count = len(x)
    y = x.permute(0, 2, 3, 1)
    for block in blocks:
        block.input[:count].copy_(y)
        y = block.unpack(block.forward(count))
    outputs = y.clone()
    blocks[-1].output_gradient[:count].copy_(blocks[-1].pack(grad))
    for index in range(len(blocks) - 1, -1, -1):
        blocks[index].backward(count)
        back = blocks[index].input_gradient[:count]
        if index:
            before = blocks[index - 1]
            before.unpack(before.output_gradient[:count]).copy_(back)
    return outputs, back.clone()


def move(y: Tensor) -> Tensor:
    return y.permute(0, 2, 3, 1) if y.dim() == 4 else y


@pytest.mark.parametrize(("table", "shape"), CASES)
def test_every_layer_and_its_derivative_equal_autograd(table: Table, shape: Shape) -> None:
    torch.manual_seed(0)
    network = Network(table, shape, classes=11).double()
    for parameter in network.parameters():
        parameter.data.normal_(std=parameter[0].numel() ** -0.5)
    x = torch.randn(3, *shape, dtype=torch.float64, requires_grad=True)
    for layer in range(1, len(table) + 1):
        y = network.activation(x, layer)
        grad = torch.randn_like(y)
        (expected,) = torch.autograd.grad(y, x, grad)
        found, derivative = run(network, layer, x.detach(), grad)
        torch.testing.assert_close(found, move(y.detach()), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(derivative, move(expected), rtol=1e-10, atol=1e-10)


def test_of_equal_values_the_first_gets_the_derivative() -> None:
    # As max_pool2d does it; all of an empty spectrogram's regions are ties.
    network = Network((Conv(2, (3, 4), "same"), ReLU(), MaxPool((5, 2), (2, 2))), (1, 15, 6))
    network.double().parameters_of("conv1")[1].data.fill_(1.0)
    x = torch.zeros(2, 1, 15, 6, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    weight, bias = network.parameters_of("conv1")
    padded = torch.nn.functional.pad(leaf, (1, 2, 1, 1))
    y = torch.nn.functional.conv2d(padded, weight, bias).relu()
    y = torch.nn.functional.max_pool2d(y, (5, 2), (2, 2))
    grad = torch.randn_like(y)
    (expected,) = torch.autograd.grad(y, leaf, grad)
    found, derivative = run(network, 3, x, grad)
    torch.testing.assert_close(found, move(y.detach()))
    torch.testing.assert_close(derivative, move(expected))


def test_rows_without_a_fast_form_are_refused() -> None:
    overlapping: Table = (Conv(4, (3, 3)), MaxPool((3, 3), (3, 1)), Linear(None))
    with pytest.raises(Unsupported, match="overlap"):
        make_block(Network(overlapping, (1, 17, 9)), (1, 2), 4)
    strided: Table = (Conv(4, (3, 3), stride=(2, 1)), Linear(None))
    with pytest.raises(Unsupported, match="stride"):
        make_block(Network(strided, (1, 17, 9)), (1, 1), 4)
    # One bin is left of 17: of the products over frequency, most would be thrown away.
    with pytest.raises(Unsupported, match="leaves 1"):
        make_block(Network((Conv(4, (17, 3)), Linear(None)), (1, 17, 9)), (1, 1), 4)
    with pytest.raises(Unsupported, match="layer 1"):
        plan(Network((ReLU(), Conv(2, (3, 1))), (1, 9, 2)), 2)
