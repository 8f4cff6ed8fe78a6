"""Methods by name, chains of them such as decode+bp, averages of runs, and whole batches.

Each method of a chain starts from the reconstruction of the one before (Churchman 2015, sec. 6.6).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock

import torch
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.inversion.anneal import SWEEP, AnnealSettings, anneal
from speechscope.inversion.bp import BpSettings, bp
from speechscope.inversion.decode import decode
from speechscope.inversion.problem import Found, Method, Problem, Restorer
from speechscope.inversion.side_by_side import blocks, multiplications, side_by_side
from speechscope.networks.layered import Layered
from speechscope.networks.layers import Network
from speechscope.work.tasks import mixed

METHODS = ("anneal", "bp", "decode", "align")
"""Every single method by its name."""

SHARE, LARGER = 16, 4
"""How much less of a network a proposal of annealing computes than a step of descent does, about,
and how much larger its blocks are (measured)."""


@dataclass(frozen=True)
class InversionSettings:
    """Settings of all methods.

    Parameters
    ----------
    l2
        λ of the objective ½ ‖Y* − Y‖² + λ/2 ‖X‖² (Churchman 2015, sec. 6.4.1).
    block
        Items reconstructed at a time, at most; `LARGER` times as many by annealing alone. Rounding
        depends on it in the last digits: equal bits need equal blocks.
    average
        Runs whose reconstructions are averaged (sec. 6.7).
    noise
        Noise of the decoding methods in such runs, as a share of the activations' size.
    bp
        Of backpropagation to the input.
    anneal
        Of simulated annealing.
    """

    l2: float
    block: int
    average: int
    noise: float
    bp: BpSettings
    anneal: AnnealSettings


def methods(settings: InversionSettings) -> dict[str, Method]:
    """Return every single method, with its settings, by its name."""
    return {
        "anneal": lambda problem, start: anneal(problem, start, settings.anneal),
        "bp": lambda problem, start: bp(problem, start, settings.bp),
        "decode": lambda problem, start: decode("decode", problem),
        "align": lambda problem, start: decode("align", problem),
    }


def parse_method(name: str) -> tuple[str, ...]:
    """Split a chain such as ``decode+bp`` into the names of its methods.

    Raises UsageProblem when there is no such method.
    """
    parts = tuple(part.strip() for part in name.split("+"))
    for part in parts:
        if part not in METHODS:
            raise UsageProblem(
                f"method {name}: choose from {', '.join(METHODS)}, or chain them with +"
            )
    return parts


def most_steps(name: str, settings: InversionSettings) -> int:
    """Return the steps that a chain takes at most."""
    lengths = {"bp": settings.bp.steps, "anneal": math.ceil(settings.anneal.proposals / SWEEP)}
    return sum(lengths.get(part, 0) for part in parse_method(name))


@dataclass(frozen=True)
class Inversion:
    """Reconstructions by method and layer.

    Parameters
    ----------
    reconstruction
        [method, layer, item, channel, frequency, time], centred as the inputs are.
    objective
        E [method, layer, item, step] in float64, step 0 being the start; NaN after an item's last.
        Of several runs, the mean over those that have not ended.
    steps
        Steps taken [method, layer, item]; of several runs, the most.
    mismatch
        ‖Y* − Y‖ / ‖Y*‖ [method, layer, item] of the reconstruction's own activations Y.
    """

    reconstruction: Tensor
    objective: Tensor
    steps: Tensor
    mismatch: Tensor


def invert(
    network: Layered,
    restorers: Mapping[str, Mapping[int, Restorer]],
    inputs: Tensor,
    layers: Sequence[int | str],
    methods_: Sequence[str],
    settings: InversionSettings,
    *,
    seeds: Sequence[int],
    derived: Tensor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Inversion:
    """Reconstruct inputs from what each layer makes of them, by each method.

    Parameters
    ----------
    network
        The network.
    restorers
        What ``decode`` and ``align`` restore inputs with, by method and layer number.
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
    derived
        See `Problem`.
    progress
        Called with (reconstructions done, reconstructions in all).

    Raises
    ------
    UsageProblem
        An unknown layer or method, or no decoder for a method that decodes.
    """
    numbers = [network.resolve(layer) for layer in layers]
    chains = [parse_method(name) for name in methods_]
    total = len(numbers) * len(chains) * len(inputs)
    done = 0
    counting = Lock()

    def report(items: int) -> None:
        nonlocal done
        with counting:
            done += items
            if progress is not None:
                progress(done, total)

    def reconstruct(part: slice) -> list[list[tuple[Found, Tensor]]]:
        """Reconstruct a block: results by layer and chain."""
        with torch.no_grad():
            activations = network.activations(inputs[part], numbers)
        return [
            _reconstruct(
                Problem(
                    network,
                    number,
                    activations[number],
                    seeds[part],
                    settings.l2,
                    {name: known[number] for name, known in restorers.items() if number in known},
                    derived=derived,
                    noise=settings.noise if settings.average > 1 else 0.0,
                ),
                chains,
                settings,
                report,
            )
            for number in numbers
        ]

    device = inputs.device
    if isinstance(network, Network):
        work, most = multiplications(network, max(numbers, default=1)), settings.block
        if all(chain == ("anneal",) for chain in chains):
            # A proposal reaches few rows: its steps are shorter than those of descent.
            work, most = work // SHARE, most * LARGER
        parts = blocks(len(inputs), most, work, device)
        found = list(side_by_side(reconstruct, parts, device))
    else:  # it may hold state that two threads would disturb
        parts = blocks(len(inputs), settings.block, 0, device)
        found = [reconstruct(part) for part in parts]
    return _assemble(found, (len(chains), len(numbers), len(inputs)), network.input_shape)


def _reconstruct(
    problem: Problem,
    chains: Sequence[tuple[str, ...]],
    settings: InversionSettings,
    report: Callable[[int], None],
) -> list[tuple[Found, Tensor]]:
    """Return what every chain finds, and its mismatch."""
    runs: list[tuple[Problem, dict[str, Method], dict[tuple[str, ...], Found]]] = [
        (_run_of(problem, run), methods(_settings_of(settings, run)), {})
        for run in range(settings.average)
    ]
    results = []
    for chain in chains:
        result = _averaged([_run(chain, *run) for run in runs])
        results.append((result, mismatch(problem, result.x)))
        report(len(result.x))
    return results


def mismatch(problem: Problem, x: Tensor) -> Tensor:
    """Return ‖Y* − Y‖ / ‖Y*‖ of every item, Y what the layer makes of x; 0 / 0 counts as 0."""
    with torch.no_grad():
        y = problem.network.activation(x, problem.layer)
    size = problem.target.flatten(1).double().norm(dim=1)
    apart = (y - problem.target).flatten(1).double().norm(dim=1)
    return torch.where(apart > 0, apart / size, 0.0)


def _run_of(problem: Problem, run: int) -> Problem:
    """Return the problem with the seeds of one run; those of the first are its own."""
    if run == 0:
        return problem
    return replace(problem, seeds=[mixed(seed, run) for seed in problem.seeds])


def _settings_of(settings: InversionSettings, run: int) -> InversionSettings:
    if run == 0:
        return settings
    seed = mixed(settings.anneal.seed, run)
    return replace(settings, anneal=replace(settings.anneal, seed=seed))


def _averaged(runs: list[Found]) -> Found:
    """Return the mean of several runs (Churchman 2015, sec. 6.7)."""
    if len(runs) == 1:
        return runs[0]
    width = max(run.objective.shape[1] for run in runs)
    histories = torch.stack(
        [
            torch.nn.functional.pad(
                run.objective, (0, width - run.objective.shape[1]), value=torch.nan
            )
            for run in runs
        ]
    )
    return Found(
        torch.stack([run.x for run in runs]).mean(0),
        histories.nanmean(0),
        torch.stack([run.steps for run in runs]).amax(0),
    )


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


def _assemble(
    found: Sequence[Sequence[Sequence[tuple[Found, Tensor]]]],
    sizes: tuple[int, int, int],
    shape: tuple[int, ...],
) -> Inversion:
    """Join what was found [block][layer][chain] to arrays [chain, layer, item, ...]."""
    every = [one.objective.shape[1] for block in found for row in block for one, _ in row]
    reconstruction = torch.empty(*sizes, *shape)
    objective = torch.full((*sizes, max(every, default=1)), torch.nan, dtype=torch.float64)
    steps = torch.zeros(sizes, dtype=torch.int64)
    apart = torch.zeros(sizes, dtype=torch.float64)
    first = last = 0
    for block in found:
        for at, row in enumerate(block):
            for chain, (one, norms) in enumerate(row):
                last = first + len(one.x)
                reconstruction[chain, at, first:last] = one.x
                objective[chain, at, first:last, : one.objective.shape[1]] = one.objective
                steps[chain, at, first:last] = one.steps
                apart[chain, at, first:last] = norms
        first = last
    return Inversion(reconstruction, objective, steps, apart)
