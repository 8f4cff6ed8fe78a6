"""Sums of aligned inputs by class, as they stream by, and what they come to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.navai.alignment import crop
from speechscope.navai.sums import Sums, check_room

Group: TypeAlias = tuple[int, int]
"""A class and what its inputs are split by, both by number."""

NORMALIZERS = ("inputs", "classes")
PLAIN, SHUFFLED, MOVED = range(3)
"""What is summed of each class: its inputs as aligned, those of others counted for it, and its own
aligned as others are."""


@dataclass(frozen=True)
class Means:
    """What was averaged; each array is put together when it is asked for.

    Parameters
    ----------
    sums
        (3, A, C, F, T) of every class that has inputs, in the order `PLAIN`, `SHUFFLED`, `MOVED`.
    normalizer
        (A, C, F, T).
    covered
        (A, K, T), how many inputs have a value there.
    count
        (K,).
    """

    sums: dict[int, NDArray[np.float64]]
    normalizer: NDArray[np.float64]
    covered: NDArray[np.int64]
    count: NDArray[np.int64]

    def _means(self, which: int) -> NDArray[np.float64]:
        alignments, *shape = self.normalizer.shape
        found = np.full((alignments, len(self.count), *shape), np.nan)
        for k, sums in self.sums.items():
            np.divide(sums[which], self.count[k], out=found[:, k])
        return found

    @property
    def mean(self) -> NDArray[np.float64]:
        """Of every alignment and class, (A, K, C, F, T); NaN where a class has no input."""
        return self._means(PLAIN)

    @property
    def shuffled(self) -> NDArray[np.float64]:
        """As `mean`, each input counted for the class of another."""
        return self._means(SHUFFLED)

    @property
    def moved(self) -> NDArray[np.float64]:
        """As `mean`, each input aligned as another one is."""
        return self._means(MOVED)

    @property
    def pattern(self) -> NDArray[np.float64]:
        """What distinguishes a class, mean − normalizer (Krug 2018, sec. 3.5)."""
        return self.mean - self.normalizer[:, None]

    @property
    def pattern_shuffled(self) -> NDArray[np.float64]:
        """What is left of it by chance."""
        return self.shuffled - self.normalizer[:, None]

    @property
    def pattern_moved(self) -> NDArray[np.float64]:
        """What is left of it where inputs are cropped as much, but not to where it matters.

        Its normalizer is of inputs moved so, too.
        """
        over = np.sum([sums[MOVED] for sums in self.sums.values()], axis=0) / self.count.sum()
        return np.asarray(self.moved - over[:, None])


class Averages:
    """Sums over all inputs given so far; memory does not grow with them.

    Parameters
    ----------
    alignments
        How many there are, A.
    classes
        How many there are, K.
    shape
        (C, F, T) of one input.
    device
        Where they are added up, in double precision.
    seed
        Of the shuffled classes and shifts.

    Raises
    ------
    UsageProblem
        They would take more than `sums.MOST_BYTES`.
    """

    def __init__(
        self,
        alignments: int,
        classes: int,
        shape: tuple[int, int, int],
        *,
        device: torch.device,
        seed: int,
    ) -> None:
        check_room(3 * 8 * alignments * classes * float(np.prod(shape)))
        self.sums = Sums(device)
        self._alignments, self._shape = alignments, shape
        of_shift = (alignments, classes, shape[2])
        whole = torch.int64
        self._count = self.sums.at("count", (), (classes,), whole).cpu().numpy()
        self._covered = self.sums.at("covered", (), of_shift, whole).cpu().numpy()
        self._rng = np.random.default_rng(seed)

    def add(
        self,
        inputs: Tensor,
        target: Tensor,
        shift: Tensor,
        groups: Sequence[Sequence[Group | None]] | None = None,
    ) -> None:
        """Add some inputs.

        Parameters
        ----------
        inputs
            (B, C, F, T), centred.
        target
            The class of each, (B,).
        shift
            (A, B), from `alignment.shifts`.
        groups
            By alignment, the part of its class that each input belongs to; None: to none.
        """
        # Classes, and shifts, change places among the inputs at hand: as many of each are left.
        mine = target.tolist()
        other = self._rng.permutation(len(mine)).tolist()
        self._count += np.bincount(mine, minlength=len(self._count))
        rows, frames = shift.T.tolist(), self._shape[2]
        # One input after another: what is read stays in the processor's cache while it is added.
        for n, x in enumerate(inputs):
            values = x.double()
            own, theirs = self._of(mine[n]), self._of(mine[other[n]])
            for a, moved in enumerate(rows[n]):
                source, place = crop(moved, frames)
                left = values[..., source]
                own[PLAIN, a, ..., place].add_(left)
                theirs[SHUFFLED, a, ..., place].add_(left)
                self._covered[a, mine[n], place] += 1
                group = None if groups is None else groups[a][n]
                if group is not None:
                    self._add_part(group, a, left[0], place)
                source, place = crop(rows[other[n]][a], frames)
                own[MOVED, a, ..., place].add_(values[..., source])

    def _of(self, label: int) -> Tensor:
        return self.sums.at("class", (label,), (3, self._alignments, *self._shape))

    def _add_part(self, group: Group, a: int, left: Tensor, place: slice) -> None:
        """Add the first channel of an input to a part of a class."""
        size = (self._alignments, *self._shape[1:])
        self.sums.at("part", group, size)[a, :, place].add_(left)
        self.sums.at("part_count", group, (self._alignments,), torch.int64)[a] += 1

    def finish(self, normalizer: str) -> Means:
        """Return the means; see `means_of`."""
        return means_of(self.sums, normalizer)

    def groups(self, least: int) -> list[tuple[Group, NDArray[np.float64], NDArray[np.int64]]]:
        """Return the means of parts; see `groups_of`."""
        return groups_of(self.sums, least)


def means_of(sums: Sums, normalizer: str) -> Means:
    """Return what the sums of `Averages` come to.

    Parameters
    ----------
    normalizer
        ``inputs``: the mean over all inputs, of any class (Krug 2018, sec. 3.5); ``classes``:
        the mean of the means of classes, each counting alike.
    """
    count = sums.of("count")[()].numpy()
    found = {key[0]: value.cpu().numpy() for key, value in sums.of("class").items()}
    plain = [(values[PLAIN], count[k]) for k, values in found.items()]
    if normalizer == "inputs":
        over = np.sum([values for values, _ in plain], axis=0) / max(count.sum(), 1)
    else:
        over = np.mean([values / number for values, number in plain], axis=0)
    return Means(found, over, sums.of("covered")[()].numpy(), count)


def groups_of(sums: Sums, least: int) -> list[tuple[Group, NDArray[np.float64], NDArray[np.int64]]]:
    """Return (group, mean (A, F, T), count (A,)) of those parts that have so many inputs.

    The mean is of the first channel; of groups that one alignment has and another has not, it is
    NaN there.
    """
    found = []
    counts = sums.of("part_count")
    for key, values in sums.of("part").items():
        count = counts[key].numpy()
        if count.max() >= least:
            with np.errstate(invalid="ignore"):
                mean = values.cpu().numpy() / count[:, None, None]
            found.append(((key[0], key[1]), mean, count))
    return found
