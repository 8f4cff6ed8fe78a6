import pytest
import torch

from speechscope.errors import UsageProblem
from speechscope.networks.autoencoders import Autoencoder, Scheme, encode, make_encoder, resolve
from speechscope.networks.decoders import pooling_switches
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Table

# As fig. 2 of Riemens 2015: four convolutions, the last pooled over the whole map, three layers.
FIGURE_2: Table = (
    Conv(3, (8, 4), "same"),
    ReLU(),
    MaxPool((5, 2), (2, 2)),
    Conv(4, (6, 2), "same"),
    MaxPool((5, 2), (2, 2)),
    ReLU(),
    Conv(5, (4, 1), "same"),
    ReLU(),
    MaxPool((5, 2), (2, 2)),
    Conv(20, (2, 1), "same"),
    ReLU(),
    MaxPool((5, 2), (1, 1)),
    Linear(20),
    ReLU(),
    Linear(20),
    ReLU(),
    Linear(None),
)


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network(FIGURE_2, (1, 61, 16))


def test_units_end_before_the_next_layer_with_weights(network: Network) -> None:
    assert network.shapes[11] == (20, 1, 1)
    assert [resolve(network, f"unit{n}") for n in (1, 2, 3, 4)] == [3, 6, 9, 12]
    assert resolve(network, "pool2") == 5
    for wrong in ("unit0", "unit5", "unit", "unitx"):
        with pytest.raises(UsageProblem, match="the network has 1 to 4"):
            resolve(network, wrong)


def test_encoding_with_switches_gives_the_same_activations(network: Network) -> None:
    x = torch.randn(3, 1, 61, 16)
    layers = [1, 2, 3, 5, 6, 9, 12, 14, 17]
    expected = network.activations(x, layers)
    found, switches = encode(network, x, layers, switches=True)
    assert set(switches) == {3, 5, 9, 12}
    for layer in layers:
        torch.testing.assert_close(found[layer], expected[layer], rtol=1e-4, atol=1e-5)
    # Behind a ReLU as before a ReLU: the maxima are those of the convolution.
    for layer, conv in ((3, 1), (5, 4), (9, 7)):
        before = network.activation(x, conv)
        pool = FIGURE_2[layer - 1]
        assert isinstance(pool, MaxPool)
        assert torch.equal(switches[layer], pooling_switches(before, pool.size, pool.stride))
    plain, none = encode(network, x, [9], switches=False)
    assert none == {} and torch.equal(plain[9], expected[9])


def test_four_units_there_and_back(network: Network) -> None:
    x = torch.randn(2, 1, 61, 16)
    for unpool in ("switch", "blind"):
        made = Autoencoder(network, 12, Scheme(unpool=unpool))
        found, switches = made.encode(x)
        assert made.decoder(found[12], switches).shape == x.shape
    assert made.encoder_names() == ["conv1", "conv2", "conv3", "conv4"]
    state = made.encoder_state()
    assert list(state) == [f"conv{n}.{part}" for n in range(1, 5) for part in ("weight", "bias")]


def test_encoders_start_from_the_network_or_from_noise(network: Network) -> None:
    def draw() -> torch.Generator:
        return torch.Generator().manual_seed(3)

    assert make_encoder(network, "fixed") is network
    trained, random, frozen = (
        make_encoder(network, kind, draw()) for kind in ("init", "random", "frozen-random")
    )
    weights = network.state_dict()
    own = trained.state_dict()
    for name, value in weights.items():
        assert torch.equal(own[name], value) and own[name].data_ptr() != value.data_ptr()
    first, second = random.state_dict(), frozen.state_dict()
    assert not torch.equal(first["conv1.weight"], weights["conv1.weight"])
    assert all(torch.equal(first[name], second[name]) for name in weights)
