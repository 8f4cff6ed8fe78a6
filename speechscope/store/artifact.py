"""The file format: a Zarr v3 group that is complete, checked and knows its parents.

Layout of an artifact folder
    ``zarr.json``            root group; its attribute ``speechscope`` is the record
    ``NAME/zarr.json``       one folder per array, with ``dimension_names`` and attributes
    ``NAME/c.0.2``           chunks, Zstandard with a content checksum

The names along an axis are an array of strings (`speechscope.store.names`); an artifact of an older
format has the arrays, dimensions and names that one of this format would have.

The record holds, beside what `speechscope.store.record` says, ``contents``: for every array the
number of its chunk files, their size and the SHA-256 over theirs; and ``digest``, the
SHA-256 of the root's own metadata without that one entry. So opening an artifact finds a missing,
added or truncated chunk and any change of metadata at the price of listing the folder; reading
finds a flipped bit in what is read, by the checksum in the chunk; `verify` with ``deep`` reads all.

Metadata may come from anyone: a file of a kilobyte can name an array that fills all memory. So the
chunks that are there bound the shape, and the header of a chunk what it unfolds to.
"""

import hashlib
import itertools
import json
import math
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from speechscope.errors import ArtifactError, NotThere
from speechscope.store import chunks, names
from speechscope.store.record import Record, bytes_digest, read_record

METADATA = "zarr.json"
LARGEST_METADATA = 1 << 26  # bytes
LARGEST_CHUNK = 1 << 28
"""Bytes a chunk may unfold to; ours are of 1-8 MB, but for a single row that is larger."""
_CODECS = {"bytes", "zstd"}


