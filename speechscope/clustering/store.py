"""Clustering what layers hold and writing `clusters.zarr` (DESIGN sec. 2)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.clustering.layer import Answer, Question, answered
from speechscope.clustering.maps import EMBEDDINGS
from speechscope.clustering.samples import Samples, activations
from speechscope.clustering.similarity import alignments, inner_products
from speechscope.corpus.phonology import FEATURES, formants_of
from speechscope.networks.subject import Subject
from speechscope.store.writer import CHUNK_BYTES, ArtifactWriter, flag_attributes
from speechscope.work.device import threads
from speechscope.work.local import Executor
from speechscope.work.tasks import ordered_map

_ALGORITHM_DIMS: dict[str, tuple[str, ...]] = {
    "cluster": ("item",),
    "precision": (),
    "recall": (),
    "f_measure": (),
    "mutual_information": (),
    "n_clusters": (),
    "criterion": ("k",),
    "composition": ("cluster_number", "class"),
    "purity": ("feature", "control"),
}
_LAYER_DIMS: dict[str, tuple[str, ...]] = {
    "projection": ("item", "component"),
    "class_projection": ("embedding", "class", "component"),
    "probe": ("feature", "control"),
}
CONTROLS = ("feature", "control")
"""The second dimension of ``purity`` and ``probe``: the phonological feature, and its values given
to the phones at random."""


@dataclass(frozen=True)
class LayerWork:
    """Finds everything about one layer, by its name.

    It works in one thread, whatever the process has: sums depend on how many threads share them,
    and the arrays are to be the same for any number of workers.

    Parameters
    ----------
    subject
        The network and the corpus.
    samples
        See `samples.choose`.
    """

    subject: Subject
    samples: Samples
    question: Question

    def __call__(self, layer: str) -> Answer:
        """Return what is found of a layer."""
        with single_thread():
            held = activations(self.subject.network, self.subject.inputs, self.samples, layer)
            return answered(held.numpy(), self.question)


def write_clusters(
    writer: ArtifactWriter,
    work: LayerWork,
    layers: Sequence[str],
    *,
    executor: Executor,
    other: tuple[Subject, Sequence[str]] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Cluster the activations of layers and write all that is found.

    A layer at a time and worker is held in memory.

    Parameters
    ----------
    layers
        Names of `networks.activations`, in order.
    executor
        Who works on the layers.
    other
        Another network and its layers, for comparison.
    """
    classes = work.subject.corpus.classes
    _put_items(writer, work.samples, work.question, layers, classes)
    answers: list[Answer] = []
    with (
        ordered_map(work, layers, executor, writer.folder) as results,
    ):
        for answer in results:
            answers.append(answer)
            if progress is not None:
                progress(len(answers), len(layers))
    _put_answers(writer, answers, work.question)
    with single_thread():
        _put_similarity(writer, answers, work, other)


def _put_items(
    writer: ArtifactWriter,
    samples: Samples,
    question: Question,
    layers: Sequence[str],
    classes: Sequence[str],
) -> None:
    labels = flag_attributes(classes)
    numbers = np.arange(len(classes), dtype=np.int16)
    writer.put("label", samples.labels.astype(np.int16), ("item",), labels)
    writer.put("item_index", samples.first, ("item",), {"units": "1"})
    writer.put("class", numbers, ("class",), labels)
    counts = np.bincount(samples.labels, minlength=len(classes)).astype(np.int32)
    writer.put("count", counts, ("class",), {"units": "1"})
    for name, names in (
        ("layer", layers),
        ("reduction", question.reductions),
        ("algorithm", question.algorithms),
        ("feature", FEATURES),
        ("control", CONTROLS),
        ("embedding", EMBEDDINGS),
    ):
        writer.put(name, np.arange(len(names), dtype=np.int16), (name,), flag_attributes(names))
    writer.put("k", np.array(question.counts, dtype=np.int16), ("k",), {"units": "1"})
    formants = formants_of(classes)
    attributes = {"units": "Hz", "long_name": "known F1 and F2 of vowels"}
    writer.put("formant", formants, ("class", "formant_number"), attributes)
    values = [list(dict.fromkeys(question.features[name])) for name in FEATURES]
    for name, found in zip(FEATURES, values, strict=True):
        places = np.array([found.index(value) for value in question.features[name]], dtype=np.int16)
        writer.put(f"class_{name}", places, ("class",), flag_attributes(found))


