"""Inverting items of a corpus block by block into the arrays of ``inversion.zarr``."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from speechscope.artifact_writer import ArtifactWriter, flag_attributes
from speechscope.corpus.store import Corpus
from speechscope.inversion.chain import InversionSettings, invert
from speechscope.inversion.examples import Examples
from speechscope.inversion.problem import Restorer
from speechscope.inversion.sound import audible, sound_of
from speechscope.networks.layered import Layered

BLOCK = 256
"""Items worked on at a time, and in one chunk: 3 MB of spectrograms a method and layer."""


def write_inversion(
    writer: ArtifactWriter,
    corpus: Corpus,
    network: Layered,
    restorers: Mapping[str, Mapping[int, Restorer]],
    *,
    examples: Examples,
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
    transform, which for moduli estimates a phase.

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
    """
    count, sound = len(examples.index), audible(corpus)
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
    apart = {"long_name": "distance of the activations over their norm", "units": "1"}
    mismatch = writer.create("mismatch", sizes, np.float32, grid, apart, (1, 1, step))
    rate = {"units": "1", "sampling_frequency": int(corpus.config["rate"])}
    if sound:
        samples = int(corpus.config["samples"])
        one = (step, samples)
        sounds = [
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
        average = sound_of(corpus, corpus.mean[None], [seed])[0]
        writer.put("waveform_average", average, ("sample",), rate)
    index = np.asarray(examples.index, dtype=np.int64)
    writer.put("item_index", index, ("item",), {"units": "1"})
    labels = examples.labels.astype(np.int16)
    writer.put("label", labels, ("item",), flag_attributes(examples.classes))
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
        inputs = examples.inputs(block)
        seeds = [_item_seed(seed, int(item)) for item in index[block]]
        done = invert(
            network,
            restorers,
            torch.from_numpy(inputs).to(device),
            layers,
            methods,
            settings,
            seeds=seeds,
            progress=_offset(progress, start * per_item, count * per_item),
        )
        restored = done.reconstruction.cpu().numpy() + corpus.mean
        original[block] = inputs + corpus.mean
        found[:, :, block] = restored
        padded = np.full((*sizes[:2], len(inputs), length), np.nan, dtype=np.float32)
        padded[..., : done.objective.shape[-1]] = done.objective.cpu().numpy()
        objective[:, :, block] = padded
        steps[:, :, block] = done.steps.cpu().numpy()
        mismatch[:, :, block] = done.mismatch.cpu().numpy()
        if sound:
            sounds[0][block] = examples.waveforms(block)
            sounds[1][block] = sound_of(corpus, inputs + corpus.mean, seeds)
            for where in np.ndindex(*sizes[:2]):
                waveform[(*where, block)] = sound_of(corpus, restored[where], seeds)


def _item_seed(seed: int, item: int) -> int:
    """Return a seed of its own for every item."""
    return int(np.random.SeedSequence([seed, item]).generate_state(1, np.uint64)[0] >> 1)


def _offset(
    progress: Callable[[int, int], None] | None, before: int, total: int
) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)
