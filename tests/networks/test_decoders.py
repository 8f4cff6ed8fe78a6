import oracles
import pytest
import torch
from torch import Tensor

from speechscope.errors import SpeechscopeError
from speechscope.networks.classifiers import TABLES
from speechscope.networks.decoders import ConvolutionStage, Decoder
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Table

TARGETS = {1: [0], 3: [0], 6: [3, 0], 9: [6, 3, 0], 12: [11, 9, 6, 3, 0], 13: [11, 9, 6, 3, 0]}


@pytest.mark.parametrize("name", ["freq-overlap", "freq-overlap-padded"])
def test_decoders_give_back_the_input_shape_stage_by_stage(name: str) -> None:
    network = Network(TABLES[name])
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


def written_out(
    stage: ConvolutionStage, pool: MaxPool, shape: tuple[int, int], x: Tensor
) -> Tensor:
    weight, bias = stage.weight.detach().numpy(), stage.bias.detach().numpy()
    maps = [
        torch.stack(
            [
                torch.from_numpy(
                    oracles.blind_unpooling(channel.numpy(), pool.size, pool.stride, shape)
                )
                for channel in item
            ]
        ).numpy()
        for item in x
    ]
    pads = stage.pads
    return torch.stack(
        [torch.from_numpy(oracles.convolution(m, weight, pads)) for m in maps]
    ) + torch.from_numpy(bias).view(1, -1, 1, 1)


@pytest.mark.parametrize(
    ("conv", "pool"),
    [
        (Conv(3, (4, 6), "same"), MaxPool((5, 2), (2, 2))),  # frames repeated: summed in the kernel
        (Conv(3, (4, 5), "same"), MaxPool((3, 3), (2, 2))),  # time regions overlap
        (Conv(3, (4, 1), "same"), MaxPool((5, 2), (2, 2))),  # a frame at a time
        (Conv(3, (4, 6)), MaxPool((5, 1), (2, 1))),  # one frame: fully padded on the way back
    ],
)
def test_a_stage_is_blind_unpooling_and_convolution(conv: Conv, pool: MaxPool) -> None:
    torch.manual_seed(0)
    network = Network((conv, ReLU(), pool, Linear(None)), (2, 15, 6)).double()
    decoder = Decoder(network, 3, "random").double()
    stage = decoder.stage(0)
    assert isinstance(stage, ConvolutionStage)
    stage.bias.data.normal_()
    _, frequency, time = network.shapes[0]
    code = network.activation(torch.randn(2, 2, 15, 6, dtype=torch.float64), 3).detach()
    expected = written_out(stage, pool, (frequency, time), code)
    torch.testing.assert_close(stage(code), expected, rtol=1e-6, atol=1e-6)


def test_the_first_weights_are_the_encoders_transposed() -> None:
    network = Network(TABLES["freq-overlap-padded"])
    decoder = Decoder(network, 12)
    state = network.state_dict()
    torch.testing.assert_close(decoder.stage(0).weight.data, state["fc2.weight"].t())
    kernel = state["conv1.weight"]
    torch.testing.assert_close(decoder.stage(4).weight.data[0, 5, 1, 2], kernel[5, 0, 6, 13])


def test_pooling_twice_has_no_inverse() -> None:
    table: Table = (Conv(2, (3, 1)), MaxPool((2, 1), (2, 1)), MaxPool((2, 1), (2, 1)), Linear(None))
    with pytest.raises(SpeechscopeError, match="two poolings"):
        Decoder(Network(table, (1, 20, 2)), 3)
