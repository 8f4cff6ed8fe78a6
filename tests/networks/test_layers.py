import pytest
import torch
from torch import nn

from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.networks.layers import BatchNorm, Conv, Linear, MaxPool, Network, ReLU, Table
from speechscope.registry import NETWORKS

# Churchman 2015, fig. 6.
FREQ_OVERLAP_SHAPES = [
    *[(8, 194, 1)] * 2, (8, 95, 1), *[(16, 90, 1)] * 2, (16, 43, 1), *[(32, 40, 1)] * 2,
    (32, 18, 1), *[(1000,)] * 6, (48,),
]  # fmt: skip
# Riemens 2015, fig. 2.
PADDED_SHAPES = [
    *[(8, 201, 16)] * 2, (8, 99, 8), *[(16, 99, 8)] * 2, (16, 48, 4), *[(32, 48, 4)] * 2,
    (32, 22, 2), *[(1000,)] * 6, (48,),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shapes"),
    [("freq-overlap", FREQ_OVERLAP_SHAPES), ("freq-overlap-padded", PADDED_SHAPES)],
)
def test_the_networks_have_the_sizes_of_the_papers(
    name: str, shapes: list[tuple[int, ...]]
) -> None:
    network = NETWORKS[name]()
    assert list(network.shapes) == shapes
    found = network.activations(torch.randn(2, 1, 201, 16), range(1, 17))
    assert [tuple(found[n].shape[1:]) for n in range(1, 17)] == shapes


def test_layers_are_counted_with_relu_and_pooling() -> None:
    network = NETWORKS["freq-overlap"]()
    assert network.names == (
        "conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "conv3", "relu3", "pool3",
        "fc1", "relu4", "fc2", "relu5", "fc3", "relu6", "fc4",
    )  # fmt: skip
    assert network.resolve("conv1") == 1
    assert network.resolve("pool3") == 9
    assert network.resolve("fc2") == 12
    assert network.resolve("12") == network.resolve(12) == 12
    for wrong in (0, 17, -1, "conv9", "0"):
        with pytest.raises(UsageProblem, match="expected 1 to 16"):
            network.resolve(wrong)


def plain(table: Table, network: Network) -> nn.Sequential:
    """The same network as anybody would write it, one module a layer."""
    modules: list[nn.Module] = []
    before: tuple[int, ...] = network.input_shape
    for row, shape in zip(table, network.shapes, strict=True):
        if isinstance(row, Conv):
            top, bottom, left, right = row.pads
            module: nn.Module = nn.Sequential(
                nn.ZeroPad2d((left, right, top, bottom)),
                nn.Conv2d(before[0], shape[0], row.kernel, row.stride),
            )
        elif isinstance(row, BatchNorm):
            module = nn.BatchNorm2d(before[0])
        elif isinstance(row, MaxPool):
            module = nn.MaxPool2d(row.size, row.stride)
        elif isinstance(row, Linear):
            width = int(torch.tensor(before).prod())
            module = nn.Sequential(nn.Flatten(), nn.Linear(width, shape[0]))
        else:
            module = nn.ReLU()
        modules.append(module.double())
        before = shape
    for name, module in zip(network.names, modules, strict=True):
        holder = module[1] if isinstance(module, nn.Sequential) else module
        if isinstance(holder, nn.Conv2d | nn.BatchNorm2d | nn.Linear):
            holder.load_state_dict(network.get_submodule(name).state_dict())
    return nn.Sequential(*modules)


CASES: list[tuple[Table, tuple[int, int, int]]] = [
    (NETWORKS["freq-overlap"]().table, (1, 201, 16)),
    (NETWORKS["freq-overlap-padded"]().table, (1, 201, 16)),
    # More than one input channel, odd and even kernels, a kernel narrower than the input.
    (
        (Conv(5, (4, 7)), ReLU(), MaxPool((5, 1), (2, 1)), Conv(3, (3, 1)), Linear(None)),
        (3, 31, 7),
    ),
    (
        (Conv(5, (4, 6), "same"), MaxPool((5, 2), (2, 2)), Conv(3, (3, 2), "same"), Linear(None)),
        (2, 24, 9),
    ),
    ((Conv(4, (3, 3)), ReLU(), MaxPool((3, 3), (3, 1)), Conv(2, (2, 2)), Linear(None)), (2, 17, 9)),
    ((Conv(4, (3, 9), "same"), ReLU(), Linear(6), ReLU(), Linear(None)), (2, 9, 5)),
    # Strides, along one axis and both, odd and even sizes; one bin left.
    ((Conv(4, (1, 5), stride=(1, 3)), MaxPool((1, 3), (1, 3)), ReLU(), Linear(None)), (2, 1, 40)),
    (
        (Conv(4, (5, 4), "same", stride=(3, 2)), ReLU(), Conv(11, (4, 3), stride=(2, 1))),
        (2, 13, 8),
    ),
    (
        (Conv(5, (6, 4), "same-time", stride=(1, 2)), BatchNorm(), ReLU(), Conv(11, (1, 3))),
        (2, 6, 9),
    ),
    # Along time alone, over many frames.
    ((Conv(4, (7, 3)), ReLU(), MaxPool((1, 2), (1, 2)), Conv(3, (1, 4)), Linear(None)), (1, 7, 30)),
]


