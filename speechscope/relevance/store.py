"""Explaining the items of a corpus and writing `relevance.zarr`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.artifact_writer import CHUNK_BYTES, ArtifactWriter, flag_attributes
from speechscope.errors import UsageProblem
from speechscope.relevance.methods import METHODS, RelevanceSettings
from speechscope.relevance.networks import explained
from speechscope.relevance.spectral import Frames, spectral_gradient, spectral_relevance
from speechscope.relevance.target import per_class, predicted, score
from speechscope.subject import Subject

MOST = 256
"""Most items worked on at a time, and in one chunk."""

GRADIENTS = ("gradient", "guided", "smoothgrad")
"""Methods that give derivatives; the others divide the score among the inputs."""


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


def write_relevance(
    writer: ArtifactWriter,
    subject: Subject,
    *,
    items: NDArray[np.integer[Any]],
    methods: Sequence[str],
    settings: RelevanceSettings,
    target: Target,
    layer: str | None,
    frames: Frames,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Explain items and write the relevance arrays of DESIGN sec. 2, a block at a time.

    An item's relevance depends on `seed` and on the item's place in the corpus, not on the items
    around it.

    Parameters
    ----------
    subject
        The network and the corpus.
    items : (N,) indices into the corpus.
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
    Untreatable
        A method cannot treat a layer.
    """
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise UsageProblem(f"--method {unknown[0]}: choose from {', '.join(METHODS)}")
    corpus = subject.corpus
    shape, count = corpus.input_shape, len(items)
    example = subject.inputs(items[:1])
    of = explained(subject.network, example, layer)
    inside = tuple(of.enter(example).shape[1:])
    step = max(1, min(MOST, count, CHUNK_BYTES // (4 * max(prod(shape), prod(inside)))))
    waveform = corpus.unit == "window"

    # A window of the waveform is one axis of samples, as its corpus stores it.
    axes: tuple[str, ...] = ("sample",) if waveform else ("channel", "frequency", "time")
    stored = shape[-1:] if waveform else shape
    given = writer.create(
        "input", (count, *stored), np.float32, ("item", *axes), {"units": "1"}, (step, *stored)
    )
    if layer is not None:
        axes = ("map", "map_frequency", "map_time")[: len(inside)]
    else:
        inside = stored
    found = writer.create(
        "relevance",
        (len(methods), count, *inside),
        np.float32,
        ("method", "item", *axes),
        {"units": "1"},
        (1, step, *inside),
    )
    spectral = None
    if waveform and layer is None:
        grid = (frames.bins, frames.count(shape[2]))
        spectral = writer.create(
            "spectral_relevance",
            (len(methods), count, *grid),
            np.float32,
            ("method", "item", "frequency", "frame"),
            {"units": "1"},
            (1, step, *grid),
        )
        rate = float(corpus.config["rate"])
        bins = np.arange(frames.bins) * rate / frames.length
        writer.put("frequency", bins, ("frequency",), {"units": "Hz"})
        centres = (np.arange(grid[1]) * frames.hop + frames.length / 2) / rate
        writer.put("frame", centres, ("frame",), {"units": "s"})
    scores = writer.create("score", (count,), np.float32, ("item",), {"units": "1"}, (count,))
    classes = flag_attributes(target.classes)
    chosen = np.empty((2, count), dtype=np.int16)
    all_scores = np.empty(count, dtype=np.float32)
    labels = corpus.labels[items]
    writer.put("item_index", np.asarray(items, dtype=np.int64), ("item",), {"units": "1"})
    writer.put("label", labels.astype(np.int16), ("item",), flag_attributes(corpus.classes))
    numbers = np.arange(len(methods), dtype=np.int16)
    writer.put("method", numbers, ("method",), flag_attributes(methods))
    for name in () if waveform else ("frequency", "time"):
        if name in corpus.artifact:
            values, attributes = corpus.artifact.read(name), corpus.artifact.attributes(name)
            writer.put(name, values, (name,), attributes)

    for start in range(0, count, step):
        block = slice(start, min(count, start + step))
        part = items[block]
        inputs = subject.inputs(part)
        x = of.enter(inputs)
        with torch.no_grad():
            out = of.scores(x)
        guess = predicted(out)
        wanted = target.of(guess, torch.from_numpy(labels[block]).to(x.device))
        all_scores[block] = score(per_class(out), wanted).cpu().numpy()
        chosen[:, block] = torch.stack([wanted, guess]).cpu().numpy()
        given[block] = subject.whole(inputs).reshape(len(part), *stored)
        seeds = [item_seed(seed, int(item)) for item in part]
        for number, name in enumerate(methods):
            relevance = METHODS[name](of, x, wanted, settings, seeds)
            found[number, block] = relevance.reshape(len(part), *inside).cpu().numpy()
            if spectral is not None:
                flat = relevance.flatten(1)
                spectral[number, block] = (
                    (
                        spectral_gradient(flat, frames)
                        if name in GRADIENTS
                        else spectral_relevance(flat, x.flatten(1), frames)
                    )
                    .cpu()
                    .numpy()
                )
            if progress is not None:
                done = block.start * len(methods) + (number + 1) * len(part)
                progress(done, count * len(methods))
    scores[:] = all_scores
    writer.put("target", chosen[0], ("item",), classes)
    writer.put("predicted", chosen[1], ("item",), classes)


def item_seed(seed: int, item: int) -> int:
    """Return a seed of its own for every item."""
    return int(np.random.SeedSequence([seed, item]).generate_state(1, np.uint64)[0] >> 1)
