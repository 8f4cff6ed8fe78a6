"""Arrays of `relevance.zarr` beside the relevance itself, each written a block of items at a time.

Of waveforms: its spectrum, and what the first layer filters; of LRP: the relevance at every layer.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from speechscope.artifact_writer import ArtifactWriter, flag_attributes
from speechscope.relevance.first_layer import cumulative_response, dictionary_response
from speechscope.relevance.spectral import Frames, spectral_gradient, spectral_relevance
from speechscope.tracing.graph import Graph
from speechscope.tracing.maps import Convolution

GRADIENTS = ("gradient", "guided", "smoothgrad")
"""Methods that give derivatives; the others divide the score among the inputs."""

STRETCHES = 16
"""Waveforms whose stretches are held at a time: some 10 MB."""


class Spectra:
    """``spectral_relevance [method, item, frequency, frame]`` of waveforms.

    Of derivatives their short-time spectrum (Muckenhirn 2019, eq. 4), of what divides the score
    its share in every frequency.
    """

    def __init__(
        self,
        writer: ArtifactWriter,
        frames: Frames,
        methods: Sequence[str],
        count: int,
        samples: int,
        rate: float,
        step: int,
    ) -> None:
        grid = (frames.bins, frames.count(samples))
        self._frames, self._methods = frames, methods
        self._array = writer.create(
            "spectral_relevance",
            (len(methods), count, *grid),
            np.float32,
            ("method", "item", "frequency", "frame"),
            {"units": "1"},
            (1, step, *grid),
        )
        bins = np.arange(frames.bins) * rate / frames.length
        writer.put("frequency", bins, ("frequency",), {"units": "Hz"})
        centres = (np.arange(grid[1]) * frames.hop + frames.length / 2) / rate
        writer.put("frame", centres, ("frame",), {"units": "s"})

    def put(self, number: int, block: slice, relevance: Tensor, x: Tensor) -> None:
        """Write the spectra of one method's relevance of inputs x, both (B, …, samples)."""
        flat = relevance.flatten(1)
        if self._methods[number] in GRADIENTS:
            found = spectral_gradient(flat, self._frames)
        else:
            found = spectral_relevance(flat, x.flatten(1), self._frames)
        self._array[number, block] = found.cpu().numpy()


class Filters:
    """What the first layer of a network for waveforms filters.

    ``cumulative_response [filter_frequency]`` (Muckenhirn 2019, eq. 1), and
    ``dictionary_response [item, filter_frequency]`` (eq. 2), averaged over all stretches of a
    waveform that the layer sees.
    """

    def __init__(
        self,
        writer: ArtifactWriter,
        kernels: Tensor,
        stride: int,
        points: int,
        count: int,
        rate: float,
        step: int,
    ) -> None:
        self._kernels, self._stride = kernels, stride
        self._points = max(points, kernels.shape[1])
        bins = self._points // 2 + 1
        name = "filter_frequency"
        writer.put(name, np.arange(bins) * rate / self._points, (name,), {"units": "Hz"})
        response = cumulative_response(kernels, self._points).cpu().numpy()
        writer.put("cumulative_response", response, (name,), {"units": "1"})
        self._array = writer.create(
            "dictionary_response",
            (count, bins),
            np.float32,
            ("item", name),
            {"units": "1"},
            (step, bins),
        )

    def put(self, block: slice, x: Tensor) -> None:
        """Write the responses to waveforms (B, …, samples)."""
        taps = self._kernels.shape[1]
        parts = []
        for waveforms in torch.split(x.flatten(1), STRETCHES):
            stretches = waveforms.unfold(1, taps, self._stride)
            found = dictionary_response(self._kernels, stretches.flatten(0, 1), self._points)
            parts.append(found.view(*stretches.shape[:2], -1).mean(1))
        self._array[block] = torch.cat(parts).cpu().numpy()


class Sums:
    """``relevance_sum [item, propagated_layer]``: the relevance in all that enters a layer."""

    def __init__(
        self, writer: ArtifactWriter, layers: Sequence[str], count: int, step: int
    ) -> None:
        self._layers = layers
        numbers = np.arange(len(layers), dtype=np.int16)
        name = "propagated_layer"
        writer.put(name, numbers, (name,), flag_attributes(layers))
        self._array = writer.create(
            "relevance_sum",
            (count, len(layers)),
            np.float32,
            ("item", name),
            {"units": "1", "long_name": "relevance in all that enters a layer, by LRP"},
            (step, len(layers)),
        )

    def put(self, block: slice, sums: Mapping[str, Tensor]) -> None:
        """Write the sums (B,) by layer."""
        self._array[block] = torch.stack([sums[n] for n in self._layers], 1).cpu().numpy()


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
