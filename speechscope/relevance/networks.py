"""A network as every method of relevance takes it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speechscope.networks.foreign import ForeignNetwork
from speechscope.networks.graph import Graph
from speechscope.networks.layers import Network
from speechscope.networks.module_graph import module_graph
from speechscope.networks.table_graph import table_graph


def graph_of(network: nn.Module, example: Tensor) -> Graph:
    """Return the steps of one of our networks or of any module in evaluation mode.

    Raises
    ------
    SpeechscopeError
        See `tracing.module_graph`.
    """
    if isinstance(network, Network):
        return table_graph(network)
    if isinstance(network, ForeignNetwork):
        return network.trace(example)
    return module_graph(network, example)


@dataclass(frozen=True)
class Explained:
    """What is explained: scores as a function of the input of one layer.

    Parameters
    ----------
    scores
        Gives scores (B, classes, …) before softmax of what enters the layer.
    enter
        Gives what enters the layer, of inputs of the network.
    steps
        The steps from there, asked for only by methods that need them; may raise.
    """

    scores: Callable[[Tensor], Tensor]
    enter: Callable[[Tensor], Tensor]
    steps: Callable[[], Graph]


def explained(network: nn.Module, example: Tensor, layer: str | int | None = None) -> Explained:
    """Return what is to be explained.

    Parameters
    ----------
    network
        In evaluation mode.
    example
        Inputs (B, …), for tracing a module that is not ours.
    layer
        Name or number of the layer whose input is explained; None: the network's input.

    Raises
    ------
    UsageProblem
        There is no such layer, or something goes around it.
    """
    # Of a waveform the steps are faster: they go back through the first layer in one product.
    if layer is None and isinstance(network, Network) and network.input_shape[1] > 1:
        return Explained(network, lambda x: x, lambda: graph_of(network, example))
    counted = isinstance(network, Network | ForeignNetwork) and str(layer).isdigit()
    if layer is not None and (isinstance(network, Network) or counted):
        assert isinstance(network, Network | ForeignNetwork)
        layer = network.names[network.resolve(layer) - 1]
    graph = graph_of(network, example)
    if layer is None:
        return Explained(graph, lambda x: x, lambda: graph)
    before, after = graph.split(str(layer))

    def enter(x: Tensor) -> Tensor:
        with torch.no_grad():
            return before(x)

    return Explained(after, enter, lambda: after)
