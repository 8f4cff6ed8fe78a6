"""Maps of a layer for each vowel, where it lies by its formants (Pellegrini 2016, fig. 3)."""

import numpy as np

from speechscope.report.figures import Axis, Figure, Picture, Plane, Scale, Values
from speechscope.store.artifact import Artifact

PLANES = 3
"""Layers whose maps are drawn (chosen: those with maps are few)."""


def planes(artifact: Artifact) -> list[Figure]:
    """Return a map of each of the first layers that have some, at the F1 and F2 of its vowels.

    None where no class is a vowel with known formants.
    """
    if "formant" not in artifact or "activation_map" not in artifact:
        return []
    formants = artifact.read("formant")
    classes = artifact.flags("label")
    found: list[Figure] = []
    for layer, name in enumerate(artifact.flags("layer")):
        maps = None if name == "input" or len(found) == PLANES else _maps(artifact, layer)
        if maps is None:
            continue
        there = np.isfinite(maps).any(axis=(0, 2, 3)) & np.isfinite(formants).all(axis=1)
        vowels = np.flatnonzero(there)
        if not len(vowels):
            continue
        maps = maps[:, vowels]
        number = int(np.nanargmax(maps.std(axis=1).mean(axis=(1, 2))))
        names = [classes[vowel] for vowel in vowels]
        found.append(_plane(name, number, maps[number], names, formants[vowels]))
    return found


def _maps(artifact: Artifact, layer: int) -> Values | None:
    """Read the maps (map, class, frequency, time) of a layer; None of one of units.

    Where the artifact says how large they are, what pads them is not read: it may be large.
    """
    if artifact.array("activation_map").ndim != 5:
        return None
    if "map_shape" not in artifact:
        return whole(artifact.read("activation_map", layer))
    maps, rows, columns = (int(size) for size in artifact.read("map_shape", layer))
    if rows * columns == 1:
        return None
    area = (slice(maps), slice(None), slice(rows), slice(columns))
    return artifact.read("activation_map", (layer, *area))


def whole(maps: Values) -> Values | None:
    """Return maps (map, class, frequency, time) without the NaN that pads them to other layers'.

    None where a layer has no maps but units.
    """
    there = np.isfinite(maps)
    kept = maps[there.any(axis=(1, 2, 3))]
    rows, columns = there.any(axis=(0, 1, 3)), there.any(axis=(0, 1, 2))
    found: Values = kept[:, :, rows][..., columns]
    return found if found.size and found.shape[2] * found.shape[3] > 1 else None


def _plane(layer: str, number: int, maps: Values, names: list[str], at: Values) -> Plane:
    # A few places of a map, such as its edges, are often far from the rest.
    low, high = (float(end) for end in np.nanpercentile(maps, (1, 99)))
    scale = Scale("mean activation", low, high)
    x, y = Axis("frame", "", 0, maps.shape[2]), Axis("bin", "", 0, maps.shape[1])
    places = [
        (name, Picture(values, x, y, scale, alt=name), float(f2), float(f1))
        for name, values, (f1, f2) in zip(names, maps, at, strict=True)
    ]
    # As vowel charts are drawn: front to the left, close at the top.
    least, most = at.min(axis=0), at.max(axis=0)
    room = 0.12 * (most - least) + 30
    f1, f2 = (
        Axis(what, "Hz", float(most[n] + room[n]), float(least[n] - room[n]))
        for n, what in enumerate(("F1", "F2"))
    )
    note = (
        f"Map {number} of {layer}, the one that differs most between vowels: its mean activation "
        "for each, where the vowel lies by F1 and F2 (Pellegrini 2016, fig. 3)."
    )
    return Plane(f"formants-{layer}", f"Map of {layer} by F1 and F2", note, f2, f1, places)
