"""Activation profiles: what a class excites in every layer more than the others do.

The later form of the method (Krug & Stober 2020, arXiv:2002.08125): means of activations in the
place of means of inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.navai.averaging import Counting, Layout, NavaiSettings, axes_of
from speechscope.navai.gathering import Found, Watch
from speechscope.navai.store import Written, answered
from speechscope.navai.sums import MOST_BYTES, Sums
from speechscope.networks.layers import Network
from speechscope.relevance.explain import per_class
from speechscope.store.writer import ArtifactWriter, flag_attributes


@dataclass
class Profiling(Counting):
    """Sums what layers hold of some items by class; see `gathering.Work`.

    Parameters
    ----------
    settings
        `alignments` is not used: inputs are taken as they are.
    layers
        Names or numbers; ``all``.
    adjust
        Whether activations are weighed; see `activations`.

    Raises
    ------
    UsageProblem
        The network is not ours, there is no such layer or class, or the means would not fit in
        memory.
    """

    layers: Sequence[str]
    adjust: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        network = self._network
        size = sum(int(np.prod(network.shapes[number - 1])) for number in self.numbers)
        if 8 * size * self.counted > MOST_BYTES:
            raise UsageProblem(
                f"profiles of {self.counted} classes would take "
                f"{8e-9 * size * self.counted:.1f} GB of memory; "
                "choose layers (--layer)"
            )

    @property
    def _network(self) -> Network:
        network = self.examples.network
        if network is None:
            raise UsageProblem("--mode profile needs one of our own models")
        return network

    @property
    def numbers(self) -> list[int]:
        """The layers, from 1, in order."""
        network = self._network
        if list(self.layers) == ["all"]:
            return list(range(1, len(network.names) + 1))
        return sorted({network.resolve(layer) for layer in self.layers})

    @property
    def layout(self) -> Layout:
        """What is known of the arrays."""
        names = tuple(self._network.names[number - 1] for number in self.numbers)
        return Layout(self.examples.classes, axes_of(self.examples), layers=names)

    def __call__(self, rows: slice, watch: Watch | None) -> Found:
        """Sum what layers hold of some items."""
        network, numbers = self._network, self.numbers
        sums = Sums(self.examples.device)
        count = sums.at("count", (), (self.counted,), torch.int64)
        for block, place in self.blocks(("none",), rows, watch):
            row = place.cpu()
            count += row.bincount(minlength=len(count))
            found = activations(network, block.inputs, block.target, numbers, self.adjust)
            for number, values in found:
                name = network.names[number - 1]
                for label in sorted(set(row.tolist())):
                    mine = values[(row == label).to(values.device)]
                    total = sums.at(name, (label,), values.shape[1:])
                    total += mine.sum(0, dtype=torch.float64)
        return Found(sums)


def write_profiles(
    writer: ArtifactWriter, layout: Layout, settings: NavaiSettings, found: Found
) -> Written:
    """Write the activation profile of every class in layers of a network.

        profile_c = mean of a over the inputs predicted as c − mean over all classes' means

    where a is what `activations` gives. Arrays ``profile_LAYER [class, map, …]`` and
    ``normalizer_LAYER [map, …]``, beside ``count`` and ``class``.

    Parameters
    ----------
    found
        By `Profiling`, of all items.

    Raises
    ------
    SpeechscopeError
        Nothing was predicted as any of the classes.
    """
    written, chosen, empty = answered(found.sums, layout.classes, settings)
    count = found.sums.of("count")[()].numpy()
    writer.set_config(layers=list(layout.layers))
    for layer in layout.layers:
        means = {k: v.cpu().numpy() / count[k] for (k,), v in found.sums.of(layer).items()}
        over = np.mean(list(means.values()), axis=0)
        axes = ("map", "map_frequency", "map_time")[: over.ndim]
        axes = tuple(f"{axis}_{layer}" for axis in axes)
        rows = np.flatnonzero(written).tolist()
        profile = np.stack([(means[row] - over).astype(np.float32) for row in rows])
        writer.put(f"profile_{layer}", profile, ("class", *axes), {"units": "1"})
        writer.put(f"normalizer_{layer}", over.astype(np.float32), axes, {"units": "1"})
    writer.put("class", np.arange(len(chosen), dtype=np.int16), ("class",), flag_attributes(chosen))
    writer.put("count", count[written], ("class",), {"units": "1"})
    return Written(int(count.sum()), chosen, empty)


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
        found = network.activations(place, {*numbers, last})
        if not adjust:
            return [(number, found[number]) for number in numbers]
        scores = per_class(found[last])
        chosen = scores.gather(1, target[:, None]).sum()
        grads = torch.autograd.grad(chosen, [found[number] for number in numbers])
    return [
        (number, found[number].detach() * grad.abs())
        for number, grad in zip(numbers, grads, strict=True)
    ]
