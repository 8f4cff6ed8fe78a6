"""Methods in sequence such as decode+bp, averages of runs, and blocks of items side by side.

Each method of a sequence starts from the reconstruction of the one before (Churchman 2015, sec.
6.6).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from threading import Lock
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from speechscope.inversion.analysis import Analysis
from speechscope.inversion.moves import Directions
from speechscope.inversion.problem import Known, Problem, Reconstruction, Restorer
from speechscope.networks.layers import Conv, Layered, Linear, Network, bytes_each
from speechscope.registry import INVERSION
from speechscope.work.device import fitting, in_halves, threads
from speechscope.work.local import OVERLAPPED, Overlapping, block_size
from speechscope.work.tasks import mixed

if TYPE_CHECKING:
    from speechscope.stages.invert import Invert

SHARE, LARGER = 16, 4
"""How much less of a network a proposal of annealing computes than a step of descent does, about,
and how much larger its blocks are (measured)."""

ENOUGH = 2**25
"""Multiplications of a pass through all items from which two blocks are faster than one (measured:
24 items a block of `freq-overlap` at layer 9 are not, 24 at layer 12 are)."""


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
    waveforms
        Of methods that looked for sounds, by [method, layer]: (item, sample).
    """

    reconstruction: Tensor
    objective: Tensor
    steps: Tensor
    mismatch: Tensor
    waveforms: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def put(
        self, place: tuple[int, int], block: slice, answer: Reconstruction, apart: Tensor
    ) -> None:
        """Note what a method and a layer answer for a block of items, and their mismatch."""
        at = *place, block
        self.reconstruction[at] = answer.x
        self.objective[at][:, : answer.objective.shape[1]] = answer.objective
        self.steps[at] = answer.steps
        self.mismatch[at] = apart
        if answer.waveform is not None:
            empty = torch.empty(self.steps.shape[2], answer.waveform.shape[1])
            self.waveforms.setdefault(place, empty)[block] = answer.waveform


def joined(parts: Sequence[Inversion], behind: Tensor) -> Inversion:
    """Return what was reconstructed of some items after others as one.

    Behind the end of shorter ones stands what is given, (C, F, T).
    """
    if len(parts) == 1 and parts[0].reconstruction.shape[3:] == behind.shape:
        return parts[0]
    objective, steps, apart = (
        torch.cat([getattr(part, name) for part in parts], 2)
        for name in ("objective", "steps", "mismatch")
    )
    whole = behind.expand(*steps.shape, *behind.shape).clone()
    begin = 0
    for part in parts:
        x = part.reconstruction
        whole[:, :, begin : begin + x.shape[2], ..., : x.shape[-1]] = x
        begin += x.shape[2]
    return Inversion(whole, objective, steps, apart)


def longest(settings: "Invert") -> int:
    """Return the steps that any of the sequences takes at most."""
    totals = []
    for sequence in settings.sequences():
        known = [getattr(INVERSION[name], "most_steps", None) for name in sequence]
        totals.append(sum(most(settings) if most else settings.steps for most in known))
    return max(totals)


