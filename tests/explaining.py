"""What is explained in tests, and settings of rules."""

from collections.abc import Callable

from torch import Tensor, nn

from speechscope.networks.graph import Graph, Step
from speechscope.networks.layers import Network
from speechscope.networks.tracing import module_graph
from speechscope.relevance.explain import Explained
from speechscope.stages.relevance import Relevance


def whole(scores: Callable[[Tensor], Tensor]) -> Explained:
    """A function as what is explained; of a graph, its steps."""

    def steps(*_: Tensor) -> Graph:
        assert isinstance(scores, Graph)
        return scores

    return Explained(scores, lambda x: x, steps)


def traced(module: nn.Module, x: Tensor) -> Explained:
    """The steps of any module, in evaluation mode."""
    assert not isinstance(module, Network)
    graph = module_graph(module.eval(), x)
    return Explained(graph, lambda z: z, lambda z=x: module_graph(module, z))


def before(graph: Graph, layer: str) -> Step:
    """The step that gives what enters a layer."""
    return graph.steps[[step.name for step in graph.steps].index(layer) - 1]


def rule(name: str, epsilon: float = 1e-12, gamma: float = 0.3, alpha: float = 2.0) -> Relevance:
    """The settings of a rule of LRP."""
    return Relevance(rule=name, epsilon=epsilon, gamma=gamma, alpha=alpha)
