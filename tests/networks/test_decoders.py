from typing import Any

import numpy as np
import oracles
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.errors import SpeechscopeError
from speechscope.networks.autoencoders import encode
from speechscope.networks.decoders import (
    ConvolutionStage,
    Decoder,
    Unpool,
    Weights,
    transpose_kernel,
)
from speechscope.networks.layers import (
    Conv,
    Linear,
    MaxPool,
    Network,
    ReLU,
    Table,
)
from speechscope.registry import NETWORKS

TARGETS = {1: [0], 3: [0], 6: [3, 0], 9: [6, 3, 0], 12: [11, 9, 6, 3, 0], 13: [11, 9, 6, 3, 0]}


@pytest.mark.parametrize("name", ["freq-overlap", "freq-overlap-padded"])
def test_decoders_give_back_the_input_shape_stage_by_stage(name: str) -> None:
    network = NETWORKS[name]()
    torch.manual_seed(0)
    network.reset_parameters()
    x = torch.randn(2, 1, 201, 16)
    for layer, targets in TARGETS.items():
        decoder = Decoder(network, layer)
        assert [decoder.stage(i).target for i in range(len(targets))] == targets
        code = network.activation(x, layer).detach()
        for index, target in enumerate(targets):
            code = decoder.stage(index)(code)
            expected = network.shapes[target - 1] if target else (1, 201, 16)
            assert tuple(code.shape[1:]) == expected
            # All of these but the spectrogram are rectified (layer 11 is a ReLU, too).
            assert bool((code >= 0).all()) == (target != 0)
        torch.testing.assert_close(decoder(network.activation(x, layer)), code)


def test_an_activation_before_its_relu_may_be_negative() -> None:
    table: Table = (Conv(3, (3, 1)), Conv(4, (3, 1)), ReLU(), Linear(None))
    network = Network(table, (1, 12, 2))
    decoder = Decoder(network, 3)
    restored = decoder.stage(0)(network.activation(torch.randn(4, 1, 12, 2), 3))
    assert decoder.stage(0).target == 1
    assert bool((restored < 0).any())


def written_out(stage: ConvolutionStage, unpooled: list[list[NDArray[Any]]]) -> Tensor:
    """Convolve unpooled maps, an item and a map at a time."""
    weight, bias = stage.kernel.detach().numpy(), stage.bias.detach().numpy()
    restored = [oracles.convolution(np.stack(item), weight, stage.pads) for item in unpooled]
    return torch.from_numpy(np.stack(restored)) + torch.from_numpy(bias).view(1, -1, 1, 1)


@pytest.mark.parametrize(
    ("conv", "pool"),
    [
        (Conv(3, (4, 6), "same"), MaxPool((5, 2), (2, 2))),  # frames repeated: summed in the kernel
        (Conv(3, (4, 5), "same"), MaxPool((3, 3), (2, 2))),  # time regions overlap
        (Conv(3, (4, 1), "same"), MaxPool((5, 2), (2, 2))),  # a frame at a time
        (Conv(3, (4, 6)), MaxPool((5, 1), (2, 1))),  # one frame: fully padded on the way back
    ],
)
@pytest.mark.parametrize("unpool", ["blind", "switch"])
@pytest.mark.parametrize("weights", ["random", "transpose-tied"])
def test_a_stage_is_unpooling_and_convolution(
    conv: Conv, pool: MaxPool, unpool: Unpool, weights: Weights
) -> None:
    torch.manual_seed(0)
    network = Network((conv, ReLU(), pool, Linear(None)), (2, 15, 6)).double()
    decoder = Decoder(network, 3, weights, unpool=unpool).double()
    stage = decoder.stage(0)
    assert isinstance(stage, ConvolutionStage)
    stage.bias.data.normal_()
    if weights == "transpose-tied":
        expected_kernel = transpose_kernel(network.state_dict()["conv1.weight"])
        torch.testing.assert_close(stage.kernel, expected_kernel, rtol=0, atol=0)
    frequency, time = network.shapes[0][1:]
    shape = (frequency, time)
    x = torch.randn(2, 2, 15, 6, dtype=torch.float64)
    code = network.activation(x, 3).detach()
    maps = network.activation(x, 1).detach().numpy()
    unpooled = []
    for values, before in zip(code.detach().numpy(), maps, strict=True):
        if unpool == "switch":
            places = [oracles.pooling_switches(m, pool.size, pool.stride) for m in before]
            pairs = zip(values, places, strict=True)
            unpooled.append([oracles.switch_unpooling(v, p, shape) for v, p in pairs])
        else:
            unpooled.append(
                [oracles.blind_unpooling(v, pool.size, pool.stride, shape) for v in values]
            )
    _, switches = encode(network, x, [3], switches=True)
    found = stage(code, switches if unpool == "switch" else None)
    torch.testing.assert_close(found, written_out(stage, unpooled), rtol=1e-6, atol=1e-6)


