"""Activation profiles: what a class excites in every layer more than the others do.

The later form of the method (Krug & Stober 2020, arXiv:2002.08125): means of activations in the
place of means of inputs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.navai.averages import Lists, Summing, Sums, check_room
from speechscope.navai.examples import Batch
from speechscope.networks.layers import Network
from speechscope.relevance.explain import per_class


@dataclass
class Profiling(Summing):
    """Sums what layers hold of inputs by class.

    Raises
    ------
    UsageProblem
        The network is not ours, there is no such layer or class, or the means would not fit in
        memory.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        shapes = [self.network.shapes[number - 1] for number in self.numbers]
        check_room(8.0 * sum(int(np.prod(shape)) for shape in shapes) * self.classes)

    @property
    def network(self) -> Network:
        """The network that is looked into."""
        network = self.examples.network
        if network is None:
            raise UsageProblem("--mode profile needs one of our own models")
        return network

    @property
    def numbers(self) -> list[int]:
        """The layers, from 1, in order."""
        if list(self.settings.layer) == ["all"]:
            return list(range(1, len(self.network.names) + 1))
        return sorted({self.network.resolve(layer) for layer in self.settings.layer})

    @property
    def layers(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.network.names[number - 1] for number in self.numbers)

    def of_block(self, start: int, batches: Iterator[Batch]) -> tuple[Sums, Lists]:
        """See `Summing`."""
        network, numbers, adjust = self.network, self.numbers, self.settings.adjust
        sums = Sums(self.examples.device)
        count = sums.at("count", (), (self.classes,), torch.int64)
        for batch in batches:
            place = self.places[batch.target].cpu()
            count += place.bincount(minlength=len(count))
            outputs = activations(network, batch.inputs, batch.target, numbers, adjust)
            for number, values in outputs:
                name = network.names[number - 1]
                for label in sorted(set(place.tolist())):
                    mine = values[(place == label).to(values.device)]
                    total = sums.at(name, (label,), values.shape[1:])
                    total += mine.sum(0, dtype=torch.float64)
        return sums, {}


def activations(
    network: Network, x: Tensor, target: Tensor, numbers: Sequence[int], adjust: bool
) -> list[tuple[int, Tensor]]:
    """Return the activations a of layers, weighed by the size of the score's derivative if wanted.

        a |∂S_c / ∂a|

    What the class's score does not rest on is weighed down. (The authors' own way of weighing could
    not be looked up; this is ours.)

    Parameters
    ----------
    x
        Inputs (B, C, F, T).
    target
        The class of each, (B,).
    numbers
        Of layers, from 1.
    adjust
        Whether to weigh.

    Returns
    -------
    (number, (B, …)) in order.
    """
    last = len(network.names)
    with torch.set_grad_enabled(adjust):
        place = x.detach().requires_grad_(adjust)
        outputs = network.activations(place, {*numbers, last})
        if not adjust:
            return [(number, outputs[number]) for number in numbers]
        scores = per_class(outputs[last])
        chosen = scores.gather(1, target[:, None]).sum()
        grads = torch.autograd.grad(chosen, [outputs[number] for number in numbers])
    return [
        (number, outputs[number].detach() * grad.abs())
        for number, grad in zip(numbers, grads, strict=True)
    ]
