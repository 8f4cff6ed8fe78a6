"""Shards of a corpus: each holds what was cut from some of its tasks; merging cuts nothing.

Where the chunks of an array end depends on all utterances before, and the mean on all of the
training split. So a shard keeps, beside its own arrays, what each of its tasks adds to the mean.
Merging appends the rows of the shards to arrays that grow as those of `prepare` do, and adds up
the tasks in their order: the arrays are those of a single run, to the bit.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Sized

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.arrays import put_mean
from speechscope.corpus.units.cut import Cut
from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.registry import MERGERS
from speechscope.store.artifact import Artifact
from speechscope.store.shards import Merger, Shard, merge_arrays
from speechscope.store.writer import ArtifactWriter

LISTED = 1000
"""Lines of what was left out that stand in the record; all do in an array where there are more."""
TOTAL, SUMMED, SKIPPED = "task_total", "task_summed", "skipped"


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


def _merge(writer: ArtifactWriter, shards: Sequence[Artifact]) -> int:
    """Write the arrays of all shards, the mean, and what was left out; return the items.

    Raises
    ------
    SpeechscopeError
        There is no training item.
    """
    apart = (TOTAL, SUMMED, SKIPPED, "mean")
    merge_arrays(writer, shards, [name for name in shards[0] if name not in apart])
    _put_mean(writer, shards)
    if not any((shard.read("split") == 0).any() for shard in shards):
        raise SpeechscopeError("the shards have no training item")
    dropped: Counter[str] = Counter()
    skipped: list[str] = []
    samples = 0
    for shard in shards:
        config = shard.record["config"]
        dropped.update(config["dropped"])
        skipped += _skipped(shard)
        samples += config["shard"]["samples"]
    put_losses(writer, dropped, skipped, samples / shards[0].record["config"]["rate"])
    return sum(shard.array("split").shape[0] for shard in shards)


MERGERS.register("corpus")(Merger(_merge, own=("dropped", "skipped", "seconds")))


def _put_mean(writer: ArtifactWriter, shards: Sequence[Artifact]) -> None:
    shape = shards[0].array("mean").shape
    total, summed = np.zeros(shape), 0
    for shard in shards:
        for added in shard.read(TOTAL):  # one after another, as a single run adds them up
            total += added
        summed += int(shard.read(SUMMED).sum())
    put_mean(writer, total, summed, shards[0].dims("mean"))


def _skipped(shard: Artifact) -> list[str]:
    if SKIPPED in shard:
        return shard.read(SKIPPED).tobytes().decode().split("\n")
    return list(shard.record["config"]["skipped"])
