"""The filters of a network's first layer, and what they respond to."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechscope.corpus.store import Corpus
from speechscope.networks.layers import Conv
from speechscope.networks.saved import Model
from speechscope.relevance.waveforms import cumulative_response
from speechscope.report.corpus import example_items, names_of_items
from speechscope.report.figures import (
    Axis,
    Cell,
    Chart,
    Figure,
    Gallery,
    Line,
    Picture,
    Plot,
    symmetric,
)
from speechscope.report.media import SECONDS

MOST = 48
"""Filters shown, whatever is asked (chosen: the eye does not take in more)."""
POINTS = 1024
"""Of the transform of a filter for raw waveforms (chosen: 16 Hz apart at 16 kHz)."""


def figures(model: Model, corpus: Corpus | None) -> list[Figure]:
    """Return the filters, and their responses.

    Of a network for waveforms: each filter with its magnitude response, and the cumulative response
    of all (Muckenhirn 2019, eq. 1). Of one for spectrograms: each filter, and what it makes of one
    test item, which needs the corpus.
    """
    if not isinstance(model.network.table[0], Conv):
        return []
    kernels = model.network.get_parameter(f"{model.network.names[0]}.weight").detach()
    if kernels.shape[1] == kernels.shape[2] == 1 and model.network.input_shape[1] == 1:
        return _of_waveforms(kernels[:, 0, 0], corpus)
    return _of_spectrograms(model, kernels, corpus)


def _of_waveforms(kernels: Tensor, corpus: Corpus | None) -> list[Figure]:
    rate = None if corpus is None else int(corpus.config["rate"])
    points = max(POINTS, 1 << (kernels.shape[1] - 1).bit_length())
    frequency = np.arange(points // 2 + 1) * (rate or 1) / points
    time = np.arange(kernels.shape[1]) * (1e3 / rate if rate else 1)
    units = ("time [ms]", "frequency [Hz]") if rate else ("sample", "frequency [of the rate]")
    spectra = torch.fft.rfft(kernels, points).abs().numpy()
    order = np.argsort(spectra.argmax(1), kind="stable")[:MOST]
    cells: list[tuple[str, Cell]] = []
    for index in order:
        peak = f"peak {frequency[spectra[index].argmax()]:.4g}{' Hz' if rate else ''}"
        wave = Chart([Line("", time, kernels[index].numpy())], units[0], "weight", alt=peak)
        cells.append((f"filter {index}, {peak}", wave))
    note = f"{len(cells)} of {len(kernels)} filters, by the frequency they pass best."
    passed = Chart(
        [Line("all filters", frequency, cumulative_response(kernels, points).numpy())],
        units[1],
        "cumulative response",
        alt="cumulative frequency response of the first layer",
    )
    each = [Line(f"filter {index}", frequency, spectra[index]) for index in order[:6]]
    single = Chart(each, units[1], "magnitude", alt="magnitude responses of the first filters")
    said = (
        "The sum of the filters' magnitude spectra, each over its norm (Muckenhirn 2019, eq. 1), "
        "and those of the first few filters."
    )
    return [
        Gallery("filters", "First-layer filters", note, cells),
        Plot("responses", "What the first layer passes", said, [passed, single]),
    ]


def _of_spectrograms(model: Model, kernels: Tensor, corpus: Corpus | None) -> list[Figure]:
    weights = kernels.numpy()
    shown = weights[:MOST]
    spans = _spans(corpus, weights.shape[2:])
    cells: list[tuple[str, Cell]] = []
    for index, filters in enumerate(shown):
        # Of several input channels, the first: the values, not their derivatives.
        values = filters[0]
        picture = Picture(
            values / (np.abs(values).max() or 1.0),
            spans["time"],
            spans["frequency"],
            symmetric(values, "weight, of the filter's largest", 1.0),
            alt=f"filter {index}",
        )
        cells.append((f"filter {index}", picture))
    channel = "" if weights.shape[1] == 1 else f" The first of {weights.shape[1]} channels."
    note = (
        f"{len(shown)} of {len(weights)} filters of {model.network.names[0]}, "
        f"{weights.shape[2]} × {weights.shape[3]} (frequency × time).{channel}"
    )
    found: list[Figure] = [Gallery("filters", "First-layer filters", note, cells)]
    if corpus is not None:
        found += _responses(model, corpus)
    return found


def _spans(corpus: Corpus | None, size: tuple[int, int]) -> Mapping[str, Axis]:
    """Return the axes of a filter: how far it reaches in frequency and time, where it is known."""
    bins, frames = size
    axes = {"frequency": Axis("bin", "", 0, bins), "time": Axis("frame", "", 0, frames)}
    if corpus is None:
        return axes
    config = corpus.config
    hop = (int(config["window"]) - int(config["overlap"])) / int(config["rate"])
    axes["time"] = Axis("time", "ms", 0, 1e3 * hop * frames)
    frequency = corpus.artifact.read("frequency")
    steps = np.diff(frequency)
    even = len(steps) and np.allclose(steps, steps[0], rtol=1e-3)
    if even and corpus.artifact.attributes("frequency").get("units") == "Hz":
        axes["frequency"] = Axis("frequency", "Hz", 0, float(steps[0]) * bins)
    return axes


def _responses(model: Model, corpus: Corpus) -> list[Figure]:
    items = example_items(corpus, 3)[:1]
    if not len(items):
        return []
    (name,) = names_of_items(corpus, items)
    x = _input(model, corpus, items)
    maps = model.network.cpu().activation(x, 1)[0].numpy()
    cells: list[tuple[str, Cell]] = []
    for index, values in enumerate(maps[:MOST]):
        if 1 in values.shape:
            along = "frame" if values.shape[0] == 1 else "bin"
            line = Line("", np.arange(values.size, dtype=np.float64), values.ravel())
            chart = Chart([line], along, "activation", alt=f"response of filter {index}")
            cells.append((f"filter {index}", chart))
            continue
        frames = Axis("frame", "", 0, values.shape[1])
        bins = Axis("bin", "", 0, values.shape[0])
        picture = Picture(
            values / (np.abs(values).max() or 1.0),
            frames,
            bins,
            symmetric(values, "activation before the ReLU, of the map's largest", 1.0),
            alt=f"response of filter {index}",
        )
        cells.append((f"filter {index}", picture))
    note = f"What each filter makes of {name}: {len(cells)} of {len(maps)} maps."
    return [Gallery("responses", "First-layer responses", note, cells)]


def _input(model: Model, corpus: Corpus, items: Any) -> Tensor:
    if corpus.unit != "utterance":
        return torch.from_numpy(corpus.centred(items))
    hop = (int(corpus.config["window"]) - int(corpus.config["overlap"])) / corpus.config["rate"]
    (values,) = corpus.utterance_inputs(items)
    shown = values[..., : int(SECONDS / hop)] - corpus.mean[..., None]
    return torch.from_numpy(np.ascontiguousarray(shown)[None])
