"""The filters of a network's first layer, and what they respond to."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechscope.corpus.store import Corpus
from speechscope.networks.layers import Conv
from speechscope.networks.saved import Model
from speechscope.relevance.waveforms import cumulative_response
from speechscope.report import figures as fig
from speechscope.report.pictures import example_items, hop, names_of

MOST = 48
"""Filters shown, whatever is asked (chosen: the eye does not take in more)."""
POINTS = 1024
"""Of the transform of a filter for raw waveforms (chosen: 16 Hz apart at 16 kHz)."""


def figures(model: Model, corpus: Corpus | None) -> list[fig.Figure]:
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
    filters = _of_spectrograms(model, kernels.numpy(), corpus)
    if corpus is None or not len(corpus.splits):
        return [filters]
    return [filters, _responses(model, corpus)]


def _of_waveforms(kernels: Tensor, corpus: Corpus | None) -> list[fig.Figure]:
    rate = None if corpus is None else int(corpus.config["rate"])
    points = max(POINTS, 1 << (kernels.shape[1] - 1).bit_length())
    frequency = np.arange(points // 2 + 1) * (rate or 1) / points
    time = np.arange(kernels.shape[1]) * (1e3 / rate if rate else 1)
    across, along = (
        ("time [ms]", "frequency [Hz]") if rate else ("sample", "frequency [of the rate]")
    )
    spectra = torch.fft.rfft(kernels, points).abs().numpy()
    order = np.argsort(spectra.argmax(1), kind="stable")[:MOST]
    cells: list[tuple[str, fig.Cell]] = []
    for index in order:
        peak = f"peak {frequency[spectra[index].argmax()]:.4g}{' Hz' if rate else ''}"
        wave = fig.curve(kernels[index].numpy(), time, across, "weight", alt=peak)
        cells.append((f"filter {index}, {peak}", wave))
    note = f"{len(cells)} of {len(kernels)} filters, by the frequency they pass best."
    passed = fig.Chart(
        [fig.Line("all filters", frequency, cumulative_response(kernels, points).numpy())],
        along,
        "cumulative response",
        alt="cumulative frequency response of the first layer",
    )
    each = [fig.Line(f"filter {index}", frequency, spectra[index]) for index in order[:6]]
    single = fig.Chart(each, along, "magnitude", alt="magnitude responses of the first filters")
    response = (
        "The sum of the filters' magnitude spectra, each over its norm (Muckenhirn 2019, eq. 1), "
        "and those of the first few filters."
    )
    return [
        fig.Gallery("filters", "First-layer filters", note, cells),
        fig.Plot("responses", "What the first layer passes", response, [passed, single]),
    ]


def _of_spectrograms(
    model: Model, weights: NDArray[np.float32], corpus: Corpus | None
) -> fig.Gallery:
    count, channels, bins, frames = weights.shape
    frequency, time = _reach(corpus, bins, frames)
    label = "weight, of the filter's largest"
    cells: list[tuple[str, fig.Cell]] = []
    for index, kernel in enumerate(weights[:MOST]):
        # Of several input channels, the first: the values, not their derivatives.
        name = f"filter {index}"
        cells.append((name, fig.signed(kernel[0], time, frequency, label, alt=name)))
    channel = "" if channels == 1 else f" The first of {channels} channels."
    note = (
        f"{len(cells)} of {count} filters of {model.network.names[0]}, "
        f"{bins} × {frames} (frequency × time).{channel}"
    )
    return fig.Gallery("filters", "First-layer filters", note, cells)


def _reach(corpus: Corpus | None, bins: int, frames: int) -> tuple[fig.Axis, fig.Axis]:
    """Return the axes of a filter: how far it reaches in frequency and time, where it is known."""
    frequency, time = fig.Axis("bin", "", 0, bins), fig.Axis("frame", "", 0, frames)
    if corpus is None:
        return frequency, time
    time = fig.Axis("time", "ms", 0, 1e3 * hop(corpus) * frames)
    centres = corpus.artifact.read("frequency")
    steps = np.diff(centres)
    even = len(steps) and np.allclose(steps, steps[0], rtol=1e-3)
    if even and corpus.artifact.attributes("frequency").get("units") == "Hz":
        frequency = fig.Axis("frequency", "Hz", 0, float(steps[0]) * bins)
    return frequency, time


def _responses(model: Model, corpus: Corpus) -> fig.Gallery:
    items = example_items(corpus, 3)[:1]
    (name,) = names_of(corpus, items)
    maps = model.network.cpu().activation(_input(corpus, items), 1)[0].numpy()
    cells: list[tuple[str, fig.Cell]] = []
    for index, values in enumerate(maps[:MOST]):
        rows, columns = values.shape
        alt = f"response of filter {index}"
        cell: fig.Cell
        if 1 in values.shape:
            at = np.arange(values.size, dtype=np.float64)
            across = "frame" if rows == 1 else "bin"
            cell = fig.curve(values.ravel(), at, across, "activation", alt=alt)
        else:
            x, y = fig.Axis("frame", "", 0, columns), fig.Axis("bin", "", 0, rows)
            label = "activation before the ReLU, of the map's largest"
            cell = fig.signed(values, x, y, label, alt=alt)
        cells.append((f"filter {index}", cell))
    note = f"What each filter makes of {name}: {len(cells)} of {len(maps)} maps."
    return fig.Gallery("responses", "First-layer responses", note, cells)


def _input(corpus: Corpus, items: NDArray[np.int64]) -> Tensor:
    if corpus.unit != "utterance":
        return torch.from_numpy(corpus.centred(items))
    (values,) = corpus.utterance_inputs(items)
    shown = values[..., : int(fig.SECONDS / hop(corpus))] - corpus.mean[..., None]
    return torch.from_numpy(np.ascontiguousarray(shown)[None])
