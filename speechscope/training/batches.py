"""Which items an epoch has, in which batches, and reading these ahead."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Part = TypeVar("Part")
Read = TypeVar("Read")


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


def in_batches(positions: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Return positions cut into batches; the last one may be smaller."""
    return [positions[first : first + size] for first in range(0, len(positions), size)]


def by_length(
    lengths: NDArray[np.integer], size: int, padding: float, rng: np.random.Generator | None = None
) -> list[NDArray[np.int64]]:
    """Return the positions of all utterances in batches of nearly the same length.

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


def read_ahead(read: Callable[[Part], Read], parts: Iterable[Part]) -> Iterator[Read]:
    """Yield what is read of each part, by a thread, while the one before is worked on."""
    with ThreadPoolExecutor(1) as pool:
        pending: Future[Read] | None = None
        for part in parts:
            ready, pending = pending, pool.submit(read, part)
            if ready is not None:
                yield ready.result()
        if pending is not None:
            yield pending.result()
