"""Linear probes: what a linear function can read from a layer (Alain & Bengio 2016)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.phonology import NONE

FOLDS = 5
"""Parts the speakers are divided into (chosen: usual)."""


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
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.metrics import recall_score
    from sklearn.model_selection import GroupKFold

    names, targets = np.unique(values, return_inverse=True)
    folds = min(folds, len(np.unique(speakers)))
    if len(names) < 2 or folds < 2:
        return np.nan
    priors = np.full(len(names), 1 / len(names))
    answers = np.empty(len(targets), dtype=np.int64)
    for train, test in GroupKFold(folds).split(points, targets, speakers):
        if np.bincount(targets[train], minlength=len(names)).min() < 2:
            return np.nan
        classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=priors)
        answers[test] = classifier.fit(points[train], targets[train]).predict(points[test])
    return float(recall_score(targets, answers, average="macro"))


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
