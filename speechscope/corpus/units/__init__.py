"""What an item of a corpus is: how recordings are cut into items, and items read again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speechscope.features.representations import Representation
from speechscope.features.stft import Float, Transform
from speechscope.store.artifact import Artifact

if TYPE_CHECKING:
    from speechscope.stages.prepare import Prepare

Indices = NDArray[np.integer[Any]]
Rows = dict[str, NDArray[Any]]
"""What each array of a unit grows by, by its name."""

DIMS = ("channel", "frequency", "time")
PER_UTTERANCE = "utterance_edge"
SPAN = 1_000_000
"""Samples of waveform read at once; about a minute, one chunk."""


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
    phones
        Of a whole utterance, the labelled stretches that are known.
    training
        Whether it is of the training split.
    """

    samples: Float
    pieces: tuple[Piece, ...]
    letters: NDArray[np.int16] | None
    training: bool
    phones: tuple[Piece, ...] = ()


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
class Cut:
    """Some recordings cut into items.

    Parameters
    ----------
    rows
        What each array of the unit grows by.
    counts
        Items of each recording; none of one that could not be read.
    total
        Sum of the training inputs in float64, of the shape of ``mean``.
    summed
        How many inputs `total` is the sum of.
    """

    rows: Rows
    counts: list[int]
    total: NDArray[np.float64]
    summed: int


class View:
    """Reads items of one shape as a network is given them.

    Parameters
    ----------
    artifact
        A corpus.
    """

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact
        self._config: dict[str, Any] = artifact.record["config"]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channel, frequency, time) of one item."""
        raise NotImplementedError

    def read(self, items: Indices) -> Float:
        """Return inputs as stored, (N, channel, frequency, time)."""
        raise NotImplementedError


class Unit:
    """A way to cut recordings into items; registered in `UNITS`, shared by threads.

    A unit gives the arrays that grow (`columns`), the `shape` of what a network is given, and for a
    recording what they grow by (`items`) and the sum of its inputs (`add`).

    Parameters
    ----------
    settings
        Those of the stage, its sizes resolved.
    phones
        Names of the phones whose times it stores beside the items.

    Attributes
    ----------
    edge
        The dimension of ``waveform_offset``.
    view
        Reads its items; None: they are of many lengths.
    """

    edge = PER_UTTERANCE
    view: type[View] | None = None

    def __init__(self, settings: "Prepare", phones: tuple[str, ...] = ()) -> None:
        self.settings, self.phones = settings, phones

    @cached_property
    def representation(self) -> Representation:
        """What becomes of the samples."""
        chosen = self.settings
        transform = Transform(
            chosen.length, chosen.window, chosen.overlap, chosen.bins, chosen.sample_rate
        )
        return Representation(
            chosen.features, transform, chosen.deltas, chosen.normalize, chosen.device
        )

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels of an input."""
        return self.representation.channel_names

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the mean over the training split, along `DIMS`."""
        raise NotImplementedError

    def columns(self) -> list[Column]:
        """Return the arrays that grow, beside those every corpus has: here those of every unit."""
        rate = self.settings.sample_rate
        sample = {"units": "sample", "sampling_frequency": rate}
        return [
            Column("waveform", np.float32, ("sample",), {"units": "1", "sampling_frequency": rate}),
            Column("waveform_offset", np.int64, (self.edge,), sample, role="edges"),
            Column("label", np.int32, ("item",), {}),
            Column("start", np.int64, ("item",), sample),
            Column("stop", np.int64, ("item",), sample),
            *(self._phone_columns() if self.phones else ()),
        ]

    def _phone_columns(self) -> list[Column]:
        """Return ``phone [phone_index]`` from ``phone_start`` to ``phone_stop`` of each item."""
        sample = {"units": "sample", "sampling_frequency": self.settings.sample_rate}
        return [
            Column("phone", np.int32, ("phone_index",), {}),
            Column("phone_start", np.int64, ("phone_index",), sample),
            Column("phone_stop", np.int64, ("phone_index",), sample),
            Column("phone_offset", np.int64, ("item_edge",), {"units": "1"}, role="edges"),
        ]

    def phone_rows(self, pieces: Sequence[Piece]) -> Rows:
        """Return what the arrays of phones and their times grow by for one item."""
        if not self.phones:
            return {}
        return {
            "phone": np.array([piece.label for piece in pieces], dtype=np.int64),
            "phone_start": np.array([piece.start for piece in pieces], dtype=np.int64),
            "phone_stop": np.array([piece.stop for piece in pieces], dtype=np.int64),
            "phone_offset": np.array([len(pieces)]),
        }

    def times(self) -> NDArray[np.float64] | None:
        """Return the coordinate ``time`` of an input [s]; None: it has none."""
        return None

    def items(self, recording: Recording) -> Rows:
        """Return what the arrays grow by for one recording; a length for those of edges."""
        raise NotImplementedError

    def add(self, rows: Rows, total: NDArray[np.float64]) -> int:
        """Add the inputs of a recording's items to their sum; return how many they are."""
        raise NotImplementedError

    def cut(self, recordings: Sequence[Recording | None]) -> Cut:
        """Cut recordings into items; None stands for one that could not be read."""
        parts = [None if recording is None else self.items(recording) for recording in recordings]
        return self.together(parts, [r is not None and r.training for r in recordings])

    def divides(self, recording: Recording, most: int) -> bool:
        """Say whether a recording has so many pieces that they are better cut some at a time."""
        return False

    def together(self, parts: Sequence[Rows | None], training: Sequence[bool]) -> Cut:
        """Put together what was cut from recordings; None stands for one that was not read."""
        total, summed = np.zeros(self.shape), 0
        for rows, trained in zip(parts, training, strict=True):
            if rows is not None and trained:
                summed += self.add(rows, total)
        counts = [0 if rows is None else len(rows["start"]) for rows in parts]
        return Cut({c.name: joined(c, parts) for c in self.columns()}, counts, total, summed)


