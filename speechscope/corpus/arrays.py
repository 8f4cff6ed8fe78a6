"""The arrays of ``corpus.zarr`` (DESIGN sec. 2), as they are written, and merged from shards.

Names behind integer labels are CF flags of the array, or an array of their own: attributes are read
whole whenever an artifact is opened, so they must not grow with the corpus. Up to `FLAGS` names are
the CF attributes ``flag_values`` and ``flag_meanings`` of the labels. More are an array ``NAME_name
[NAME_index, byte]`` of UTF-8 padded with zeros, which the labels point to by their attribute
``names``.

A shard of a corpus holds what was cut from some of its tasks. Where the chunks of an array end
depends on all utterances before, and the mean on all of the training split. So a shard keeps,
beside its own arrays, what each of its tasks adds to the mean. Merging appends the rows of the
shards to arrays that grow as those of `prepare` do, and adds up the tasks in their order: the
arrays are those of a single run, to the bit.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechscope.corpus.phones import PhoneSet
from speechscope.corpus.reading import Summary
from speechscope.corpus.units import DIMS, Column, Cut, Unit
from speechscope.corpus.utterances import SPLITS
from speechscope.errors import SpeechscopeError
from speechscope.registry import MERGERS
from speechscope.store.artifact import Artifact
from speechscope.store.shards import Merger, merge_arrays
from speechscope.store.writer import ArtifactWriter, flag_attributes

FLAGS = 1000
"""Names kept as attributes; a corpus like TIMIT has 630 speakers."""
LISTED = 1000
"""Lines of what was left out that stand in the record; all do in an array where there are more."""
TOTAL, SUMMED, SKIPPED = "task_total", "task_summed", "skipped"


def put_names(writer: ArtifactWriter, label: str, names: Sequence[str]) -> dict[str, Any]:
    """Store the names behind the integers of an array; return that array's attributes."""
    if len(names) <= FLAGS:
        return flag_attributes(names)
    array = f"{label}_name"
    attributes = {"long_name": f"names of {label}", "encoding": "utf-8, padded with zeros"}
    writer.put(array, encoded(names), (f"{label}_index", "byte"), attributes)
    return {"names": array}


def names_of(artifact: Artifact, label: str) -> tuple[str, ...]:
    """Return the names behind the integers of an array, in order of value."""
    array = artifact.attributes(label).get("names")
    return artifact.flags(label) if array is None else decoded(artifact.read(str(array)))


