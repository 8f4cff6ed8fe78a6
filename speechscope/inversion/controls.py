"""Controls: reconstructions that have seen nothing of the layer, or too much of the input.

What a method of inversion is worth shows beside them. They are methods as others are, so that the
same scores, pages and sounds tell of both; unlike others they are told what the input is, of which
class, and by whom.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.inversion.problem import (
    Known,
    Problem,
    Reconstruction,
    at_most,
    complete,
    static_channels,
)
from speechscope.registry import INVERSION
from speechscope.work.device import sent

if TYPE_CHECKING:
    from speechscope.stages.invert import Invert

BATCH = 256
"""Training items whose activations are in memory at a time."""


@INVERSION.register("average")
@at_most(lambda settings: 0)
def average(problem: Problem, start: Tensor | None, settings: "Invert") -> Reconstruction:
    """Return the mean of the training inputs (Churchman 2015, sec. 7.1.1: the threshold)."""
    return _answer(problem, torch.zeros_like(_known(problem).inputs))


@INVERSION.register("shaped-noise")
@at_most(lambda settings: 0)
def shaped_noise(problem: Problem, start: Tensor | None, settings: "Invert") -> Reconstruction:
    """Return noise: every value normal, with its mean and deviation over the training inputs."""
    known = _known(problem)
    drawn = _drawn(problem, lambda row, seed: row.normal_(generator=seed))
    return _answer(problem, drawn * known.pool.deviation.to(drawn))


@INVERSION.register("random")
@at_most(lambda settings: 0)
def random(problem: Problem, start: Tensor | None, settings: "Invert") -> Reconstruction:
    """Return a random training input of another speaker."""
    known = _known(problem)
    pool = known.pool
    return _chosen(problem, [pool.speakers != speaker for speaker in known.speakers])


@INVERSION.register("same-class")
@at_most(lambda settings: 0)
def same_class(problem: Problem, start: Tensor | None, settings: "Invert") -> Reconstruction:
    """Return a random training input of the same class, by another speaker.

    The mean of the training inputs where there is none.

    Raises
    ------
    UsageProblem
        The inputs are of no class that the network knows.
    """
    known, pool = _known(problem), _known(problem).pool
    if (known.labels < 0).all():
        raise UsageProblem("--method same-class: these inputs are of no class of the corpus")
    pairs = zip(known.labels, known.speakers, strict=True)
    return _chosen(problem, [(pool.labels == k) & (pool.speakers != who) for k, who in pairs])


@INVERSION.register("nearest")
@at_most(lambda settings: 0)
def nearest(problem: Problem, start: Tensor | None, settings: "Invert") -> Reconstruction:
    """Return the training input, by another speaker, whose activations are nearest in the layer.

    By Euclidean distance, exactly: sums are in double precision.
    """
    known, pool = _known(problem), _known(problem).pool
    target = problem.target.flatten(1).double()
    size = target.square().sum(1)[:, None]
    least = torch.full((len(target),), torch.inf, dtype=torch.float64, device=target.device)
    place = torch.zeros(len(target), dtype=torch.int64, device=target.device)
    for first in range(0, len(pool.labels), BATCH):
        places = np.arange(first, min(first + BATCH, len(pool.labels)))
        inputs = sent(pool.inputs(places), problem.target.device)
        with torch.no_grad():
            found = problem.network.activation(inputs, problem.layer).flatten(1).double()
        apart = size - 2 * target @ found.t() + found.square().sum(1)
        same = known.speakers[:, None] == pool.speakers[places]
        apart.masked_fill_(sent(same, apart.device), torch.inf)
        nearer, at = apart.min(1)
        place = torch.where(nearer < least, at + first, place)
        least = torch.minimum(least, nearer)
    return _answer(problem, pool.inputs(place.cpu().numpy()))


@INVERSION.register("random-signs")
@at_most(lambda settings: 0)
def random_signs(problem: Problem, start: Tensor | None, settings: "Invert") -> Reconstruction:
    """Return the input's own magnitudes with random signs: all but the phase.

    Raises
    ------
    UsageProblem
        The representation has no signs.
    """
    known = _known(problem)
    if not known.pool.signed:
        raise UsageProblem("--method random-signs: the representation has no signs")
    mean = known.pool.mean.to(known.inputs)
    drawn = _drawn(problem, lambda row, seed: row.bernoulli_(generator=seed))
    return _answer(problem, (known.inputs + mean) * (2 * drawn - 1) - mean)


@INVERSION.register("round-trip")
@at_most(lambda settings: 0)
def round_trip(problem: Problem, start: Tensor | None, settings: "Invert") -> Reconstruction:
    """Return the input itself: what the way back to sound costs, and no more."""
    return _answer(problem, _known(problem).inputs)


def _known(problem: Problem) -> Known:
    if problem.known is None:
        raise UsageProblem("a control needs the corpus: run it by speechscope invert")
    return problem.known


def _answer(problem: Problem, x: Tensor) -> Reconstruction:
    """Return inputs as a reconstruction after no step; derived channels follow the static ones."""
    x = sent(x, problem.target.device).to(problem.target)
    static = static_channels(x, problem.derived)
    with torch.no_grad():
        energy = problem.objective().energy(static)[:, None]
    steps = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    return Reconstruction(complete(static, problem.derived), energy, steps)


def _chosen(problem: Problem, allowed: list[NDArray[np.bool_]]) -> Reconstruction:
    """Return a random one of the training inputs that are allowed for each item."""
    ways = [np.flatnonzero(mine) for mine in allowed]
    drawn = [
        np.random.default_rng(seed).choice(places) if len(places) else 0
        for places, seed in zip(ways, problem.seeds, strict=True)
    ]
    x = _known(problem).pool.inputs(np.array(drawn))
    x[[not len(places) for places in ways]] = 0
    return _answer(problem, x)


def _drawn(problem: Problem, draw: Callable[[Tensor, torch.Generator], Tensor]) -> Tensor:
    """Return numbers shaped as the inputs, each item's drawn from its own seed."""
    out = torch.empty(_known(problem).inputs.shape)
    for row, seed in zip(out, problem.seeds, strict=True):
        draw(row, torch.Generator().manual_seed(seed))
    return sent(out, problem.target.device).to(problem.target)
