"""Methods by name, chains of them such as decode+bp, and inversion of whole batches.

Each method of a chain starts from the reconstruction of the one before (Churchman 2015, sec. 6.6).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.inversion.bp import BpSettings, bp
from speechscope.inversion.decode import decode
from speechscope.inversion.problem import Found, Method, Problem
from speechscope.networks.decoders import Decoder
from speechscope.networks.layers import Network


@dataclass(frozen=True)
class InversionSettings:
    """Settings of all methods.

    Parameters
    ----------
    l2
        λ of the objective ½ ‖Y* − Y‖² + λ/2 ‖X‖² (Churchman 2015, sec. 6.4.1).
    block
        Items reconstructed at a time. Rounding depends on it in the last digits: equal bits need
        equal blocks.
    bp
        Of backpropagation to the input.
    """

    l2: float = 1e-3
    block: int = 48
    bp: BpSettings = field(default_factory=BpSettings)


def methods(settings: InversionSettings) -> dict[str, Method]:
    """Return every single method by its name."""
    return {
        "bp": lambda problem, start: bp(problem, start, settings.bp),
        "decode": decode,
    }


def parse_method(name: str) -> tuple[str, ...]:
    """Split a chain such as ``decode+bp`` into the names of its methods.

    Raises UsageProblem when there is no such method.
    """
    known = methods(InversionSettings())
    parts = tuple(part.strip() for part in name.split("+"))
    for part in parts:
        if part not in known:
            raise UsageProblem(
                f"method {name}: choose from {', '.join(known)}, or chain them with +"
            )
    return parts


def most_steps(name: str, settings: InversionSettings) -> int:
    """Return the steps that a chain takes at most."""
    return settings.bp.steps * parse_method(name).count("bp")


@dataclass(frozen=True)
class Inversion:
    """Reconstructions by method and layer.

    Parameters
    ----------
    reconstruction
        [method, layer, item, channel, frequency, time], centred as the inputs are.
    objective
        E [method, layer, item, step] in float64, step 0 being the start; NaN after an item's last.
    steps
        Steps taken [method, layer, item].
    """

    reconstruction: Tensor
    objective: Tensor
    steps: Tensor


def invert(
    network: Network,
    decoders: Mapping[int, Decoder],
    inputs: Tensor,
    layers: Sequence[int | str],
    methods_: Sequence[str],
    settings: InversionSettings,
    *,
    seeds: Sequence[int],
    progress: Callable[[int, int], None] | None = None,
) -> Inversion:
    """Reconstruct inputs from what each layer makes of them, by each method.

    Parameters
    ----------
    network, decoders
        The network, and decoders by layer number for the methods that decode.
    inputs
        Centred inputs (N, C, F, T).
    layers
        Numbers or names.
    methods_
        Names or chains, as `parse_method` reads them. Chains share what they begin with.
    settings
        Of the methods.
    seeds
        One an item; the same seed gives the same random start at every layer.
    progress
        Called with (reconstructions done, reconstructions in all).

    Raises
    ------
    UsageProblem
        An unknown layer or method, or no decoder for a method that decodes.
    """
    numbers = [network.resolve(layer) for layer in layers]
    chains = [parse_method(name) for name in methods_]
    known = methods(settings)
    total = len(numbers) * len(chains) * len(inputs)
    done = 0
    # found[chain][layer] is a list over blocks of items.
    found: list[list[list[Found]]] = [[[] for _ in numbers] for _ in chains]
    for first in range(0, len(inputs), settings.block):
        x = inputs[first : first + settings.block]
        with torch.no_grad():
            activations = network.activations(x, numbers)
        for at, number in enumerate(numbers):
            problem = Problem(
                network,
                number,
                activations[number],
                seeds[first : first + settings.block],
                settings.l2,
                decoders.get(number),
            )
            finished: dict[tuple[str, ...], Found] = {}
            for row, chain in zip(found, chains, strict=True):
                row[at].append(_run(chain, problem, known, finished))
                done += len(x)
                if progress is not None:
                    progress(done, total)
    return _assemble(found, network.input_shape, len(inputs))


def _run(
    chain: tuple[str, ...],
    problem: Problem,
    known: Mapping[str, Method],
    finished: dict[tuple[str, ...], Found],
) -> Found:
    """Run a chain, going on from the longest part of it that is finished."""
    if chain not in finished:
        before = _run(chain[:-1], problem, known, finished) if len(chain) > 1 else None
        result = known[chain[-1]](problem, None if before is None else before.x)
        finished[chain] = result if before is None else before.then(result)
    return finished[chain]


def _assemble(found: list[list[list[Found]]], shape: tuple[int, ...], items: int) -> Inversion:
    widths = [f.objective.shape[1] for row in found for blocks in row for f in blocks]
    sizes = (len(found), len(found[0]) if found else 0, items)
    reconstruction = torch.empty(*sizes, *shape)
    objective = torch.full((*sizes, max(widths, default=1)), torch.nan, dtype=torch.float64)
    steps = torch.zeros(sizes, dtype=torch.int64)
    for m, row in enumerate(found):
        for at, blocks in enumerate(row):
            first = 0
            for f in blocks:
                last = first + len(f.x)
                reconstruction[m, at, first:last] = f.x
                objective[m, at, first:last, : f.objective.shape[1]] = f.objective
                steps[m, at, first:last] = f.steps
                first = last
    return Inversion(reconstruction, objective, steps)
