from typing import Any

import pytest

from speechscope.networks.autoencoders import Autoencoder, Scheme
from speechscope.registry import NETWORKS
from speechscope.training.decoders import parameters, phases, together

NETWORK = NETWORKS["freq-overlap-padded"]()


def described(autoencoder: Autoencoder, stack: Any) -> list[tuple[Any, ...]]:
    return [
        (p.code, [*p.stages], p.target, [*p.trained], " ".join(p.layers))
        for p in phases(autoencoder, stack)
    ]


def made(**scheme: Any) -> Autoencoder:
    return Autoencoder(NETWORK, 9, Scheme(**scheme))


def test_stages_of_a_decoder_from_the_code_outwards() -> None:
    # Churchman 2015, sec. 6.5.5: (code, stages that run, layer restored, trained, encoder's).
    assert described(made(), "decoder") == [
        (9, [0], 6, [0], ""),
        (9, [0, 1], 3, [1], ""),
        (9, [0, 1, 2], 0, [2], ""),
    ]


def test_everything_at_once() -> None:
    whole = (9, [0, 1, 2], 0, [0, 1, 2])
    autoencoder = made(encoder="random", decoder="random")
    assert described(autoencoder, "none") == [(*whole, "conv1 conv2 conv3")]
    assert phases(autoencoder, "none") == [together(autoencoder)]
    assert described(made(), "none") == [(*whole, "")]


def test_units_are_inserted_between_the_encoder_and_the_decoder_of_those_before() -> None:
    # Riemens 2015, sec. 4.3: strong stacking keeps what was trained, weak goes on training it.
    scheme = {"encoder": "random", "decoder": "random"}
    assert described(made(**scheme), "strong") == [
        (3, [2], 0, [2], "conv1"),
        (6, [1, 2], 0, [1], "conv2"),
        (9, [0, 1, 2], 0, [0], "conv3"),
    ]
    assert described(made(**scheme), "weak") == [
        (3, [2], 0, [2], "conv1"),
        (6, [1, 2], 0, [1, 2], "conv1 conv2"),
        (9, [0, 1, 2], 0, [0, 1, 2], "conv1 conv2 conv3"),
    ]
    assert [layers for *_, layers in described(made(), "weak")] == ["", "", ""]


@pytest.mark.parametrize(
    ("encoder", "decoder", "trained"),
    [
        ("fixed", "random", "d"),
        ("fixed", "transpose-init", "d"),
        ("fixed", "transpose-tied", ""),
        ("fixed", "frozen-random", ""),
        ("frozen-random", "transpose-tied", ""),
        ("frozen-random", "random", "d"),
        ("init", "transpose-tied", "be"),
        ("init", "random", "de"),
        ("random", "frozen-random", "e"),
    ],
)
def test_what_is_trained(encoder: str, decoder: str, trained: str) -> None:
    autoencoder = made(encoder=encoder, decoder=decoder)
    found = {id(p) for chosen, _ in parameters(autoencoder, together(autoencoder)) for p in chosen}
    stages = [autoencoder.decoder.stage(index) for index in range(3)]
    weights = [id(s.weight) for s in stages if s.weight is not None]
    biases = [id(s.bias) for s in stages]
    layers = [id(p) for n in (1, 2, 3) for p in NETWORK.get_submodule(f"conv{n}").parameters()]
    expected = [
        *(weights if "d" in trained else []),
        *(biases if "d" in trained or "b" in trained else []),
        *(layers if "e" in trained else []),
    ]
    assert found == set(expected)
    assert autoencoder.scheme.trains_anything == bool(trained)


def test_the_sizes_of_tied_weights_are_the_encoders() -> None:
    autoencoder = made(encoder="init", decoder="transpose-tied")
    sizes = [size for _, size in parameters(autoencoder, together(autoencoder))]
    assert sizes[:3] == pytest.approx(sizes[:2:-1])
    weight, _ = NETWORK.parameters_of("conv1")
    assert sizes[3] == pytest.approx(float(weight.detach().square().mean()) ** 0.5)
