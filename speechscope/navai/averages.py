"""Sums of aligned inputs by class, as they stream by, and what they come to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.navai.alignment import crop

MOST_BYTES = 2_000_000_000
"""Most memory the sums may take (chosen)."""

Group: TypeAlias = tuple[int, int]
"""A class and what its inputs are split by, both by number."""

NORMALIZERS = ("inputs", "classes")


@dataclass(frozen=True)
class Means:
    """What was averaged.

    Parameters
    ----------
    mean
        (A, K, C, F, T), of every alignment and class; NaN where a class has no input.
    normalizer
        (A, C, F, T).
    shuffled
        As `mean`, each input counted for the class of another.
    moved
        As `mean`, each input aligned as another one is.
    covered
        (A, K, T), how many inputs have a value there.
    count
        (K,).
    """

    mean: NDArray[np.float64]
    normalizer: NDArray[np.float64]
    shuffled: NDArray[np.float64]
    moved: NDArray[np.float64]
    covered: NDArray[np.int64]
    count: NDArray[np.int64]

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
        used = self.count > 0
        share = self.count[used] / self.count.sum()
        over = np.tensordot(self.moved[:, used], share, (1, 0))
        return self.moved - over[:, None]


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
        They would take more than `MOST_BYTES`.
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
        self._bytes = 3 * 8 * alignments * classes * int(np.prod(shape))
        self._room()
        self._shape = shape
        size = (alignments, classes, *shape)
        self._sums = torch.zeros(size, dtype=torch.float64, device=device)
        self._shuffled = torch.zeros_like(self._sums)
        self._moved = torch.zeros_like(self._sums)
        self._covered = np.zeros((alignments, classes, shape[2]), dtype=np.int64)
        self._count = np.zeros(classes, dtype=np.int64)
        self._groups: dict[Group, tuple[Tensor, NDArray[np.int64]]] = {}
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
        inputs = inputs.double()
        # One input after another: only what is left of each is touched, in no other memory.
        for a, row in enumerate(shift.tolist()):
            for n, moved in enumerate(row):
                source, place = crop(moved, self._shape[2])
                left = inputs[n, :, :, source]
                self._sums[a, mine[n]][..., place] += left
                self._shuffled[a, mine[other[n]]][..., place] += left
                self._covered[a, mine[n], place] += 1
                source, spot = crop(row[other[n]], self._shape[2])
                self._moved[a, mine[n]][..., spot] += inputs[n, :, :, source]
                group = None if groups is None else groups[a][n]
                if group is not None:
                    sums, count = self._part(group)
                    sums[a][:, place] += left[0]
                    count[a] += 1

    def _part(self, group: Group) -> tuple[Tensor, NDArray[np.int64]]:
        """Return the sums (A, F, T) and counts (A,) of a part of a class."""
        if group not in self._groups:
            size = (len(self._sums), *self._shape[1:])
            self._bytes += 8 * int(np.prod(size))
            self._room()
            sums = torch.zeros(size, dtype=torch.float64, device=self._sums.device)
            self._groups[group] = sums, np.zeros(len(self._sums), dtype=np.int64)
        return self._groups[group]

    def _room(self) -> None:
        if self._bytes > MOST_BYTES:
            raise UsageProblem(
                f"the means would take {self._bytes / 1e9:.1f} GB of memory; choose fewer "
                "(--class, --align, --by)"
            )

    def finish(self, normalizer: str) -> Means:
        """Return the means.

        Parameters
        ----------
        normalizer
            ``inputs``: the mean over all inputs, of any class (Krug 2018, sec. 3.5); ``classes``:
            the mean of the means of classes, each counting alike.
        """
        count = self._count
        with np.errstate(invalid="ignore"):
            mean = self._sums.cpu().numpy() / count[:, None, None, None]
            shuffled = self._shuffled.cpu().numpy() / count[:, None, None, None]
            moved = self._moved.cpu().numpy() / count[:, None, None, None]
        used = count > 0
        if normalizer == "inputs":
            share = count[used] / max(count.sum(), 1)
            over = np.tensordot(mean[:, used], share, (1, 0))
        else:
            over = mean[:, used].mean(1)
        return Means(mean, over, shuffled, moved, self._covered, count)

    def groups(self, least: int) -> list[tuple[Group, NDArray[np.float64], NDArray[np.int64]]]:
        """Return (group, mean (A, F, T), count (A,)) of those with so many inputs.

        The mean is of the first channel; of groups that one alignment has and another has not, it
        is NaN there.
        """
        found = []
        for group in sorted(self._groups):
            sums, count = self._groups[group]
            if count.max() >= least:
                with np.errstate(invalid="ignore"):
                    mean = sums.cpu().numpy() / count[:, None, None]
                found.append((group, mean, count))
        return found
