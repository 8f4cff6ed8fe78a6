"""What methods that look inside ask of a network, whether it is one of ours or not."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from torch import Tensor, nn

from speechscope.networks.layers import Shape


class Layered(Protocol):
    """A network whose layers can be named, counted from 1, and read.

    Inputs are (B, C, F, T). `speechscope.networks.layers.Network` and
    `speechscope.networks.foreign.ForeignNetwork` are such networks.
    """

    @property
    def input_shape(self) -> Shape:
        """(C, F, T) of one item."""

    @property
    def names(self) -> Sequence[str]:
        """One name a layer."""

    @property
    def shapes(self) -> Sequence[Shape]:
        """The output shape of one item at every layer."""

    def resolve(self, layer: int | str) -> int:
        """Return the number of a layer given by number or name.

        Raises UsageProblem when the network has no such layer.
        """

    def activation(self, x: Tensor, layer: int | str) -> Tensor:
        """Return the output (B, …) of one layer."""

    def activations(self, x: Tensor, layers: Iterable[int | str]) -> dict[int, Tensor]:
        """Return the outputs of several layers in one pass, by layer number."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return its weights, which stay as they are."""