def invert(
    network: Layered,
    inputs: Tensor,
    layers: Sequence[int],
    settings: "Invert",
    seeds: Sequence[int],
    *,
    restorers: Mapping[str, Mapping[int, Restorer]] | None = None,
    derived: Tensor | None = None,
    known: Known | None = None,
    analysis: Analysis | None = None,
    directions: Mapping[int, Directions] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Inversion:
    """Reconstruct inputs (N, C, F, T) from what each layer, a number, makes of them.

    Parameters
    ----------
    seeds
        One an item; the same seed gives the same random start at every layer.
    restorers
        What ``decode`` and ``align`` restore inputs with, by method and layer number.
    derived, known, analysis
        See `Problem`.
    directions
        Of each layer, for methods that move its activity.
    progress
        Called with (reconstructions done, reconstructions in all).

    Raises
    ------
    UsageProblem
        An unknown method, or no decoder for a method that decodes.
    """
    sizes = len(settings.method), len(layers), len(inputs)
    inversion = Inversion(
        torch.empty(*sizes, *network.input_shape),
        torch.full((*sizes, longest(settings) + 1), torch.nan, dtype=torch.float64),
        torch.zeros(sizes, dtype=torch.int64),
        torch.zeros(sizes, dtype=torch.float64),
    )
    done, counting = 0, Lock()

    def reconstruct(block: slice) -> None:
        nonlocal done
        with torch.no_grad():
            activations = network.activations(inputs[block], layers)
        for place, layer in enumerate(layers):
            problem = Problem(
                network,
                layer,
                activations[layer],
                seeds[block],
                settings.l2,
                {name: by[layer] for name, by in (restorers or {}).items() if layer in by},
                derived,
                settings.noise if settings.average > 1 else 0.0,
                None if known is None else known.at(block),
                analysis,
            )
            along = (directions or {}).get(layer)
            for method, (answer, asked) in enumerate(_answers(problem, settings, along)):
                apart = mismatch(asked, answer.x)
                with counting:
                    inversion.put((method, place), block, answer, apart)
                    done += len(answer.x)
                    if progress is not None:
                        progress(min(done, prod(sizes)), prod(sizes))

    parts = blocks(network, len(inputs), layers, settings, inputs.device)
    # Another network may hold state that two threads would disturb.
    whole = partial(in_halves, reconstruct, remedy="lower --block")
    side_by_side(whole, parts, inputs.device, allowed=isinstance(network, Network))
    return inversion


Run = tuple[Problem, "Invert", dict[tuple[str, ...], Reconstruction]]
"""A run of methods: the problem, the settings, and what is finished of it."""


def _answers(
    problem: Problem, settings: "Invert", along: Directions | None
) -> Iterator[tuple[Reconstruction, Problem]]:
    """Yield what every sequence of methods answers, and to which problem.

    Of several runs, their mean (sec. 6.7).
    """
    runs: dict[tuple[str, int], list[Run]] = {}
    ways = zip(settings.moves(), settings.draws(), strict=True)
    for sequence, (move, draw) in zip(settings.sequences(), ways, strict=True):
        if (move, draw) not in runs:
            part = replace(moved(problem, move, along), draw=draw)
            runs[move, draw] = _runs(part, settings)
        answers = [_run(sequence, *run) for run in runs[move, draw]]
        asked = runs[move, draw][0][0]
        if len(answers) == 1:
            yield answers[0], asked
            continue
        waveforms = [answer.waveform for answer in answers if answer.waveform is not None]
        histories = [answer.objective.t() for answer in answers]
        joined = torch.nn.utils.rnn.pad_sequence(histories, padding_value=torch.nan)
        mean = Reconstruction(
            torch.stack([answer.x for answer in answers]).mean(0),
            joined.nanmean(1).t(),
            torch.stack([answer.steps for answer in answers]).amax(0),
            None if len(waveforms) < len(answers) else torch.stack(waveforms).mean(0),
        )
        yield mean, asked


def moved(problem: Problem, move: str, along: Directions | None) -> Problem:
    """Return the problem with its activity moved; as it is where nothing is asked."""
    if not move or along is None:
        return problem
    return replace(problem, target=problem.target + along.of(move, problem.seeds))


def _runs(problem: Problem, settings: "Invert") -> list[Run]:
    runs: list[Run] = [(problem, settings, {})]
    for run in range(1, settings.average):
        seeds = [mixed(seed, run) for seed in problem.seeds]
        again = replace(settings, seed=mixed(settings.seed, run))
        runs.append((replace(problem, seeds=seeds), again, {}))
    return runs


def _run(
    sequence: tuple[str, ...],
    problem: Problem,
    settings: "Invert",
    finished: dict[tuple[str, ...], Reconstruction],
) -> Reconstruction:
    """Run a sequence, going on from the longest part of it that is finished."""
    if sequence not in finished:
        *first, last = sequence
        before = _run(tuple(first), problem, settings, finished) if first else None
        begun = problem if before is None else replace(problem, heard=before.waveform)
        answer = INVERSION[last](begun, None if before is None else before.x, settings)
        finished[sequence] = answer if before is None else before.then(answer)
    return finished[sequence]


def mismatch(problem: Problem, x: Tensor) -> Tensor:
    """Return ‖Y* − Y‖ / ‖Y*‖ of every item, Y what the layer makes of x; 0 / 0 counts as 0."""
    with torch.no_grad():
        y = problem.network.activation(x, problem.layer)
    size = problem.target.flatten(1).double().norm(dim=1)
    apart = (y - problem.target).flatten(1).double().norm(dim=1)
    return torch.where(apart > 0, apart / size, 0.0)


def multiplications(network: Network, layer: int) -> int:
    """Return the multiplications with weights that an item takes up to a layer."""
    rows = zip(network.names, network.table, network.shapes, strict=True)
    return sum(
        network.parameters_of(name)[0][0].numel() * prod(shape)
        for name, row, shape in list(rows)[:layer]
        if isinstance(row, Conv | Linear)
    )


def blocks(
    network: Layered, items: int, layers: Sequence[int], settings: "Invert", device: torch.device
) -> list[slice]:
    """Cut items into blocks of nearly the same size, none larger than may be.

    On the CPU their number is even, so that none is worked on alone, unless it is too little.
    """
    most, at_a_time = settings.block, 1
    each = bytes_each(network, network.input_shape)
    if settings.uses("anneal"):
        each *= settings.chains
    # A block that was asked for is the largest.
    most = fitting(most, each, device, larger="block" not in settings.given)
    if isinstance(network, Network):
        work = multiplications(network, max(layers, default=1))
        if all(sequence == ("anneal",) for sequence in settings.sequences()):
            # A proposal reaches few rows: its steps are shorter than those of descent.
            work, most = work // SHARE, most * (LARGER if device.type == "cpu" else 1)
        if device.type == "cpu" and items * work >= ENOUGH:
            at_a_time = OVERLAPPED
    size = block_size(items, most, at_a_time)
    return [slice(start, min(start + size, items)) for start in range(0, items, size)]


def side_by_side(
    work: Callable[[slice], None],
    parts: Sequence[slice],
    device: torch.device,
    *,
    allowed: bool = True,
) -> None:
    """Do ``work(part)`` for every part; on the CPU, two of them at the same time.

    A step of descent is some thirty short products and passes: divided among threads, each costs as
    much to start and to join as it saves. Whole blocks, each with arrays of its own, are long. They
    are the same however many threads there are, so that results do not depend on it. Where one
    fails, or is interrupted, nothing is running any more.
    """
    if not allowed or device.type != "cpu" or torch.get_num_threads() < OVERLAPPED:
        for part in parts:
            work(part)
    elif len(parts) < OVERLAPPED:  # little work: even its products are faster undivided
        with threads(1):
            for part in parts:
                work(part)
    else:
        with Overlapping(together=True).ordered_map(work, parts) as results:
            for _ in results:
                pass
