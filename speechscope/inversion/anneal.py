"""Simulated annealing of the input (Churchman 2015, sec. 6.3)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from speechscope.inversion.derived import complete, static_channels
from speechscope.inversion.objective import squared_norm
from speechscope.inversion.problem import Found, Problem
from speechscope.registry import INVERSION

SWEEP = 100
"""Proposals between two entries of the history."""

FRESH = 20
"""Sweeps after which sums of accepted changes are computed afresh: rounding adds up in them."""


@dataclass(frozen=True)
class AnnealSettings:
    """Settings of simulated annealing.

    Parameters
    ----------
    proposals
        Neighbours proposed to every chain.
    chains
        Chains an item; the one with the lowest E is returned.
    rows
        Consecutive frequency bands n in which a neighbour differs (Churchman 2015, sec. 6.3.1).
    share
        Share of the entries of these bands that change.
    reach
        Largest change r of an entry.
    temperature
        T(0) as a share of E at the start.
    cooling
        T at the last proposal as a share of T(0); the temperature falls geometrically.
    seed
        Draws the order of the bands, which is common to all chains.
    """

    proposals: int
    chains: int
    rows: int
    share: float
    reach: float
    temperature: float
    cooling: float
    seed: int


class Neighbours:
    """Random changes of bands, from one stream of random numbers an item.

    An item's changes therefore do not depend on the items around it. Entries are 0 with
    probability 1 − share, else uniform in [0, r] or, in half the neighbours, in [−r, 0].
    Source: Churchman 2015, sec. 6.3.1.
    """

    def __init__(
        self, seeds: Sequence[int], settings: AnnealSettings, bins: int, frames: int, like: Tensor
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
            changes.flatten(1, 2).to(self._like),
            (1 - coins[..., 1]).flatten(1).to(self._like.device),
            first,
        )


def temperatures(settings: AnnealSettings, start: Tensor, first: int, count: int) -> Tensor:
    """Return T(k) (count, B) for the proposals from `first` on.

    T(k) = temperature · E(0) · cooling^(k / K). The paper asks for a high start and T(K) ≈ 0
    (Churchman 2015, sec. 6.3) and leaves the rest open. As a share of E, one value serves layers
    whose energies differ by orders of magnitude.
    """
    k = torch.arange(first, first + count, dtype=torch.float64, device=start.device)
    fall = settings.cooling ** (k / max(1, settings.proposals))
    return settings.temperature * fall[:, None] * start


@INVERSION.register("anneal")
def anneal(problem: Problem, start: Tensor | None, settings: AnnealSettings) -> Found:
    """Search by simulated annealing, and return the best X any chain of an item has visited.

    A neighbour X' replaces X if E' < E, else with probability exp((E − E') / T(k)).
    E = ½ ‖Y* − Y‖² + λ/2 ‖X‖², half of that in sec. 6.3.2 and the same as for `bp`.
    Source: Churchman 2015, sec. 6.3. Without a start, chains begin at 0, the mean of the training
    inputs. The history holds the best E of an item, once every `SWEEP` proposals.
    """
    # Here, as both bring Numba, which the other methods do without.
    from speechscope.fast.chains import Chains
    from speechscope.inversion.proposals import make_proposals

    network, target, chains = problem.network, problem.target, settings.chains
    items = len(target)
    channels, bins, frames = network.input_shape
    statics = channels if problem.derived is None else channels // len(problem.derived)
    if start is None:
        start = target.new_zeros(items, *network.input_shape)
    sweeps = math.ceil(settings.proposals / SWEEP)
    steps = torch.full((items,), sweeps, dtype=torch.int64, device=target.device)
    history = torch.empty(sweeps + 1, items, dtype=torch.float64, device=target.device)
    if not items:
        return Found(start, history.t(), steps)
    # What came before may have answered with channels that do not belong together.
    start = complete(static_channels(start, problem.derived), problem.derived)
    x = start.to(target).repeat_interleave(chains, 0).contiguous()
    goal = target.repeat_interleave(chains, 0)
    proposals = make_proposals(network, problem.layer, goal)
    rest = 0.5 * problem.l2 * squared_norm(x)
    state = Chains(x, rest, proposals.load(x) + rest, problem.l2)
    began = state.energy.clone()
    history[0] = state.lowest.view(items, chains).amin(1)
    wide = frames * statics
    neighbours = Neighbours(problem.seeds, settings, bins, wide, target)
    for sweep in range(sweeps):
        count = min(SWEEP, settings.proposals - sweep * SWEEP)
        if sweep and sweep % FRESH == 0:
            state.rest.copy_(0.5 * problem.l2 * squared_norm(x))
            state.energy.copy_(proposals.load(x) + state.rest)
        changes, uniform, first = neighbours.sweep(count)
        slack = temperatures(settings, began, sweep * SWEEP, count).mul_(-uniform.log())
        shape = len(x), settings.rows, frames, statics
        for place, band, slack_now in zip(first, changes.unbind(), slack.unbind(), strict=True):
            low, high = max(0, place), min(bins, place + settings.rows)
            band = band.view(shape)
            if high - low < settings.rows:
                band = band[:, low - place : high - place].contiguous()
            if problem.derived is not None:
                band = torch.einsum("bfsi,cst->bftci", band, problem.derived).flatten(3)
                band = band.contiguous()
            limit = state.limit(band, low, slack_now)
            proposals.settle(state.settle(band, low, proposals.propose(band, low, limit)))
        history[sweep + 1] = state.lowest.view(items, chains).amin(1)
    winner = state.lowest.view(items, chains).argmin(1)
    chosen = state.best[torch.arange(items, device=x.device) * chains + winner]
    return Found(chosen, history.t().contiguous(), steps)
