"""Arrays of `relevance.zarr` beside the relevance itself, worked out a block of items at a time.

Of waveforms: its spectrum, and what the first layer filters; of LRP: the relevance at every layer.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from speechscope.networks.graph import Graph
from speechscope.networks.maps import Convolution
from speechscope.relevance.first_layer import cumulative_response, dictionary_response
from speechscope.relevance.spectral import Frames, spectral_gradient, spectral_relevance
from speechscope.store.writer import ArtifactWriter, flag_attributes
from speechscope.work.tasks import Values

GRADIENTS = ("gradient", "guided", "smoothgrad")
"""Methods that give derivatives; the others divide the score among the inputs."""

STRETCHES = 16
"""Waveforms whose stretches are held at a time: some 10 MB."""


class Spectra:
    """``spectral_relevance [method, item, frequency, frame]`` of waveforms.

    Of derivatives their short-time spectrum (Muckenhirn 2019, eq. 4), of what divides the score
    its share in every frequency.
    """

    def __init__(self, frames: Frames, methods: Sequence[str], samples: int, rate: float) -> None:
        self._frames, self._methods = frames, methods
        self._samples, self._rate = samples, rate

    def create(self, writer: ArtifactWriter, count: int, step: int) -> None:
        """Create the array of `count` items, `step` a chunk, and its axes."""
        frames, rate = self._frames, self._rate
        grid = (frames.bins, frames.count(self._samples))
        writer.create(
            "spectral_relevance",
            (len(self._methods), count, *grid),
            np.float32,
            ("method", "item", "frequency", "frame"),
            {"units": "1"},
            (1, step, *grid),
        )
        bins = np.arange(frames.bins) * rate / frames.length
        writer.put("frequency", bins, ("frequency",), {"units": "Hz"})
        centres = (np.arange(grid[1]) * frames.hop + frames.length / 2) / rate
        writer.put("frame", centres, ("frame",), {"units": "s"})

    def of(self, number: int, relevance: Tensor, x: Tensor) -> Values:
        """Return the spectra of one method's relevance of inputs x, both (B, …, samples)."""
        flat = relevance.flatten(1)
        if self._methods[number] in GRADIENTS:
            found = spectral_gradient(flat, self._frames)
        else:
            found = spectral_relevance(flat, x.flatten(1), self._frames)
        return Values("spectral_relevance", (number,), found.cpu().numpy())


class Filters:
    """What the first layer of a network for waveforms filters.

    ``cumulative_response [filter_frequency]`` (Muckenhirn 2019, eq. 1), and
    ``dictionary_response [item, filter_frequency]`` (eq. 2), averaged over all stretches of a
    waveform that the layer sees.
    """

    def __init__(self, kernels: Tensor, stride: int, points: int, rate: float) -> None:
        self._kernels, self._stride, self._rate = kernels, stride, rate
        self._points = max(points, kernels.shape[1])

    def create(self, writer: ArtifactWriter, count: int, step: int) -> None:
        """Create the array of `count` items, `step` a chunk, and write what has no items."""
        bins, kernels = self._points // 2 + 1, self._kernels
        name = "filter_frequency"
        writer.put(name, np.arange(bins) * self._rate / self._points, (name,), {"units": "Hz"})
        response = cumulative_response(kernels, self._points).cpu().numpy()
        writer.put("cumulative_response", response, (name,), {"units": "1"})
        writer.create(
            "dictionary_response",
            (count, bins),
            np.float32,
            ("item", name),
            {"units": "1"},
            (step, bins),
        )

    def of(self, x: Tensor) -> Values:
        """Return the responses to waveforms (B, …, samples)."""
        taps = self._kernels.shape[1]
        parts = []
        for waveforms in torch.split(x.flatten(1), STRETCHES):
            stretches = waveforms.unfold(1, taps, self._stride)
            found = dictionary_response(self._kernels, stretches.flatten(0, 1), self._points)
            parts.append(found.view(*stretches.shape[:2], -1).mean(1))
        return Values("dictionary_response", (), torch.cat(parts).cpu().numpy())


class Sums:
    """``relevance_sum [item, propagated_layer]``: the relevance in all that enters a layer."""

    def __init__(self, layers: Sequence[str]) -> None:
        self._layers = layers

    def create(self, writer: ArtifactWriter, count: int, step: int) -> None:
        """Create the array of `count` items, `step` a chunk, and its axis."""
        layers = self._layers
        numbers = np.arange(len(layers), dtype=np.int16)
        name = "propagated_layer"
        writer.put(name, numbers, (name,), flag_attributes(layers))
        writer.create(
            "relevance_sum",
            (count, len(layers)),
            np.float32,
            ("item", name),
            {"units": "1", "long_name": "relevance in all that enters a layer, by LRP"},
            (step, len(layers)),
        )

    def of(self, sums: Mapping[str, Tensor]) -> Values:
        """Return the sums (B,) by layer."""
        found = torch.stack([sums[name] for name in self._layers], 1)
        return Values("relevance_sum", (), found.cpu().numpy())


def first_filters(graph: Graph) -> tuple[Tensor, int] | None:
    """Return the filters (filters, taps) of a network for waveforms, and its step; None: no such.

    They are those of the first layer with weights, if it is a convolution of one signal.
    """
    first = next((step for step in graph.steps if step.kind == "linear"), None)
    layer = None if first is None else first.map
    if not isinstance(layer, Convolution) or layer.weight[0].numel() != max(layer.weight.shape[1:]):
        return None
    axis = layer.weight[0, 0].shape.index(max(layer.weight.shape[2:]))
    return layer.weight.flatten(1), layer.stride[axis]
