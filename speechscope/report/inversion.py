"""The grid of reconstructions (Churchman 2015, fig. B.1): methods down, layers across."""

from pathlib import Path
from typing import Any

import numpy as np

from speechscope.artifact import Artifact
from speechscope.errors import SpeechscopeError, UsageProblem

LIMIT = 24  # rows of one picture: more cannot be read
RANGE_DB = 60.0  # softer than this below the loudest point is drawn as silence (chosen)


def grid(
    path: Path, output: Path, *, file_format: str, items: list[int] | None = None, dpi: int = 150
) -> int:
    """Draw originals and reconstructions of an inversion and write them as one picture.

    Drawn is the modulus, in dB below the loudest point of each spectrogram: reconstructions from
    deep layers are much softer than their originals (sec. 7.1.1), and a common scale would hide
    them.

    Parameters
    ----------
    path
        ``inversion.zarr``.
    output
        The file to write.
    file_format
        ``png`` or ``pdf``.
    items
        Positions in the artifact; by default the first ones, as many as make `LIMIT` rows.
    dpi
        Resolution of a PNG [dots per inch].

    Returns
    -------
    int
        Items drawn.

    Raises
    ------
    UsageProblem
        An item is not in the artifact.
    SpeechscopeError
        matplotlib is not installed.
    """
    figure_type = _figure()
    artifact = Artifact(path, "inversion")
    count = artifact.array("original").shape[0]
    methods, layers = artifact.flags("method"), artifact.read("layer").tolist()
    shown = max(1, LIMIT // len(methods))
    chosen = list(range(min(count, shown))) if items is None else items
    for item in chosen:
        if not 0 <= item < count:
            raise UsageProblem(f"{path} has items 0 to {count - 1}, not {item}")
    names = artifact.flags("label")
    labels = artifact.read("label")
    frequency, time = artifact.read("frequency"), artifact.read("time")
    extent = (1e3 * time[0], 1e3 * time[-1], frequency[0] / 1e3, frequency[-1] / 1e3)

    rows, columns = len(chosen) * len(methods), 1 + len(layers)
    figure = figure_type(figsize=(1.35 * columns + 0.8, 1.25 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for block, item in enumerate(chosen):
        original = artifact.read("original", item)[0]
        for row, method in enumerate(methods, start=block * len(methods)):
            pictures = [original]
            pictures += [
                artifact.read("reconstruction", (row - block * len(methods), index, item))[0]
                for index in range(len(layers))
            ]
            for axis, values in zip(axes[row], pictures, strict=True):
                axis.imshow(
                    _decibels(values),
                    origin="lower",
                    aspect="auto",
                    extent=extent,
                    cmap="magma",
                    vmin=-RANGE_DB,
                    vmax=0,
                )
                axis.tick_params(labelsize=6)
            axes[row][0].set_ylabel(f"[{names[labels[item]]}] {method}\nkHz", fontsize=7)
    for axis, title in zip(
        axes[0], ["original", *(f"layer {layer}" for layer in layers)], strict=True
    ):
        axis.set_title(title, fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("ms", fontsize=7)
    figure.savefig(output, format=file_format, dpi=dpi)
    return len(chosen)


def intensities(path: Path, output: Path, *, file_format: str, item: int, dpi: int = 150) -> None:
    """Draw histograms of the intensities of an item and of its reconstructions, as one picture.

    Methods down, layers across, the original first. Source: Churchman 2015, fig. 10; the counts are
    logarithmic here, since most of a spectrogram is silent.

    Parameters
    ----------
    path, output, file_format, dpi
        As `grid` takes them.
    item
        Position in the artifact.

    Raises
    ------
    UsageProblem
        The item is not in the artifact.
    SpeechscopeError
        matplotlib is not installed.
    """
    figure_type = _figure()
    artifact = Artifact(path, "inversion")
    count = artifact.array("original").shape[0]
    if not 0 <= item < count:
        raise UsageProblem(f"{path} has items 0 to {count - 1}, not {item}")
    methods, layers = artifact.flags("method"), artifact.read("layer").tolist()
    original = artifact.read("original", item)
    largest = float(np.abs(original).max()) or 1.0
    bins = np.linspace(-largest, largest, 41)
    figure = figure_type(
        figsize=(1.5 * (1 + len(layers)) + 0.6, 1.3 * len(methods) + 0.5), layout="constrained"
    )
    axes = figure.subplots(len(methods), 1 + len(layers), squeeze=False, sharex=True, sharey=True)
    for row, method in enumerate(methods):
        pictures = [original]
        pictures += [
            artifact.read("reconstruction", (row, index, item)) for index in range(len(layers))
        ]
        for axis, values in zip(axes[row], pictures, strict=True):
            axis.hist(np.clip(values, -largest, largest).ravel(), bins=bins, log=True)
            axis.tick_params(labelsize=6)
        axes[row][0].set_ylabel(f"{method}\nvalues", fontsize=7)
    for axis, title in zip(
        axes[0], ["original", *(f"layer {layer}" for layer in layers)], strict=True
    ):
        axis.set_title(title, fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("intensity", fontsize=7)
    figure.savefig(output, format=file_format, dpi=dpi)


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise SpeechscopeError(
            "drawing needs matplotlib; pip install 'speechscope[plot]'"
        ) from error
    return Figure


def _decibels(values: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    size = np.abs(values)
    loudest = size.max()
    if loudest == 0:
        return np.full(size.shape, -RANGE_DB)
    scaled: np.ndarray[Any, Any] = 20 * np.log10(np.maximum(size / loudest, 1e-6))
    return scaled
