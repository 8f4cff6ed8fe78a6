"""Shards of averages: the sums of some spans of items, and what all of them come to."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.errors import UsageProblem
from speechscope.navai.averaging import Layout, NavaiSettings
from speechscope.navai.gathering import Found, Watch, Work, gathered, joined
from speechscope.navai.profiles import write_profiles
from speechscope.navai.store import Written, write_lists, write_navai
from speechscope.navai.sums import Listed, Sums
from speechscope.registry import MERGERS
from speechscope.store.artifact import Artifact
from speechscope.store.shards import Merger
from speechscope.store.writer import ArtifactWriter, flag_attributes
from speechscope.work.local import Executor

KIND = "navai-shard"
"""Of a shard: it holds sums, and is of no use by itself."""
LISTS = ("item_index", "output", "target", "shift")


def write_averages(
    writer: ArtifactWriter,
    work: Work,
    layout: Layout,
    settings: NavaiSettings,
    executor: Executor,
    progress: Watch | None = None,
) -> Written:
    """Average all inputs and write what comes out; see `write_navai` and `write_profiles`.

    Raises
    ------
    SpeechscopeError
        Nothing was predicted as any of the classes.
    """
    rows = slice(0, len(work.items))
    found = joined(part for _, part in gathered(work, rows, writer, executor, progress))
    return _written(writer, layout, settings, found)


def _written(
    writer: ArtifactWriter, layout: Layout, settings: NavaiSettings, found: Found
) -> Written:
    write = write_profiles if layout.layers else write_navai
    return write(writer, layout, settings, found)


def write_shard(
    writer: ArtifactWriter,
    work: Work,
    layout: Layout,
    rows: slice,
    executor: Executor,
    progress: Watch | None = None,
) -> int:
    """Write the sums of the spans of some items; return the number of inputs.

    Arrays ``sum_SPAN_NAME [key, …]`` and ``key_SPAN_NAME [key, …]``, `sums.Sums` as they are
    listed, in double precision; what `write_lists` writes; the names of ``class`` and ``part``.

    Parameters
    ----------
    rows
        Whole spans.
    """
    lists: list[Found] = []
    inputs = 0
    for span, found in gathered(work, rows, writer, executor, progress):
        for name, keys, values in found.sums.listed():
            for kind, array in (("key", keys), ("sum", values)):
                own = f"{kind}_{span}_{name}"
                dims = [f"{own}_{axis}" for axis in range(array.ndim)]
                writer.put(own, array, dims, {"units": "1"})
        inputs += int(found.sums.of("count")[()].sum())
        lists.append(Found(Sums(), found.lists))
    write_lists(writer, layout, joined(lists))
    for name, names in (
        ("class", layout.classes),
        ("part", layout.parts),
        ("layer", layout.layers),
    ):
        if names:
            writer.put(name, np.arange(len(names), dtype=np.int32), (name,), flag_attributes(names))
    return inputs


def _merge(writer: ArtifactWriter, shards: Sequence[Artifact]) -> int:
    """Add the sums of spans in the order in which one process does, and write the averages.

    Raises
    ------
    SpeechscopeError
        Nothing was predicted as any of the classes.
    """
    record = shards[0].record
    sums = joined(part for shard in shards for part in _spans(shard)).sums
    lists = joined(Found(Sums(), _lists(shard)) for shard in shards).lists
    settings = _settings(record["config"], record["seed"])
    _written(writer, _layout(shards[0]), settings, Found(sums, lists))
    return int(record["config"]["shard"]["items"])


MERGERS.register("navai-shard")(Merger(_merge, "navai", "Averages of aligned inputs"))


def _layout(shard: Artifact) -> Layout:
    axes: dict[str, tuple[NDArray[Any], Any]] = {
        name: (shard.read(name), shard.attributes(name))
        for name in ("frequency", "channel", "time")
        if name in shard
    }
    names = {
        name: shard.flags(name) if name in shard else () for name in ("class", "part", "layer")
    }
    return Layout(names["class"], axes, names["part"], names["layer"])


def _settings(config: dict[str, Any], seed: int) -> NavaiSettings:
    return NavaiSettings(
        tuple(config["align"].split(",")),
        classes=tuple(config["class"]),
        exclude=tuple(config["exclude"].split(",")),
        normalizer=config["normalizer"],
        least=config["least"],
        seed=seed,
    )


def _lists(shard: Artifact) -> dict[str, NDArray[Any]]:
    return {name: shard.read(name) for name in LISTS if name in shard}


def _spans(shard: Artifact) -> Iterator[Found]:
    """Yield the sums of each span, in order."""
    names: dict[int, list[str]] = {}
    for array in shard:
        kind, _, rest = array.partition("_")
        number, _, name = rest.partition("_")
        if kind == "sum" and number.isdecimal():
            names.setdefault(int(number), []).append(name)
    if not names:
        raise UsageProblem(f"{shard.path} holds no sums; make them with navai --shard I/N")
    for span in sorted(names):
        listed: list[Listed] = [
            (name, shard.read(f"key_{span}_{name}"), shard.read(f"sum_{span}_{name}"))
            for name in names[span]
        ]
        yield Found(Sums.of_listed(listed))
