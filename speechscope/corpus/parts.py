"""Shards of a corpus: each holds what was cut from some of its tasks; merging cuts nothing.

Where the chunks of an array end depends on all utterances before, and the mean on all of the
training split. So a shard keeps, beside its own arrays, what each of its tasks adds to the mean.
Merging appends the rows of the shards to arrays that grow as those of `prepare` do, and adds up
the tasks in their order: the arrays are those of a single run, to the bit.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Sized
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.arrays import put_mean
from speechscope.corpus.units.cut import Cut
from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.store.artifact import Artifact
from speechscope.store.shards import Shard, in_order, put_same, record_of
from speechscope.store.writer import ArtifactWriter, create_artifact

LISTED = 1000
"""Lines of what was left out that stand in the record; all do in an array where there are more."""
OWN = ("dropped", "skipped", "seconds")
"""Settings of a corpus that say what became of its recordings."""
TOTAL, SUMMED, SKIPPED = "task_total", "task_summed", "skipped"
ROWS = 1 << 26  # bytes read at once


class Part:
    """The tasks that are done: all, or those of a shard.

    Parameters
    ----------
    shard
        None: all.
    tasks
        All tasks, of some utterances each.

    Attributes
    ----------
    place
        Which of the tasks.
    before, utterances
        Utterances of the tasks before, and of these.

    Raises
    ------
    UsageProblem
        There are more shards than tasks.
    """

    def __init__(self, shard: Shard | None, tasks: Sequence[Sized]) -> None:
        sizes = [len(task) for task in tasks]
        self._shard, self._tasks = shard, len(sizes)
        self.place = slice(0, len(sizes))
        if shard is not None:
            if shard.of > len(sizes):
                raise UsageProblem(
                    f"--shard {shard.number}/{shard.of}: {sum(sizes)} utterances are divided into "
                    f"{len(sizes)} tasks; give at most {len(sizes)} shards"
                )
            self.place = shard.part(len(sizes), 1)
        self.before, self.utterances = sum(sizes[: self.place.start]), sum(sizes[self.place])
        self._cuts: list[tuple[NDArray[np.float64], int]] = []

    def add(self, cut: Cut) -> None:
        """Note what a task adds to the mean."""
        if self._shard is not None:
            self._cuts.append((cut.total, cut.summed))

    def finish(
        self, writer: ArtifactWriter, roles: Mapping[str, str], dims: Sequence[str], samples: int
    ) -> None:
        """Write what merging needs, if this is a shard.

        Parameters
        ----------
        roles
            Of the arrays that grow.
        dims
            Of the mean.
        samples
            That were read.
        """
        if self._shard is None:
            return
        totals, summed = zip(*self._cuts, strict=True)
        writer.put(TOTAL, np.stack(totals), ("task", *dims), {"units": "1"})
        writer.put(SUMMED, np.array(summed, dtype=np.int64), ("task",), {"units": "1"})
        told = {**self._shard.config(self._tasks, 1), "roles": dict(roles), "samples": samples}
        writer.set_config(shard=told)

    @property
    def whole(self) -> bool:
        """Whether these are all tasks."""
        return self._shard is None


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


def merge(paths: Sequence[Path], path: Path, *, force: bool) -> tuple[str, int]:
    """Put all shards of a corpus together at `path`; return its kind and its items.

    Raises
    ------
    UsageProblem
        These are not all the shards of one corpus.
    ArtifactError
        A shard is damaged, or was made in another way than the first.
    SpeechscopeError
        There is no training item.
    """
    shards = in_order(paths, OWN)
    for held in shards:
        held.verify()  # what is read below is not compared with its digest
    first = shards[0]
    roles = first.record["config"]["shard"]["roles"]
    items = 0
    with create_artifact(path, first.title, record_of(first, path), force=force) as writer:
        for name in first:
            if name in roles:
                grown = _grown(writer, name, shards, roles)
                items = grown if name == "split" else items
            elif name not in (TOTAL, SUMMED, SKIPPED, "mean"):
                put_same(writer, name, shards)
        _put_mean(writer, shards)
        if not any((held.read("split") == 0).any() for held in shards):
            raise SpeechscopeError("the shards have no training item")
        dropped: Counter[str] = Counter()
        skipped: list[str] = []
        samples = 0
        for held in shards:
            config = held.record["config"]
            dropped.update(config["dropped"])
            skipped += _skipped(held)
            samples += config["shard"]["samples"]
        put_losses(writer, dropped, skipped, samples / first.record["config"]["rate"])
    return first.kind, items


def _grown(
    writer: ArtifactWriter, name: str, shards: Sequence[Artifact], roles: Mapping[str, str]
) -> int:
    """Append an array's rows of all shards to one another; return how many they are."""
    like = shards[0].array(name)
    role = roles[name]
    attributes = shards[0].attributes(name)
    stream = writer.stream(name, like.shape[1:], like.dtype, shards[0].dims(name), attributes)
    rows = before = 0
    for number, held in enumerate(shards):
        for values in _read(held, name, 1 if role == "edges" and number else 0):
            rows += len(values)
            stream.append(values + np.asarray(before, dtype=like.dtype) if before else values)
        if role == "edges":
            before += int(held.read(name, -1))
        elif role != "rows":
            before += held.array(role).shape[0]
    return rows


def _read(held: Artifact, name: str, start: int) -> Iterator[NDArray[Any]]:
    array = held.array(name)
    row = max(1, int(np.prod(array.shape[1:])) * array.dtype.itemsize)
    step = max(1, ROWS // row // array.chunks[0]) * array.chunks[0]
    edges = [start, *range(step, array.shape[0], step), array.shape[0]]
    for low, high in pairwise(edges):
        yield held.read(name, slice(low, high))


def _put_mean(writer: ArtifactWriter, shards: Sequence[Artifact]) -> None:
    shape = shards[0].array("mean").shape
    total, summed = np.zeros(shape), 0
    for held in shards:
        for added in held.read(TOTAL):  # one after another, as a single run adds them up
            total += added
        summed += int(held.read(SUMMED).sum())
    put_mean(writer, total, summed, shards[0].dims("mean"))


def _skipped(held: Artifact) -> list[str]:
    if SKIPPED in held:
        return held.read(SKIPPED).tobytes().decode().split("\n")
    return list(held.record["config"]["skipped"])
