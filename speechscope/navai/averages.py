"""Sums of aligned inputs by class, as they stream by, and what they come to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.navai.alignment import aligned

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
    covered
        (A, K, T), how many inputs have a value there.
    count
        (K,).
    """

    mean: NDArray[np.float64]
    normalizer: NDArray[np.float64]
    shuffled: NDArray[np.float64]
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
        Of the shuffled classes.

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
        self._bytes = 2 * 8 * alignments * classes * int(np.prod(shape))
        self._room()
        self._shape = shape
        size = (alignments, classes, int(np.prod(shape)))
        self._sums = torch.zeros(size, dtype=torch.float64, device=device)
        self._shuffled = torch.zeros_like(self._sums)
        self._covered = torch.zeros(
            (alignments, classes, shape[2]), dtype=torch.float64, device=device
        )
        self._count = torch.zeros(classes, dtype=torch.float64, device=device)
        self._groups: dict[Group, tuple[Tensor, Tensor]] = {}
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
        classes = len(self._count)
        numbers = torch.arange(classes, device=target.device)[:, None]
        member = (target == numbers).double()  # (K, B)
        # Classes change places among the inputs at hand: each keeps its number of inputs.
        order = torch.from_numpy(self._rng.permutation(len(target))).to(target.device)
        other = member[:, order]
        self._count += member.sum(1)
        for a, moved in enumerate(shift):
            cropped, inside = aligned(inputs, moved)
            flat = cropped.flatten(1).double()
            self._sums[a].addmm_(member, flat)
            self._shuffled[a].addmm_(other, flat)
            self._covered[a].addmm_(member, inside.double())
            if groups is not None:
                self._split(a, cropped[:, 0], groups[a])

    def _split(self, a: int, inputs: Tensor, groups: Sequence[Group | None]) -> None:
        rows: dict[Group, list[int]] = {}
        for row, group in enumerate(groups):
            if group is not None:
                rows.setdefault(group, []).append(row)
        for group, mine in rows.items():
            if group not in self._groups:
                count = torch.zeros(len(self._sums), dtype=torch.float64)
                size = (len(self._sums), *inputs.shape[1:])
                self._bytes += 8 * int(np.prod(size))
                self._room()
                sums = torch.zeros(size, dtype=torch.float64, device=inputs.device)
                self._groups[group] = sums, count
            sums, count = self._groups[group]
            sums[a] += inputs[mine].double().sum(0)
            count[a] += len(mine)

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
        count = self._count.cpu().numpy()
        with np.errstate(invalid="ignore"):
            mean = self._whole(self._sums) / count[:, None, None, None]
            shuffled = self._whole(self._shuffled) / count[:, None, None, None]
        used = count > 0
        if normalizer == "inputs":
            share = count[used] / max(count.sum(), 1)
            over = np.tensordot(mean[:, used], share, (1, 0))
        else:
            over = mean[:, used].mean(1)
        covered = self._covered.cpu().numpy().round().astype(np.int64)
        return Means(mean, over, shuffled, covered, count.round().astype(np.int64))

    def groups(self, least: int) -> list[tuple[Group, NDArray[np.float64], NDArray[np.int64]]]:
        """Return (group, mean (A, F, T), count (A,)) of those with so many inputs.

        The mean is of the first channel; of groups that one alignment has and another has not, it
        is NaN there.
        """
        found = []
        for group in sorted(self._groups):
            sums, count = self._groups[group]
            number = count.numpy()
            if number.max() >= least:
                with np.errstate(invalid="ignore"):
                    mean = sums.cpu().numpy() / number[:, None, None]
                found.append((group, mean, number.round().astype(np.int64)))
        return found

    def _whole(self, sums: Tensor) -> NDArray[np.float64]:
        values: NDArray[np.float64] = sums.cpu().numpy()
        return values.reshape(*values.shape[:2], *self._shape)
