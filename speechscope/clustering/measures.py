"""How well clusters are the classes (Pellegrini 2016, sec. 3.3), and what they are of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.phonology import NONE

CONTROLS = 50
"""Random groupings of the phones that the phonological ones are held against (chosen)."""


@dataclass(frozen=True)
class Agreement:
    """Clusters against classes.

    Parameters
    ----------
    precision, recall
        Means over classes.
    f_measure
        Their harmonic mean.
    mutual_information
        Adjusted for chance: 0 for clusters that have nothing to do with the classes, 1 for the
        classes themselves.
    """

    precision: float
    recall: float
    f_measure: float
    mutual_information: float


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


def agreement(
    clusters: NDArray[np.integer[Any]],
    labels: NDArray[np.integer[Any]],
    counts: NDArray[np.integer[Any]],
) -> Agreement:
    """Return how well clusters are the classes; see `precision_recall`.

    Mutual information is adjusted as in Vinh, Epps & Bailey 2010, by scikit-learn.
    """
    from sklearn.metrics import adjusted_mutual_info_score

    precision, recall, f_measure = precision_recall(counts)
    mutual = float(adjusted_mutual_info_score(labels, clusters))
    return Agreement(precision, recall, f_measure, mutual)


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
