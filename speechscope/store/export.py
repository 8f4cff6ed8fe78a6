"""Artifacts for other programs: tables for R, archives for NumPy and MATLAB.

Names, dimensions and units come along. One array is held in memory at a time.
"""

import csv
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.errors import UsageProblem
from speechscope.store.artifact import Artifact

COLUMNS = ("table", "column", "units", "meaning")
MOST = 1_000_000
"""Values an array may have to stand in a table without being asked for: as text it is 50 MB."""
LARGEST_MAT = 1 << 31
"""Bytes of a variable that MATLAB's format 5 can hold."""
UNNAMED = "index"


def chosen(artifact: Artifact, wanted: Sequence[str], most: int | None) -> tuple[list[str], ...]:
    """Return the arrays to export, and those that are too large for it unless asked for.

    Raises
    ------
    UsageProblem
        There is no such array.
    """
    for name in wanted:
        if name not in artifact:
            raise UsageProblem(f"--array {name}: {artifact.path} has {', '.join(artifact)}")
    if wanted:
        return list(wanted), []
    sizes = {name: int(np.prod(artifact.array(name).shape)) for name in artifact}
    large = [name for name, size in sizes.items() if most is not None and size > most]
    return [name for name in sizes if name not in large], large


def write_tables(artifact: Artifact, folder: Path, names: Sequence[str]) -> None:
    """Write a table ``DIMENSIONS.csv`` for the arrays of each set of dimensions.

    A row is one observation: where it is along every dimension, by name where it has one, then the
    arrays' values there; absent numbers are empty. ``columns.csv`` says what each column is, and
    its units.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        if artifact.dims(name) != (name,):
            groups.setdefault(artifact.dims(name), []).append(name)
    about = []
    for dims, arrays in groups.items():
        table = "-".join(dims) or "values"
        columns = [*_axes(artifact, dims), *arrays]
        with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            for block in _blocks(artifact, dims, arrays):
                writer.writerows(zip(*block, strict=True))
        for column in columns:
            told = artifact.attributes(column) if column in artifact else {}
            about.append((table, column, told.get("units", ""), told.get("long_name", "")))
    with (folder / "columns.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *about])


def _axes(artifact: Artifact, dims: Sequence[str]) -> list[str]:
    """Return the columns that say where a value is; items have their label beside them."""
    labelled = "item" in dims and len(dims) > 1 and _flagged(artifact, "label", ("item",))
    return [*dims, "label"] if labelled else list(dims)


def _flagged(artifact: Artifact, name: str, dims: tuple[str, ...]) -> bool:
    return (
        name in artifact
        and artifact.dims(name) == dims
        and "flag_meanings" in artifact.attributes(name)
    )


def _blocks(
    artifact: Artifact, dims: Sequence[str], arrays: Sequence[str]
) -> Iterator[list[NDArray[Any]]]:
    """Yield the columns of a table as text, a place along the first dimension at a time."""
    shape = artifact.array(arrays[0]).shape
    along = [places(artifact, dim, size) for dim, size in zip(dims, shape, strict=True)]
    axes = _axes(artifact, dims)
    if not dims:
        yield [_text(artifact, name, artifact.read(name)).reshape(1) for name in arrays]
        return
    step = max(1, 100_000 // max(1, int(np.prod(shape[1:]))))
    for first in range(0, shape[0], step):
        part = slice(first, min(shape[0], first + step))
        sizes = (part.stop - first, *shape[1:])
        grid = np.indices(sizes).reshape(len(dims), -1)
        grid[0] += first
        columns = [of[place] for of, place in zip(along, grid, strict=True)]
        if len(axes) > len(dims):
            labels = _text(artifact, "label", artifact.read("label"))
            columns.append(labels[grid[dims.index("item")]])
        columns += [_text(artifact, name, artifact.read(name, part)).ravel() for name in arrays]
        yield columns


def places(artifact: Artifact, dim: str, size: int) -> NDArray[Any]:
    """Return what the places along a dimension are called: names, values, or their numbers."""
    if dim in artifact and artifact.dims(dim) == (dim,):
        return _text(artifact, dim, artifact.read(dim))
    return np.arange(size).astype(str)


def _text(artifact: Artifact, name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return values as text: names for labels, nothing for not-a-number."""
    if "flag_meanings" in artifact.attributes(name):
        return _named(artifact.flags(name), values)
    if "names" in artifact.attributes(name):  # more than attributes may hold
        rows = artifact.read(str(artifact.attributes(name)["names"]))
        return _named([row.tobytes().rstrip(b"\0").decode() for row in rows], values)
    text: NDArray[Any] = values.astype(str).astype(object)
    if values.dtype.kind == "f":
        text[np.isnan(values)] = ""
    return text


def _named(names: Sequence[str], values: NDArray[Any]) -> NDArray[Any]:
    named: NDArray[Any] = np.array(names, dtype=object)[values]
    return named


def about(artifact: Artifact, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the dimensions, the units and the names behind the integers of arrays."""
    found = {}
    for name in names:
        told = artifact.attributes(name)
        entry = {"dimensions": list(artifact.dims(name)), "units": str(told.get("units", ""))}
        if "flag_meanings" in told:
            entry["names"] = list(artifact.flags(name))
        found[name] = entry
    return found


def write_npz(artifact: Artifact, path: Path, names: Sequence[str]) -> None:
    """Write ``NAME.npy`` for each array, and ``about``: dimensions, units and record as JSON."""
    told = {"arrays": about(artifact, names), "record": artifact.record}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, _plain(artifact.read(name)), allow_pickle=False)
        with archive.open("about.npy", "w") as file:
            np.lib.format.write_array(file, np.array(json.dumps(told)), allow_pickle=False)


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(str) if values.dtype.kind == "O" else values


def write_mat(artifact: Artifact, path: Path, names: Sequence[str]) -> None:
    """Write a MAT file (format 5): a variable an array, names as cells, and the struct ``about``.

    Raises
    ------
    UsageProblem
        An array is larger than the format allows.
    """
    from scipy.io import savemat

    told = about(artifact, names)
    with path.open("wb") as file:
        for name in names:
            array = artifact.array(name)
            if array.size * 8 >= LARGEST_MAT and array.nbytes >= LARGEST_MAT:
                raise UsageProblem(
                    f"{name} has {array.nbytes:,} bytes, more than a MAT file holds; "
                    "name other arrays with --array, or take --to npz"
                )
            savemat(file, {identifier(name): artifact.read(name)}, long_field_names=True)
        for entry in told.values():
            for key in ("dimensions", "names"):
                if key in entry:
                    entry[key] = np.array(entry[key], dtype=object)
        structure = {identifier(name): entry for name, entry in told.items()}
        savemat(file, {"about": structure}, long_field_names=True)


def identifier(name: str) -> str:
    """Return a name as MATLAB allows it: letters, digits and ``_``, 63 at most."""
    word = re.sub(r"\W", "_", name, flags=re.ASCII)[:63]
    return word if word[:1].isalpha() else f"x{word}"[:63]
