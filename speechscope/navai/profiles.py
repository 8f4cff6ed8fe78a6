"""Activation profiles: what a class excites in every layer more than the others do.

The later form of the method (Krug & Stober 2020, arXiv:2002.08125): means of activations in the
place of means of inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.artifact_writer import ArtifactWriter, flag_attributes
from speechscope.errors import UsageProblem
from speechscope.navai.averaging import Layout, NavaiSettings, axes_of
from speechscope.navai.examples import Examples
from speechscope.navai.gathering import Found, Watch
from speechscope.navai.store import Written, answered
from speechscope.navai.sums import MOST_BYTES, Sums
from speechscope.networks.layers import Network
from speechscope.relevance.target import per_class


@dataclass
class Profiling:
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

    examples: Examples
    settings: NavaiSettings
    layers: Sequence[str]
    adjust: bool

    def __post_init__(self) -> None:
        self.settings.check(self.examples.classes)
        network = self._network
        size = sum(int(np.prod(network.shapes[number - 1])) for number in self.numbers)
        count = int(self.settings.counted(self.examples.classes).sum())
        if 8 * size * count > MOST_BYTES:
            raise UsageProblem(
                f"profiles of {count} classes would take {8e-9 * size * count:.1f} GB of memory; "
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
    def block(self) -> int:
        """Items of a block."""
        return self.examples.task

    @property
    def items(self) -> NDArray[np.int64]:
        """All items, (N,)."""
        return self.examples.items

    @property
    def layout(self) -> Layout:
        """What is known of the arrays."""
        names = tuple(self._network.names[number - 1] for number in self.numbers)
        return Layout(self.examples.classes, axes_of(self.examples), layers=names)

    def __call__(self, rows: slice, watch: Watch | None) -> Found:
        """Sum what layers hold of some items."""
        examples, network, numbers = self.examples, self._network, self.numbers
        kept = self.settings.counted(examples.classes)
        place = torch.from_numpy(np.where(kept, np.cumsum(kept) - 1, -1)).to(examples.device)
        sums = Sums(examples.device)
        count = sums.at("count", (), (int(kept.sum()),), torch.int64)
        for block in examples.blocks(("none",), rows):
            if watch is not None:
                watch(block.done, len(self.items))
            block = block.kept(place[block.target] >= 0)
            if not len(block.item):
                continue
            row = place[block.target].cpu()
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
    classes = layout.classes
    kept, wanted = settings.counted(classes), settings.wanted(classes)
    every = [name for name, yes in zip(classes, kept, strict=True) if yes]
    written, empty = answered(found.sums, every, wanted[kept])
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
    chosen = [name for name, yes in zip(every, written, strict=True) if yes]
    writer.put("class", np.arange(len(chosen), dtype=np.int16), ("class",), flag_attributes(chosen))
    writer.put("count", count[written], ("class",), {"units": "1"})
    return Written(int(count.sum()), tuple(chosen), empty)


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
