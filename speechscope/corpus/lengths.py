"""How long the segments of a corpus are, and which are too long (Churchman 2015, sec. 3.2)."""

from collections import Counter

import numpy as np


def percentile(lengths: Counter[int], share: float) -> int:
    """Return a percentile of lengths given as how often each occurs, rounded down.

    Between two lengths it is interpolated, as `numpy.percentile` does; counts take memory by the
    number of different lengths, not by the size of the corpus.

    Parameters
    ----------
    lengths
        Occurrences of each length; at least one.
    share
        In percent.
    """
    values = np.array(sorted(lengths))
    ends = np.cumsum([lengths[value] for value in values.tolist()])
    last = int(ends[-1]) - 1
    place = last * share / 100
    below = int(place)
    low, high = values[np.searchsorted(ends, (below, min(below + 1, last)), side="right")]
    return int(low + (high - low) * (place - below))
