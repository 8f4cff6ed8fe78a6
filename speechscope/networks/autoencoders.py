"""Autoencoders: an encoder that may be trained too, its switches, and a decoder.

A unit is a convolution with its ReLU and pooling, and what inverts them (Riemens 2015, sec. 4.3,
fig. 4).
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from speechscope.errors import UsageProblem
from speechscope.networks.decoders import Decoder, Unpool, Weights, at_switches, pooling_switches
from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU

EncoderWeights = Literal["fixed", "init", "random", "frozen-random"]
"""Where an encoder's weights come from (Riemens 2015, sec. 5.1).

``fixed``: the trained network's, kept (Churchman 2015, sec. 6.5.4); ``init``: the trained
network's, trained further; ``random``: drawn, then trained; ``frozen-random``: drawn and kept.
"""

TRAINED: tuple[EncoderWeights, ...] = ("init", "random")


@dataclass(frozen=True)
class Scheme:
    """How an autoencoder is made: a row of Riemens 2015, tables 3 and 4, but for its training.

    Parameters
    ----------
    encoder, decoder
        Where their weights come from.
    unpool
        How the decoder inverts pooling.
    relu
        Whether the decoder rectifies what stands for rectified activations.
    """

    encoder: EncoderWeights = "fixed"
    decoder: Weights = "transpose-init"
    unpool: Unpool = "blind"
    relu: bool = True

    @property
    def trains_encoder(self) -> bool:
        """Whether the encoder is trained with the decoder."""
        return self.encoder in TRAINED

    @property
    def trains_anything(self) -> bool:
        """Whether there is anything to train: Riemens' baselines of fixed filters have nothing."""
        return self.trains_encoder or self.decoder in ("random", "transpose-init")


class Autoencoder:
    """An encoder up to one layer and a decoder for it.

    Parameters
    ----------
    encoder
        From `make_encoder`; several autoencoders may share one that is kept.
    layer
        Number or name of the layer whose activations are the code.
    scheme
        How it is made.
    generator
        For random decoder weights.
    """

    def __init__(
        self,
        encoder: Network,
        layer: int | str,
        scheme: Scheme,
        generator: torch.Generator | None = None,
    ) -> None:
        self.encoder, self.scheme = encoder, scheme
        self.decoder = Decoder(
            encoder, layer, scheme.decoder, generator, unpool=scheme.unpool, relu=scheme.relu
        )

    @property
    def layer(self) -> int:
        """Number of the layer whose activations are the code."""
        return self.decoder.layer

    def encoder_names(self) -> list[str]:
        """Return the names of the encoder's layers with weights, first layer first."""
        stages = [self.decoder.stage(i) for i in range(len(self.decoder.stages))]
        return [self.encoder.names[stage.target] for stage in reversed(stages)]

    def encoder_state(self) -> dict[str, Tensor]:
        """Return the encoder's weights up to the layer, by their names in the network."""
        names = self.encoder_names()
        state = self.encoder.state_dict()
        return {key: value for key, value in state.items() if key.split(".")[0] in names}

    def encode(
        self, x: Tensor, layers: Iterable[int] | None = None
    ) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Return the activations of layers (of the code's, by default) and the switches.

        See `encode`.
        """
        wanted = {self.layer} if layers is None else set(layers)
        return encode(self.encoder, x, wanted, switches=self.scheme.unpool == "switch")


def make_encoder(
    network: Network, weights: EncoderWeights, generator: torch.Generator | None = None
) -> Network:
    """Return a network's encoder: the network itself where it is fixed, else a copy of its own."""
    if weights == "fixed":
        return network
    encoder = deepcopy(network)
    if weights != "init":
        # Drawn where the generator is, whatever the device of the network.
        device = next(network.parameters()).device
        encoder.cpu().reset_parameters(generator)
        encoder.to(device)
    return encoder


def encode(
    network: Network, x: Tensor, layers: Iterable[int], *, switches: bool
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Return activations by layer and, where asked for, the switches of the poolings on the way.

    The switches are those of what enters the ReLU before a pooling: see `pooling_switches`.
    """
    wanted = set(layers)
    if not switches:
        return network.activations(x, wanted), {}
    found: dict[int, Tensor] = {}
    where: dict[int, Tensor] = {}
    before = x  # what enters the ReLU, where one came last
    for number in range(1, max(wanted, default=0) + 1):
        row = network.table[number - 1]
        if isinstance(row, ReLU):
            before, x = x, functional.relu(x)
        elif isinstance(row, MaxPool):
            where[number] = pooling_switches(before, row.size, row.stride)
            before = x = at_switches(x, where[number])
        else:
            before = x = network.activation(x, number, start=number - 1)
        if number in wanted:
            found[number] = x
    return found, where


def resolve(network: Network, layer: int | str) -> int:
    """Return a layer's number for its number or name, or for ``unit2``: where two units end.

    Raises
    ------
    UsageProblem
        The network has no such layer, or fewer units.
    """
    if not str(layer).startswith("unit"):
        return network.resolve(layer)
    starts = [n for n, row in enumerate(network.table, start=1) if isinstance(row, Conv)]
    units = str(layer).removeprefix("unit")
    if not units.isdecimal() or not 1 <= int(units) <= len(starts):
        raise UsageProblem(f"--units {units}: the network has 1 to {len(starts)}")
    last = starts[int(units) - 1]
    while last < len(network.table) and not isinstance(network.table[last], Conv | Linear):
        last += 1
    return last