class Artifact:
    """An artifact opened for reading; opening it verifies everything but the chunks' bytes.

    Parameters
    ----------
    path
        The artifact's folder.
    kind
        The kind it has to be of, or None for any.

    Attributes
    ----------
    record, digest
        See the module.
    contents
        Per array: ``chunks``, ``bytes``, ``digest`` and the digest of its ``metadata``.

    An older format's arrays and dimensions have the names of this one (`names.stored_names`).

    Raises
    ------
    ArtifactError
        It is missing, foreign, damaged, of another kind or from another format version.
    """

    def __init__(self, path: Path, kind: str | None = None) -> None:
        self.path = path
        self.record = open_record(path)
        self.kind, self.digest = self.record["kind"], self.record["digest"]
        contents = self.record.get("contents", {})
        self._version = self.record["format_version"]
        self._stored = names.stored_names(self._version, self.kind, contents)
        self.contents = {name: contents[stored] for name, stored in self._stored.items()}
        if kind is not None and self.kind != kind:
            raise ArtifactError(f"{path} is a {self.kind}; a {kind} is needed here")
        check_contents(path, contents)
        try:
            self._group = zarr.open_group(path, mode="r")
        except Exception as error:
            raise ArtifactError(f"{path}: metadata cannot be read ({error})") from error

    @property
    def title(self) -> str:
        """What it says of itself to people."""
        return str(self._group.attrs["title"])

    def __contains__(self, name: object) -> bool:
        return name in self.contents

    def __iter__(self) -> Iterator[str]:
        return iter(self.contents)

    def array(self, name: str) -> zarr.Array[Any]:
        """Return an array's handle (shape, attributes, dimension names); `read` reads it."""
        if name not in self.contents:
            raise ArtifactError(f"{self.path} has no array {name!r}; it has {', '.join(self)}")
        try:
            return cast("zarr.Array[Any]", self._group[self._stored[name]])
        except Exception as error:
            raise ArtifactError(
                f"{self.path}/{name}: metadata cannot be read ({one_line(error)})"
            ) from error

    def read(self, name: str, selection: Any = ()) -> NDArray[Any]:
        """Read part of an array: `selection` is a basic index (slices and integers).

        Raises
        ------
        ArtifactError
            A chunk is damaged.
        """
        array = self.array(name)
        whole = selection if selection != () else ...
        if self.is_names(name):
            return np.array(self.flags(name), dtype=object)[whole]
        check_sizes(array, self._folder(name), selection)
        try:
            return np.asarray(array[whole])
        except (IndexError, TypeError):
            raise
        except Exception as error:
            raise self._damaged(name, error) from error

    def read_items(self, name: str, items: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Read rows of the first dimension in any order, each chunk once.

        Parameters
        ----------
        items : (N,) indices, repeats allowed.

        Returns
        -------
        (N, …) array of the array's type.
        """
        array = self.array(name)
        step = array.chunks[0]
        out = np.empty((len(items), *array.shape[1:]), dtype=array.dtype)
        order = np.argsort(items, kind="stable")
        ordered = np.asarray(items)[order]
        bounds = np.flatnonzero(np.diff(ordered // step)) + 1
        for rows in np.split(order, bounds) if len(order) else []:
            wanted = np.asarray(items)[rows]
            low, high = int(wanted.min()), int(wanted.max()) + 1
            out[rows] = self.read(name, slice(low, high))[wanted - low]
        return out

    def dims(self, name: str) -> tuple[str, ...]:
        """Return the names of an array's dimensions."""
        now = {old: new for new, old in names.RENAMED.get(self._version, {}).items()}
        stored = self.array(name).metadata.dimension_names or ()  # type: ignore[union-attr]
        return tuple(now.get(str(dim), str(dim)) for dim in stored)

    def attributes(self, name: str) -> Mapping[str, Any]:
        """Return an array's attributes, such as ``units`` and ``flag_meanings``."""
        found = self.array(name).attrs.asdict()
        if (name,) == self.dims(name) or name != self._stored[name]:  # as of this format
            found = {key: value for key, value in found.items() if not key.startswith("flag_")}
        return found

    def flags(self, name: str) -> tuple[str, ...]:
        """Return the names along an axis, or behind an integer label (CF ``flag_meanings``)."""
        array = self.array(name)
        if array.dtype.kind in "OT":
            try:
                chunk = (self._folder(name) / chunks.chunk_name((0,))).read_bytes()
                return tuple(names.decoded(chunk, array.shape[0]))
            except Exception as error:
                raise self._damaged(name, error) from error
        meanings = array.attrs.get("flag_meanings")
        if meanings is None:
            raise ArtifactError(f"{self.path}/{name} has no flag_meanings; make it again")
        return tuple(str(meanings).split(" "))

    def is_names(self, name: str) -> bool:
        """Say whether an array is the names along its axis."""
        array = self.array(name)
        return array.dtype.kind in "OT" or (
            self.dims(name) == (name,) and "flag_meanings" in array.attrs
        )

    def _folder(self, name: str) -> Path:
        return self.path / self._stored[name]

    def _damaged(self, name: str, error: Exception) -> ArtifactError:
        return ArtifactError(
            f"{self._folder(name)}: a chunk is damaged ({one_line(error)}); "
            f"`speechscope check --deep {self.path}` names it; make the artifact again"
        )

    def verify(self) -> None:
        """Read every chunk and compare its bytes with what was written.

        Raises
        ------
        ArtifactError
            A chunk differs; the message names it.
        """
        for name, expected in self.contents.items():
            folder = self._folder(name)
            if read_back(folder)["digest"] == expected["digest"]:
                continue
            bad = next(_damaged_chunks(self.array(name), folder), None)
            where = str(folder if bad is None else bad)
            raise ArtifactError(f"{where}: the bytes are not those that were written")


def open_record(path: Path) -> Record:
    """Read an artifact's record without listing its chunks.

    Raises
    ------
    ArtifactError
        It is missing, foreign or damaged, or its format is unknown.
    """
    if not path.exists():
        raise NotThere(f"{path} does not exist; name the artifact or run the stage before")
    try:
        text = small_file(path / METADATA)
    except OSError as error:
        raise ArtifactError(f"{path} is not a speechscope artifact (no {METADATA})") from error
    try:
        root = json.loads(text)
        digest = root["attributes"]["speechscope"].get("digest")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError(
            f"{path}/{METADATA} is damaged or not written by speechscope; make the artifact again"
        ) from error
    record, _ = read_record(path, root["attributes"])
    if digest != root_digest(root):
        raise ArtifactError(f"{path}/{METADATA} was changed after it was written; make it again")
    return record


def is_artifact(path: Path) -> bool:
    """Say whether a folder is one of ours, damaged or not; a replaced output has to be."""
    try:
        root = json.loads((path / METADATA).read_text())
        return "speechscope" in root["attributes"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def root_digest(root: Mapping[str, Any]) -> str:
    """Return the digest of the root metadata, the digest's own entry left out."""
    record = {k: v for k, v in root["attributes"]["speechscope"].items() if k != "digest"}
    value = {**root, "attributes": {**root["attributes"], "speechscope": record}}
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return bytes_digest(text.encode())


def read_back(folder: Path) -> dict[str, Any]:
    """Describe an array's chunk files as they are on the disk (`chunks.described`)."""
    return chunks.described(
        {chunk.name: _describe(Path(chunk.path)) for chunk in chunks.chunk_files(folder)}
    )


def _describe(chunk: Path) -> dict[str, Any]:
    """Return what `speechscope.store.chunks.describe` does, without holding the file."""
    with chunk.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.tell(), "digest": digest}


def _damaged_chunks(array: "zarr.Array[Any]", folder: Path) -> Iterator[Path]:
    """Yield the files of the chunks that do not decode."""
    for corner, region in chunks.regions(array.shape, array.chunks):
        chunk = folder / chunks.chunk_name(corner)
        try:
            if array.dtype.kind in "OT":
                names.decoded(chunk.read_bytes(), array.shape[0])
            else:
                check_sizes(array, folder, region)
                array[region]
        except Exception:
            yield chunk


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
        described = json.loads(metadata)
        shape, grid = described["shape"], described["chunk_grid"]["configuration"]["chunk_shape"]
        of_names = described["data_type"] == names.KIND
        kind = np.dtype("int32" if of_names else str(described["data_type"]))  # a length each
        codecs = [str(codec["name"]) for codec in described["codecs"]]
        sizes = [-(-n // step) for n, step in zip(shape, grid, strict=True)]
        unfolded = math.prod(grid) * kind.itemsize
        wrong = (
            kind.kind not in "biuf"
            or math.prod(sizes) != count
            or min([0, *shape]) < 0
            or (codecs != list(names.CODECS) if of_names else not set(codecs) <= _CODECS)
            or (of_names and shape != grid)
        )
    except (ValueError, KeyError, TypeError, ZeroDivisionError, RecursionError) as error:
        raise ArtifactError(f"{folder}/{METADATA} describes no array of ours") from error
    if wrong or unfolded > LARGEST_CHUNK:
        raise ArtifactError(
            f"{folder} claims the shape {one_line(shape)} in chunks of {one_line(grid)} "
            f"({', '.join(codecs)}), with {count} chunks there; it is not read"
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
    read = list(whole)
    for axis, (part, size, step) in enumerate(zip(parts, array.shape, array.chunks, strict=False)):
        if isinstance(part, slice):
            first, last, stride = part.indices(size)
            if stride < 0 or first >= last:
                continue
            read[axis] = range(first // step, (last - 1) // step + 1)
        elif isinstance(part, int | np.integer):
            place = int(part) % size if size else 0
            read[axis] = range(place // step, place // step + 1)
        else:
            return whole
    return read


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
