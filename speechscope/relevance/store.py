"""Explaining the items of a corpus, writing `relevance.zarr`, and its sounds."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.store import Corpus
from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.networks.foreign import ForeignNetwork
from speechscope.networks.layers import Network, bytes_each
from speechscope.networks.subject import Subject, together
from speechscope.relevance.explain import (
    Explained,
    check_shifts,
    explained,
    per_class,
    predicted,
    relevance_by,
    score,
)
from speechscope.relevance.lrp import layers_with_weights, lrp_with_sums, rules_of
from speechscope.relevance.occlusion import PHONE, area
from speechscope.relevance.targets import target_of
from speechscope.relevance.waveforms import FirstLayer, Frames, first_layer, spectra
from speechscope.store.artifact import Artifact
from speechscope.store.wav import write_folder
from speechscope.store.writer import CHUNK_BYTES, ArtifactWriter, flag_attributes
from speechscope.work.device import fitting, in_halves, sent
from speechscope.work.local import OVERLAPPED, Executor, Overlapping, block_size
from speechscope.work.tasks import Results, Task, Values, carry_out, mixed, tasks_of

if TYPE_CHECKING:
    from speechscope.stages.relevance import Relevance

MOST = 256
"""Most items worked on at a time, and in one chunk."""
FEW = 64
"""Items of a chunk, below which a task is not worth dividing (chosen)."""
GAP, ROUNDING = 0.1, 1e-3
"""Of a difference of scores, and of a score, that integrated gradients may miss unsaid (chosen)."""


@dataclass
class Explainer:
    """Explains the items of a task by all methods.

    An item's relevance depends on the seed and on the item's place in the corpus, not on the items
    around it.

    Parameters
    ----------
    subject
        The network and the corpus.
    first : (1,) index of an item, by which the network is traced.

    Raises
    ------
    UsageProblem
        The target is no class, a setting means nothing, or there is no such layer.
    """

    subject: Subject
    first: NDArray[np.integer[Any]]
    settings: "Relevance"

    def __post_init__(self) -> None:
        settings, self.flat, self.incomplete = self.settings, 0, 0
        by_phone = settings.patch == PHONE and "occlusion" in settings.method
        for name in () if settings.patch == PHONE else ("patch", "stride"):
            area(name, getattr(settings, name))
        found = target_of(settings.target, self.subject)
        self.name, self.subject = found.name, found.subject
        corpus = self.subject.corpus
        shape = corpus.input_shape
        if by_phone and settings.layer is not None:
            raise UsageProblem("--patch phone: what enters a layer inside the network has none")
        if by_phone:
            corpus.phones(int(self.first[0]))
        check_shifts(settings, shape if settings.layer is None else ())

    def __getstate__(self) -> dict[str, Any]:
        kept = {"name", "flat", "incomplete", *(field.name for field in fields(self))}
        return {name: value for name, value in self.__dict__.items() if name in kept}

    @cached_property
    def explained(self) -> tuple[Explained, tuple[int, ...]]:
        """What is explained, and the shape of one item of what enters it."""
        example = self.subject.inputs(self.first)
        of = explained(self.subject.network, example, self.settings.layer)
        if self.settings.layer is None:
            of = of.of_corpus(self.subject.corpus)
        return of, tuple(of.enter(example).shape[1:])

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """The layers that LRP hands relevance down by."""
        asked = "lrp" in self.settings.method
        return layers_with_weights(self.explained[0].steps()) if asked else ()

    @property
    def rules(self) -> list[str]:
        """The rule of every layer of LRP, in words."""
        found = rules_of(self.explained[0].steps(), self.settings)
        return [f"{name}: {rule}" for name, rule in found.items()]

    @cached_property
    def first_layer(self) -> FirstLayer | None:
        """What filters the waveforms that are explained, if any are, by a convolution."""
        if self.frames is None:
            return None
        try:
            graph = self.explained[0].steps()
        except SpeechscopeError:
            return None  # of a network without steps nothing is known of its filters
        return first_layer(graph, self.settings.frame)

    @cached_property
    def read(self) -> dict[int, str]:
        """The layers whose activity is asked for, by number."""
        network, asked = self.subject.network, self.settings.activity
        named = network.names if "all" in asked else asked
        return {number: network.named(number) for number in map(network.resolve, named)}

    def activity(self, items: NDArray[np.integer[Any]]) -> dict[str, NDArray[np.float32]]:
        """Return what layers hold of items, a value a map (its mean) or a unit, (B, units).

        Of a layer along time, where recordings are given one by one, it is the mean over time.
        """
        subject, network = self.subject, self.subject.network
        parts: dict[str, list[Tensor]] = {name: [] for name in self.read.values()}
        along = {}
        if subject.trims and isinstance(network, ForeignNetwork):
            along = network.frames
        for _, given in subject.parts(subject.inputs(items), items):
            with torch.no_grad():
                held = network.activations(given, self.read)
            for number, name in self.read.items():
                x = held[number]
                if name in along:
                    x = x.mean(along[name][0] + 1)
                parts[name].append(x.flatten(2).mean(2) if x.dim() > 2 else x.flatten(1))
        return {name: torch.cat(found).cpu().numpy() for name, found in parts.items()}

    def _of(self, x: Tensor) -> Explained:
        """Return what is explained of inputs as long as these."""
        layer = self.settings.layer
        if layer is None or x.shape[1:] == self.subject.corpus.input_shape:
            return self.explained[0]
        return explained(self.subject.taking(x), x, layer)

    @property
    def frames(self) -> Frames | None:
        """Of the spectra of the waveforms that are explained, if any are."""
        if not self.waveform or self.settings.layer is not None:
            return None
        return Frames(self.settings.frame, self.settings.hop)

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
        return self.stored if self.settings.layer is None else self.explained[1]

    def chunk_items(self, count: int) -> int:
        """Return the items of a chunk when there are so many in all."""
        largest = max(prod(self.subject.corpus.input_shape), prod(self.explained[1]))
        most = max(1, min(MOST, CHUNK_BYTES // (4 * largest)))
        return block_size(count, most, OVERLAPPED if count >= OVERLAPPED * FEW else 1)

    def size(self, count: int) -> int:
        """Return the bytes of inputs and relevance of so many items, before they are packed."""
        inside = prod(self.inside)
        if self.frames is not None:
            inside += prod(map(len, self.frames.axes(self.stored[0], 1.0)))
        return 4 * count * (prod(self.stored) + len(self.settings.method) * inside)

    def alone(self, tasks: int) -> Executor:
        """Return what carries out so many tasks in this process.

        Two at a time, where all that computes is known to bear two threads: networks that are not
        ours may keep what they like from one call to the next.
        """
        subject = self.subject
        ours = isinstance(subject.network, Network) and subject.device.type == "cpu"
        return Overlapping(together=ours and tasks > 1)

    def target(self, guess: Tensor, labels: Tensor) -> Tensor:
        """Return the class of each item that is explained, given those predicted and labelled."""
        if self.name in ("predicted", "label"):
            return guess if self.name == "predicted" else labels
        return torch.full_like(guess, self.subject.classes.index(self.name))

    def __call__(self, task: Task, progress: Callable[[int, int], None] | None) -> Results:
        """See `speechscope.work.tasks.Work`.

        Raises
        ------
        Untreatable
            A method cannot treat a layer.
        """
        inputs = self.subject.inputs(task.items)
        given = [part for _, part in self.subject.parts(inputs, task.items)]
        ofs = [self._of(part) for part in given]
        parts = [of.enter(part) for of, part in zip(ofs, given, strict=True)]
        x = together(parts, self.explained[1])
        raw = _scores(ofs, parts)
        out = torch.cat([per_class(scores) for scores in raw])
        guess = predicted(out)
        labels = sent(self.subject.corpus.labels[task.items], x.device)
        target = self.target(guess, labels)
        classes = torch.stack([target, guess]).cpu().numpy()
        probability = out.softmax(1).gather(1, guess[:, None])[:, 0]
        seeds = [mixed(self.settings.seed, int(item)) for item in task.items]
        whole = self.subject.whole(inputs).reshape(len(inputs), *self.stored)
        scores = score(out, target).cpu().numpy()

        def values(finite: NDArray[np.bool_], flat: NDArray[np.bool_]) -> Iterator[Values]:
            yield Values("input", (), whole)
            yield from self._answers(raw, task.items)
            for layer, held in self.activity(task.items).items() if self.read else ():
                yield Values(f"activity_{layer}", (), held)
            if self.first_layer is not None:
                responses = self.first_layer.responses(x)
                yield Values("dictionary_response", (), responses.cpu().numpy())
            for number, name in enumerate(self.settings.method):
                for found in self._explain(number, name, ofs, parts, target, seeds, task.items):
                    if found.array == "relevance":
                        of_item = found.values.reshape(len(x), -1)
                        finite &= np.isfinite(of_item).all(1)
                        flat |= ~of_item.any(1)
                        if name == "integrated" and self.settings.shifts == 1:
                            zeros = _scores(ofs, map(torch.zeros_like, parts))
                            base = score(torch.cat([per_class(one) for one in zeros]), target)
                            incomplete[:] = _incomplete(base, scores, of_item.sum(1))
                    yield found
                if progress is not None:
                    done, methods = (number + 1) * len(x), len(self.settings.method)
                    progress(done, len(x) * methods)

        returned = {"score": scores, "probability": probability.cpu().numpy()}
        returned |= {"target": classes[0], "predicted": classes[1]}
        finite = returned["finite"] = np.isfinite(scores)
        flat = returned["flat"] = np.zeros(len(x), dtype=bool)
        incomplete = returned["incomplete"] = np.zeros(len(x), dtype=bool)
        return Results(values(finite, flat), returned)

    @cached_property
    def outputs(self) -> tuple[int, float] | None:
        """How many answers along time an item has, and places of it from one to the next."""
        network, corpus = self.subject.network, self.subject.corpus
        if not corpus.whole or not isinstance(network, ForeignNetwork):
            return None
        if self.settings.layer is not None or network.taking.times is not None:
            return None
        (scores,) = _scores(self.explained[:1], [self.subject.inputs(self.first)])
        if scores.dim() != 3:
            return None
        count = scores.shape[2]
        even = corpus.input_shape[2] / count
        return count, network.frames[""][1] if self.subject.trims else even

    def _answers(
        self, scores: Sequence[Tensor], items: NDArray[np.integer[Any]]
    ) -> Iterator[Values]:
        """Yield the answers along items, and their probabilities; -1 behind the end of one."""
        if self.outputs is None:
            return
        count, step = self.outputs
        answer = np.full((len(items), count), -1, np.int16)
        probability = np.full(answer.shape, np.nan, np.float32)
        softmax = [row for one in scores for row in one.softmax(1).cpu().numpy()]
        for row, length in enumerate(self.subject.corpus.lengths(items)):
            own = softmax[row][:, : math.ceil(length / step)]
            answer[row, : own.shape[1]], probability[row, : own.shape[1]] = (
                own.argmax(0),
                own.max(0),
            )
        yield Values("answer", (), answer)
        yield Values("answer_probability", (), probability)

    def _explain(
        self,
        number: int,
        method: str,
        ofs: Sequence[Explained],
        given: Sequence[Tensor],
        target: Tensor,
        seeds: Sequence[int],
        places: NDArray[np.integer[Any]],
    ) -> Iterator[Values]:
        """Yield the relevance of inputs by one method, and what is worked out beside it."""
        parts, sums, begin, phones = list[Tensor](), list[Tensor](), 0, list[list[slice]]()
        if method == "occlusion" and self.settings.patch == PHONE:
            phones = [self.subject.corpus.places(int(item)) for item in places]
        for whole, x in zip(ofs, given, strict=True):
            first, begin = begin, begin + len(x)

            def explain(
                items: slice, whole: Explained = whole, x: Tensor = x, first: int = first
            ) -> None:
                rows = slice(first + items.start, first + items.stop)
                of = replace(whole, phones=phones[rows]).along(x.shape[-1])
                if method == "lrp":
                    relevance, of_layer = lrp_with_sums(of, x[items], target[rows], self.settings)
                if method != "lrp" or self.settings.shifts > 1:
                    told = x[items], target[rows], self.settings, seeds[rows]
                    relevance = relevance_by(method, of, *told)
                parts.append(relevance)
                if method == "lrp":
                    sums.append(torch.stack([of_layer[name] for name in self.layers], 1))

            step = fitting(len(x), bytes_each(self.subject.network, x.shape[1:]), x.device)
            for start in range(0, len(x), step):
                in_halves(explain, slice(start, min(start + step, len(x))), "take --device cpu")
        relevance, x = together(parts, self.explained[1]), together(given, self.explained[1])
        if sums:
            yield Values("relevance_sum", (), torch.cat(sums).cpu().numpy())
        yield Values("relevance", (number,), relevance.reshape(len(x), *self.inside).cpu().numpy())
        if self.frames is not None:
            spectrum = spectra(method, relevance.flatten(1), x.flatten(1), self.frames)
            yield Values("spectral_relevance", (number,), spectrum.cpu().numpy())


def _scores(ofs: Sequence[Explained], parts: Iterable[Tensor]) -> list[Tensor]:
    """Return the scores (b, classes, …) of what is given together."""
    with torch.no_grad():
        return [of.scores(part) for of, part in zip(ofs, parts, strict=True)]


def _incomplete(base: Tensor, scores: NDArray[Any], sums: NDArray[Any]) -> NDArray[np.bool_]:
    """Say of which items integrated gradients do not add up to S_c(x) − S_c(0), that is base."""
    wanted = scores - base.cpu().numpy()
    allowed = GAP * np.abs(wanted) + ROUNDING * np.abs(scores)
    return np.asarray(~(np.abs(sums - wanted) <= allowed))


def write_relevance(
    writer: ArtifactWriter,
    work: Explainer,
    items: NDArray[np.integer[Any]],
    *,
    step: int | None = None,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[int]:
    """Explain items and write the relevance arrays of DESIGN sec. 2, a block at a time.

    Items with a score or relevance that is not a number are returned, and listed in ``finite``.

    Parameters
    ----------
    items : (N,) indices into the corpus.
    step
        Items of a chunk; None: `Explainer.chunk_items`.
    executor
        Does the work; None: `Explainer.alone`. The arrays do not depend on it.
    """
    corpus, count = work.subject.corpus, len(items)
    step = step or work.chunk_items(count)
    _create(writer, work, count, step)
    labels = corpus.labels[items]
    writer.put("item_index", np.asarray(items, dtype=np.int64), ("item",), {"units": "1"})
    writer.put("label", labels.astype(np.int16), ("item",), flag_attributes(corpus.classes))
    if work.read and not corpus.in_windows:
        for name in ("start", "stop"):
            values, attributes = corpus.artifact.read(name)[items], corpus.artifact.attributes(name)
            writer.put(name, values, ("item",), attributes)
    for name, (values, attributes) in {} if work.waveform else corpus.axes.items():
        writer.put(name, values, (name,), attributes)

    small: dict[str, NDArray[Any]] = {
        "score": np.empty(count, dtype=np.float32),
        "probability": np.empty(count, dtype=np.float32),
        "target": np.empty(count, dtype=np.int16),
        "predicted": np.empty(count, dtype=np.int16),
        "finite": np.empty(count, dtype=np.int8),
        "flat": np.empty(count, dtype=np.int8),
        "incomplete": np.empty(count, dtype=np.int8),
    }
    executor = executor or work.alone(-(-count // step))
    tasks = tasks_of(items, step)
    for done in carry_out(writer, work, tasks, executor, total=count, progress=progress):
        for name, values in done.returned.items():
            small[name][done.task.start : done.task.stop] = values
    classes = flag_attributes(work.subject.classes)
    finite, work.flat = small.pop("finite"), int(small.pop("flat").sum())
    work.incomplete = int(small.pop("incomplete").sum())
    if not finite.any():
        raise SpeechscopeError(
            "no item has relevance that is a number: the network gives not-a-number, or its slope "
            "is (a root or a logarithm of 0, or of what is negative)"
        )
    if not finite.all():
        said = {"units": "1", "long_name": "1 where score and relevance are numbers"}
        writer.put("finite", finite, ("item",), said)
    for name, values in small.items():
        number = values.dtype == np.float32
        writer.put(name, values, ("item",), {"units": "1"} if number else classes)
    return np.flatnonzero(finite == 0).tolist()


def unfinite(path: Path) -> list[int]:
    """Return the items of ``relevance.zarr`` whose score or relevance is not a number."""
    artifact = Artifact(path, "relevance")
    finite = artifact.read("finite") if "finite" in artifact else np.ones(0)
    return np.flatnonzero(finite == 0).tolist()


def called(corpus: Corpus, index: int) -> str:
    """Return where an item of a corpus is, in words."""
    if corpus.in_windows:
        return f"window {index}"
    rate, artifact = float(corpus.config["rate"]), corpus.artifact
    start, stop = (float(artifact.read(name)[index]) / rate for name in ("start", "stop"))
    utterance = corpus.names("utterance")[int(artifact.read("utterance")[index])]
    return f"item {index} ({utterance}, {start:.3f} to {stop:.3f} s)"


def _create(writer: ArtifactWriter, work: Explainer, count: int, step: int) -> None:
    """Create the arrays of `count` items, `step` a chunk, and write their other axes."""
    methods = work.settings.method

    def create(name: str, shape: tuple[int, ...], axes: tuple[str, ...], **more: str) -> None:
        writer.create(
            name, (count, *shape), np.float32, ("item", *axes), {"units": "1", **more},
            (step, *shape),
        )  # fmt: skip

    def create_by_method(
        name: str, shape: tuple[int, ...], axes: tuple[str, ...], **more: str
    ) -> None:
        writer.create(
            name, (len(methods), count, *shape), np.float32, ("technique", "item", *axes),
            {"units": "1", **more}, (1, step, *shape),
        )  # fmt: skip

    axes: tuple[str, ...] = ("sample",) if work.waveform else ("channel", "frequency", "time")
    create("input", work.stored, axes)
    if work.outputs is not None:
        (size, each), (hop, _) = work.outputs, work.subject.corpus.grid
        shape, dims, chunk = (count, size), ("item", "output"), (step, size)
        along: dict[str, Any] = {"units": "1", "samples_per_output": hop * each}
        classes = {**flag_attributes(work.subject.classes), **along}
        writer.create("answer", shape, np.int16, dims, classes, chunk)
        writer.create("answer_probability", shape, np.float32, dims, along, chunk)
    for layer, held in work.activity(work.first).items() if work.read else ():
        said = "what a layer holds, a mean over each map"
        create(f"activity_{layer}", held.shape[1:], (f"unit_{layer}",), long_name=said)
    if work.settings.layer is not None:
        axes = ("map", "map_frequency", "map_time")[: len(work.inside)]
    rules = {"rules": "; ".join(work.rules)} if work.layers else {}
    create_by_method("relevance", work.inside, axes, **rules)
    writer.name_axis("technique", methods)
    if work.layers:
        writer.name_axis("propagated_layer", work.layers)
        said = "relevance in all that enters a layer, by LRP"
        create("relevance_sum", (len(work.layers),), ("propagated_layer",), long_name=said)
    if work.frames is None:
        return
    rate = float(work.subject.corpus.config["rate"])
    frequency, frame = work.frames.axes(work.stored[0], rate)
    writer.put("frequency", frequency, ("frequency",), {"units": "Hz"})
    writer.put("frame", frame, ("frame",), {"units": "s"})
    create_by_method("spectral_relevance", (len(frequency), len(frame)), ("frequency", "frame"))
    first = work.first_layer
    if first is not None:
        axis = ("filter_frequency",)
        writer.put(axis[0], first.frequency(rate), axis, {"units": "Hz"})
        response = first.cumulative().cpu().numpy()
        writer.put("cumulative_response", response, axis, {"units": "1"})
        create("dictionary_response", response.shape, axis)


def relevance_sounds(
    corpus: Corpus, inputs: NDArray[np.float32], relevance: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return one waveform an item, (N, samples).

    Of a waveform, the relevance signal itself (Muckenhirn 2019, sec. 4.3, listens to it); of a
    spectrogram, the input with every value weighted by the magnitude of its relevance, so that what
    counts is heard.

    Parameters
    ----------
    inputs, relevance : (N, channel, frequency, time), inputs not centred, or (N, sample).
    """
    if corpus.unit == "window":
        return relevance
    weight = np.abs(relevance)
    weight /= np.maximum(weight.max(axis=(1, 2, 3), keepdims=True), np.finfo(np.float32).tiny)
    return corpus.sound_of(inputs * weight)


def write_sounds(path: Path, folder: Path, corpus: Corpus, *, force: bool) -> int:
    """Write the sounds of `relevance.zarr` and return their number.

    Files are named ``ITEM_LABEL_original.wav`` and ``ITEM_LABEL_METHOD.wav``.

    Raises
    ------
    UsageProblem
        The folder exists and may not be replaced.
    """
    artifact = Artifact(path, "relevance")
    methods, names = artifact.flags("technique"), artifact.flags("label")

    def sounds() -> Iterator[tuple[str, NDArray[np.float32]]]:
        for item, label in enumerate(artifact.read("label")):
            row = slice(item, item + 1)
            inputs = artifact.read("input", row)
            heard = inputs if corpus.unit == "window" else corpus.sound_of(inputs)
            yield f"{item:04d}_{names[label]}_original", heard[0]
            for number, method in enumerate(methods):
                relevance = artifact.read("relevance", (number, row))
                yield (
                    f"{item:04d}_{names[label]}_{method}",
                    relevance_sounds(corpus, inputs, relevance)[0],
                )

    return write_folder(sounds(), folder, int(corpus.config["rate"]), path.name, force=force)
