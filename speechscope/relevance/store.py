"""Explaining the items of a corpus and writing `relevance.zarr`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.errors import UsageProblem
from speechscope.networks.layers import Network
from speechscope.networks.subject import Subject
from speechscope.relevance.arrays import Filters, Spectra, Sums, first_filters
from speechscope.relevance.lrp import layers_with_weights
from speechscope.relevance.methods import METHODS, RelevanceSettings, propagated, relevance_by
from speechscope.relevance.networks import Explained, explained
from speechscope.relevance.spectral import Frames
from speechscope.relevance.target import per_class, predicted, score
from speechscope.store.writer import CHUNK_BYTES, ArtifactWriter, flag_attributes
from speechscope.work.local import OVERLAPPED, Executor, Overlapping, block_size
from speechscope.work.tasks import Results, Task, Values, carry_out, mixed, tasks_of

MOST = 256
"""Most items worked on at a time, and in one chunk."""
FEW = 64
"""Items of a chunk, below which a task is not worth dividing (chosen)."""


@dataclass(frozen=True)
class Target:
    """Which class's score is explained.

    Parameters
    ----------
    name
        ``predicted``, ``label`` or a class.
    classes
        Of the network.

    Raises
    ------
    UsageProblem
        There is no such class.
    """

    name: str
    classes: Sequence[str]

    def __post_init__(self) -> None:
        if self.name not in ("predicted", "label", *self.classes):
            raise UsageProblem(
                f"--target {self.name}: choose predicted, label or one of {', '.join(self.classes)}"
            )

    def of(self, found: Tensor, labels: Tensor) -> Tensor:
        """Return the class of each item, given those predicted and those labelled, (B,)."""
        if self.name == "predicted":
            return found
        if self.name == "label":
            return labels
        return torch.full_like(found, self.classes.index(self.name))


@dataclass
class Explainer:
    """Explains the items of a task by all methods.

    An item's relevance depends on `seed` and on the item's place in the corpus, not on the items
    around it.

    Parameters
    ----------
    subject
        The network and the corpus.
    first : (1,) index of an item, by which the network is traced.
    methods
        Names in `METHODS`.
    layer
        The layer whose input is explained; None: the network's input.
    frames
        Of the spectra of waveforms.

    Raises
    ------
    UsageProblem
        A method or layer is unknown.
    """

    subject: Subject
    first: NDArray[np.integer[Any]]
    methods: Sequence[str]
    settings: RelevanceSettings
    target: Target
    layer: str | None
    frames: Frames
    seed: int

    def __post_init__(self) -> None:
        unknown = [name for name in self.methods if name not in METHODS]
        if unknown:
            raise UsageProblem(f"--method {unknown[0]}: choose from {', '.join(METHODS)}")
        if self.settings.shifts > 1 and not (self.waveform and self.layer is None):
            raise UsageProblem("--shifts: only what enters a network for waveforms is shifted")

    def __getstate__(self) -> dict[str, Any]:
        kept = {field.name for field in fields(self)}
        return {name: value for name, value in self.__dict__.items() if name in kept}

    @cached_property
    def explained(self) -> tuple[Explained, tuple[int, ...]]:
        """What is explained, and the shape of one item of what enters it."""
        example = self.subject.inputs(self.first)
        of = explained(self.subject.network, example, self.layer)
        return of, tuple(of.enter(example).shape[1:])

    @cached_property
    def beside(self) -> tuple[Spectra | None, Filters | None, Sums | None]:
        """What is worked out beside the relevance itself."""
        spectra = filters = None
        corpus, graph = self.subject.corpus, self.explained[0].steps
        if self.waveform and self.layer is None:
            rate = float(corpus.config["rate"])
            spectra = Spectra(self.frames, self.methods, corpus.input_shape[2], rate)
            kernels = first_filters(graph())
            if kernels is not None:
                filters = Filters(*kernels, self.frames.length, rate)
        sums = Sums(layers_with_weights(graph())) if "lrp" in self.methods else None
        return spectra, filters, sums

    @property
    def waveform(self) -> bool:
        """Whether items are windows of the waveform."""
        return self.subject.corpus.unit == "window"

    @property
    def stored(self) -> tuple[int, ...]:
        """Shape of an item as it is stored: a window of the waveform is one axis of samples."""
        shape = self.subject.corpus.input_shape
        return shape[-1:] if self.waveform else shape

    @property
    def inside(self) -> tuple[int, ...]:
        """Shape of an item's relevance."""
        return self.stored if self.layer is None else self.explained[1]

    def chunk_items(self, count: int) -> int:
        """Return the items of a chunk when there are so many in all."""
        largest = max(prod(self.subject.corpus.input_shape), prod(self.explained[1]))
        most = max(1, min(MOST, CHUNK_BYTES // (4 * largest)))
        return block_size(count, most, OVERLAPPED if count >= OVERLAPPED * FEW else 1)

    def alone(self, tasks: int) -> Executor:
        """Return what carries out so many tasks in this process.

        Two at a time, where all that computes is known to bear two threads: networks that are not
        ours may keep what they like from one call to the next.
        """
        subject = self.subject
        ours = isinstance(subject.network, Network) and subject.device.type == "cpu"
        return Overlapping(together=ours and tasks > 1)

    def __call__(self, task: Task, progress: Callable[[int, int], None] | None) -> Results:
        """See `speechscope.work.tasks.Work`.

        Raises
        ------
        Untreatable
            A method cannot treat a layer.
        """
        of = self.explained[0]
        inputs = self.subject.inputs(task.items)
        x = of.enter(inputs)
        with torch.no_grad():
            out = of.scores(x)
        guess = predicted(out)
        labels = torch.from_numpy(self.subject.corpus.labels[task.items]).to(x.device)
        wanted = self.target.of(guess, labels)
        chosen = torch.stack([wanted, guess]).cpu().numpy()
        seeds = [mixed(self.seed, int(item)) for item in task.items]
        count = len(task.items)

        def values() -> Iterator[Values]:
            yield Values("input", (), self.subject.whole(inputs).reshape(count, *self.stored))
            spectra, filters, sums = self.beside
            if filters is not None:
                yield filters.of(x)
            for number, name in enumerate(self.methods):
                if name == "lrp" and sums is not None:
                    relevance, entering = propagated(of, x, wanted, self.settings)
                    yield sums.of(entering)
                if name != "lrp" or self.settings.shifts > 1:
                    relevance = relevance_by(name, of, x, wanted, self.settings, seeds)
                found = relevance.reshape(count, *self.inside).cpu().numpy()
                yield Values("relevance", (number,), found)
                if spectra is not None:
                    yield spectra.of(number, relevance, x)
                if progress is not None:
                    progress((number + 1) * count, count * len(self.methods))

        scores = score(per_class(out), wanted).cpu().numpy()
        return Results(values(), {"score": scores, "target": chosen[0], "predicted": chosen[1]})


def write_relevance(
    writer: ArtifactWriter,
    work: Explainer,
    items: NDArray[np.integer[Any]],
    *,
    step: int | None = None,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Explain items and write the relevance arrays of DESIGN sec. 2, a block at a time.

    Parameters
    ----------
    items : (N,) indices into the corpus.
    step
        Items of a chunk; None: `Explainer.chunk_items`.
    executor
        Who does the work; None: `Explainer.alone`. The arrays do not depend on it.
    """
    corpus, methods, layer = work.subject.corpus, work.methods, work.layer
    count = len(items)
    step = step or work.chunk_items(count)
    axes: tuple[str, ...] = ("sample",) if work.waveform else ("channel", "frequency", "time")
    stored, inside = work.stored, work.inside
    writer.create(
        "input", (count, *stored), np.float32, ("item", *axes), {"units": "1"}, (step, *stored)
    )
    if layer is not None:
        axes = ("map", "map_frequency", "map_time")[: len(inside)]
    writer.create(
        "relevance",
        (len(methods), count, *inside),
        np.float32,
        ("method", "item", *axes),
        {"units": "1"},
        (1, step, *inside),
    )
    for beside in work.beside:
        if beside is not None:
            beside.create(writer, count, step)
    labels = corpus.labels[items]
    writer.put("item_index", np.asarray(items, dtype=np.int64), ("item",), {"units": "1"})
    writer.put("label", labels.astype(np.int16), ("item",), flag_attributes(corpus.classes))
    numbers = np.arange(len(methods), dtype=np.int16)
    writer.put("method", numbers, ("method",), flag_attributes(methods))
    for name in () if work.waveform else ("frequency", "time"):
        if name in corpus.artifact:
            values, attributes = corpus.artifact.read(name), corpus.artifact.attributes(name)
            writer.put(name, values, (name,), attributes)

    small: dict[str, NDArray[Any]] = {
        "score": np.empty(count, dtype=np.float32),
        "target": np.empty(count, dtype=np.int16),
        "predicted": np.empty(count, dtype=np.int16),
    }
    who = executor or work.alone(-(-count // step))
    tasks = tasks_of(items, step)
    for done in carry_out(writer, work, tasks, who, total=count, progress=progress):
        for name, values in done.returned.items():
            small[name][done.task.place] = values
    classes = flag_attributes(work.target.classes)
    for name, values in small.items():
        writer.put(name, values, ("item",), {"units": "1"} if name == "score" else classes)
