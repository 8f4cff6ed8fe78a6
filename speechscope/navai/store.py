"""Writing `navai.zarr`, or the sums of a shard of it, and merging these."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.navai.averages import (
    MOVED,
    PLAIN,
    SHUFFLED,
    Arrays,
    Lists,
    Means,
    Sums,
    chosen_classes,
    joined,
    read_arrays,
)
from speechscope.navai.examples import Examples
from speechscope.registry import MERGERS
from speechscope.store.artifact import Artifact
from speechscope.store.shards import Merger
from speechscope.store.writer import ArtifactWriter, flag_attributes

SHARD = "navai-shard"
"""The kind of a shard: it holds sums, and is of no use by itself."""
LISTS = ("item_index", "output", "target", "shift")
AXES = ("frequency", "channel", "time")
ONE = {"units": "1"}


@dataclass(frozen=True)
class Layout:
    """What is known of the arrays before anything is averaged.

    Parameters
    ----------
    classes
        Names of the network's classes.
    axes
        Values and attributes of the coordinates `AXES`.
    parts
        Names of what classes are split by; none: nothing.
    layers
        Names of the layers of profiles.
    """

    classes: tuple[str, ...]
    axes: Mapping[str, tuple[NDArray[Any], Mapping[str, Any]]]
    parts: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


def axes_of(examples: Examples) -> dict[str, tuple[NDArray[Any], Mapping[str, Any]]]:
    """Return the coordinates of inputs; time is that from the middle."""
    corpus, artifact = examples.corpus, examples.corpus.artifact
    axes = {
        name: (artifact.read(name), artifact.attributes(name))
        for name in ("frequency", "channel")
        if name in artifact
    }
    step = corpus.grid[0] / int(corpus.config["rate"])
    frames = examples.shape[2]
    away = (np.arange(frames) - frames // 2) * step
    return {**axes, "time": (away, {"units": "s", "comment": "from the middle"})}


class Answered(NamedTuple):
    """What was averaged.

    Parameters
    ----------
    inputs
        How many inputs.
    classes, empty
        Names of the classes that were written, and of those that nothing was predicted as.
    rows
        Which of the classes that count are written.
    """

    inputs: int
    classes: tuple[str, ...]
    empty: tuple[str, ...]
    rows: NDArray[np.bool_]


def write_averages(
    writer: ArtifactWriter, config: Mapping[str, Any], layout: Layout, parts: Iterable[Arrays]
) -> Answered:
    """Write what was averaged: means of inputs, or profiles.

    Parameters
    ----------
    config
        The settings, as the record has them.
    parts
        What was returned of each span, in order.

    Raises
    ------
    SpeechscopeError
        Nothing was predicted as any of the classes.
    """
    sums, lists = joined(map(read_arrays, parts))
    answered = _answered(sums, layout.classes, config)
    if layout.layers:
        _write_profiles(writer, layout, sums, answered)
    else:
        _write_means(writer, config, layout, sums, lists, answered)
    writer.name_axis("class", answered.classes)
    writer.put("count", sums.of("count")[()].numpy()[answered.rows], ("class",), ONE)
    return answered


def _answered(sums: Sums, classes: Sequence[str], config: Mapping[str, Any]) -> Answered:
    count = sums.of("count")[()].numpy()
    counted, asked = chosen_classes(classes, config["exclude"].split(","), config["class"])
    names, asked = np.array(classes)[counted], asked[counted]
    rows = asked & (count > 0)
    empty = tuple(names[asked & (count == 0)].tolist())
    if not rows.any():
        raise SpeechscopeError(
            f"none of the items was predicted as {', '.join(empty[:5])}"
            f"{' …' if len(empty) > 5 else ''}; train longer, or choose other classes or another "
            "split"
        )
    return Answered(int(count.sum()), tuple(names[rows].tolist()), empty, rows)


def _write_means(
    writer: ArtifactWriter,
    config: Mapping[str, Any],
    layout: Layout,
    sums: Sums,
    lists: Lists,
    answered: Answered,
) -> None:
    """Write the arrays of DESIGN sec. 2.

        mean_c = 1/N_c Σ_i crop(x_i, shift_i),  pattern_c = mean_c − normalizer

    over the inputs predicted as class c, the normalizer being the mean over the inputs of any
    class. Beside the arrays of the contract, of which those of spectrograms with derivatives hold
    the first channel: ``pattern_shuffled``, the pattern where inputs of a block have changed their
    classes with each other, and ``pattern_moved``, where they have changed their shifts; ``covered
    [alignment, class, time]``, how many inputs reach there; ``item_index``, ``output`` and ``target
    [item]``, where an input is from; ``mean_channels [alignment, class, channel, frequency, time]``
    and ``pattern_channels`` where there are several; with a split, ``mean_by``, ``pattern_by
    [alignment, part, frequency, time]``, ``count_by [alignment, part]``, ``part_class``,
    ``part_value [part]``.

    Source: Krug 2018, sec. 3.5 and 3.6.
    """
    means = Means(sums, config["normalizer"])
    centred = {"units": "1", "comment": "of inputs with the training mean removed"}
    for name, of, kind in (
        ("mean", means.mean, PLAIN),
        ("pattern", means.pattern, PLAIN),
        ("pattern_shuffled", means.pattern, SHUFFLED),
        ("pattern_moved", means.pattern, MOVED),
    ):
        values = of(kind)[:, answered.rows].astype(np.float32)
        first, last = ("alignment", "class"), ("frequency", "time")
        writer.put(name, values[:, :, 0], (*first, *last), centred)
        if values.shape[2] > 1 and kind == PLAIN:
            writer.put(f"{name}_channels", values, (*first, "channel", *last), centred)
    over = means.normalizer[:, 0].astype(np.float32)
    writer.put("normalizer", over, ("alignment", "frequency", "time"), centred)
    covered = means.covered[:, answered.rows]
    writer.put("covered", covered, ("alignment", "class", "time"), ONE)
    writer.name_axis("alignment", config["align"].split(","))
    _write_lists(writer, layout, lists)
    if layout.parts:
        _write_parts(writer, layout, sums, means.normalizer, config["least"])


def _write_parts(
    writer: ArtifactWriter,
    layout: Layout,
    sums: Sums,
    normalizer: NDArray[np.float64],
    least: int,
) -> None:
    """Write the means of those parts of classes that have so many inputs, of the first channel.

    Of parts that one alignment has and another has not, the mean is NaN there.
    """
    counts = {key: count.numpy() for key, count in sums.of("part_count").items()}
    parts = [key for key, count in counts.items() if count.max() >= least]
    if not parts:
        raise SpeechscopeError(f"no part of a class has {least} inputs (--least)")
    totals = sums.of("part")
    with np.errstate(invalid="ignore"):
        means = [totals[key].cpu().numpy() / counts[key][:, None, None] for key in parts]
    mean = np.stack(means, axis=1)
    dims = ("alignment", "part", "frequency", "time")
    writer.put("mean_by", mean.astype(np.float32), dims, ONE)
    pattern = mean - normalizer[:, None, 0]
    writer.put("pattern_by", pattern.astype(np.float32), dims, ONE)
    count = np.stack([counts[key] for key in parts], axis=1)
    writer.put("count_by", count, ("alignment", "part"), ONE)
    label = np.array([label for label, _ in parts], dtype=np.int16)
    writer.put("part_class", label, ("part",), flag_attributes(layout.classes))
    values, places = np.unique([value for _, value in parts], return_inverse=True)
    names = [layout.parts[value] for value in values]
    writer.put("part_value", places.astype(np.int32), ("part",), flag_attributes(names))


def _write_profiles(writer: ArtifactWriter, layout: Layout, sums: Sums, answered: Answered) -> None:
    """Write the activation profile of every class in layers of a network.

        profile_c = mean of a over the inputs of class c − mean over all classes' means

    where a is what `profiles.activations` gives, of class c what is predicted as it, or of phones
    what is marked as it. Arrays ``profile_LAYER [class, map, …]`` and
    ``normalizer_LAYER [map, …]``.
    """
    count = sums.of("count")[()].numpy()
    writer.set_config(layers=list(layout.layers))
    for layer in layout.layers:
        means = {k: v.cpu().numpy() / count[k] for (k,), v in sums.of(layer).items()}
        over = np.mean(list(means.values()), axis=0)
        names = ("map", "map_frequency", "map_time", *map("map_{}".format, range(3, over.ndim)))
        axes = tuple(f"{name}_{layer}" for name in names[: over.ndim])
        rows = np.flatnonzero(answered.rows).tolist()
        profile = np.stack([(means[row] - over).astype(np.float32) for row in rows])
        writer.put(f"profile_{layer}", profile, ("class", *axes), ONE)
        writer.put(f"normalizer_{layer}", over.astype(np.float32), axes, ONE)


def _write_lists(writer: ArtifactWriter, layout: Layout, lists: Lists) -> None:
    """Write what is known of every input, and the coordinates."""
    for name, values in lists.items():
        dims = ("alignment", "item") if name == "shift" else ("item",)
        flags = flag_attributes(layout.classes) if name == "target" else ONE
        writer.put(name, values, dims, flags)
    for name, (values, attributes) in layout.axes.items():
        writer.put(name, values, (name,), attributes)


def write_shard(writer: ArtifactWriter, layout: Layout, spans: Iterable[tuple[int, Arrays]]) -> int:
    """Write the sums of some spans; return the number of inputs.

    Arrays ``sum_SPAN_NAME [key, …]`` and ``key_SPAN_NAME [key, …]``, in double precision, as
    `Sums.arrays` has them; lists and coordinates; the names of ``class``, ``part`` and ``layer``.
    """
    inputs, lists = 0, []
    for span, arrays in spans:
        for name, values in arrays.items():
            kind, _, rest = name.partition("_")
            if kind in ("sum", "key"):
                own = f"{kind}_{span}_{rest}"
                writer.put(own, values, [f"{own}_{axis}" for axis in range(values.ndim)], ONE)
        inputs += int(arrays["sum_count"].sum())
        lists.append((Sums(), {name: arrays[name] for name in LISTS if name in arrays}))
    _write_lists(writer, layout, joined(lists)[1])
    named = (("class", layout.classes), ("part", layout.parts), ("layer", layout.layers))
    for name, names in named:
        if names:
            writer.name_axis(name, names)
    return inputs


def _merge(writer: ArtifactWriter, shards: Sequence[Artifact]) -> int:
    """Add the sums of spans in the order in which one process does, and write the averages."""
    first = shards[0]
    axes: dict[str, tuple[NDArray[Any], Any]] = {
        name: (first.read(name), first.attributes(name)) for name in AXES if name in first
    }
    names = [first.flags(name) if name in first else () for name in ("class", "part", "layer")]
    config = first.record["config"]
    parts = (arrays for shard in shards for arrays in _parts(shard))
    write_averages(writer, config, Layout(names[0], axes, *names[1:]), parts)
    return int(config["shard"]["items"])


MERGERS.register("navai-shard")(Merger(_merge, "navai", "Averages of aligned inputs"))


def _parts(shard: Artifact) -> Iterator[Arrays]:
    """Yield the lists of a shard, and the sums of each of its spans, in order."""
    spans: dict[int, dict[str, str]] = {}
    for stored in shard:
        kind, _, rest = stored.partition("_")
        span, _, name = rest.partition("_")
        if kind in ("sum", "key") and span.isdecimal():
            spans.setdefault(int(span), {})[f"{kind}_{name}"] = stored
    if not spans:
        raise UsageProblem(f"{shard.path} holds no sums; make them with navai --shard I/N")
    yield {name: shard.read(name) for name in LISTS if name in shard}
    for _, names in sorted(spans.items()):
        yield {name: shard.read(stored) for name, stored in names.items()}
