"""The scores of `inversion.zarr`: how far reconstructions are from their originals."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speechscope.features import distances
from speechscope.registry import SCORES
from speechscope.scores.tables import Row, bootstrap, threshold
from speechscope.store.artifact import Artifact

if TYPE_CHECKING:
    from speechscope.stages.score import Score

BLOCK = 256  # items read at a time: about 3 MB of spectrograms
Place = tuple[int, int]
"""Of reconstructions: the method and the layer."""


@SCORES.register("inversion")
def inversion_rows(path: Path, settings: "Score") -> Iterator[Row]:
    """Yield a row for each method and layer, means over items (Churchman 2015, sec. 7.1).

    Before them, where there are waveforms, the round trip of the representation itself, the
    ceiling; each row has the threshold of the average waveform, which says nothing of an item.

    Raises
    ------
    ArtifactError
        The inversion is missing or damaged.
    """
    artifact = Artifact(path, "inversion")
    limit = _threshold(artifact) if "waveform" in artifact else None
    if limit is not None:
        yield _row(artifact, "round trip", None, limit, None)
    for m, method in enumerate(artifact.flags("method")):
        for index, layer in enumerate(artifact.read("layer").tolist()):
            yield _row(artifact, method, int(layer), limit, (m, index))


def _row(
    artifact: Artifact, method: str, layer: int | None, limit: float | None, place: Place | None
) -> Row:
    values = _compare(artifact, place)
    waveform = values.get("mxcorr")
    low, high = (None, None) if waveform is None else bootstrap(waveform)
    mean = {name: float(items.mean()) for name, items in values.items()}
    # Inversions from before there were other inputs do not say.
    given = str(artifact.record["config"].get("input", "corpus"))
    restored = place is not None and "mismatch" in artifact
    return {
        "artifact": artifact.path.name,
        "method": method,
        "layer": layer,
        "items": len(values["euclidean"]),
        "euclidean": mean["euclidean"],
        "mxcorr2": mean["mxcorr2"],
        "mxcorr": mean.get("mxcorr"),
        "mxcorr_low": low,
        "mxcorr_high": high,
        "mxcorr_median": None if waveform is None else float(np.median(waveform)),
        "threshold": limit,
        "correlation": mean.get("correlation"),
        "lsd": mean.get("lsd"),
        "stoi": _stoi(artifact, place) if given == "audio" else None,
        "intensity": mean["intensity"],
        "mismatch": float(artifact.read("mismatch", place).mean()) if restored else None,
        "input": given,
    }


def _compare(artifact: Artifact, place: Place | None) -> dict[str, NDArray[Any]]:
    """Compare reconstructions with originals, item by item; `place` None is the round trip."""
    parts: list[dict[str, NDArray[Any]]] = []
    count = artifact.array("original").shape[0]
    for start in range(0, count, BLOCK):
        items = slice(start, min(count, start + BLOCK))
        original = artifact.read("original", items)
        restored = original
        if place is not None:
            restored = artifact.read("reconstruction", (*place, items))
        part = {
            "euclidean": distances.euclidean(original, restored),
            "mxcorr2": distances.max_cross_correlation(original, restored),
            "intensity": distances.intensity(original, restored),
        }
        if "waveform" in artifact:
            waveforms = _waveforms(artifact, place, items)
            part["mxcorr"] = distances.max_cross_correlation(*waveforms)
            part["correlation"] = distances.correlation(*waveforms)
            part["lsd"] = distances.log_spectral_distance(*waveforms)
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _waveforms(
    artifact: Artifact, place: Place | None, items: slice
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return waveforms of items: the originals, and what was restored of them."""
    original = artifact.read("waveform_original", items)
    if place is None:
        return original, artifact.read("waveform_round_trip", items)
    return original, artifact.read("waveform", (*place, items))


def _stoi(artifact: Artifact, place: Place | None) -> float | None:
    """Return the STOI of a recording whose segments follow each other, if pystoi is there."""
    if "waveform" not in artifact or importlib.util.find_spec("pystoi") is None:
        return None
    original, restored = _waveforms(artifact, place, slice(None))
    rate = int(artifact.attributes("waveform")["sampling_frequency"])
    return distances.stoi(original.ravel(), restored.ravel(), rate)


def _threshold(artifact: Artifact) -> float:
    count = artifact.array("waveform_original").shape[0]
    average = artifact.read("waveform_average")
    totals = [
        len(waveforms) * threshold(average, waveforms)
        for start in range(0, count, BLOCK)
        for waveforms in [artifact.read("waveform_original", slice(start, start + BLOCK))]
    ]
    return float(sum(totals) / count)
