"""Sums by name and key, to which those of other inputs can be added."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.errors import UsageProblem

MOST_BYTES = 2_000_000_000
"""Most memory the sums may take (chosen)."""

Key: TypeAlias = tuple[int, ...]
"""Such as a class, or a class and what its inputs are split by; () where there is one sum."""
Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Lists: TypeAlias = dict[str, NDArray[Any]]
"""Something of every input, (…, n), in their order."""


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
        self, name: str, key: Key, shape: Iterable[int], dtype: torch.dtype = torch.float64
    ) -> Tensor:
        """Return a sum, to be added to in place; zero at first.

        Raises
        ------
        UsageProblem
            See `check_room`.
        """
        of = self._of.setdefault(name, {})
        if key not in of:
            device = self._device if dtype.is_floating_point else "cpu"
            self._keep(of, key, torch.zeros(*shape, dtype=dtype, device=device))
        return of[key]

    def of(self, name: str) -> dict[Key, Tensor]:
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

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all by name: their keys ``key_NAME`` (n, …) and the sums ``sum_NAME`` (n, …)."""
        arrays: dict[str, NDArray[Any]] = {}
        for name in self._of:
            of = self.of(name)
            arrays[f"key_{name}"] = np.array(list(of), dtype=np.int64).reshape(len(of), -1)
            arrays[f"sum_{name}"] = torch.stack(list(of.values())).cpu().numpy()
        return arrays

    @classmethod
    def of_arrays(cls, arrays: Arrays) -> "Sums":
        """Return sums from `arrays`, among which there may be others."""
        sums = cls()
        for name in (name.removeprefix("sum_") for name in arrays if name.startswith("sum_")):
            of = sums._of.setdefault(name, {})
            values = torch.from_numpy(arrays[f"sum_{name}"])
            for key, value in zip(arrays[f"key_{name}"].tolist(), values, strict=True):
                sums._keep(of, tuple(key), value)
        return sums


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


def joined(parts: Iterable[tuple[Sums, Lists]]) -> tuple[Sums, Lists]:
    """Return what parts are together: their sums, added in order, and their lists, joined."""
    sums = Sums()
    lists: dict[str, list[NDArray[Any]]] = {}
    for some, listed in parts:
        sums.add(some)
        for name, values in listed.items():
            lists.setdefault(name, []).append(values)
    return sums, {name: np.concatenate(rows, axis=-1) for name, rows in lists.items()}


def read_arrays(arrays: Arrays) -> tuple[Sums, Lists]:
    """Return sums from `Sums.arrays`, and the lists among them."""
    lists = {n: values for n, values in arrays.items() if not n.startswith(("key_", "sum_"))}
    return Sums.of_arrays(arrays), lists
