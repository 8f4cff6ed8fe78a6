"""What an artifact has to be before anything of it is used: whole, and no larger than it is.

Metadata may come from anyone: a file of a kilobyte can name an array that fills all memory. So the
chunks that are there bound the shape, and the header of a chunk what it unfolds to.
"""

import itertools
import json
import math
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from speechscope.errors import ArtifactError
from speechscope.store import chunks
from speechscope.store.record import FORMAT_VERSION, bytes_digest

METADATA = "zarr.json"
LARGEST_METADATA = 1 << 26  # bytes
LARGEST_CHUNK = 1 << 28
"""Bytes a chunk may unfold to; ours are of 1-8 MB, but for a single row that is larger."""
_CODECS = {"bytes", "zstd"}


class Settings(dict[str, Any]):
    """The ``config`` of a record; a setting that is not there is the artifact's fault."""

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        super().__init__(values)
        self._path = path

    def __missing__(self, name: str) -> Any:
        raise ArtifactError(f"{self._path}: its record has no setting {name!r}; make it again")


def check_version(path: Path, record: Mapping[str, Any]) -> None:
    """Refuse a format this program does not know, by name."""
    version = record.get("format_version")
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format version {version}; this speechscope reads {FORMAT_VERSION}; "
            "use the release that wrote it or make it again"
        )


def check_record(path: Path, record: Mapping[str, Any]) -> None:
    """Refuse a record that lacks what commands rely on (`speechscope.store.record.Record`)."""
    kinds: dict[str, type] = {"kind": str, "argv": list, "config": dict, "seed": int}
    if "contents" in record:
        kinds["contents"] = dict
        for name, told in _dictionary(record["contents"]).items():
            numbers = [_dictionary(told).get(key) for key in ("chunks", "bytes")]
            texts = [_dictionary(told).get(key) for key in ("digest", "metadata")]
            if {*map(type, numbers)} != {int} or {*map(type, texts)} != {str}:
                raise ArtifactError(f"{path}: its record has no valid contents of {name!r}")
    kinds |= {"device": str, "software": dict, "parents": list, "created": str}
    wrong = [name for name, kind in kinds.items() if type(record.get(name)) is not kind]
    wrong += [
        "parents"
        for parent in record.get("parents") or ()
        if not isinstance(parent, dict)
        or any(type(parent.get(name)) is not str for name in ("path", "kind", "digest"))
    ]
    if wrong:
        raise ArtifactError(f"{path}: its record has no valid {wrong[0]}; make it again")


def _dictionary(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def check_contents(path: Path, contents: Mapping[str, Mapping[str, Any]]) -> None:
    """Compare the files of every array, their number and sizes, with what the record says."""
    for name, expected in contents.items():
        if not name or name in (".", "..") or "/" in name or "\0" in name:
            raise ArtifactError(f"{path}: its record names the array {name!r}; make it again")
        folder = path / name
        count = size = 0
        for file in chunks.chunk_files(folder):
            status = file.stat()
            # Links are followed, as everywhere; a device or a pipe would never end.
            if not stat.S_ISREG(status.st_mode):
                raise ArtifactError(f"{file.path} is not a regular file; make it again")
            count += 1
            size += status.st_size
        if count != expected["chunks"]:
            raise ArtifactError(
                f"{folder}: {count} of {expected['chunks']} chunks are there; make it again"
            )
        if size != expected["bytes"]:
            raise ArtifactError(
                f"{folder}: {size} bytes where {expected['bytes']} were written; make it again"
            )
        try:
            metadata = small_file(folder / METADATA)
        except OSError:
            metadata = b""
        if bytes_digest(metadata) != expected["metadata"]:
            raise ArtifactError(f"{folder}/{METADATA} was changed after it was written")
        _check_shape(folder, metadata, count)


def _check_shape(folder: Path, metadata: bytes, count: int) -> None:
    """Refuse an array that is not as large as its chunks, or whose chunks are not as ours."""
    try:
        said = json.loads(metadata)
        shape, grid = said["shape"], said["chunk_grid"]["configuration"]["chunk_shape"]
        kind = np.dtype(str(said["data_type"]))
        codecs = {str(codec["name"]) for codec in said["codecs"]}
        sizes = [-(-n // step) for n, step in zip(shape, grid, strict=True)]
        unfolded = math.prod(grid) * kind.itemsize
        wrong = (
            kind.kind not in "biuf"
            or math.prod(sizes) != count
            or min([0, *shape]) < 0
            or not codecs <= _CODECS
        )
    except (ValueError, KeyError, TypeError, ZeroDivisionError, RecursionError) as error:
        raise ArtifactError(f"{folder}/{METADATA} describes no array of ours") from error
    if wrong or unfolded > LARGEST_CHUNK:
        raise ArtifactError(
            f"{folder} claims the shape {one_line(shape)} in chunks of {one_line(grid)} "
            f"({', '.join(sorted(codecs))}), with {count} chunks there; it is not read"
        )


def check_sizes(array: Any, folder: Path, selection: Any) -> None:
    """Refuse chunks that do not unfold to their size: memory is taken before they are decoded."""
    wanted = math.prod(array.chunks) * array.dtype.itemsize
    for corner in itertools.product(*_touched(array, selection)):
        chunk = folder / chunks.chunk_name(corner)
        try:
            with chunk.open("rb") as file:
                head = file.read(chunks.HEAD)
        except OSError as error:
            raise ArtifactError(f"{chunk} cannot be read ({error.strerror})") from error
        if chunks.content_size(head) != wanted:
            raise ArtifactError(
                f"{chunk}: a chunk is damaged (it does not unfold to its size); "
                "make the artifact again"
            )


def _touched(array: Any, selection: Any) -> list[range]:
    """Return the chunks along each axis that a basic selection reads; of others, all."""
    parts = selection if isinstance(selection, tuple) else (selection,)
    whole = [range(-(-n // step)) for n, step in zip(array.shape, array.chunks, strict=True)]
    found = list(whole)
    for axis, (part, size, step) in enumerate(zip(parts, array.shape, array.chunks, strict=False)):
        if isinstance(part, slice):
            first, last, stride = part.indices(size)
            if stride < 0 or first >= last:
                continue
            found[axis] = range(first // step, (last - 1) // step + 1)
        elif isinstance(part, int | np.integer):
            place = int(part) % size if size else 0
            found[axis] = range(place // step, place // step + 1)
        else:
            return whole
    return found


def small_file(path: Path) -> bytes:
    """Read a metadata file, which is a regular one and small.

    Raises
    ------
    OSError
        It is not.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_METADATA:
        raise OSError(f"{path} is not a metadata file")
    return path.read_bytes()


def one_line(error: object) -> str:
    """Return a text, or what an error says, as one line of bounded length."""
    return " ".join(str(error).split())[:120] or type(error).__name__