def test_a_switch_decoder_asks_for_its_switches() -> None:
    table: Table = (Conv(2, (3, 1)), ReLU(), MaxPool((2, 1), (2, 1)), Linear(None))
    network = Network(table, (1, 12, 2))
    decoder = Decoder(network, 3, unpool="switch")
    with pytest.raises(SpeechscopeError, match="layer 3: switch unpooling needs"):
        decoder(network.activation(torch.randn(1, 1, 12, 2), 3))


def test_without_relus_nothing_is_rectified() -> None:
    torch.manual_seed(0)
    network = NETWORKS["freq-overlap-padded"]()
    code = network.activation(torch.randn(2, 1, 201, 16), 9).detach()
    decoder = Decoder(network, 9, "random", relu=False)
    assert bool((decoder.stage(0)(code) < 0).any())
    torch.testing.assert_close(
        decoder(2 * code), 2 * decoder(code), rtol=1e-4, atol=1e-5
    )  # linear, with biases of zero


@pytest.mark.parametrize("unpool", ["blind", "switch"])
def test_tied_weights_take_the_derivatives_of_both_uses(unpool: Unpool) -> None:
    torch.manual_seed(0)
    table: Table = (Conv(3, (4, 2), "same"), ReLU(), MaxPool((5, 2), (2, 2)), Linear(5), ReLU())
    network = Network(table, (1, 13, 6)).double()
    x = torch.randn(4, 1, 13, 6, dtype=torch.float64)
    gradients = []
    for weights in ("transpose-tied", "transpose-init"):
        decoder = Decoder(network, 5, weights, unpool=unpool).double()
        network.zero_grad()
        found, switches = encode(network, x, [5], switches=unpool == "switch")
        (decoder(found[5], switches) - x).square().sum().backward()
        names = ("conv1.weight", "fc1.weight")
        gradients.append([torch.as_tensor(network.get_parameter(n).grad) for n in names])
    tied, alone = gradients
    conv, linear = decoder.stage(1).weight, decoder.stage(0).weight
    assert conv is not None and linear is not None
    assert conv.grad is not None and linear.grad is not None
    torch.testing.assert_close(tied[0], alone[0] + transpose_kernel(conv.grad))
    torch.testing.assert_close(tied[1], alone[1] + linear.grad.t())


def test_the_first_weights_are_the_encoders_transposed() -> None:
    network = NETWORKS["freq-overlap-padded"]()
    decoder = Decoder(network, 12)
    state = network.state_dict()
    torch.testing.assert_close(decoder.stage(0).kernel.detach(), state["fc2.weight"].t())
    kernel = state["conv1.weight"]
    torch.testing.assert_close(decoder.stage(4).kernel.detach()[0, 5, 1, 2], kernel[5, 0, 6, 13])


def test_pooling_twice_has_no_inverse() -> None:
    table: Table = (Conv(2, (3, 1)), MaxPool((2, 1), (2, 1)), MaxPool((2, 1), (2, 1)), Linear(None))
    with pytest.raises(SpeechscopeError, match="two poolings"):
        Decoder(Network(table, (1, 20, 2)), 3)