def encoded(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Return texts as UTF-8 padded with zeros to the longest, (texts, byte)."""
    rows = [text.encode("utf-8") for text in texts]
    width = max(map(len, rows), default=0)
    padded = b"".join(row.ljust(width, b"\0") for row in rows)
    return np.frombuffer(padded, np.uint8).reshape(len(rows), width)


def decoded(rows: NDArray[np.uint8]) -> tuple[str, ...]:
    """Return the texts that `encoded` was given."""
    return tuple(row.tobytes().rstrip(b"\0").decode("utf-8") for row in rows)


class CorpusArrays:
    """The corpus arrays, written as blocks arrive.

    Parameters
    ----------
    writer
        Receives the arrays.
    unit
        What an item is, and so which arrays there are.
    classes
        The classes of labels, and what they are folded to.
    speakers, utterances
        Names of all that may come; utterances in the order in which they come.
    first
        The first of the utterances that come.
    shard
        What the record says of the shard that is written; None: it is the whole.

    Attributes
    ----------
    training_items
        Items of the training split so far.
    """

    def __init__(
        self,
        writer: ArtifactWriter,
        unit: Unit,
        classes: PhoneSet,
        speakers: Sequence[str],
        utterances: Sequence[str],
        *,
        first: int = 0,
        shard: Mapping[str, Any] | None = None,
    ) -> None:
        self._writer = writer
        self._unit = unit
        self._fold = np.array(classes.fold, dtype=np.int64)
        self._total = np.zeros(unit.shape)
        self._summed = 0
        self._next_utterance = first
        self._shard = shard
        self._totals: list[NDArray[np.float64]] = []  # of every task of a shard
        self._counts: list[int] = []
        self.training_items = 0

        item = ("item",)
        columns = [
            *unit.columns(),
            Column("speaker", np.int32, item, put_names(writer, "speaker", speakers)),
            Column("utterance", np.int32, item, put_names(writer, "utterance", utterances)),
            Column("split", np.int8, item, flag_attributes(SPLITS)),
        ]
        attributes: dict[str, Mapping[str, Any]] = {c.name: c.attributes for c in columns}
        if unit.phones:
            attributes["phone"] = put_names(writer, "phone", unit.phones)
        if "label" in attributes:
            attributes["label"] = put_names(writer, "label", classes.classes)
            attributes["label_folded"] = put_names(writer, "label_folded", classes.folded)
            columns.append(Column("label_folded", np.int32, item, {}))
            writer.name_axis("class", classes.classes)
            writer.put("fold", self._fold.astype(np.int32), ("class",), attributes["label_folded"])
        self._columns = {column.name: column for column in columns}
        self._streams = {
            c.name: writer.stream(c.name, c.row, c.dtype, c.dims, attributes[c.name])
            for c in columns
        }
        self._rows = dict.fromkeys(self._columns, 0)  # for edges: the last one
        for column in columns:
            if column.role == "edges":
                self._streams[column.name].append(np.zeros(1, dtype=column.dtype))
        self._put_coordinates()

    def _put_coordinates(self) -> None:
        unit, writer = self._unit, self._writer
        if unit.channels != ("samples",):
            axis = unit.representation.axis
            attributes = {"units": axis.units, "long_name": axis.name}
            writer.put("frequency", axis.values, ("frequency",), attributes)
        times = unit.times()
        if times is not None:
            writer.put("time", times, ("time",), {"units": "s"})
        writer.name_axis("channel", unit.channels)

    def append(
        self, cut: Cut, speakers: Sequence[int], splits: Sequence[int], *, more: bool = False
    ) -> None:
        """Add what was cut from some recordings, given the speaker and the split of each.

        With `more`, it is more of the recordings that the last call was given.
        """
        if more:
            self._next_utterance -= len(splits)
        before = dict(self._rows)
        columns: dict[str, ArrayLike] = {
            **cut.rows,
            "speaker": np.repeat(speakers, cut.counts),
            "split": np.repeat(splits, cut.counts),
            "utterance": np.repeat(self._next_utterance + np.arange(len(splits)), cut.counts),
        }
        if "label" in cut.rows:
            columns["label_folded"] = self._fold[cut.rows["label"]]
        for name, values in columns.items():
            self._append(self._columns[name], np.asarray(values), before)
        self._next_utterance += len(splits)
        self._total += cut.total
        self._summed += cut.summed
        if self._shard is not None:
            self._totals.append(cut.total)
            self._counts.append(cut.summed)
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

    def finish(self, samples: int) -> None:
        """Write what is only known at the end: the mean, and of a shard what merging needs.

        Parameters
        ----------
        samples
            That were read.
        """
        put_mean(self._writer, self._total, self._summed)
        if self._shard is not None:
            totals, counts = np.stack(self._totals), np.array(self._counts, dtype=np.int64)
            self._writer.put(TOTAL, totals, ("task", *DIMS[: self._total.ndim]), {"units": "1"})
            self._writer.put(SUMMED, counts, ("task",), {"units": "1"})
            roles = {name: column.role for name, column in self._columns.items()}
            self._writer.set_config(shard={**self._shard, "roles": roles, "samples": samples})


def put_mean(writer: ArtifactWriter, total: NDArray[np.float64], summed: int) -> None:
    """Write the mean of so many inputs, given their sum."""
    mean = total / max(1, summed)
    writer.put("mean", mean.astype(np.float32), DIMS[: mean.ndim], {"units": "1"})


def put_losses(
    writer: ArtifactWriter, dropped: Mapping[str, int], skipped: Sequence[str], seconds: float
) -> None:
    """Write what was left out, and how much speech could be read."""
    if len(skipped) > LISTED:
        writer.put(
            SKIPPED,
            np.frombuffer("\n".join(skipped).encode(), dtype=np.uint8),
            ("byte_of_text",),
            {"long_name": "items left out, one a line", "encoding": "utf-8"},
        )
    writer.set_config(dropped=dict(dropped), skipped=list(skipped[:LISTED]), seconds=seconds)


def merge_corpus(writer: ArtifactWriter, shards: Sequence[Artifact]) -> int:
    """Write the arrays of all shards, the mean, and what was left out; return the items.

    Raises
    ------
    SpeechscopeError
        There is no training item.
    """
    apart = (TOTAL, SUMMED, SKIPPED, "mean")
    merge_arrays(writer, shards, [name for name in shards[0] if name not in apart])
    total, summed = np.zeros(shards[0].array("mean").shape), 0
    dropped: Counter[str] = Counter()
    lost = Summary()
    samples = 0
    for shard in shards:
        for added in shard.read(TOTAL):  # one after another, as a single run adds them up
            total += added
        summed += int(shard.read(SUMMED).sum())
        config = shard.record["config"]
        dropped.update(config["dropped"])
        listed = SKIPPED in shard
        text = shard.read(SKIPPED).tobytes().decode().split("\n") if listed else config["skipped"]
        lost.from_lines(line for line in text if line)
        samples += config["shard"]["samples"]
    if not any((shard.read("split") == 0).any() for shard in shards):
        raise SpeechscopeError("the shards have no training item")
    put_mean(writer, total, summed)
    put_losses(writer, dropped, lost.skipped, samples / shards[0].record["config"]["rate"])
    return sum(shard.array("split").shape[0] for shard in shards)


MERGERS.register("corpus")(Merger(merge_corpus, own=("dropped", "skipped", "seconds")))
