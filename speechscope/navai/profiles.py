"""Activation profiles: what a class excites in every layer more than the others do.

The later form of the method (Krug & Stober 2020, arXiv:2002.08125): means of activations in the
place of means of inputs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from speechscope.clustering.samples import layers_of
from speechscope.errors import UsageProblem
from speechscope.navai.averages import Lists, Summing, Sums
from speechscope.navai.examples import Batch, PhoneExamples
from speechscope.networks.layers import Layered, Network
from speechscope.relevance.explain import per_class


@dataclass
class Profiling(Summing):
    """Sums what layers hold of inputs, or of the phones in them, by class.

    Raises
    ------
    UsageProblem
        There is no such layer or class, the network's code is not ours and is to be gone back
        through, or answers are those of whole recordings.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        examples = self.examples
        if not isinstance(examples, PhoneExamples):
            if examples.network is None:
                raise UsageProblem("--mode profile needs the network: a model.pt, or --model")
            if examples.corpus.whole:
                raise UsageProblem(
                    "--mode profile: answers to whole recordings have layers of many lengths; "
                    "--by phone takes the frames of their phones"
                )
            if self.settings.adjust and not isinstance(examples.network, Network):
                raise UsageProblem("--adjust needs one of our own models")

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Their names, in order."""
        examples, wanted = self.examples, self.settings.layer
        if isinstance(examples, PhoneExamples):
            return layers_of(examples.subject, wanted)
        network = examples.network
        assert network is not None
        if list(wanted) == ["all"]:
            return tuple(network.names)
        return tuple(network.named(n) for n in sorted({network.resolve(one) for one in wanted}))

    def of_block(self, start: int, batches: Iterator[Batch]) -> tuple[Sums, Lists]:
        """See `Summing`."""
        sums = Sums(self.examples.device)
        count = sums.at("count", (), (self.classes,), torch.int64)
        for batch in batches:
            place = self.places[batch.target].cpu()
            count += place.bincount(minlength=len(count))
            for name, values in self._held(batch).items():
                for label in sorted(set(place.tolist())):
                    mine = values[(place == label).to(values.device)]
                    total = sums.at(name, (label,), values.shape[1:])
                    total += mine.sum(0, dtype=torch.float64)
        return sums, {}

    def _held(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return what layers hold of a batch, (B, …) by name."""
        examples, layers = self.examples, self.layers
        if isinstance(examples, PhoneExamples):
            return examples.activations(batch, layers)
        network = examples.network
        assert network is not None
        told = batch.inputs, batch.target, list(map(network.resolve, layers))
        return dict(zip(layers, activations(network, *told, self.settings.adjust), strict=True))


def activations(
    network: Layered, x: Tensor, target: Tensor, numbers: Sequence[int], adjust: bool
) -> list[Tensor]:
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
    (B, …) of each.
    """
    last = len(network.names)
    with torch.set_grad_enabled(adjust):
        place = x.detach().requires_grad_(adjust)
        outputs = network.activations(place, {*numbers, last} if adjust else numbers)
        if not adjust:
            return [outputs[number] for number in numbers]
        scores = per_class(outputs[last])
        chosen = scores.gather(1, target[:, None]).sum()
        grads = torch.autograd.grad(chosen, [outputs[number] for number in numbers])
    return [outputs[n].detach() * grad.abs() for n, grad in zip(numbers, grads, strict=True)]
