"""Writing `clusters.zarr` (DESIGN sec. 2)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.clustering.layer import LayerWork, compared, single_thread
from speechscope.clustering.measures import alignments, inner_products
from speechscope.clustering.reduction import EMBEDDINGS
from speechscope.clustering.samples import activations, classes_of
from speechscope.corpus.phones import FEATURES, features_of, formants_of
from speechscope.networks.subject import Subject
from speechscope.store.writer import CHUNK_BYTES, ArtifactWriter, flag_attributes
from speechscope.work.local import Executor

CELL = ("layer", "reduction", "algorithm")
DIMS: dict[str, tuple[str, ...]] = {
    "cluster": (*CELL, "item"),
    "precision": CELL,
    "recall": CELL,
    "f_measure": CELL,
    "mutual_information": CELL,
    "n_clusters": CELL,
    "criterion": (*CELL, "k"),
    "composition": (*CELL, "cluster_number", "class"),
    "purity": (*CELL, "feature", "control"),
    "dimensions": ("layer", "reduction"),
    "projection": ("layer", "item", "component"),
    "class_projection": ("layer", "embedding", "class", "component"),
    "probe": ("layer", "feature", "control"),
}
CONTROLS = ("feature", "control")
"""The second dimension of ``purity`` and ``probe``: the phonological feature, and its values given
to the phones at random."""


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
        Their names, in order, ``input`` among them.
    other
        Another network and its layers, for comparison.
    """
    _put_items(writer, work, layers)
    layer_arrays: list[dict[str, NDArray[Any]]] = []
    with executor.ordered_map(work, layers, writer.folder) as results:
        for arrays in results:
            layer_arrays.append(arrays)
            if progress is not None:
                progress(len(layer_arrays), len(layers))
    for name, dims in DIMS.items():
        if name in layer_arrays[0]:
            values = np.stack([arrays[name] for arrays in layer_arrays])
            writer.put(name, values, dims, {"units": "1"})
    _put_maps(writer, [arrays["activation_map"] for arrays in layer_arrays])
    with single_thread():
        _put_similarity(writer, [arrays["products"] for arrays in layer_arrays], work, other)


def _put_items(writer: ArtifactWriter, work: LayerWork, layers: Sequence[str]) -> None:
    samples, classes = work.samples, classes_of(work.subject.corpus)
    labels = flag_attributes(classes)
    writer.put("label", samples.labels.astype(np.int16), ("item",), labels)
    writer.put("item_index", samples.first, ("item",), {"units": "1"})
    writer.name_axis("class", classes)
    counts = np.bincount(samples.labels, minlength=len(classes)).astype(np.int32)
    writer.put("count", counts, ("class",), {"units": "1"})
    for name, names in (
        ("layer", layers),
        ("other_layer", layers),
        ("reduction", work.settings.reduce),
        ("algorithm", work.settings.algorithm),
        ("feature", FEATURES),
        ("control", CONTROLS),
        ("embedding", EMBEDDINGS),
    ):
        writer.name_axis(name, names)
    writer.put("k", np.array(work.counts, dtype=np.int16), ("k",), {"units": "1"})
    formants = formants_of(classes)
    attributes = {"units": "Hz", "long_name": "known F1 and F2 of vowels"}
    writer.put("formant", formants, ("class", "formant_number"), attributes)
    for name, values in features_of(classes).items():
        kinds = list(dict.fromkeys(values))
        places = np.array([kinds.index(value) for value in values], dtype=np.int16)
        writer.put(f"class_{name}", places, ("class",), flag_attributes(kinds))


def _put_maps(writer: ArtifactWriter, means: Sequence[NDArray[Any]]) -> None:
    """Write the class means of layers with maps, and of layers whose units have no place.

    Layers differ in size: beyond the end of a layer, and for layers of the other kind, NaN. Each is
    written by itself, for padded they are large.
    """
    attributes = {"units": "1", "long_name": "mean activation; NaN beyond the size of the layer"}
    classes = len(means[0])
    shapes = [_map_shape(mean) for mean in means]
    most = tuple(map(max, *shapes, (1, 1, 1)))
    dims = ("layer", "map", "class", "map_frequency", "map_time")
    total = (len(means), most[0], classes, *most[1:])
    each = max(1, min(most[0], CHUNK_BYTES // (4 * classes * most[1] * most[2])))
    space = writer.create(
        "activation_map", total, np.float32, dims, attributes, (1, each, *total[2:])
    )
    for row, (mean, shape) in enumerate(zip(means, shapes, strict=True)):
        padded = np.full(total[1:], np.nan, dtype=np.float32)
        if mean.ndim > 2:
            values = mean.reshape(classes, *shape).transpose(1, 0, 2, 3)
            padded[: shape[0], :, : shape[1], : shape[2]] = values
        space[row] = padded
    names = ("map", "map_frequency", "map_time")
    of_shape = {"units": "1", "long_name": "size of the maps of a layer; 0 without maps"}
    writer.put("map_shape", np.array(shapes, dtype=np.int32), ("layer", "map_axis"), of_shape)
    writer.name_axis("map_axis", names)
    units = max([1, *(mean.shape[1] for mean in means if mean.ndim == 2)])
    flat = np.full((len(means), units, classes), np.nan, dtype=np.float32)
    for row, mean in enumerate(means):
        if mean.ndim == 2:
            flat[row, : mean.shape[1]] = mean.T
    writer.put("unit_activation", flat, ("layer", "unit", "class"), attributes)


def _map_shape(mean: NDArray[Any]) -> tuple[int, int, int]:
    """Return (maps, frequency, time) of means (class, …); of one axis of places, that is time."""
    shape = mean.shape[1:]
    if len(shape) < 2:
        return 0, 0, 0
    maps, *places = (int(size) for size in shape)
    return (maps, 1, places[0]) if len(places) == 1 else (maps, places[0], int(np.prod(places[1:])))


def _put_similarity(
    writer: ArtifactWriter,
    products: list[NDArray[np.float64]],
    work: LayerWork,
    other: tuple[Subject, Sequence[str]] | None,
) -> None:
    attributes = {"units": "1", "long_name": "centred kernel alignment"}
    own = alignments(products, products).astype(np.float32)
    writer.put("cka", own, ("layer", "other_layer"), attributes)
    if other is None:
        return
    rival, layers = other
    part = work.samples.take(compared(work.samples, work.settings.seed))
    theirs = [inner_products(activations(rival, part, name).flatten(1).numpy()) for name in layers]
    dims = ("layer", "against_layer")
    writer.put("cka_against", alignments(products, theirs).astype(np.float32), dims, attributes)
    writer.name_axis("against_layer", layers)
