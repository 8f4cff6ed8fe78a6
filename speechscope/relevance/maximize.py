"""Activation maximization: the input that excites a unit most, and `maximum.zarr`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.networks.foreign import as_foreign
from speechscope.networks.layers import (
    Linear,
    Network,
    ReLU,
    Shape,
    Table,
    receptive_field,
    unpadded,
)
from speechscope.networks.subject import Subject
from speechscope.store.artifact import Artifact
from speechscope.store.wav import write_folder
from speechscope.store.writer import ArtifactWriter
from speechscope.work.device import sent
from speechscope.work.tasks import mixed

if TYPE_CHECKING:
    from speechscope.stages.maximize import Maximize

UNITS = 64
"""Units worked on at a time, and in one chunk."""
DECAY, EPSILON = (0.9, 0.999), 1e-8
"""Of Adam."""


@dataclass(frozen=True)
class Unit:
    """What is to be excited.

    Parameters
    ----------
    number
        Of the map, or of the unit of a layer without maps.
    position
        (bin, frame) in its map; None: the mean over the map.
    """

    number: int
    position: tuple[int, int] | None = None

    def of(self, activation: Tensor) -> Tensor:
        """Return its activation, a scalar, from that of a layer for one item (maps, …)."""
        values = activation[self.number]
        if values.dim() == 2 and self.position is not None:
            return values[self.position]
        return values.mean()


@dataclass(frozen=True)
class Maximized:
    """What was found.

    Parameters
    ----------
    x
        Optimal inputs (units, C, F, T).
    activation
        Of each unit before every step and after the last, (units, steps + 1).
    """

    x: Tensor
    activation: Tensor


def maximize(
    layer: Callable[[Tensor], Tensor],
    shape: Shape,
    units: Sequence[Unit],
    settings: "Maximize",
    seeds: Sequence[int],
    *,
    device: torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Maximized:
    """Climb from random inputs to inputs that excite units of a layer most, all units at once.

    a_u(x) − λ₁ ‖x‖₁ − λ₂/2 ‖x‖² − λ_tv Σ |x_i − x_{i+1}| (over bins and frames), by Adam: m ← β₁ m
    + (1 − β₁) g, s ← β₂ s + (1 − β₂) g², x ← x − η m̂ / (√ŝ + ε), m̂ = m / (1 − β₁ᵗ), ŝ = s / (1 −
    β₂ᵗ) (Kingma and Ba 2015). Units do not touch each other: each has an input of its own, and Adam
    works value by value.

    Source: Krug 2018, sec. 3.2: L1, L2, Adam, a Xavier uniform start, which draws from ±√(6 / (F +
    T)). The factor ½ of L2 is chosen, as elsewhere in this program.

    Parameters
    ----------
    layer
        Gives the activation (B, maps, …) of inputs (B, C, F, T).
    shape
        (C, F, T) of an input: what one unit sees, or a whole input.
    settings
        ``steps``, ``lr``, ``l1``, ``l2`` and ``tv``.
    seeds
        One a unit.
    device
        Where the network is.
    """
    x = sent(_starts(shape, seeds), device or torch.device("cpu")).requires_grad_()
    mean, square = torch.zeros_like(x), torch.zeros_like(x)
    activation = torch.empty(len(units), settings.steps + 1, device=x.device)

    def excitation() -> Tensor:
        return torch.stack([unit.of(a) for unit, a in zip(units, layer(x), strict=True)])

    for step in range(settings.steps):
        with torch.enable_grad():
            reached = excitation()
            if not reached.requires_grad:
                raise SpeechscopeError(
                    "no slope leads from the units to the input: the network stops it (a detach, "
                    "a threshold, a rounding, no_grad)"
                )
            (gradient,) = torch.autograd.grad(_penalty(x, settings) - reached.sum(), x)
        activation[:, step] = reached.detach()
        # PyTorch's own Adam brings its compiler along, which takes longer than many climbs.
        with torch.no_grad():
            mean.lerp_(gradient, 1 - DECAY[0])
            square.mul_(DECAY[1]).addcmul_(gradient, gradient, value=1 - DECAY[1])
            root = square.div(1 - DECAY[1] ** (step + 1)).sqrt_().add_(EPSILON)
            x.addcdiv_(mean, root, value=-settings.lr / (1 - DECAY[0] ** (step + 1)))
        if progress is not None:
            progress(step + 1, settings.steps)
    with torch.no_grad():
        activation[:, -1] = excitation()
    return Maximized(x.detach(), activation.cpu())


def _starts(shape: Shape, seeds: Sequence[int]) -> Tensor:
    bound = (6 / (shape[-2] + shape[-1])) ** 0.5
    starts = [
        torch.empty(shape).uniform_(-bound, bound, generator=torch.Generator().manual_seed(seed))
        for seed in seeds
    ]
    return torch.stack(starts)


def _penalty(x: Tensor, settings: "Maximize") -> Tensor:
    total = settings.l1 * x.abs().sum() + settings.l2 / 2 * x.square().sum()
    if settings.tv:
        across = x.diff(dim=2).abs().sum() + x.diff(dim=3).abs().sum()
        total = total + settings.tv * across
    return total


def seen(table: Table, layer: int) -> tuple[int, int] | None:
    """Return the (bins, frames) of the input that one unit of a layer sees.

    None where a fully connected layer is on the way: the whole input.
    """
    if any(isinstance(row, Linear) for row in table[:layer]):
        return None
    return receptive_field(table, layer, 0).frames, receptive_field(table, layer).frames


@dataclass(frozen=True)
class Layer:
    """A layer as a function of what one of its units sees.

    Parameters
    ----------
    name
        Of the layer.
    run
        Gives its activation (B, maps, …) of inputs of that size.
    seen
        (C, F, T).
    out
        Shape of the activation of one item.
    classes
        What its units stand for, where they do.
    """

    name: str
    run: Callable[[Tensor], Tensor]
    seen: Shape
    out: Shape
    classes: tuple[str, ...] = ()


def layer_of_units(
    network: nn.Module, layer: str | int, classes: tuple[str, ...], example: Tensor | None = None
) -> Layer:
    """Return a layer as a function of what its units see; ``last``: the classes' scores.

    Parameters
    ----------
    network
        One of ours or another, in evaluation mode.
    classes
        Of the network.
    example
        An input (B, …) of a network that is not ours.

    Raises
    ------
    UsageProblem
        There is no such layer.
    """
    if isinstance(network, Network):
        last = len(network.names)
        number = last if layer == "last" else network.resolve(layer)
        place, named = on_its_window(network, number), number == last
    else:
        assert example is not None
        place, named = on_whole_inputs(network, example, str(layer)), layer == "last"
    return replace(place, classes=classes if named else ())


def on_its_window(network: Network, layer: int) -> Layer:
    """Return a layer as a function of what one of its units sees.

    Where a unit sees only part of the input, the layers before run without padding on an input of
    just that size (Krug 2018, sec. 3.2: "the receptive field size"), and give one position. A unit
    of a ReLU is excited by what enters it: below 0 the ReLU has no slope to climb.
    """
    name = network.names[layer - 1]
    last = layer - 1 if isinstance(network.table[layer - 1], ReLU) and layer > 1 else layer
    window = seen(network.table, last)
    channels, bins, frames = network.input_shape
    if window is None or window[0] > bins or window[1] > frames:
        shape = network.shapes[last - 1]
        return Layer(name, lambda x: network.activation(x, last), network.input_shape, shape)
    part = unpadded(network, last, (channels, *window))
    return Layer(name, part, (channels, *window), part.shapes[-1])


def on_whole_inputs(module: nn.Module, example: Tensor, layer: str) -> Layer:
    """Return a layer of any network as a function of whole inputs; ``last``: its scores.

    As in `on_its_window`, a unit of a ReLU is excited by what enters it, and scores are taken
    before a softmax.

    Parameters
    ----------
    example
        An input (B, …).

    Raises
    ------
    UsageProblem
        There is no such layer.
    """
    network = as_foreign(module, example)
    run: Callable[[Tensor], Tensor] = network
    if layer != "last":
        layer = network.name(layer)
        kind = dict(network.root.named_modules()).get(layer)
        if isinstance(kind, nn.ReLU) or (kind is None and layer.split("_")[0] == "relu"):
            run = network.entering(layer)[0]
        else:
            run = partial(network.activation, layer=layer)
    with torch.no_grad():
        out = run(example)
    return Layer(layer, run, network.input_shape, tuple(out.shape[1:]))


def parse_units(
    texts: Sequence[str], shape: Shape, classes: tuple[str, ...] = ()
) -> dict[str, Unit]:
    """Return units by the names they were asked for with.

    Parameters
    ----------
    texts
        ``all``; a number, from 0, of a map or unit; a class, in the last layer. A map's unit stands
        in the middle of its map, or where ``12@BINxFRAME`` says; ``12@mean`` is the whole map.
    shape
        Of the layer's output.
    classes
        Names of its units, empty where they have none.

    Raises
    ------
    UsageProblem
        There is no such unit.
    """
    middle = (shape[1] // 2, shape[2] // 2) if len(shape) == 3 else None
    if list(texts) == ["all"]:
        names = classes or tuple(str(number) for number in range(shape[0]))
        return {name: Unit(number, middle) for number, name in enumerate(names)}
    units = {}
    for text in texts:
        name, _, position = text.partition("@")
        number = classes.index(name) if name in classes else int(name) if name.isdigit() else -1
        if not 0 <= number < shape[0]:
            known = ", ".join(classes) or f"0 to {shape[0] - 1}"
            raise UsageProblem(f"--unit {text}: choose from {known}")
        units[text] = Unit(number, _position(text, position, shape) if position else middle)
    return units


def _position(text: str, position: str, shape: Shape) -> tuple[int, int] | None:
    if position == "mean":
        return None
    parts = [int(part) if part.isdigit() else -1 for part in position.split("x")]
    if (
        len(shape) != 3
        or len(parts) != 2
        or not all(0 <= at < size for at, size in zip(parts, shape[1:], strict=True))
    ):
        raise UsageProblem(f"--unit {text}: positions in a map of {shape[1:]} are BINxFRAME")
    return parts[0], parts[1]


def write_maximum(
    writer: ArtifactWriter,
    subject: Subject,
    layer: Layer,
    units: Mapping[str, Unit],
    settings: "Maximize",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[bool, list[str]]:
    """Maximize units of a layer and write the arrays of `maximum.zarr`, a block at a time.

    ``optimum [unit, channel, frequency, time]``, centred if the network's inputs are;
    ``activation [unit, step]``, before every step and after the last; ``map [unit]``, its number;
    and, where an optimum has the size of an input that can be turned back into sound,
    ``waveform [unit, sample]``, of the optimum with the mean restored.

    Returns
    -------
    Whether there are waveforms, and the names of units whose activation is not a number.

    Raises
    ------
    SpeechscopeError
        No unit has an activation that is a number.
    """
    corpus, shape, count = subject.corpus, layer.seen, len(units)
    step, length = min(UNITS, count), settings.steps + 1

    def create(name: str, sizes: Shape, axes: tuple[str, ...], **more: int) -> Any:
        attributes = {"units": "1", **more}
        dims = ("unit", *axes)
        return writer.create(name, (count, *sizes), np.float32, dims, attributes, (step, *sizes))

    optimum = create("optimum", shape, ("channel", "frequency", "time"))
    activation = create("activation", (length,), ("step",))
    of_windows, waveform = corpus.unit == "window", None
    if of_windows or (shape == corpus.input_shape and corpus.invertible):
        samples = shape[2] if of_windows else int(corpus.config["samples"])
        rate = int(corpus.config["rate"])
        waveform = create("waveform", (samples,), ("sample",), sampling_frequency=rate)
    writer.name_axis("unit", list(units))
    maps = np.array([unit.number for unit in units.values()], dtype=np.int32)
    writer.put("map", maps, ("unit",), {"units": "1"})

    climbing, bad = list(units.values()), np.zeros(count, dtype=bool)
    for start in range(0, count, step):
        block = slice(start, min(count, start + step))
        seeds = [mixed(settings.seed, number) for number in range(start, block.stop)]
        device = subject.device
        done = maximize(
            layer.run, shape, climbing[block], settings, seeds, device=device, progress=progress
        )
        optima = done.x.cpu().numpy()
        optimum[block], activation[block] = optima, done.activation.numpy()
        bad[block] = ~np.isfinite(optima.reshape(len(optima), -1)).all(1)
        bad[block] |= ~np.isfinite(done.activation.numpy()).all(1)
        if waveform is not None and of_windows:
            waveform[block] = optima.reshape(len(optima), -1)
        elif waveform is not None:
            waveform[block] = corpus.sound_of(subject.whole(done.x))
    if bad.all():
        raise SpeechscopeError(
            f"layer {layer.name}: no unit has an activation that is a number (a root or a "
            "logarithm of what is negative)"
        )
    return waveform is not None, [name for name, lost in zip(units, bad, strict=True) if lost]


def write_optima(path: Path, folder: Path, *, force: bool) -> int:
    """Write the waveforms of `maximum.zarr` as ``UNIT.wav``, as `write_sounds` does."""
    artifact = Artifact(path, "maximum")
    rate = int(artifact.attributes("waveform")["sampling_frequency"])
    named = enumerate(artifact.flags("unit"))
    sounds = ((f"{number:04d}_{name}", artifact.read("waveform", number)) for number, name in named)
    return write_folder(sounds, folder, rate, path.name, force=force)
