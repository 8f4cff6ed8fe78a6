"""What a layer tells apart without anything being trained: by distances, ranks and differences."""

from collections.abc import Iterator, Sequence
from itertools import combinations, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Points = NDArray[np.floating[Any]]
Values = NDArray[np.float64]
Labels = NDArray[np.integer[Any]]

SURE = 0.01
"""Below this probability two phones are told apart by a unit (Nagamine et al. 2015)."""
CANONICAL = 20
"""Principal components whose canonical correlations are averaged (chosen)."""


def angles(points: Points) -> Values:
    """Return the angles between points (n, d), over π, (n, n): the distance of ABX.

    A point at 0 is at 1/2 from all others.
    """
    size = np.linalg.norm(points, axis=1, keepdims=True).astype(np.float64)
    unit = points / np.where(size > 0, size, 1)
    return np.asarray(np.arccos(np.clip(unit @ unit.T, -1, 1)) / np.pi, dtype=np.float64)


def abx(distance: Values, on: Labels, across: Labels) -> Values:
    """Return how often each point X is nearer to its like A than to another B, (n,).

        mean over a, b of mean [d(A, X) < d(B, X)] + ½ [d(A, X) = d(B, X)]

    with A of X's class, B of another, both of one group a, which is not X's, and b the class of B:
    phones across speakers (X spoken by somebody else), or speakers across phones. ½ where nothing
    is told apart. Source: Schatz et al. 2013; classes of B count alike.

    Parameters
    ----------
    distance : (n, n).
    on, across : (n,) the class that is told, and the group that is changed.

    Returns
    -------
    NaN where X has no triplet.
    """
    total, count = np.zeros(len(on)), np.zeros(len(on))
    for group in np.unique(across):
        there = across == group
        classes = [np.flatnonzero(there & (on == name)) for name in np.unique(on[there])]
        for mine in classes:
            xs = np.flatnonzero((on == on[mine[0]]) & ~there)
            if not len(xs):
                continue
            own = distance[np.ix_(xs, mine)]
            for others in classes:
                if others is mine:
                    continue
                apart = distance[np.ix_(xs, others)][:, None] - own[:, :, None]
                total[xs] += ((apart > 0) + 0.5 * (apart == 0)).mean((1, 2))
                count[xs] += 1
    out: Values = np.full(len(on), np.nan)
    np.divide(total, count, out=out, where=count > 0)
    return out


def selectivity(points: Points, labels: Labels) -> Values:
    """Return how many phones each unit tells from each phone, over all others, (unit, phone).

    PSI: the share of the other phones whose activations are lower, by the rank-sum test with
    p < `SURE`. Source: Nagamine, Seltzer & Mesgarani 2015.

    Parameters
    ----------
    points : (n, unit).
    labels : (n,) Columns of the result are their values in order.
    """
    kinds = np.unique(labels)
    groups = [points[labels == kind] for kind in kinds]
    out = np.zeros((points.shape[1], len(kinds)))
    for first, second in combinations(range(len(kinds)), 2):
        a, b = groups[first], groups[second]
        found = stats.mannwhitneyu(a, b, axis=0, method="asymptotic")
        apart = found.pvalue < SURE
        higher = found.statistic > len(a) * len(b) / 2
        out[:, first] += apart & higher
        out[:, second] += apart & ~higher
    return out / (len(kinds) - 1)


def between(values: Values, groups: NDArray[Any]) -> float:
    """Return the share of the variance of values (m, phone) that lies between groups of phones.

    Over all rows together: Σ n_g (mean_g − mean)² / Σ (value − mean)². NaN where nothing varies.
    """
    apart = values - values.mean(1, keepdims=True)
    whole = float(np.square(apart).sum())
    inner = [apart[:, groups == group] for group in np.unique(groups)]
    explained = sum(part.shape[1] * float(np.square(part.mean(1)).sum()) for part in inner)
    return explained / whole if whole > 0 else np.nan


def dissimilarities(points: Points) -> Values:
    """Return 1 − Pearson's correlation of every two points (n, d), (n, n)."""
    centred = np.asarray(points, dtype=np.float64)
    centred = centred - centred.mean(1, keepdims=True)
    size = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.where(size > 0, size, 1)
    return np.asarray(1 - unit @ unit.T)


def representational(first: Values, second: Values) -> float:
    """Return Spearman's correlation of two dissimilarities (n, n), by pairs of points.

    Source: Kriegeskorte, Mur & Bandettini 2008, RSA.
    """
    rows = np.triu_indices(len(first), 1)
    ranks = [stats.rankdata(part[rows]) for part in (first, second)]
    if any(np.ptp(part) == 0 for part in ranks):
        return np.nan
    return float(np.corrcoef(*ranks)[0, 1])


def canonical(first: Points, second: Points) -> float:
    """Return the mean canonical correlation of the first `CANONICAL` components of two layers.

    The singular values of Q₁ᵀQ₂, Q an orthonormal basis of the centred components. Source: SVCCA,
    Raghu et al. 2017.

    Parameters
    ----------
    first, second : (n, d) principal components, the largest first.
    """
    bases = []
    for points in (first, second):
        some = np.asarray(points[:, :CANONICAL], dtype=np.float64)
        bases.append(np.linalg.qr(some - some.mean(0))[0])
    found = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)
    return float(np.clip(found, 0, 1).mean())


def analogies(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int, int, int]]:
    """Return (a, b, c, d) of every two pairs that have four phones."""
    every = permutations(pairs, 2)
    return [(*one, *two) for one, two in every if len({*one, *two}) == 4]


def landing(means: Values, of: Sequence[tuple[int, int, int, int]]) -> tuple[float, float]:
    """Return whether a step is the same everywhere: mean cosine, and how often it lands.

    Over analogies (a, b, c, d): the cosine of a − b with c − d, and whether b + (c − d) is nearest,
    by cosine, to a, of all phones but b, c and d. Source: Mikolov, Yih & Zweig 2013, of words.

    Parameters
    ----------
    means : (phone, d) mean activations of phones, centred.

    Returns
    -------
    NaN where there is no analogy.
    """
    if not of:
        return np.nan, np.nan
    a, b, c, d = np.array(of).T
    first, second = means[a] - means[b], means[c] - means[d]
    sizes = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosine = np.einsum("ij,ij->i", first, second) / np.where(sizes > 0, sizes, 1)
    reached = means[b] + second
    near = reached @ means.T / np.maximum(np.linalg.norm(means, axis=1), 1e-12)
    rows = np.arange(len(near))
    for other in (b, c, d):
        near[rows, other] = -np.inf
    return float(cosine.mean()), float((near.argmax(1) == a).mean())


def elsewhere(
    of: Sequence[tuple[int, int, int, int]], phones: Sequence[int], rng: np.random.Generator
) -> list[tuple[int, int, int, int]]:
    """Return analogies whose step is the difference of two other phones, drawn at random."""
    out = []
    for a, b, _, _ in of:
        others = [phone for phone in phones if phone not in (a, b)]
        c, d = rng.choice(others, 2, replace=False)
        out.append((a, b, int(c), int(d)))
    return out


def halves(groups: Labels, draws: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield the items of random halves of the groups that items (n,) belong to.

    Without replacement: an item that is drawn twice is like itself, in every layer. Of a mean over
    n groups, half-samples vary about the whole as it does about the truth (Politis & Romano 1994).
    """
    rng, kinds = np.random.default_rng(seed), np.unique(groups)
    for _ in range(draws):
        some = rng.permutation(kinds)[: max(1, len(kinds) // 2)]
        yield np.flatnonzero(np.isin(groups, some))
