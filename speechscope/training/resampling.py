"""Two-step class resampling: every class equally often, rare classes always whole."""

import numpy as np
from numpy.typing import NDArray


def resample(
    labels: NDArray[np.integer], per_class: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the positions of `per_class` items of every class that occurs.

    Of a class with n items all are taken ``per_class // n`` times, and the remaining
    ``per_class mod n`` are drawn without replacement, so that none of a rare class is ever left
    out (Churchman 2015, sec. 3.3).

    Parameters
    ----------
    labels : (N,) class of each item.

    Returns
    -------
    (classes · per_class,) positions, class by class.
    """
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        whole, rest = divmod(per_class, len(members))
        chosen.append(np.tile(members, whole))
        chosen.append(rng.choice(members, rest, replace=False))
    return np.concatenate(chosen) if chosen else np.empty(0, dtype=np.int64)
