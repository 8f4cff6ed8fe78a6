"""Writing `navai.zarr`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speechscope.errors import SpeechscopeError
from speechscope.navai.averages import Means, groups_of, means_of
from speechscope.navai.averaging import Layout, NavaiSettings
from speechscope.navai.gathering import Found
from speechscope.navai.sums import Sums
from speechscope.store.writer import ArtifactWriter, flag_attributes


@dataclass(frozen=True)
class Written:
    """What was averaged.

    Parameters
    ----------
    inputs
        How many inputs.
    classes
        Names of the classes that were written.
    empty
        Names of those that nothing was predicted as.
    """

    inputs: int
    classes: tuple[str, ...]
    empty: tuple[str, ...]


def write_navai(
    writer: ArtifactWriter, layout: Layout, settings: NavaiSettings, found: Found
) -> Written:
    """Write what was averaged: the arrays of DESIGN sec. 2.

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

    Parameters
    ----------
    found
        By `Averaging`, of all items.

    Raises
    ------
    SpeechscopeError
        Nothing was predicted as any of the classes.
    """
    written, chosen, empty = answered(found.sums, layout.classes, settings)
    means = means_of(found.sums, settings.normalizer)
    _write_means(writer, means, written)
    alignment = np.arange(len(settings.alignments), dtype=np.int16)
    writer.put("alignment", alignment, ("alignment",), flag_attributes(settings.alignments))
    writer.put("class", np.arange(len(chosen), dtype=np.int16), ("class",), flag_attributes(chosen))
    write_lists(writer, layout, found)
    if layout.parts:
        _write_split(writer, found.sums, means, settings, layout)
    return Written(len(found.lists["target"]), chosen, empty)


def answered(
    sums: Sums, classes: Sequence[str], settings: NavaiSettings
) -> tuple[NDArray[np.bool_], tuple[str, ...], tuple[str, ...]]:
    """Return which of the classes that count are written.

    Beside it their names, and those of the classes that are wanted and have no inputs.

    Raises
    ------
    SpeechscopeError
        None has.
    """
    count = sums.of("count")[()].numpy()
    kept = settings.counted(classes)
    names = [name for name, yes in zip(classes, kept, strict=True) if yes]
    wanted = settings.wanted(classes)[kept]
    written = wanted & (count > 0)
    empty = tuple(n for n, yes, c in zip(names, wanted, count, strict=True) if yes and not c)
    if not written.any():
        raise SpeechscopeError(
            f"none of the items was predicted as {', '.join(empty[:5])}"
            f"{' …' if len(empty) > 5 else ''}; train longer, or choose other classes or another "
            "split"
        )
    return written, tuple(n for n, yes in zip(names, written, strict=True) if yes), empty


def write_lists(writer: ArtifactWriter, layout: Layout, found: Found) -> None:
    """Write what is known of every input, and the coordinates."""
    for name, values in found.lists.items():
        dims = ("alignment", "item") if name == "shift" else ("item",)
        flags = flag_attributes(layout.classes) if name == "target" else {"units": "1"}
        writer.put(name, values, dims, flags)
    for name, (values, attributes) in layout.axes.items():
        writer.put(name, values, (name,), attributes)


def _write_means(writer: ArtifactWriter, means: Means, rows: NDArray[np.bool_]) -> None:
    dims = ("alignment", "class", "frequency", "time")
    by_channel = ("alignment", "class", "channel", "frequency", "time")
    centred = {"units": "1", "comment": "of inputs with the training mean removed"}
    for name in ("mean", "pattern", "pattern_shuffled", "pattern_moved"):
        values = getattr(means, name)[:, rows].astype(np.float32)
        writer.put(name, values[:, :, 0], dims, centred)
        if values.shape[2] > 1 and name in ("mean", "pattern"):
            writer.put(f"{name}_channels", values, by_channel, centred)
    writer.put(
        "normalizer",
        means.normalizer[:, 0].astype(np.float32),
        ("alignment", "frequency", "time"),
        centred,
    )
    writer.put("count", means.count[rows], ("class",), {"units": "1"})
    writer.put("covered", means.covered[:, rows], ("alignment", "class", "time"), {"units": "1"})


def _write_split(
    writer: ArtifactWriter,
    sums: Sums,
    means: Means,
    settings: NavaiSettings,
    layout: Layout,
) -> None:
    parts = groups_of(sums, settings.least)
    if not parts:
        raise SpeechscopeError(f"no part of a class has {settings.least} inputs (--least)")
    mean = np.stack([values for _, values, _ in parts], axis=1)
    dims = ("alignment", "part", "frequency", "time")
    writer.put("mean_by", mean.astype(np.float32), dims, {"units": "1"})
    pattern = mean - means.normalizer[:, None, 0]
    writer.put("pattern_by", pattern.astype(np.float32), dims, {"units": "1"})
    count = np.stack([number for _, _, number in parts], axis=1)
    writer.put("count_by", count, ("alignment", "part"), {"units": "1"})
    values = sorted({group[1] for group, _, _ in parts})
    place = {value: number for number, value in enumerate(values)}
    names = [layout.parts[value] for value in values]
    label = np.array([group[0] for group, _, _ in parts], dtype=np.int16)
    writer.put("part_class", label, ("part",), flag_attributes(layout.classes))
    value = np.array([place[group[1]] for group, _, _ in parts], dtype=np.int32)
    writer.put("part_value", value, ("part",), flag_attributes(names))
