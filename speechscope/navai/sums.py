"""Sums by name and key, to which those of other inputs can be added."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.errors import UsageProblem

MOST_BYTES = 2_000_000_000
"""Most memory the sums may take (chosen)."""

Key: TypeAlias = tuple[int, ...]
"""Such as a class, or a class and what its inputs are split by; () where there is one sum."""
Listed: TypeAlias = tuple[str, NDArray[np.int64], NDArray[np.generic]]
"""A name with its keys (n, …) and their sums (n, …)."""


def check_room(size: float) -> None:
    """Refuse sums that take more than `MOST_BYTES`.

    Raises
    ------
    UsageProblem
        They do.
    """
    if size > MOST_BYTES:
        raise UsageProblem(
            f"the means would take {size / 1e9:.1f} GB of memory; choose fewer "
            "(--class, --align, --by, --layer)"
        )


class Sums:
    """Sums by name and key; those that were never asked for take no memory.

    Parameters
    ----------
    device
        Where they are; whole numbers stay with the processor.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = device
        self._of: dict[str, dict[Key, Tensor]] = {}
        self._bytes = 0

    def at(
        self,
        name: str,
        key: Key,
        shape: Iterable[int],
        dtype: torch.dtype = torch.float64,
    ) -> Tensor:
        """Return a sum, to be added to in place; zero at first.

        Raises
        ------
        UsageProblem
            See `check_room`.
        """
        of = self._of.setdefault(name, {})
        if key not in of:
            where = self._device if dtype.is_floating_point else "cpu"
            self._keep(of, key, torch.zeros(*shape, dtype=dtype, device=where))
        return of[key]

    def of(self, name: str) -> Mapping[Key, Tensor]:
        """Return the sums of a name in order of their keys."""
        return dict(sorted(self._of.get(name, {}).items()))

    def add(self, other: "Sums") -> None:
        """Add those of other inputs, which are not to be used any more."""
        for name, of in other._of.items():
            mine = self._of.setdefault(name, {})
            for key, value in of.items():
                if key in mine:
                    mine[key] += value
                else:
                    self._keep(mine, key, value)

    def _keep(self, of: dict[Key, Tensor], key: Key, value: Tensor) -> None:
        self._bytes += value.nbytes
        check_room(self._bytes)
        of[key] = value

    def listed(self) -> Iterator[Listed]:
        """Yield all as arrays."""
        for name in self._of:
            of = self.of(name)
            keys = np.array(list(of), dtype=np.int64).reshape(len(of), -1)
            yield name, keys, torch.stack(list(of.values())).cpu().numpy()

    @classmethod
    def of_listed(cls, listed: Iterable[Listed], device: torch.device | str = "cpu") -> "Sums":
        """Return sums that were `listed`."""
        found = cls(device)
        for name, keys, values in listed:
            of = found._of.setdefault(name, {})
            for key, value in zip(keys.tolist(), torch.from_numpy(values), strict=True):
                where = device if value.is_floating_point() else "cpu"
                found._keep(of, tuple(key), value.to(where))
        return found
