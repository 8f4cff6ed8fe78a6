"""Maps of a layer for each vowel, where it lies by its formants (Pellegrini 2016, fig. 3)."""

from collections.abc import Sequence

import numpy as np

from speechscope.report import figures as fig
from speechscope.store.artifact import Artifact

PLANES = 3
"""Layers whose maps are drawn (chosen: those with maps are few)."""


def planes(artifact: Artifact) -> list[fig.Figure]:
    """Return a map of each of the first layers that have some, at the F1 and F2 of its vowels.

    None where no class is a vowel with known formants.
    """
    if "formant" not in artifact or "activation_map" not in artifact:
        return []
    formants, classes = artifact.read("formant"), artifact.flags("label")
    drawn: list[fig.Figure] = []
    for layer, name in enumerate(artifact.flags("layer")):
        maps = None if name == "input" or len(drawn) == PLANES else _maps(artifact, layer)
        if maps is None:
            continue
        there = np.isfinite(maps).any(axis=(0, 2, 3)) & np.isfinite(formants).all(axis=1)
        vowels = np.flatnonzero(there)
        if not len(vowels):
            continue
        maps = maps[:, vowels]
        number = int(np.nanargmax(maps.std(axis=1).mean(axis=(1, 2))))
        names = [classes[vowel] for vowel in vowels]
        drawn.append(_plane(name, number, maps[number], names, formants[vowels]))
    return drawn


def _maps(artifact: Artifact, layer: int) -> fig.Values | None:
    """Read the maps (map, class, frequency, time) of a layer; None of one of units.

    Where the artifact says how large they are, what pads them is not read: it may be large.
    """
    if artifact.array("activation_map").ndim != 5:
        return None
    if "map_shape" in artifact:
        maps, rows, columns = (int(size) for size in artifact.read("map_shape", layer))
        area = (layer, slice(maps), slice(None), slice(rows), slice(columns))
        return None if rows * columns == 1 else artifact.read("activation_map", area)
    padded = artifact.read("activation_map", layer)
    there = np.isfinite(padded)
    inside = there.any(axis=(0, 1, 3)), there.any(axis=(0, 1, 2))
    whole = padded[there.any(axis=(1, 2, 3))][:, :, inside[0]][..., inside[1]]
    return whole if whole.size and whole.shape[2] * whole.shape[3] > 1 else None


def _plane(
    layer: str, number: int, maps: fig.Values, names: Sequence[str], at: fig.Values
) -> fig.Plane:
    # A few places of a map, such as its edges, are often far from the rest.
    low, high = (float(end) for end in np.nanpercentile(maps, (1, 99)))
    scale = fig.Scale("mean activation", low, high)
    x, y = fig.Axis("frame", "", 0, maps.shape[2]), fig.Axis("bin", "", 0, maps.shape[1])
    places = [
        (name, fig.Picture(values, x, y, scale, alt=name), float(f2), float(f1))
        for name, values, (f1, f2) in zip(names, maps, at, strict=True)
    ]
    # As vowel charts are drawn: front to the left, close at the top.
    least, most = at.min(axis=0), at.max(axis=0)
    room = 0.12 * (most - least) + 30
    f1, f2 = (
        fig.Axis(name, "Hz", float(most[n] + room[n]), float(least[n] - room[n]))
        for n, name in enumerate(("F1", "F2"))
    )
    note = (
        f"Map {number} of {layer}, the one that differs most between vowels: its mean activation "
        "for each, where the vowel lies by F1 and F2 (Pellegrini 2016, fig. 3)."
    )
    return fig.Plane(f"formants-{layer}", f"Map of {layer} by F1 and F2", note, f2, f1, places)