@pytest.mark.parametrize(("table", "shape"), CASES)
def test_every_layer_and_gradient_equals_plain_modules(
    table: Table, shape: tuple[int, int, int]
) -> None:
    torch.manual_seed(0)
    network = Network(table, shape, classes=11).double()
    for parameter in network.parameters():
        parameter.data.normal_(std=parameter[0].numel() ** -0.5)  # biases too
    reference = plain(table, network)
    x = torch.randn(3, *shape, dtype=torch.float64, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    outputs = network.activations(x, network.names)
    z = y
    for number, module in enumerate(reference, start=1):
        z = module(z)
        torch.testing.assert_close(outputs[number], z, rtol=1e-10, atol=1e-10)
    # Asked for the last layer alone, pooling runs before the ReLU.
    final = network(x)
    torch.testing.assert_close(final, z, rtol=1e-10, atol=1e-10)
    seed = torch.randn_like(z)
    torch.autograd.backward([final, z], [seed, seed])
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-9, atol=1e-10)
    ours = [p.grad for p in network.parameters()]
    theirs = [p.grad for p in reference.parameters()]
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


def test_a_part_of_the_network_runs_from_a_layer_on() -> None:
    network = NETWORKS["freq-overlap"]().double()
    x = torch.randn(2, 1, 201, 16, dtype=torch.float64)
    pooled = network.activation(x, "pool2")
    torch.testing.assert_close(
        network.activation(pooled, "fc2", start="pool2"), network.activation(x, 12)
    )
    torch.testing.assert_close(network(x), network.activation(x, "fc4"))
    with pytest.raises(SpeechscopeError, match="before the start"):
        network.activation(pooled, 6, start=6)
    with pytest.raises(SpeechscopeError, match=r"takes items of shape \(16, 43, 1\)"):
        network.activation(x, 12, start=6)


def test_dropout_only_in_training_and_unbiased() -> None:
    network = Network((Conv(4, (3, 1)), Linear(5, dropout=0.25)), (1, 8, 4), classes=5)
    x = torch.randn(1, 1, 8, 4)
    network.eval()
    still = network(x)
    assert torch.equal(network(x), still)
    network.train()
    assert not torch.equal(network(x), still)
    torch.manual_seed(0)
    mean = torch.stack([network(x) for _ in range(3000)]).mean(0)
    torch.testing.assert_close(mean, still, rtol=0, atol=0.1)
    network.dropout["fc1"] = 0.0
    torch.testing.assert_close(network(x), still)


def test_padding_is_split_as_the_stride_asks() -> None:
    # kernel − 1 zeros, (kernel − stride) // 2 of them before: the windows lie in the middle.
    assert Conv(1, (5, 4), "same", stride=(3, 2)).pads == (1, 3, 1, 2)
    assert Conv(1, (4, 48), "same-time", stride=(1, 2)).pads == (0, 0, 23, 24)
    assert Conv(1, (4, 7), "same").pads == (1, 2, 3, 3)
    assert Conv(1, (1, 1), "same", stride=(1, 3)).pads == (0, 0, 0, 0)
    assert Conv(1, (5, 4), stride=(3, 2)).pads == (0, 0, 0, 0)
    for length in range(1, 12):
        conv = Conv(2, (1, 5), "same", stride=(1, 3))
        assert Network((conv,), (1, 1, length)).shapes == ((2, 1, -(-length // 3)),)


def test_a_table_that_does_not_fit_is_refused() -> None:
    with pytest.raises(SpeechscopeError, match="layer 1"):
        Network((Conv(4, (9, 1)),), (1, 8, 4))
    with pytest.raises(SpeechscopeError, match="layer 2"):
        Network((Linear(5), MaxPool((2, 1), (2, 1))), (1, 8, 4))


def test_the_first_weights_depend_on_the_generator_alone() -> None:
    network = NETWORKS["freq-overlap"]()
    network.reset_parameters(torch.Generator().manual_seed(3))
    first = network.parameters_of("fc2")[0].clone()
    network.reset_parameters(torch.Generator().manual_seed(3))
    assert torch.equal(first, network.parameters_of("fc2")[0])
    # He et al. 2015: variance 2 / fan-in.
    assert float(first.detach().std()) == pytest.approx((2 / 1000) ** 0.5, rel=0.01)


def test_xavier_weights_have_the_papers_variance() -> None:
    network = Network((Conv(60, (5, 3)), ReLU(), Linear(70)), (40, 30, 12), xavier=True)
    for name, into, out in (("conv1", 40 * 15, 60 * 15), ("fc1", 60 * 26 * 10, 70)):
        weight = network.parameters_of(name)[0].detach()
        # Glorot & Bengio 2010, eq. 12.
        assert float(weight.std()) == pytest.approx((2 / (into + out)) ** 0.5, rel=0.02)
