"""Activation profiles: what a class excites in every layer more than the others do.

The later form of the method (Krug & Stober 2020, arXiv:2002.08125): means of activations in the
place of means of inputs.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.artifact_writer import ArtifactWriter, flag_attributes
from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.navai.averages import MOST_BYTES
from speechscope.navai.examples import Examples
from speechscope.navai.store import NavaiSettings, Written
from speechscope.networks.layers import Network
from speechscope.relevance.target import per_class


def write_profiles(
    writer: ArtifactWriter,
    examples: Examples,
    network: Network,
    settings: NavaiSettings,
    *,
    layers: Sequence[str],
    adjust: bool,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Write the activation profile of every class in layers of a network.

        profile_c = mean of a over the inputs predicted as c − mean over all classes' means

    where a is the layer's activation, or with `adjust` a |∂S_c / ∂a|: what the class's score does
    not rest on is weighed down. (The authors' own way of weighing could not be looked up; this is
    ours.) Arrays ``profile_LAYER [class, map, …]`` and ``normalizer_LAYER [map, …]``, beside
    ``count`` and ``class``.

    Parameters
    ----------
    network
        That runs on the inputs of `examples`.
    settings
        `alignments` is not used: inputs are taken as they are.
    layers
        Names or numbers; ``all``.

    Raises
    ------
    UsageProblem
        There is no such layer or class, or the means would not fit in memory.
    SpeechscopeError
        Nothing was predicted as any of the classes.
    """
    classes = examples.classes
    settings.check(classes)
    names = [
        name
        for name in classes
        if name not in settings.exclude and (not settings.classes or name in settings.classes)
    ]
    every = [name for name in classes if name not in settings.exclude]
    numbers = (
        list(range(1, len(network.names) + 1))
        if list(layers) == ["all"]
        else sorted({network.resolve(layer) for layer in layers})
    )
    size = sum(int(np.prod(network.shapes[number - 1])) for number in numbers)
    if 8 * size * len(every) > MOST_BYTES:
        raise UsageProblem(
            f"profiles of {len(every)} classes would take {8e-9 * size * len(every):.1f} GB of "
            "memory; choose layers (--layer)"
        )
    place = torch.full((len(classes),), -1, device=examples.device)
    for row, name in enumerate(every):
        place[classes.index(name)] = row
    sums = {
        number: torch.zeros(
            len(every), *network.shapes[number - 1], dtype=torch.float64, device=examples.device
        )
        for number in numbers
    }
    count = np.zeros(len(every), dtype=np.int64)
    inputs = 0
    for block in examples.blocks(("none",)):
        if progress is not None:
            progress(block.done, len(examples.items))
        block = block.kept(place[block.target] >= 0)
        if not len(block.item):
            continue
        inputs += len(block.item)
        rows = place[block.target]
        count += np.bincount(rows.cpu().numpy(), minlength=len(every))
        for number, found in activations(network, block.inputs, block.target, numbers, adjust):
            sums[number].index_add_(0, rows, found.double())
    writer.set_config(layers=[network.names[number - 1] for number in numbers])
    used = count > 0
    written = np.array([name in names for name in every]) & used
    empty = tuple(n for n, c in zip(every, count, strict=True) if n in names and not c)
    if not written.any():
        raise SpeechscopeError(f"nothing in {examples.corpus.path} was predicted as {names[0]}")
    for number in numbers:
        total: NDArray[np.float64] = sums[number].cpu().numpy()
        mean = total[used] / count[used].reshape(-1, *(1,) * (total.ndim - 1))
        over = mean.mean(0)
        axes = ("map", "map_frequency", "map_time")[: total.ndim - 1]
        layer = network.names[number - 1]
        axes = tuple(f"{axis}_{layer}" for axis in axes)
        profile = (mean - over)[written[used]].astype(np.float32)
        writer.put(f"profile_{layer}", profile, ("class", *axes), {"units": "1"})
        writer.put(f"normalizer_{layer}", over.astype(np.float32), axes, {"units": "1"})
    chosen = [name for name, yes in zip(every, written, strict=True) if yes]
    writer.put("class", np.arange(len(chosen), dtype=np.int16), ("class",), flag_attributes(chosen))
    writer.put("count", count[written], ("class",), {"units": "1"})
    return Written(inputs, tuple(chosen), empty)


def activations(
    network: Network, x: Tensor, target: Tensor, numbers: Sequence[int], adjust: bool
) -> list[tuple[int, Tensor]]:
    """Return the activations of layers, weighed by the size of the score's derivative if wanted.

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
