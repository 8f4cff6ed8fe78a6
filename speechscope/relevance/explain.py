"""What is explained: the score of a class, as a function of what enters a network or a layer.

Methods register with `speechscope.registry.RELEVANCE`, each in a file named for it. A method takes
what is explained, inputs, their target classes, the settings of ``speechscope relevance`` and a
seed an item, and returns relevance shaped as the inputs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from speechscope.errors import UsageProblem
from speechscope.networks.foreign import as_foreign
from speechscope.networks.graph import Graph, Untreatable
from speechscope.networks.layers import Network
from speechscope.networks.tracing import table_graph
from speechscope.registry import RELEVANCE

if TYPE_CHECKING:
    from speechscope.corpus.store import Corpus
    from speechscope.stages.relevance import Relevance

Axis: TypeAlias = NDArray[np.floating[Any]]


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
        The steps from there for what enters, or for an example; only for methods that need them,
        and may raise.
    alone
        Whether the steps hold for one item at a time.
    axes
        Frequency [Hz] and time [s] of what is explained, where it has them.
    phones
        Of each item, where its phones lie along time; only for methods that ask for them.
    """

    scores: Callable[[Tensor], Tensor]
    enter: Callable[[Tensor], Tensor]
    steps: Callable[..., Graph]
    alone: bool = False
    axes: tuple[Axis | None, Axis | None] = (None, None)
    phones: Sequence[Sequence[slice]] = ()

    def of_corpus(self, corpus: "Corpus") -> "Explained":
        """Return it with the axes of the inputs of a corpus."""
        frequency, time = (corpus.axes.get(name, (None,))[0] for name in ("frequency", "time"))
        return replace(self, axes=(frequency, time))

    def along(self, length: int) -> "Explained":
        """Return it for inputs so long: the axis of time ends there."""
        frequency, time = self.axes
        return self if time is None else replace(self, axes=(frequency, time[:length]))


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
    if not isinstance(network, Network):
        return _of_another(network, example, layer)
    # Of a waveform the steps are faster: they go back through the first layer in one product.
    if layer is None and network.input_shape[1] > 1:
        return Explained(network, lambda x: x, lambda *_: table_graph(network))
    graph = table_graph(network)
    if layer is None:
        return Explained(graph, lambda x: x, lambda *_: graph)
    before, after = graph.split(network.names[network.resolve(layer) - 1])

    def enter(x: Tensor) -> Tensor:
        with torch.no_grad():
            return before(x)

    return Explained(after, enter, lambda *_: after)


def _of_another(network: nn.Module, example: Tensor, layer: str | int | None) -> Explained:
    """Return what is to be explained of a network that is not ours: itself, not its steps.

    Its steps are read only where a method asks for them.
    """
    foreign = as_foreign(network, example)
    if layer is None:

        def steps(x: Tensor) -> Graph:
            if foreign.coarse:
                raise Untreatable(
                    "the network computes in half precision, too coarse for what goes back by "
                    "rules: have its factory return network.float()"
                )
            return foreign.trace(x)

        read = _once_a_shape(steps, lambda: example)
        return Explained(foreign, lambda x: x, read, foreign.taking.alone)
    name = foreign.name(layer)
    enter, after = foreign.entry(name)

    def inner(z: Tensor) -> Graph:
        carrier = foreign.example[:1].expand(len(z), *foreign.input_shape)
        return replace(foreign.trace(carrier).split(name)[1], shape=tuple(z.shape))

    read = _once_a_shape(inner, lambda: enter(example))
    return Explained(after, enter, read, foreign.taking.alone)


def _once_a_shape(
    read: Callable[[Tensor], Graph], example: Callable[[], Tensor]
) -> Callable[..., Graph]:
    """Return what reads steps, again only where those read last do not hold."""
    last: list[Graph] = []

    def steps(x: Tensor | None = None) -> Graph:
        if not last or (x is not None and last[0].shape != x.shape):
            last[:] = [read(example() if x is None else x)]
        return last[0]

    return steps


def relevance_by(
    method: str,
    of: Explained,
    x: Tensor,
    target: Tensor,
    settings: "Relevance",
    seeds: Sequence[int],
) -> Tensor:
    """Return the relevance that a method gives, over shifts where the settings ask for it.

    R[n] = 1/k Σ_j R_j[n + j], j = 0 … k − 1, R_j the relevance of x[n − j]: of the waveform moved
    j samples later, zeros before it.

    A first layer with a step of k samples looks at every k-th place alone, so that pulses of a
    relevance signal stand up to k / 2 samples from where they belong, and its spectrum repeats
    every rate / k. Over k shifts no place is preferred.

    Source: Coifman and Donoho (1995), cycle spinning; chosen here, no paper of relevance has it.

    Parameters
    ----------
    method
        Its name.
    of
        What is explained.
    x
        What enters it (B, …).
    target
        Class of each item (B,).
    seeds
        One an item, so that an item's noise does not depend on its neighbours.

    Raises
    ------
    UsageProblem
        There is no such method, or what is to be shifted is no waveform.
    Untreatable
        The method cannot treat a layer.
    """
    explain = RELEVANCE[method]
    check_shifts(settings, x.shape[1:])
    if of.alone and len(x) > 1:
        parts = [slice(n, n + 1) for n in range(len(x))]
        one = [replace(of, alone=False, phones=of.phones[p]) for p in parts]
        return torch.cat(
            [
                relevance_by(method, o, x[p], target[p], settings, seeds[p])
                for o, p in zip(one, parts, strict=True)
            ]
        )
    total: Tensor = explain(of, x, target, settings, seeds)
    for count in range(1, settings.shifts):
        moved = functional.pad(x, (count, -count))
        relevance = explain(of, moved, target, settings, seeds)
        total = total + functional.pad(relevance, (-count, count))
    return total / settings.shifts


def check_shifts(settings: "Relevance", shape: Sequence[int]) -> None:
    """Refuse to shift inputs of a shape (C, F, samples) unless they are waveforms.

    Raises
    ------
    UsageProblem
        They are not.
    """
    if settings.shifts > 1 and (len(shape) < 2 or any(size > 1 for size in shape[:-1])):
        raise UsageProblem("--shifts: only what enters a network for waveforms is shifted")


def per_class(scores: Tensor) -> Tensor:
    """Return one score a class, (B, classes), of scores (B, classes, …), added over positions."""
    return scores.flatten(2).sum(2) if scores.dim() > 2 else scores


def predicted(scores: Tensor) -> Tensor:
    """Return the class of the highest score, (B,), of scores (B, classes, …)."""
    return per_class(scores).argmax(1)


def score(scores: Tensor, target: Tensor) -> Tensor:
    """Return the score before softmax of each item's target class, (B,).

    Source: Muckenhirn 2019, sec. 3.2: softmax is left out "so as to remove influence from other
    classes".
    """
    return per_class(scores).gather(1, target.unsqueeze(1)).squeeze(1)


def derivative(scores: Callable[[Tensor], Tensor], x: Tensor, target: Tensor) -> Tensor:
    """Return the derivative of each item's target score by its input, shaped as x.

    With a network whose steps flow back by other rules, this is what those rules give.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        # The copy lets a network change its input in place.
        total = score(scores(x.clone()), target).sum()
        (gradient,) = torch.autograd.grad(total, x, allow_unused=True) if total.grad_fn else (None,)
    if gradient is None:
        raise Untreatable(
            "no slope leads from the scores to what is explained: the network stops it (a detach, "
            "a threshold, a rounding, no_grad); occlusion needs none"
        )
    return gradient
