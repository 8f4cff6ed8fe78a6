"""Inverting items of a corpus block by block into the arrays of ``inversion.zarr``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.store import Corpus
from speechscope.inversion.chain import InversionSettings, invert
from speechscope.inversion.examples import Examples
from speechscope.inversion.problem import Restorer
from speechscope.inversion.sound import audible, sound_of
from speechscope.networks.layered import Layered
from speechscope.store.writer import ArtifactWriter, flag_attributes
from speechscope.work.local import Executor, Serial
from speechscope.work.tasks import Results, Task, Values, carry_out, mixed, tasks_of

BLOCK = 256
"""Items worked on at a time, and in one chunk: 3 MB of spectrograms a method and layer."""


@dataclass
class Inverter:
    """Reconstructs the items of a task from one layer, its part, by all methods.

    The random start of an item depends on `seed` and on the item's place in the corpus, not on
    the items around it.

    Parameters
    ----------
    corpus
        What the network was trained on.
    examples
        What to reconstruct.
    layers, methods, restorers
        As `speechscope.inversion.chain.invert` takes them.
    max_steps
        Most steps any of the methods takes, for the length of ``objective``.
    derived
        See `speechscope.inversion.problem.Problem`.
    """

    corpus: Corpus
    network: Layered
    restorers: Mapping[str, Mapping[int, Restorer]]
    examples: Examples
    layers: Sequence[int]
    methods: Sequence[str]
    settings: InversionSettings
    max_steps: int
    seed: int
    derived: Tensor | None = None

    def __post_init__(self) -> None:
        self._held: tuple[int, NDArray[np.float32]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": None}

    def inputs(self, task: Task) -> NDArray[np.float32]:
        """Read the inputs of a task; those of one chunk serve all its layers."""
        held = self._held
        if held is None or held[0] != task.start:
            self._held = held = task.start, self.examples.inputs(task.items)
        return held[1]

    def __call__(self, task: Task, progress: Callable[[int, int], None] | None) -> Results:
        """See `speechscope.work.tasks.Work`."""
        inputs = self.inputs(task)
        seeds = [mixed(self.seed, int(item)) for item in task.items]
        device = next(self.network.parameters()).device
        layer = self.layers[task.part]
        methods = len(self.methods)
        done = invert(
            self.network,
            self.restorers,
            torch.from_numpy(inputs).to(device),
            [layer],
            self.methods,
            self.settings,
            seeds=seeds,
            derived=None if self.derived is None else self.derived.to(device),
            progress=None if progress is None else lambda n, _: progress(n // methods, len(inputs)),
        )
        mean = self.corpus.mean

        def values() -> Iterator[Values]:
            if task.part == 0:
                yield Values("original", (), inputs + mean)
            length = self.max_steps + 1
            for number in range(methods):
                where = number, task.part
                restored = done.reconstruction[number, 0].cpu().numpy() + mean
                yield Values("reconstruction", where, restored)
                padded = np.full((len(inputs), length), np.nan, dtype=np.float32)
                history = done.objective[number, 0].cpu().numpy()
                padded[:, : history.shape[-1]] = history
                yield Values("objective", where, padded)
                yield Values("steps", where, done.steps[number, 0].cpu().numpy())
                yield Values("mismatch", where, done.mismatch[number, 0].cpu().numpy())
                if audible(self.corpus):
                    yield Values("waveform", where, sound_of(self.corpus, restored, seeds))
            if task.part == 0 and audible(self.corpus):
                yield Values("waveform_original", (), self.examples.waveforms(task.items))
                trip = sound_of(self.corpus, inputs + mean, seeds)
                yield Values("waveform_round_trip", (), trip)

        return Results(values())


def write_inversion(
    writer: ArtifactWriter,
    work: Inverter,
    *,
    step: int | None = None,
    part: slice = slice(None),
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Reconstruct items and write the inversion arrays of DESIGN sec. 2.

    Spectrograms are stored with the mean restored, waveforms by the inverse transform, which for
    moduli estimates a phase.

    Parameters
    ----------
    step
        Items of a chunk; None: see `chunk_items`.
    part
        Which of the examples.
    executor
        Who does the work; None: this process. The arrays do not depend on it.
    """
    corpus, examples = work.corpus, work.examples
    layers, methods = work.layers, work.methods
    index = np.asarray(examples.index, dtype=np.int64)[part]
    count, sound = len(index), audible(corpus)
    volume = ("channel", "frequency", "time")
    grid, sizes = ("method", "layer", "item"), (len(methods), len(layers), count)
    shape = corpus.input_shape
    step = step or chunk_items(count)
    writer.create(
        "original", (count, *shape), np.float32, ("item", *volume), {"units": "1"}, (step, *shape)
    )
    writer.create(
        "reconstruction",
        (*sizes, *shape),
        np.float32,
        (*grid, *volume),
        {"units": "1"},
        (1, 1, step, *shape),
    )
    length = work.max_steps + 1
    writer.create(
        "objective",
        (*sizes, length),
        np.float32,
        (*grid, "step"),
        {"long_name": "objective before each step; NaN after an item's last", "units": "1"},
        (1, 1, step, length),
    )
    writer.create("steps", sizes, np.int32, grid, {"units": "1"}, (1, 1, step))
    apart = {"long_name": "distance of the activations over their norm", "units": "1"}
    writer.create("mismatch", sizes, np.float32, grid, apart, (1, 1, step))
    rate = {"units": "1", "sampling_frequency": int(corpus.config["rate"])}
    if sound:
        samples = int(corpus.config["samples"])
        one = (step, samples)
        for name in ("waveform_original", "waveform_round_trip"):
            writer.create(name, (count, samples), np.float32, ("item", "sample"), rate, one)
        writer.create(
            "waveform",
            (*sizes, samples),
            np.float32,
            (*grid, "sample"),
            rate,
            (1, 1, step, samples),
        )
        average = sound_of(corpus, corpus.mean[None], [work.seed])[0]
        writer.put("waveform_average", average, ("sample",), rate)
    writer.put("item_index", index, ("item",), {"units": "1"})
    labels = examples.labels[part].astype(np.int16)
    writer.put("label", labels, ("item",), flag_attributes(examples.classes))
    names = np.arange(len(methods), dtype=np.int16)
    writer.put("method", names, ("method",), flag_attributes(methods))
    layer_names = {"flag_values": list(layers), "units": "1"}
    layer_names["flag_meanings"] = " ".join(work.network.names[layer - 1] for layer in layers)
    writer.put("layer", np.asarray(layers, dtype=np.int16), ("layer",), layer_names)
    for name in ("frequency", "time"):
        if name not in corpus.artifact:
            continue  # waveforms have no frequency axis
        values, attributes = corpus.artifact.read(name), corpus.artifact.attributes(name)
        writer.put(name, values, (name,), attributes)

    # Deep layers take longest: begun first, they leave none to be waited for at the end.
    order = sorted(range(len(layers)), key=lambda part: -layers[part])
    tasks = (
        replace(task, part=order[task.part]) for task in tasks_of(index, step, parts=len(layers))
    )
    total = count * len(layers)
    for _ in carry_out(writer, work, tasks, executor or Serial(), total=total, progress=progress):
        pass


def chunk_items(count: int) -> int:
    """Return the items of a chunk when there are so many in all."""
    return min(BLOCK, count)
