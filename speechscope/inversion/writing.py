"""The arrays of ``inversion.zarr``: items are inverted block by block and written as they come."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.store import Corpus
from speechscope.errors import SpeechscopeError
from speechscope.features.distances import partners, with_others
from speechscope.inversion.analysis import Analysis
from speechscope.inversion.chains import Inversion, invert, joined, longest
from speechscope.inversion.moves import Directions
from speechscope.inversion.problem import Known, Restorer
from speechscope.inversion.sound import audible, sound_of
from speechscope.inversion.source import CorpusExamples, Examples, TrainingPool
from speechscope.networks.foreign import ForeignNetwork
from speechscope.networks.layers import Layered
from speechscope.networks.subject import together
from speechscope.store.artifact import Artifact
from speechscope.store.wav import write_folder
from speechscope.store.writer import ArtifactWriter, flag_attributes
from speechscope.work.device import sent
from speechscope.work.local import Executor, Serial
from speechscope.work.tasks import Results, Task, Values, carry_out, mixed, tasks_of

if TYPE_CHECKING:
    from speechscope.stages.invert import Invert

BLOCK = 256
"""Items worked on at a time, and in one chunk: 3 MB of spectrograms a method and layer."""


@dataclass(frozen=True)
class Inverter:
    """Reconstructs the items of a task from one layer, its part, by all methods.

    The random start of an item depends on the seed and on the item's place in the corpus, not on
    the items around it.

    Parameters
    ----------
    settings
        Of the stage.
    corpus
        What the network was trained on.
    examples
        What to reconstruct.
    network, layers, restorers, derived, analysis, directions
        As `speechscope.inversion.chains.invert` takes them.
    trims
        Whether recordings are given as long as they are, one by one.
    """

    settings: "Invert"
    corpus: Corpus
    examples: Examples
    network: Layered
    layers: Sequence[int]
    restorers: Mapping[str, Mapping[int, Restorer]]
    derived: Tensor | None = None
    analysis: Analysis | None = None
    directions: Mapping[int, Directions] | None = None
    trims: bool = False

    @cached_property
    def pool(self) -> TrainingPool:
        """What controls choose from: the same for every task."""
        return TrainingPool(self.corpus, self.settings.align_items, self.settings.seed)

    def __call__(self, task: Task, progress: Callable[[int, int], None] | None) -> Results:
        """See `speechscope.work.tasks.Work`."""
        inputs = self.examples.inputs(task.items)
        seeds = [mixed(self.settings.seed, int(item)) for item in task.items]
        device, layer = next(self.network.parameters()).device, self.layers[task.part]

        def activations(values: Tensor | NDArray[np.float32]) -> NDArray[np.float64]:
            return self._activations(self._parts(sent(values, device), task.items), layer)

        mean, sound = self.corpus.mean, audible(self.corpus)
        inversion = self._inverted(sent(inputs, device), layer, task.items, seeds, progress)
        activity = activations(inputs)

        def values() -> Iterator[Values]:
            for number, move in enumerate(self.settings.moves()):
                target = activity + self._moved(move, layer, seeds)
                place = number, task.part
                restored = inversion.reconstruction[number, 0].numpy() + mean
                yield Values("reconstruction", place, restored)
                for name in ("objective", "steps", "mismatch"):
                    yield Values(name, place, getattr(inversion, name)[number, 0].numpy())
                found = activations(inversion.reconstruction[number, 0])
                yield Values("mismatch_other", place, mismatched(target, found)[1])
                if not sound:
                    continue
                if (number, 0) in inversion.waveforms:
                    waveforms = inversion.waveforms[number, 0].numpy()
                else:
                    waveforms = sound_of(self.corpus, restored, seeds)
                yield Values("waveform", place, waveforms)
                if analysed(self.corpus):
                    again = self.corpus.representation.segments(waveforms) - mean
                    found = activations(again)
                    own, other = mismatched(target, found)
                    yield Values("mismatch_waveform", place, own)
                    yield Values("mismatch_waveform_other", place, other)
            if task.part == 0:
                yield Values("original", (), inputs + mean)
            if task.part == 0 and sound:
                yield Values("waveform_original", (), self.examples.waveforms(task.items))
                trip = sound_of(self.corpus, inputs + mean, seeds)
                yield Values("waveform_round_trip", (), trip)

        finite = inversion.mismatch.isfinite().flatten(0, 1).all(0).numpy()
        return Results(values(), {"finite": finite})

    def _inverted(
        self,
        inputs: Tensor,
        layer: int,
        items: NDArray[np.integer[Any]],
        seeds: Sequence[int],
        progress: Callable[[int, int], None] | None,
    ) -> Inversion:
        """Return what is reconstructed of inputs (N, C, F, T) from a layer."""
        device, methods = inputs.device, len(self.settings.method)
        labels, speakers = self.examples.told(items)
        found = []
        for rows, network, x in self._parts(inputs, items):

            def done(count: int, _: int, begin: int = rows.start) -> None:
                if progress is not None:
                    progress(begin + count // methods, len(inputs))

            known = Known(x, labels[rows], speakers[rows], self.pool)
            found.append(
                invert(
                    network,
                    x,
                    [layer],
                    self.settings,
                    seeds[rows],
                    restorers=self.restorers,
                    derived=None if self.derived is None else self.derived.to(device),
                    analysis=None if self.analysis is None else self.analysis.to(device),
                    known=known,
                    directions=self.directions,
                    progress=done,
                )
            )
        return joined(found, torch.from_numpy(-self.corpus.mean).expand(self.corpus.input_shape))

    def _moved(self, move: str, layer: int, seeds: Sequence[int]) -> NDArray[np.float64] | float:
        """Return what a method adds to the activations of items with these seeds."""
        if not move or self.directions is None:
            return 0.0
        held = self.directions[layer].of(move, seeds)
        return np.asarray(held.flatten(1).double().cpu().numpy())

    def _parts(
        self, x: Tensor, items: NDArray[np.integer[Any]]
    ) -> list[tuple[slice, Layered, Tensor]]:
        """Return the rows of inputs that are inverted together, the network for them, and them."""
        if not (self.trims and isinstance(self.examples, CorpusExamples)):
            return [(slice(0, len(x)), self.network, x)]
        assert isinstance(self.network, ForeignNetwork)
        return [
            (slice(n, n + 1), self.network.cut(length), x[n : n + 1, ..., :length])
            for n, length in enumerate(self.examples.lengths(items))
        ]

    def _activations(
        self, parts: Sequence[tuple[slice, Layered, Tensor]], layer: int
    ) -> NDArray[np.float64]:
        """Return the activations (N, units) of inputs; behind shorter ones are zeros."""
        with torch.no_grad():
            held = [
                network.activation(some, layer).double().cpu()
                for _, network, x in parts
                for some in torch.split(x, self.settings.block)
            ]
        largest = tuple(map(max, zip(*(part.shape[1:] for part in held), strict=True)))
        return together(held, largest).flatten(1).numpy()


def analysed(corpus: Corpus) -> bool:
    """Whether what a network sees is made from a segment's sound alone, and can be made again."""
    config = corpus.config
    return corpus.unit == "segment" and not config.get("duration") and audible(corpus)


