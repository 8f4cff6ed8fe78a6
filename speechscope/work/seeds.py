"""Seeds made of seeds: one for every item, run or epoch, whatever is worked on around it."""

import numpy as np


def mixed(*numbers: int) -> int:
    """Return a seed of 63 bits that numbers, such as (seed, item), determine and that looks random.

    Torch takes no more. Source: NumPy's `SeedSequence` (O'Neill 2015).
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
