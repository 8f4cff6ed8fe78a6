"""What draws from one activity have in common: how much a layer knows, in bits, and how surely.

What they share the layer knows; by what they differ, it does not.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from speechscope.corpus.phones import NONE
from speechscope.features.attributes import in_octaves
from speechscope.features.distances import partners, with_others
from speechscope.scores.heard import Heard, Judges
from speechscope.scores.statistics import Score, among

Values = NDArray[np.float64]

OTHERS = "another item's draws"
INTERVAL = 0.9
LEAST = 1e-3
"""Of the deviation over items, below which draws are not taken to agree (chosen)."""
UNSEEN = 0.5
"""Added to how often each name is heard (Krichevsky & Trofimov 1981)."""


def certainty(
    original: Heard,
    draws: Sequence[Heard],
    judges: Judges | None,
    wanted: Mapping[str, NDArray[np.str_]],
) -> Iterator[Score]:
    """Yield what draws say of each attribute of their originals.

    bits: log₂ p(truth | draws) − log₂ p(truth), on average a lower bound of what the layer tells of
    the attribute (Barber & Agakov 2003), by chance the same with the draws of another item; in the
    90 % interval: how often the truth lies there, 0.9 where they are calibrated; width: their
    deviation over that of all items.
    """
    for name, values in original.values.items():
        every = np.array([draw.values[name] for draw in draws])
        yield from of_values(name, in_octaves(name, values), in_octaves(name, every))
    if judges is None:
        return
    answers = [judges.answers(draw.mel, wanted) for draw in draws]
    for name, (true, _) in answers[0].items():
        yield of_names(name, true, np.array([answer[name][1] for answer in answers]))


def of_values(name: str, true: Values, draws: Values) -> Iterator[Score]:
    """Yield bits, calibration and width of an attribute, of true values (N,) and draws (K, N).

    p(truth | draws) is Student's distribution, K − 1 degrees of freedom, about the mean of the
    draws, as of one more of them, and the interval is that of it; p(truth) is the normal one over
    items. Items whose original has no value, or half of whose draws have none, are left out.
    """
    count = np.isfinite(draws).sum(0)
    there = np.isfinite(true) & (count >= max(2, len(draws) / 2))
    rows = np.flatnonzero(there)
    if len(rows) < 2:
        return
    truth, drawn, n = true[rows], draws[:, rows], count[rows]
    whole, mean = float(truth.std()), np.nanmean(drawn, 0)
    if whole == 0:
        return
    width = np.maximum(np.nanstd(drawn, 0, ddof=1), LEAST * whole)

    def bits(of: NDArray[np.int64] | slice) -> Values:
        scale = width[of] * np.sqrt(1 + 1 / n[of])
        given = stats.t.logpdf(truth, n[of] - 1, mean[of], scale)
        return np.asarray((given - stats.norm.logpdf(truth, truth.mean(), whole)) / np.log(2))

    chance = with_others(bits, partners(len(rows)))
    rank = stats.t.cdf(truth, n - 1, mean, width * np.sqrt(1 + 1 / n))
    inside = np.abs(rank - 0.5) <= INTERVAL / 2
    for measure, values, null in (
        (f"bits on {name}", bits(slice(None)), {OTHERS: chance}),
        (f"{name} in the 90 % interval", inside.astype(np.float64), {}),
        (f"width of {name}", width / whole, {}),
    ):
        yield Score(
            {"measure": measure},
            among(values, rows, len(true)),
            {key: among(value, rows, len(true)) for key, value in null.items()},
        )


def of_names(name: str, true: NDArray[np.str_], named: NDArray[np.str_]) -> Score:
    """Return the bits on what is named, of true names (N,) and those of draws (K, N)."""
    rows = np.flatnonzero(true != NONE)
    kinds, place = np.unique(true[rows], return_inverse=True)
    heard = (named[:, rows, None] == kinds).sum(0)  # (item, kind)
    chosen = (heard + UNSEEN) / (len(named) + UNSEEN * len(kinds))
    base = np.bincount(place) / len(rows)

    def bits(of: NDArray[np.int64] | slice) -> Values:
        given = chosen[of][np.arange(len(rows)), place]
        return np.asarray(np.log2(given / base[place]))

    chance = with_others(bits, partners(len(rows)))
    return Score(
        {"measure": f"bits on {name}"},
        among(bits(slice(None)), rows, len(true)),
        {OTHERS: among(chance, rows, len(true))},
    )
