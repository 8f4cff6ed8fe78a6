"""Arrays of `relevance.zarr` beside the relevance itself, each written a block of items at a time.

Of waveforms: its spectrum, and what the first layer filters; of LRP: the relevance at every layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
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


def create_spectra(
    writer: ArtifactWriter,
    frames: Frames,
    sizes: tuple[int, int],
    samples: int,
    rate: float,
    step: int,
) -> None:
    """Make ``spectral_relevance [method, item, frequency, frame]`` for waveforms, and its axes.

    Parameters
    ----------
    sizes
        Methods and items.
    samples
        Of a waveform.
    step
        Items of a chunk.
    """
    grid = (frames.bins, frames.count(samples))
    writer.create(
        "spectral_relevance",
        (*sizes, *grid),
        np.float32,
        ("method", "item", "frequency", "frame"),
        {"units": "1"},
        (1, step, *grid),
    )
    bins = np.arange(frames.bins) * rate / frames.length
    writer.put("frequency", bins, ("frequency",), {"units": "Hz"})
    centres = (np.arange(grid[1]) * frames.hop + frames.length / 2) / rate
    writer.put("frame", centres, ("frame",), {"units": "s"})


def spectrum(method: str, relevance: Tensor, x: Tensor, frames: Frames) -> NDArray[np.float32]:
    """Return a method's relevance of waveforms x, both (B, …, samples), by frequency and frame.

    Of derivatives their short-time spectrum (Muckenhirn 2019, eq. 4), of what divides the score
    its share in every frequency.
    """
    flat = relevance.flatten(1)
    if method in GRADIENTS:
        found = spectral_gradient(flat, frames)
    else:
        found = spectral_relevance(flat, x.flatten(1), frames)
    values: NDArray[np.float32] = found.cpu().numpy()
    return values


@dataclass(frozen=True)
class Filters:
    """The first layer of a network for waveforms.

    Parameters
    ----------
    kernels
        (filters, taps).
    stride
        Samples from one stretch it sees to the next.
    points
        Of the transforms.
    """

    kernels: Tensor
    stride: int
    points: int

    def create(self, writer: ArtifactWriter, count: int, rate: float, step: int) -> None:
        """Write ``cumulative_response [filter_frequency]`` (eq. 1) and make room for eq. 2."""
        bins, name = self.points // 2 + 1, "filter_frequency"
        writer.put(name, np.arange(bins) * rate / self.points, (name,), {"units": "Hz"})
        response = cumulative_response(self.kernels, self.points).cpu().numpy()
        writer.put("cumulative_response", response, (name,), {"units": "1"})
        size, dims = (count, bins), ("item", name)
        chunk = (step, bins)
        writer.create("dictionary_response", size, np.float32, dims, {"units": "1"}, chunk)

    def respond(self, x: Tensor) -> NDArray[np.float32]:
        """Return the responses (B, bins) to waveforms (B, …, samples).

        Muckenhirn 2019, eq. 2, averaged over all stretches that the layer sees (chosen).
        """
        parts = []
        for waveforms in torch.split(x.flatten(1), STRETCHES):
            stretches = waveforms.unfold(1, self.kernels.shape[1], self.stride)
            found = dictionary_response(self.kernels, stretches.flatten(0, 1), self.points)
            parts.append(found.view(*stretches.shape[:2], -1).mean(1))
        values: NDArray[np.float32] = torch.cat(parts).cpu().numpy()
        return values


def create_sums(writer: ArtifactWriter, layers: Sequence[str], count: int, step: int) -> None:
    """Make ``relevance_sum [item, propagated_layer]``: the relevance in all that enters a layer."""
    numbers, name = np.arange(len(layers), dtype=np.int16), "propagated_layer"
    writer.put(name, numbers, (name,), flag_attributes(layers))
    about = {"units": "1", "long_name": "relevance in all that enters a layer, by LRP"}
    size, chunk = (count, len(layers)), (step, len(layers))
    writer.create("relevance_sum", size, np.float32, ("item", name), about, chunk)


def first_filters(graph: Graph, points: int) -> Filters | None:
    """Return the first filters of a network for waveforms, for transforms of `points` or more.

    They are those of the first layer with weights; None where it is not a convolution of one
    signal.
    """
    first = next((step for step in graph.steps if step.kind == "linear"), None)
    layer = None if first is None else first.map
    if not isinstance(layer, Convolution) or layer.weight[0].numel() != max(layer.weight.shape[1:]):
        return None
    axis = layer.weight[0, 0].shape.index(max(layer.weight.shape[2:]))
    kernels = layer.weight.flatten(1)
    return Filters(kernels, layer.stride[axis], max(points, kernels.shape[1]))
