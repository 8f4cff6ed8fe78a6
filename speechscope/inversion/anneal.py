"""Simulated annealing of the input (Churchman 2015, sec. 6.3)."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from speechscope.inversion.problem import (
    Objective,
    Problem,
    Reconstruction,
    at_most,
    complete,
    static_channels,
)
from speechscope.networks.layers import Layered
from speechscope.registry import INVERSION
from speechscope.work.accelerators import fastest
from speechscope.work.device import sent

if TYPE_CHECKING:
    from speechscope.stages.invert import Invert

SWEEP = 100
"""Proposals between two entries of the history."""


def sweeps(settings: "Invert") -> int:
    """Return the steps of annealing: a step is `SWEEP` proposals."""
    return math.ceil(settings.proposals / SWEEP)


class Neighbours:
    """Random changes of bands, from one stream of random numbers an item.

    An item's changes therefore do not depend on the items around it. Entries are 0 with
    probability 1 − share, else uniform in [0, r] or, in half the neighbours, in [−r, 0]. The order
    of the bands is common to all chains.
    Source: Churchman 2015, sec. 6.3.1.
    """

    def __init__(
        self, seeds: Sequence[int], settings: "Invert", bins: int, frames: int, like: Tensor
    ) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._bands = torch.Generator().manual_seed(settings.seed)
        self._settings, self._bins, self._frames, self._like = settings, bins, frames, like

    def sweep(self, count: int) -> tuple[Tensor, Tensor, list[int]]:
        """Return `count` neighbours of every chain, chains of an item side by side.

        Returns
        -------
        changes : (count, items × chains, rows, frames)
        uniform : (count, items × chains) in (0, 1], float64, for the Metropolis rule
        first : the first row of each band, −rows < first < bins, in list order
        """
        settings, chains = self._settings, self._settings.chains
        shape = (count, chains, settings.rows, self._frames)
        changes = torch.empty(count, len(self._generators), *shape[1:])
        coins = torch.empty(count, len(self._generators), chains, 2, dtype=torch.float64)
        for item, generator in enumerate(self._generators):
            changes[:, item] = torch.rand(shape, generator=generator)
            coins[:, item] = torch.rand(count, chains, 2, generator=generator, dtype=torch.float64)
        # One uniform number decides both whether an entry changes and by how much.
        changes.sub_(1 - settings.share).clamp_(min=0).mul_(settings.reach / settings.share)
        changes *= torch.where(coins[..., 0] < 0.5, -1.0, 1.0).float()[..., None, None]
        first = torch.randint(
            1 - settings.rows, self._bins, (count,), generator=self._bands
        ).tolist()
        return (
            sent(changes.flatten(1, 2), self._like.device).to(self._like),
            sent((1 - coins[..., 1]).flatten(1), self._like.device),
            first,
        )


def temperatures(settings: "Invert", start: Tensor, first: int, count: int) -> Tensor:
    """Return T(k) (count, B) for the proposals from `first` on.

    T(k) = temperature · E(0) · cooling^(k / K). The paper asks for a high start and T(K) ≈ 0
    (Churchman 2015, sec. 6.3) and leaves the rest open. As a share of E, one value serves layers
    whose energies differ by orders of magnitude.
    """
    k = torch.arange(first, first + count, dtype=torch.float64, device=start.device)
    fall = settings.cooling ** (k / max(1, settings.proposals))
    return settings.temperature * fall[:, None] * start


class Chains:
    """Where all chains are, and the best that each has met.

    Parameters
    ----------
    network, layer, target, l2
        See `Objective`; a row of the target (B, …) a chain.
    x
        Where they begin, (B, C, F, T).

    Attributes
    ----------
    energy, lowest
        E, and the lowest met, (B,) in float64.
    best
        The X of the lowest E, (B, C, F, T).
    """

    def __init__(self, network: Layered, layer: int, target: Tensor, l2: float, x: Tensor) -> None:
        self._objective = Objective(network, layer, target, l2)
        self._x = self.best = x
        self.energy = self.lowest = self._objective.energy(x)

    def step(self, change: Tensor, first: int, slack: Tensor) -> None:
        """Move the chains whose E falls, or rises by less than they may.

        Parameters
        ----------
        change : (B, C, n, T)
            What is proposed to be added to the rows of X from `first` on.
        slack : (B,)
            By how much E may rise, in float64.
        """
        proposed = self._x.clone()
        proposed[:, :, first : first + change.shape[2]] += change
        energy = self._objective.energy(proposed)
        accepted = energy < self.energy + slack
        self._x = torch.where(accepted[:, None, None, None], proposed, self._x)
        self.energy = torch.where(accepted, energy, self.energy)
        better = self.energy < self.lowest
        self.best = torch.where(better[:, None, None, None], self._x, self.best)
        self.lowest = torch.where(better, self.energy, self.lowest)


@INVERSION.register("anneal")
@at_most(sweeps)
@torch.no_grad()
def anneal(problem: Problem, start: Tensor | None, settings: "Invert") -> Reconstruction:
    """Search by simulated annealing, and return the best X any chain of an item has visited.

    A neighbour X' replaces X if E' < E, else with probability exp((E − E') / T(k)).
    E = ½ ‖Y* − Y‖² + λ/2 ‖X‖², half of that in sec. 6.3.2 and the same as for `bp`.
    Source: Churchman 2015, sec. 6.3. Without a start, chains begin at 0, the mean of the training
    inputs. The history holds the best E of an item, once every `SWEEP` proposals.
    """
    network, target, derived = problem.network, problem.target, problem.derived
    items, (_, bins, frames) = len(target), network.input_shape
    if start is None:
        start = target.new_zeros(items, *network.input_shape)
    static = static_channels(start, derived)
    steps = torch.full((items,), sweeps(settings), dtype=torch.int64, device=target.device)
    history = torch.empty(sweeps(settings) + 1, items, dtype=torch.float64, device=target.device)
    if not items:
        return Reconstruction(start, history.t(), steps)
    # What came before may have answered with channels that do not belong together.
    x = complete(static, derived).to(target).repeat_interleave(settings.chains, 0)
    goal = target.repeat_interleave(settings.chains, 0)
    chains = fastest(Chains)(network, problem.layer, goal, problem.l2, x)
    began, shape = chains.energy.clone(), (items, settings.chains)
    history[0] = chains.lowest.view(shape).amin(1)
    width = frames * static.shape[1]
    neighbours = Neighbours(problem.seeds, settings, bins, width, target)
    for sweep in range(sweeps(settings)):
        count = min(SWEEP, settings.proposals - sweep * SWEEP)
        changes, uniform, places = neighbours.sweep(count)
        # E' < E or u < exp((E − E') / T) are together E' < E − T ln u.
        slack = temperatures(settings, began, sweep * SWEEP, count).mul_(-uniform.log())
        bands = changes.view(*changes.shape[:3], frames, -1).permute(0, 1, 4, 2, 3)
        for first, band, may_rise in zip(places, bands.unbind(), slack.unbind(), strict=True):
            inside = band[:, :, max(0, -first) : bins - first]
            chains.step(complete(inside, derived), max(0, first), may_rise)
        history[sweep + 1] = chains.lowest.view(shape).amin(1)
    winner = chains.lowest.view(shape).argmin(1)
    rows = torch.arange(items, device=target.device) * settings.chains + winner
    return Reconstruction(chains.best[rows], history.t().contiguous(), steps)