LEAST = 1e-12
"""Mismatch that counts as none."""


def mismatched(
    target: NDArray[np.float64], found: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ‖Y* − Y‖ / ‖Y*‖ of items, and the same when pairs are lost, (N,) each.

    What is particular to an original or a reconstruction is a factor: of a quiet original every
    other is many times its size away.

    Parameters
    ----------
    target, found
        Activations (N, units).
    """
    size = np.linalg.norm(target, axis=1)
    size[size == 0] = 1.0

    def apart(other: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.linalg.norm(target - other, axis=1) / size)

    def factor(pair: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.log(np.maximum(apart(found[pair]), LEAST))

    return apart(found), np.exp(with_others(factor, partners(len(target))))


def write_inversion(
    writer: ArtifactWriter,
    work: Inverter,
    *,
    step: int,
    part: slice = slice(None),
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[int]:
    """Reconstruct items and write the inversion arrays of docs/artifacts.md.

    Spectrograms are stored with the mean restored, waveforms by the inverse transform, which for
    moduli estimates a phase.

    Parameters
    ----------
    step
        Items of a chunk.
    part
        Which of the examples.
    executor
        What does the work; None: this process. The arrays do not depend on it.

    Returns
    -------
    The items whose activations, of the reconstruction or the original, are not all numbers.

    Raises
    ------
    SpeechscopeError
        None has.
    """
    layers = work.layers
    index = np.asarray(work.examples.index, dtype=np.int64)[part]
    _put_directions(writer, work)
    _create(writer, work, len(index), step)
    _coordinates(writer, work, index, part)
    # Deep layers take longest: begun first, they leave none to be waited for at the end.
    order = sorted(range(len(layers)), key=lambda part: -layers[part])
    tasks = (
        replace(task, part=order[task.part]) for task in tasks_of(index, step, parts=len(layers))
    )
    total = len(index) * len(layers)
    finite = np.ones(len(index), dtype=bool)
    executor = executor or Serial()
    for done in carry_out(writer, work, tasks, executor, total=total, progress=progress):
        finite[done.task.start : done.task.stop] &= done.returned["finite"]
    if len(finite) and not finite.any():
        raise SpeechscopeError(
            "no item has a reconstruction whose activations are numbers: a layer gives "
            "not-a-number (a root or a logarithm of what is negative)"
        )
    return [int(i) for i in index[~finite]]


def _create(writer: ArtifactWriter, work: Inverter, count: int, step: int) -> None:
    """Create the arrays that tasks fill, chunks being `step` of `count` items."""
    corpus, sound = work.corpus, audible(work.corpus)
    grid = {"technique": len(work.settings.method), "layer": len(work.layers)}
    volume = dict(zip(("channel", "frequency", "time"), corpus.input_shape, strict=True))
    units: dict[str, Any] = {"units": "1"}
    history = {"long_name": "objective before each step; NaN after an item's last", **units}
    apart = {"long_name": "distance of the activations over their norm", **units}
    other = {"long_name": "the same for reconstructions of other items", **units}
    arrays: list[tuple[str, dict[str, int], dict[str, int], dict[str, Any], Any]] = [
        ("original", {}, volume, units, np.float32),
        ("reconstruction", grid, volume, units, np.float32),
        ("objective", grid, {"step": longest(work.settings) + 1}, history, np.float32),
        ("steps", grid, {}, units, np.int32),
        ("mismatch", grid, {}, apart, np.float32),
        ("mismatch_other", grid, {}, other, np.float32),
    ]
    if sound:
        rate = {**units, "sampling_frequency": int(corpus.config["rate"])}
        samples = {"sample": int(corpus.config["samples"])}
        for name in ("waveform_original", "waveform_round_trip"):
            arrays.append((name, {}, samples, rate, np.float32))
        arrays.append(("waveform", grid, samples, rate, np.float32))
        if analysed(corpus):
            again = {"long_name": "mismatch of the waveform analysed again", **units}
            arrays.append(("mismatch_waveform", grid, {}, again, np.float32))
            arrays.append(("mismatch_waveform_other", grid, {}, other, np.float32))
        average = sound_of(corpus, corpus.mean[None], [work.settings.seed])[0]
        writer.put("waveform_average", average, ("sample",), rate)
    for name, before, each, attributes, kind in arrays:
        shape = (*before.values(), count, *each.values())
        chunk = (*(1 for _ in before), step, *each.values())
        writer.create(name, shape, kind, (*before, "item", *each), attributes, chunk)


def _put_directions(writer: ArtifactWriter, work: Inverter) -> None:
    """Write the directions that activity was moved along, as ``direction_LAYER``."""
    for layer, held in (work.directions or {}).items():
        name = work.network.named(layer)
        rows = torch.stack([part.flatten() for part in held.by_name.values()]).cpu().numpy()
        writer.put(
            f"direction_{name}",
            rows,
            ("direction", f"unit_{name}"),
            {"units": "1", "long_name": "what a step, or a deviation more, adds to the activity"},
        )
        if layer == work.layers[0]:
            writer.name_axis("direction", list(held.by_name))


def _coordinates(
    writer: ArtifactWriter, work: Inverter, index: NDArray[np.int64], part: slice
) -> None:
    examples = work.examples
    methods, layers = work.settings.method, work.layers
    classes = flag_attributes(examples.classes)
    writer.put("item_index", index, ("item",), {"units": "1"})
    writer.put("label", examples.labels[part].astype(np.int16), ("item",), classes)
    if examples.speakers is not None:
        spoken = flag_attributes(examples.speaker_names)
        writer.put("speaker", examples.speakers[part].astype(np.int32), ("item",), spoken)
    writer.name_axis("technique", methods)
    writer.name_axis("layer", [work.network.named(layer) for layer in layers])
    counted = {"units": "1", "long_name": "place of the layer in the network"}
    writer.put("layer_number", np.asarray(layers, dtype=np.int16), ("layer",), counted)
    for name, (values, attributes) in work.corpus.axes.items():  # waveforms have no frequency axis
        writer.put(name, values, (name,), attributes)


def write_wavs(inversion: Path, folder: Path, *, force: bool) -> int:
    """Write every waveform of an inversion and return their number.

    Files are named ``ITEM_LABEL_original.wav`` and ``ITEM_LABEL_layerN_METHOD.wav``.

    Raises
    ------
    UsageProblem
        The folder exists and may not be replaced.
    """
    artifact = Artifact(inversion, "inversion")
    methods, layers = artifact.flags("technique"), artifact.read("layer_number").tolist()
    names = artifact.flags("label")

    def sounds() -> Iterator[tuple[str, NDArray[np.float32]]]:
        for item, label in enumerate(artifact.read("label")):
            stem = f"{item:04d}_{names[label]}"
            yield f"{stem}_original", artifact.read("waveform_original", item)
            for m, method in enumerate(methods):
                for index, layer in enumerate(layers):
                    waveform = artifact.read("waveform", (m, index, item))
                    yield f"{stem}_layer{layer:02d}_{method}", waveform

    rate = int(artifact.attributes("waveform")["sampling_frequency"])
    return write_folder(sounds(), folder, rate, inversion.name, force=force)
