"""Batches of utterances of nearly the same length."""

import numpy as np
from numpy.typing import NDArray


def batches(
    lengths: NDArray[np.integer], size: int, padding: float, rng: np.random.Generator | None = None
) -> list[NDArray[np.int64]]:
    """Return the positions of all utterances, batch by batch.

    Utterances are sorted by length and cut into batches; a batch ends early where the next
    utterance would make more than `padding` of its frames padding.

    Parameters
    ----------
    lengths
        Frames of every utterance.
    size
        The most utterances a batch.
    padding
        The most padding of a batch, as a share of its frames.
    rng
        Draws the batches' order, and who is with whom among the nearly equally long. None: from
        the shortest to the longest.
    """
    keys = np.asarray(lengths, dtype=np.float64)
    if rng is not None:
        # Blurred by about the padding allowed, or every epoch would have the same batches.
        keys = keys * (1 + padding * rng.random(len(keys)))
    made: list[NDArray[np.int64]] = []
    batch: list[int] = []
    longest = frames = 0
    for position in np.argsort(keys, kind="stable").tolist():
        length = int(lengths[position])
        room = max(longest, length) * (len(batch) + 1)
        if batch and (len(batch) == size or room - frames - length > padding * room):
            made.append(np.array(batch))
            batch, longest, frames = [], 0, 0
        batch.append(position)
        longest, frames = max(longest, length), frames + length
    if batch:
        made.append(np.array(batch))
    if rng is not None:
        made = [made[index] for index in rng.permutation(len(made))]
    return made
