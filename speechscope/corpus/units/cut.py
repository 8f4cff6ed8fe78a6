"""What every unit is cut from, and what it gives: rows of the corpus arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from speechscope.features.transform import Axis

Float = NDArray[np.float32]
Labels = Literal["phone", "letter", "speaker"]


@dataclass(frozen=True)
class Piece:
    """A labelled stretch of a recording: its class and its samples [start, stop)."""

    label: int
    start: int
    stop: int


@dataclass(frozen=True)
class Recording:
    """One utterance, read and labelled.

    Parameters
    ----------
    samples
        The waveform (n,) at the corpus' rate.
    pieces
        What may become items, in order.
    letters
        Its words as indices of letters, (characters,); None unless letters were asked for.
    training
        Whether it is of the training split.
    """

    samples: Float
    pieces: tuple[Piece, ...]
    letters: NDArray[np.int16] | None
    training: bool


@dataclass(frozen=True)
class Column:
    """An array that grows with the corpus.

    Parameters
    ----------
    name, dtype, dims, attributes
        As stored; `dims` names the first dimension and those of a row.
    row
        Shape of a row.
    role
        ``rows``: what a cut gives is stored as it is. ``edges``: a cut gives lengths, stored are
        their cumulative sums from 0. Else the name of another array: a cut gives indices into its
        own rows of that array, stored are indices into the whole.
    """

    name: str
    dtype: type[np.generic]
    dims: tuple[str, ...]
    attributes: Mapping[str, Any]
    row: tuple[int, ...] = ()
    role: str = "rows"


@dataclass(frozen=True)
class Coordinate:
    """A small array that is known from the start."""

    name: str
    values: NDArray[Any]
    dims: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Cut:
    """Some recordings cut into items.

    Parameters
    ----------
    rows
        What each array of the unit grows by, by its name.
    counts
        Items of each recording.
    total
        Sum of the training inputs in float64, of the shape of ``mean``.
    summed
        How many inputs `total` is the sum of.
    """

    rows: dict[str, NDArray[Any]]
    counts: list[int]
    total: NDArray[np.float64]
    summed: int


class Unit(Protocol):
    """A way to cut recordings into items; sent to worker processes."""

    def columns(self) -> Sequence[Column]:
        """Return the arrays that grow, beside those every corpus has."""
        ...

    def coordinates(self) -> Sequence[Coordinate]:
        """Return the coordinates of the arrays."""
        ...

    def mean(self) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Return the shape and the dimensions of the mean over the training split."""
        ...

    def cut(self, recordings: Sequence[Recording]) -> Cut:
        """Cut recordings into items."""
        ...


def item_columns(rate: int, *, labelled: bool = True) -> list[Column]:
    """Return the columns of every unit: where an item lies, and its class where it has one."""
    unit = {"units": "sample", "sampling_frequency": rate}
    return [
        *([Column("label", np.int32, ("item",), {})] if labelled else []),
        Column("start", np.int64, ("item",), unit),
        Column("stop", np.int64, ("item",), unit),
    ]


def waveform_columns(rate: int, edge: str) -> list[Column]:
    """Return the waveform and the edges of its stretches along the dimension `edge`."""
    unit = {"units": "sample", "sampling_frequency": rate}
    return [
        Column("waveform", np.float32, ("sample",), {"units": "1", "sampling_frequency": rate}),
        Column("waveform_offset", np.int64, (edge,), unit, role="edges"),
    ]


def frequency(axis: Axis) -> Coordinate:
    """Return the coordinate of the dimension ``frequency``: Hz, or numbers of coefficients."""
    return Coordinate(
        "frequency", axis.values, ("frequency",), {"units": axis.units, "long_name": axis.name}
    )


def item_rows(pieces: Sequence[Piece]) -> dict[str, NDArray[Any]]:
    """Return what `item_columns` grows by."""
    return {
        "label": np.array([p.label for p in pieces], dtype=np.int32),
        "start": np.array([p.start for p in pieces], dtype=np.int64),
        "stop": np.array([p.stop for p in pieces], dtype=np.int64),
    }


def joined(parts: Sequence[Float], row: tuple[int, ...] = ()) -> Float:
    """Concatenate along the first dimension; of nothing, an array without rows."""
    return np.concatenate(parts) if parts else np.empty((0, *row), dtype=np.float32)


def lengths(parts: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """Return the length of each part, (parts,)."""
    return np.array([len(part) for part in parts], dtype=np.int64)