def joined(column: Column, parts: Sequence[Rows | None]) -> NDArray[Any]:
    """Put what an array grows by for each recording together."""
    arrays: list[NDArray[Any]] = [np.empty((0, *column.row), dtype=column.dtype)]
    before = 0
    for rows in parts:
        if rows is None:
            unread = int(column.dims == (PER_UTTERANCE,))  # a length for each, 0 where unread
            arrays.append(np.zeros((unread, *column.row), dtype=column.dtype))
            continue
        values = rows[column.name].reshape(-1, *column.row)
        arrays.append(values + before if before else values)
        if column.role not in ("rows", "edges"):
            before += len(rows[column.role])
    filled = [array for array in arrays if len(array)]
    if len(filled) == 1:  # a recording may be hours long
        return filled[0].astype(column.dtype, copy=False)
    return np.concatenate(arrays)


def covered(
    at: NDArray[np.int64], pieces: Sequence[Piece]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the points that lie in a piece, and its class: the last one's where pieces overlap."""
    labels = np.full(len(at), -1, dtype=np.int64)
    for piece in pieces:
        low, high = np.searchsorted(at, (piece.start, piece.stop))
        labels[low:high] = piece.label
    chosen = np.flatnonzero(labels >= 0)
    return chosen, labels[chosen]


def stretches(artifact: Artifact, starts: Indices, stops: Indices) -> Iterator[tuple[int, Float]]:
    """Yield (row, samples) for stretches [start, stop) of ``waveform``, in the order they lie in.

    Stretches are mostly neighbours: one read of `SPAN` samples serves many.
    """
    total = int(artifact.array("waveform").shape[0])
    first = last = 0
    samples = np.empty(0, dtype=np.float32)
    for row in np.argsort(starts, kind="stable"):
        start, stop = int(starts[row]), int(stops[row])
        if stop > last or start < first:
            first, last = start, max(stop, min(start + SPAN, total))
            samples = artifact.read("waveform", slice(first, last))
        yield int(row), samples[start - first : stop - first]
