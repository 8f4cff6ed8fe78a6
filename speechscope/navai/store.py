"""Averaging aligned inputs over a corpus and writing `navai.zarr`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from speechscope.artifact_writer import ArtifactWriter, flag_attributes
from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.navai.averages import NORMALIZERS, Averages, Means
from speechscope.navai.examples import Examples
from speechscope.navai.splits import Split


@dataclass(frozen=True)
class NavaiSettings:
    """What is averaged.

    Parameters
    ----------
    alignments
        Names in `alignment.ALIGNMENTS`.
    classes
        Names of the classes that are written; empty: all.
    exclude
        Names of classes that neither are written nor count in the normalizer.
    normalizer
        See `Averages.finish`.
    least
        Inputs a part of a class has to have to be written.
    seed
        Of the shuffled classes and shifts.
    """

    alignments: tuple[str, ...]
    classes: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    normalizer: str = "inputs"
    least: int = 5
    seed: int = 0

    def check(self, known: Sequence[str]) -> None:
        """Refuse classes that the network does not have.

        Raises
        ------
        UsageProblem
            There is one, or one that is left out as well.
        """
        for name in self.classes:
            if name not in known:
                raise UsageProblem(f"--class {name}: choose from {', '.join(known)}")
            if name in self.exclude:
                raise UsageProblem(f"--class {name} is left out by --exclude")
        if self.normalizer not in NORMALIZERS:
            raise UsageProblem(f"--normalizer {self.normalizer}: choose {' or '.join(NORMALIZERS)}")


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
    writer: ArtifactWriter,
    examples: Examples,
    settings: NavaiSettings,
    split: Split | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Average aligned inputs by the class they are predicted as; write the arrays of DESIGN sec. 2.

        mean_c = 1/N_c Σ_i crop(x_i, shift_i),  pattern_c = mean_c − normalizer

    over the inputs predicted as class c, the normalizer being the mean over the inputs of any
    class. Inputs stream by; one pass over them does for all alignments. Beside the arrays of the
    contract, of which those of spectrograms with derivatives hold the first channel:
    ``pattern_shuffled``, the pattern where inputs of a block have changed their classes with each
    other, and ``pattern_moved``, where they have changed their shifts; ``covered [alignment, class,
    time]``, how many inputs reach there; ``item_index``, ``output`` and ``target [item]``, where an
    input is from; ``mean_channels [alignment, class, channel, frequency, time]`` and
    ``pattern_channels`` where there are several; with a split, ``mean_by``, ``pattern_by
    [alignment, part, frequency, time]``, ``count_by [alignment, part]``, ``part_class``,
    ``part_value [part]``.

    Source: Krug 2018, sec. 3.5 and 3.6.

    Raises
    ------
    UsageProblem
        A class is not one of the network's; or the means would not fit in memory.
    SpeechscopeError
        Nothing was predicted as any of the classes.
    """
    classes = examples.classes
    settings.check(classes)
    kept = np.array([name not in settings.exclude for name in classes])
    wanted = kept & np.array([not settings.classes or name in settings.classes for name in classes])
    places = np.where(kept, np.cumsum(kept) - 1, -1)  # of the classes among those averaged
    averages = Averages(
        len(settings.alignments),
        int(kept.sum()),
        examples.shape,
        device=examples.device,
        seed=settings.seed,
    )
    items: list[tuple[NDArray[np.int64], ...]] = []
    shift: list[NDArray[np.int16]] = []
    numbers = torch.from_numpy(places).to(examples.device)
    for block in examples.blocks(settings.alignments):
        if progress is not None:
            progress(block.done, len(examples.items))
        block = block.kept(numbers[block.target] >= 0)
        if not len(block.item):
            continue
        groups = None if split is None else split.groups(block, wanted)
        averages.add(block.inputs, numbers[block.target], block.shift, groups)
        target = block.target.cpu().numpy()
        items.append((block.item, block.output, target))
        shift.append(block.shift.cpu().numpy().astype(np.int16))
    means = averages.finish(settings.normalizer)
    written = wanted[kept] & (means.count > 0)
    names = [name for name, yes in zip(classes, kept, strict=True) if yes]
    empty = tuple(
        name
        for name, yes, count in zip(names, wanted[kept], means.count, strict=True)
        if yes and not count
    )
    if not written.any():
        raise SpeechscopeError(
            f"of {len(examples.items)} items of {examples.corpus.path} none was predicted as "
            f"{', '.join(empty[:5])}{' …' if len(empty) > 5 else ''}; train longer, or choose "
            "other classes or another split"
        )
    chosen = [name for name, yes in zip(names, written, strict=True) if yes]
    _write_means(writer, means, written, examples)
    alignment = np.arange(len(settings.alignments), dtype=np.int16)
    writer.put("alignment", alignment, ("alignment",), flag_attributes(settings.alignments))
    writer.put("class", np.arange(len(chosen), dtype=np.int16), ("class",), flag_attributes(chosen))
    dims = ("alignment", "item")
    writer.put("shift", np.concatenate(shift, axis=1), dims, {"units": "1"})
    item, output, target = (np.concatenate(part) for part in zip(*items, strict=True))
    writer.put("item_index", item, ("item",), {"units": "1"})
    writer.put("output", output, ("item",), {"units": "1"})
    writer.put("target", target.astype(np.int16), ("item",), flag_attributes(classes))
    _write_axes(writer, examples)
    if split is not None:
        _write_split(writer, averages, means, split, settings, classes)
    return Written(len(item), tuple(chosen), empty)


def _write_means(
    writer: ArtifactWriter, means: Means, rows: NDArray[np.bool_], examples: Examples
) -> None:
    dims = ("alignment", "class", "frequency", "time")
    by_channel = ("alignment", "class", "channel", "frequency", "time")
    centred = {"units": "1", "comment": "of inputs with the training mean removed"}
    of_rows = {
        "mean": means.mean[:, rows],
        "pattern": means.pattern[:, rows],
        "pattern_shuffled": means.pattern_shuffled[:, rows],
        "pattern_moved": means.pattern_moved[:, rows],
    }
    for name, values in of_rows.items():
        values = values.astype(np.float32)
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


def _write_axes(writer: ArtifactWriter, examples: Examples) -> None:
    artifact, config = examples.corpus.artifact, examples.corpus.config
    for name in ("frequency", "channel"):
        if name in artifact:
            writer.put(name, artifact.read(name), (name,), artifact.attributes(name))
    hop = int(config["window"]) - int(config["overlap"])
    step = (1 if examples.corpus.unit == "window" else hop) / int(config["rate"])
    frames = examples.shape[2]
    away = (np.arange(frames) - frames // 2) * step
    writer.put("time", away, ("time",), {"units": "s", "comment": "from the middle"})


def _write_split(
    writer: ArtifactWriter,
    averages: Averages,
    means: Means,
    split: Split,
    settings: NavaiSettings,
    classes: Sequence[str],
) -> None:
    parts = averages.groups(settings.least)
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
    names = [split.names[value] for value in values]
    label = np.array([group[0] for group, _, _ in parts], dtype=np.int16)
    writer.put("part_class", label, ("part",), flag_attributes(classes))
    value = np.array([place[group[1]] for group, _, _ in parts], dtype=np.int32)
    writer.put("part_value", value, ("part",), flag_attributes(names))
