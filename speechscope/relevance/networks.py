"""A network as every method of relevance takes it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from speechscope.networks.layers import Network
from speechscope.relevance.foreign import Fitted
from speechscope.relevance.graph import Graph
from speechscope.relevance.table_graph import table_graph
from speechscope.relevance.tracing import module_graph


def graph_of(network: nn.Module, example: Tensor) -> Graph:
    """Return the steps of one of our networks or of any module in evaluation mode.

    Raises
    ------
    SpeechscopeError
        See `tracing.module_graph`.
    """
    if isinstance(network, Network):
        return table_graph(network)
    graph = module_graph(network, example)
    if isinstance(network, Fitted):  # layers have the names they have in the network itself
        steps = (replace(s, name=s.name.removeprefix("network.")) for s in graph.steps)
        graph = Graph(tuple(steps))
    return graph


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
        Name, or number of one of our networks' layers, whose input is explained; None: the
        network's input.

    Raises
    ------
    UsageProblem
        There is no such layer, or something goes around it.
    """
    if layer is None and isinstance(network, Network):
        return Explained(network, lambda x: x, lambda: graph_of(network, example))
    if isinstance(network, Network):
        assert layer is not None
        layer = network.names[network.resolve(layer) - 1]
    graph = graph_of(network, example)
    if layer is None:
        return Explained(graph, lambda x: x, lambda: graph)
    before, after = graph.split(str(layer))

    def enter(x: Tensor) -> Tensor:
        with torch.no_grad():
            return before(x)

    return Explained(after, enter, lambda: after)
