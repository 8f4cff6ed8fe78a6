"""Inverting items of a corpus block by block into the arrays of ``inversion.zarr``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from speechscope.artifact_writer import ArtifactWriter, flag_attributes
from speechscope.corpus.store import Corpus
from speechscope.inversion.chain import InversionSettings, invert
from speechscope.networks.decoders import Decoder
from speechscope.networks.layers import Network

BLOCK = 256
"""Items worked on at a time, and in one chunk: 3 MB of spectrograms a method and layer."""


def write_inversion(
    writer: ArtifactWriter,
    corpus: Corpus,
    network: Network,
    decoders: Mapping[int, Decoder],
    *,
    items: NDArray[np.integer[Any]],
    layers: Sequence[int],
    methods: Sequence[str],
    settings: InversionSettings,
    max_steps: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Reconstruct items and write the inversion arrays of DESIGN sec. 2.

    The random start of an item depends on `seed` and on the item's place in the corpus, not on
    the items around it. Spectrograms are stored with the mean restored, waveforms by the inverse
    transform.

    Parameters
    ----------
    items : (N,) indices into the corpus.
    layers, methods
        As `speechscope.inversion.chain.invert` takes them.
    max_steps
        Most steps any of the methods takes, for the length of ``objective``.
    """
    count, sound = len(items), corpus.invertible
    volume = ("channel", "frequency", "time")
    grid, sizes = ("method", "layer", "item"), (len(methods), len(layers), count)
    shape = corpus.input_shape
    step = min(BLOCK, count)
    original = writer.create(
        "original", (count, *shape), np.float32, ("item", *volume), {"units": "1"}, (step, *shape)
    )
    found = writer.create(
        "reconstruction",
        (*sizes, *shape),
        np.float32,
        (*grid, *volume),
        {"units": "1"},
        (1, 1, step, *shape),
    )
    length = max_steps + 1
    objective = writer.create(
        "objective",
        (*sizes, length),
        np.float32,
        (*grid, "step"),
        {"long_name": "objective before each step; NaN after an item's last", "units": "1"},
        (1, 1, step, length),
    )
    steps = writer.create("steps", sizes, np.int32, grid, {"units": "1"}, (1, 1, step))
    rate = {"units": "1", "sampling_frequency": int(corpus.config["rate"])}
    if sound:
        samples = int(corpus.config["samples"])
        one = (step, samples)
        heard = [
            writer.create(name, (count, samples), np.float32, ("item", "sample"), rate, one)
            for name in ("waveform_original", "waveform_round_trip")
        ]
        waveform = writer.create(
            "waveform",
            (*sizes, samples),
            np.float32,
            (*grid, "sample"),
            rate,
            (1, 1, step, samples),
        )
        average = corpus.sound_of(corpus.mean[None])[0]
        writer.put("waveform_average", average, ("sample",), rate)
    writer.put("item_index", np.asarray(items, dtype=np.int64), ("item",), {"units": "1"})
    labels = corpus.labels[items].astype(np.int16)
    writer.put("label", labels, ("item",), flag_attributes(corpus.classes))
    names = np.arange(len(methods), dtype=np.int16)
    writer.put("method", names, ("method",), flag_attributes(methods))
    layer_names = {"flag_values": list(layers), "units": "1"}
    layer_names["flag_meanings"] = " ".join(network.names[layer - 1] for layer in layers)
    writer.put("layer", np.asarray(layers, dtype=np.int16), ("layer",), layer_names)
    for name in ("frequency", "time"):
        values, attributes = corpus.artifact.read(name), corpus.artifact.attributes(name)
        writer.put(name, values, (name,), attributes)

    device = next(network.parameters()).device
    per_item = len(methods) * len(layers)
    for start in range(0, count, BLOCK):
        block = slice(start, min(count, start + BLOCK))
        part = items[block]
        inputs = corpus.centred(part)
        done = invert(
            network,
            decoders,
            torch.from_numpy(inputs).to(device),
            layers,
            methods,
            settings,
            seeds=[_item_seed(seed, int(item)) for item in part],
            progress=_offset(progress, start * per_item, count * per_item),
        )
        restored = done.reconstruction.cpu().numpy() + corpus.mean
        original[block] = inputs + corpus.mean
        found[:, :, block] = restored
        padded = np.full((len(methods), len(layers), len(part), length), np.nan, dtype=np.float32)
        padded[..., : done.objective.shape[-1]] = done.objective.cpu().numpy()
        objective[:, :, block] = padded
        steps[:, :, block] = done.steps.cpu().numpy()
        if sound:
            heard[0][block] = corpus.waveforms(part)
            heard[1][block] = corpus.sound_of(inputs + corpus.mean)
            flat = restored.reshape(-1, *shape)
            waveform[:, :, block] = corpus.sound_of(flat).reshape(
                len(methods), len(layers), len(part), samples
            )


def _item_seed(seed: int, item: int) -> int:
    """Return a seed of its own for every item."""
    return int(np.random.SeedSequence([seed, item]).generate_state(1, np.uint64)[0] >> 1)


def _offset(
    progress: Callable[[int, int], None] | None, before: int, total: int
) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)