def _put_answers(writer: ArtifactWriter, answers: Sequence[Answer], question: Question) -> None:
    one = {"units": "1"}
    for name, dims in _ALGORITHM_DIMS.items():
        values = np.stack([answer.by_algorithm[name] for answer in answers])
        writer.put(name, values, ("layer", "reduction", "algorithm", *dims), one)
    sizes = np.stack([answer.by_reduction["dimensions"] for answer in answers])
    writer.put("dimensions", sizes, ("layer", "reduction"), one)
    for name, dims in _LAYER_DIMS.items():
        if name in answers[0].layer:
            values = np.stack([answer.layer[name] for answer in answers])
            writer.put(name, values, ("layer", *dims), one)
    _put_maps(writer, [answer.layer["activation_map"] for answer in answers], question.classes)


def _put_maps(writer: ArtifactWriter, means: Sequence[NDArray[Any]], classes: int) -> None:
    """Write the class means of layers with maps, and of layers whose units have no place.

    Layers differ in size: beyond the end of a layer, and for layers of the other kind, NaN. Each is
    written by itself, for padded they are large.
    """
    one = {"units": "1", "long_name": "mean activation; NaN beyond the size of the layer"}
    placed = [mean if mean.ndim > 2 else None for mean in means]
    shapes = [_map_shape(mean) for mean in means]
    most = tuple(map(max, *shapes, (1, 1, 1)))
    dims = ("layer", "map", "class", "map_frequency", "map_time")
    total = (len(means), most[0], classes, *most[1:])
    each = max(1, min(most[0], CHUNK_BYTES // (4 * classes * most[1] * most[2])))
    space = writer.create("activation_map", total, np.float32, dims, one, (1, each, *total[2:]))
    for row, (mean, shape) in enumerate(zip(placed, shapes, strict=True)):
        padded = np.full(total[1:], np.nan, dtype=np.float32)
        if mean is not None:
            values = mean.reshape(classes, *shape).transpose(1, 0, 2, 3)
            padded[: shape[0], :, : shape[1], : shape[2]] = values
        space[row] = padded
    names = ("map", "map_frequency", "map_time")
    attributes = {"units": "1", "long_name": "size of the maps of a layer; 0 without maps"}
    writer.put("map_shape", np.array(shapes, dtype=np.int32), ("layer", "map_axis"), attributes)
    writer.put("map_axis", np.arange(3, dtype=np.int8), ("map_axis",), flag_attributes(names))
    units = max([1, *(mean.shape[1] for mean in means if mean.ndim == 2)])
    flat = np.full((len(means), units, classes), np.nan, dtype=np.float32)
    for row, mean in enumerate(means):
        if mean.ndim == 2:
            flat[row, : mean.shape[1]] = mean.T
    writer.put("unit_activation", flat, ("layer", "unit", "class"), one)


def _map_shape(mean: NDArray[Any]) -> tuple[int, int, int]:
    """Return (maps, frequency, time) of means (class, …); of one axis of places, that is time."""
    shape = mean.shape[1:]
    if len(shape) < 2:
        return 0, 0, 0
    maps, *places = (int(size) for size in shape)
    return (maps, 1, places[0]) if len(places) == 1 else (maps, places[0], int(np.prod(places[1:])))


def _put_similarity(
    writer: ArtifactWriter,
    answers: Sequence[Answer],
    work: LayerWork,
    other: tuple[Subject, Sequence[str]] | None,
) -> None:
    mine = [answer.products for answer in answers]
    one = {"units": "1", "long_name": "centred kernel alignment"}
    writer.put("cka", alignments(mine, mine).astype(np.float32), ("layer", "other_layer"), one)
    if other is None:
        return
    rival, layers = other
    part = work.samples.take(work.question.compared)
    theirs = [
        inner_products(activations(rival.network, rival.inputs, part, name).flatten(1).numpy())
        for name in layers
    ]
    dims = ("layer", "against_layer")
    writer.put("cka_against", alignments(mine, theirs).astype(np.float32), dims, one)
    numbers = np.arange(len(layers), dtype=np.int16)
    writer.put("against_layer", numbers, ("against_layer",), flag_attributes(layers))


@contextmanager
def single_thread() -> Iterator[None]:
    """Let libraries use one thread while the block runs."""
    from threadpoolctl import threadpool_limits

    with threads(1), threadpool_limits(1):
        yield
