"""What is measured of a layer: how well clusters are the classes, and what the layer holds.

Precision, recall and purity of clusters (Pellegrini 2016, sec. 3.3 and 4); linear probes (Alain &
Bengio 2016); centred kernel alignment of two layers (Kornblith et al. 2019).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.phones import NONE

Products = NDArray[np.float64]

CONTROLS = 50
"""Random groupings of the phones that the phonological ones are held against (chosen)."""
FOLDS = 5
"""Parts the speakers are divided into for probes (chosen: usual)."""
COMPARED = 1000
"""Most samples whose likeness in two layers is compared (chosen: 8 MB a layer)."""


def composition(
    clusters: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]], shape: tuple[int, int]
) -> NDArray[np.int32]:
    """Return how many samples of each class are in each cluster, (cluster, class)."""
    counts = np.zeros(shape, dtype=np.int32)
    np.add.at(counts, (clusters, labels), 1)
    return counts


def precision_recall(counts: NDArray[np.integer[Any]]) -> tuple[float, float, float]:
    """Return precision, recall and F-measure of clusters.

    P = tp / (tp + fp), R = tp / (tp + fn), F = 2PR / (P + R); "the phoneme assigned to a given
    cluster is the one that is the most represented" (sec. 3.3). Chosen, where the paper is silent:
    a class has the samples of all clusters assigned to it, the first of equally represented ones
    being taken; a class without a cluster has P = R = 0; P and R are means over classes.

    Parameters
    ----------
    counts : (cluster, class) of `composition`; classes without samples and empty clusters are left
        out.
    """
    counts = counts[counts.sum(1) > 0]
    assigned = counts.argmax(1)
    precision, recall = [], []
    for number in np.flatnonzero(counts.sum(0)):
        mine = counts[assigned == number]
        hits = float(mine[:, number].sum())
        precision.append(hits / mine.sum() if len(mine) else 0.0)
        recall.append(hits / counts[:, number].sum())
    p, r = float(np.mean(precision)), float(np.mean(recall))
    return p, r, 2 * p * r / (p + r) if p + r else 0.0


def mutual_information(
    clusters: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]]
) -> float:
    """Return the mutual information of clusters and classes, adjusted for chance.

    0 for clusters that have nothing to do with the classes, 1 for the classes themselves. As in
    Vinh, Epps & Bailey 2010, by scikit-learn.
    """
    from sklearn.metrics import adjusted_mutual_info_score

    return float(adjusted_mutual_info_score(labels, clusters))


def grouping(values: Sequence[str]) -> NDArray[np.float64]:
    """Return which value each class has, (class, value) of 0 and 1; `NONE` is no value."""
    names = [name for name in dict.fromkeys(values) if name != NONE]
    return np.array([[value == name for name in names] for value in values], dtype=np.float64)


def purity(counts: NDArray[np.integer[Any]], groups: NDArray[np.float64]) -> float:
    """Return the share of samples that have their cluster's most frequent value.

    Parameters
    ----------
    counts : (cluster, class) of `composition`.
    groups : (class, value) of `grouping`; samples without a value are left out.

    Returns
    -------
    NaN where no sample has a value.
    """
    by_value = counts @ groups
    total = by_value.sum()
    return float(by_value.max(-1).sum() / total) if total else np.nan


def phonological_purity(
    counts: NDArray[np.integer[Any]], features: Mapping[str, Sequence[str]], seed: int
) -> NDArray[np.float64]:
    """Return, per feature, the purity of clusters and that expected by chance, (feature, 2).

    Chance is the mean over `CONTROLS` random assignments of the same values to the classes that
    have the feature: phones that are grouped at random instead of by what they share.
    """
    out = np.full((len(features), 2), np.nan)
    for row, values in enumerate(features.values()):
        groups = grouping(values)
        if groups.shape[-1] < 2:
            continue
        out[row, 0] = purity(counts, groups)
        have = np.flatnonzero(groups.any(1) & (counts.sum(0) > 0))
        if not len(have):
            continue
        rng = np.random.default_rng([seed, row])
        shuffled = []
        for _ in range(CONTROLS):
            other = np.zeros_like(groups)
            other[have] = groups[rng.permutation(have)]
            shuffled.append(purity(counts, other))
        out[row, 1] = float(np.mean(shuffled))
    return out


def probe(
    points: NDArray[np.floating[Any]],
    values: NDArray[Any],
    speakers: NDArray[np.integer[Any]],
    folds: int = FOLDS,
) -> float:
    """Return the balanced accuracy of a linear classifier on speakers it was not trained on.

    A linear discriminant with equal priors whose covariance is shrunk as Ledoit & Wolf (2004) do:
    it has a closed form and nothing to tune.

    Parameters
    ----------
    points : (n, d).
    values : (n,) what is to be told.
    speakers : (n,) Each is wholly in one fold.

    Returns
    -------
    NaN where there are fewer than two speakers or values, or a fold has fewer than two samples of a
    value to train on: one has no covariance.
    """
    from sklearn.metrics import recall_score

    found = probe_answers(points, values, speakers, folds)
    return np.nan if found is None else float(recall_score(*found, average="macro"))


def probe_answers(
    points: NDArray[np.floating[Any]],
    values: NDArray[Any],
    speakers: NDArray[np.integer[Any]],
    folds: int = FOLDS,
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Return what `probe` is to tell of each sample, and what it answers, (n,) numbers each.

    None where `probe` returns NaN.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.model_selection import GroupKFold

    names, targets = np.unique(values, return_inverse=True)
    folds = min(folds, len(np.unique(speakers)))
    if len(names) < 2 or folds < 2:
        return None
    priors = np.full(len(names), 1 / len(names))
    answers = np.empty(len(targets), dtype=np.int64)
    for train, test in GroupKFold(folds).split(points, targets, speakers):
        if np.bincount(targets[train], minlength=len(names)).min() < 2:
            return None
        classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=priors)
        answers[test] = classifier.fit(points[train], targets[train]).predict(points[test])
    return np.asarray(targets, dtype=np.int64), answers


def feature_probes(
    points: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    speakers: NDArray[np.integer[Any]],
    features: Sequence[Sequence[str]],
    seed: int,
) -> NDArray[np.float64]:
    """Return the accuracy for each feature of the phones, and for a control, (feature, 2).

    Samples whose phone lacks the feature are left out. The control gives the same values to the
    phones at random (Hewitt & Liang 2019): a layer that merely tells phones apart does as well on
    it, one that holds the feature does not.

    Parameters
    ----------
    points : (n, d).
    labels, speakers : (n,).
    features
        For each feature, its value for every class.
    """
    out = np.full((len(features), 2), np.nan)
    for row, by_class in enumerate(features):
        values = np.array(by_class)
        have = np.flatnonzero((values != NONE) & np.isin(np.arange(len(values)), labels))
        rows = np.isin(labels, have)
        if not rows.any():
            continue
        other = values.copy()
        other[have] = np.random.default_rng([seed, row]).permutation(values[have])
        for column, table in enumerate((values, other)):
            out[row, column] = probe(points[rows], table[labels[rows]], speakers[rows])
    return out


def inner_products(points: NDArray[np.floating[Any]]) -> Products:
    """Return the inner products of points, their mean taken off, (n, n)."""
    centred = np.asarray(points, dtype=np.float64)
    centred = centred - centred.mean(0)
    products: Products = centred @ centred.T
    return products


def independence(first: Products, second: Products) -> float:
    """Return the unbiased estimate of the Hilbert-Schmidt independence criterion.

    [tr(KL) + 1ᵀK1 · 1ᵀL1 / (n − 1)(n − 2) − 2 · 1ᵀKL1 / (n − 2)] / n(n − 3), K and L without their
    diagonals: 0 on average for layers that have nothing to do with each other, however many units
    they have (Song et al. 2012, eq. 5; Nguyen et al. 2021, eq. 3).

    Parameters
    ----------
    first, second : (n, n) of `inner_products`, n > 3.
    """
    n = len(first)
    k, l = first.copy(), second.copy()  # noqa: E741
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    rows, columns = k.sum(1), l.sum(1)
    estimate = np.vdot(k, l) + rows.sum() * columns.sum() / ((n - 1) * (n - 2))
    return float(estimate - 2 * (rows @ columns) / (n - 2)) / (n * (n - 3))


def alignment(first: Products, second: Products) -> float:
    """Return the linear centred kernel alignment, HSIC(K, L) / √(HSIC(K, K) HSIC(L, L)).

    1 for layers that are the same but for rotation and scale. Kornblith et al. 2019, eq. 4, with
    the unbiased `independence`, without which layers with many units look alike.

    Returns
    -------
    NaN where one of them is constant, or there are fewer than four samples.
    """
    if len(first) < 4:
        return np.nan
    own = independence(first, first) * independence(second, second)
    return independence(first, second) / float(np.sqrt(own)) if own > 0 else np.nan


def alignments(
    first: list[NDArray[np.float64]], second: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return the alignment of every layer of one list with every layer of another."""
    return np.array([[alignment(k, l) for l in second] for k in first])  # noqa: E741
