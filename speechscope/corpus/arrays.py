"""The arrays of ``corpus.zarr`` (DESIGN sec. 2) while they grow, block by block."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechscope.corpus.names import put_names
from speechscope.corpus.units.cut import Column, Cut, Unit
from speechscope.store.writer import ArtifactWriter, flag_attributes

SPLIT_NAMES = ("train", "dev", "test")
"""In the order of their values in ``split``."""


class CorpusArrays:
    """The corpus arrays, written as blocks arrive.

    Parameters
    ----------
    writer
        Receives the arrays.
    unit
        What an item is, and so which arrays there are.
    classes, classes_folded, fold
        Names behind ``label`` and ``label_folded``, and the folded class of each class.
    speakers, utterances
        Names of all that may come; utterances in the order in which they come.
    channels
        Names of the channels of an input.
    first
        The first of the utterances that come.

    Attributes
    ----------
    training_items
        Items of the training split so far.
    """

    def __init__(
        self,
        writer: ArtifactWriter,
        unit: Unit,
        *,
        classes: Sequence[str],
        classes_folded: Sequence[str],
        fold: Sequence[int],
        speakers: Sequence[str],
        utterances: Sequence[str],
        channels: Sequence[str],
        first: int = 0,
    ) -> None:
        self._writer = writer
        self._fold = np.array(fold, dtype=np.int64)
        self._mean_shape, self._mean_dims = unit.mean()
        self._total = np.zeros(self._mean_shape)
        self._summed = 0
        self.training_items = 0
        self._next_utterance = first

        columns = list(unit.columns())
        self._labelled = any(column.name == "label" for column in columns)
        item = ("item",)
        flags: dict[str, dict[str, Any]] = {
            "speaker": put_names(writer, "speaker", speakers),
            "utterance": put_names(writer, "utterance", utterances),
        }
        columns += [Column(name, np.int32, item, attributes) for name, attributes in flags.items()]
        columns.append(Column("split", np.int8, item, flag_attributes(SPLIT_NAMES)))
        if self._labelled:
            flags["label"] = put_names(writer, "label", classes)
            flags["label_folded"] = put_names(writer, "label_folded", classes_folded)
            columns.append(Column("label_folded", np.int32, item, {}))
            writer.put("fold", np.array(fold, dtype=np.int32), ("class",), flags["label_folded"])
        self._columns = {column.name: column for column in columns}
        self._streams = {
            column.name: writer.stream(
                column.name,
                column.row,
                column.dtype,
                column.dims,
                {**column.attributes, **flags.get(column.name, {})},
            )
            for column in columns
        }
        self._rows = dict.fromkeys(self._columns, 0)  # for edges: the last one
        for column in columns:
            if column.role == "edges":
                self._streams[column.name].append(np.zeros(1, dtype=column.dtype))
        for coordinate in unit.coordinates():
            writer.put(coordinate.name, coordinate.values, coordinate.dims, coordinate.attributes)
        if channels:
            numbers = np.arange(len(channels), dtype=np.int8)
            writer.put("channel", numbers, ("channel",), flag_attributes(channels))

    @property
    def roles(self) -> dict[str, str]:
        """The role of every array that grows (`Column`), by its name."""
        return {name: column.role for name, column in self._columns.items()}

    def append(self, cut: Cut, speakers: Sequence[int], splits: Sequence[int]) -> None:
        """Add what was cut from some recordings, given the speaker and the split of each."""
        before = dict(self._rows)
        columns: dict[str, ArrayLike] = {
            **cut.rows,
            "speaker": np.repeat(speakers, cut.counts),
            "split": np.repeat(splits, cut.counts),
            "utterance": np.repeat(self._next_utterance + np.arange(len(splits)), cut.counts),
        }
        if self._labelled:
            columns["label_folded"] = self._fold[cut.rows["label"]]
        for name, values in columns.items():
            self._append(self._columns[name], np.asarray(values), before)
        self._next_utterance += len(splits)
        self._total += cut.total
        self._summed += cut.summed
        self.training_items += int((np.asarray(columns["split"]) == 0).sum())

    def _append(self, column: Column, values: NDArray[Any], before: dict[str, int]) -> None:
        if column.role == "edges":
            values = before[column.name] + np.cumsum(values)
            self._rows[column.name] = int(values[-1]) if len(values) else before[column.name]
        else:
            if column.role != "rows":
                values = before[column.role] + values
            self._rows[column.name] += len(values)
        self._streams[column.name].append(values.astype(column.dtype, copy=False))

    def finish(self) -> None:
        """Write what is only known at the end: the mean over the training split."""
        put_mean(self._writer, self._total, self._summed, self._mean_dims)


def put_mean(
    writer: ArtifactWriter, total: NDArray[np.float64], summed: int, dims: Sequence[str]
) -> None:
    """Write the mean of so many inputs, given their sum."""
    mean = total / max(1, summed)
    writer.put("mean", mean.astype(np.float32), dims, {"units": "1"})
