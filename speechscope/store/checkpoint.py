"""Checkpoints (``.pt``): tensors and plain types in one file, verified before they are used.

The file is a ZIP archive of a pickle and of tensors' bytes. ``torch.load`` with ``weights_only``
runs no code of the file's, but believes the sizes it names: a file of a kilobyte can ask for all
memory. What `torch.save` writes never does, so whatever differs from it is refused before anything
is loaded: compressed or overlapping members, other names in the pickle than those of tensors and
plain types, tensors larger than their bytes, structures larger than the file.
"""

import io
import math
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from speechscope.errors import ArtifactError, NotThere
from speechscope.store.record import Record, file_digest, read_record

PLAIN = (str, bytes, int, float, bool, type(None))
DEEPEST = 60
"""Levels of lists and dictionaries; ours have fewer than ten."""
_BYTES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2,
    "LongStorage": 8, "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1,
    "BoolStorage": 1,
}  # fmt: skip


class Checkpoint:
    """A checkpoint read from disk: its record, its values, its digest.

    Raises
    ------
    ArtifactError
        The file is missing, foreign, damaged, of another kind or format version.
    """

    def __init__(self, path: Path, kind: str | None = None) -> None:
        self.path = path
        self.record, self.values = read(path, load)
        self.kind = self.record["kind"]
        if kind is not None and self.kind != kind:
            raise ArtifactError(f"{path} is a {self.kind}; a {kind} is needed here")

    @property
    def digest(self) -> str:
        """The SHA-256 of the file."""
        return file_digest(self.path)


def write(path: Path, record: Record, values: Mapping[str, Any]) -> None:
    """Write a checkpoint's bytes at `path`; `speechscope.store.staging` makes that safe.

    Parameters
    ----------
    values
        Tensors, numbers, strings, and lists, tuples and dictionaries of these. Tensors are written
        as the CPU's, whatever device they are on: others could not be loaded without it.

    Raises
    ------
    TypeError
        A value is of another type: it could not be loaded with ``weights_only``.
    """
    save(_plain({"speechscope": dict(record), **values}, "checkpoint"), path)


def _plain(value: object, name: str) -> Any:
    """Return the same with all tensors on the CPU; refuse what is neither tensor nor plain."""
    if isinstance(value, torch.Tensor):
        return value.cpu()
    if type(value) in PLAIN:
        return value
    if isinstance(value, Mapping):
        return {key: _plain(entry, f"{name}[{key!r}]") for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(entry, f"{name}[{n}]") for n, entry in enumerate(value))
    raise TypeError(f"{name} is a {type(value).__name__}, which no checkpoint may hold")


def load(path: Path) -> Any:
    """Return what a checkpoint holds, once it is verified: the archive, and its checksums.

    Raises
    ------
    ArtifactError, Exception
        See `plain_values`; or a member is damaged.
    """
    plain_values(path)
    with zipfile.ZipFile(path) as archive:
        # torch.load does not compare the CRCs that stand in the file.
        damaged = archive.testzip()
    if damaged is not None:
        raise ArtifactError(f"{path}: {damaged!r} is damaged; make the checkpoint again")
    return torch.load(path, map_location="cpu", weights_only=True)


def read(path: Path, reader: Callable[[Path], Any] | None = None) -> tuple[Record, dict[str, Any]]:
    """Return a checkpoint's record and values; without `reader`, nothing is read of its tensors.

    Raises
    ------
    ArtifactError
        See `Checkpoint`.
    """
    if path.is_dir():
        raise ArtifactError(f"{path} is a folder; a checkpoint, a file, is wanted here")
    if not path.exists():
        raise NotThere(f"{path} does not exist; name the checkpoint or run the stage before")
    try:
        values = (reader or plain_values)(path)
    except ArtifactError:
        raise
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:100]
        raise ArtifactError(
            f"{path} is damaged or not a checkpoint of tensors and plain types ({reason})"
        ) from error
    record = values.get("speechscope") if isinstance(values, dict) else None
    if not isinstance(record, dict) or "kind" not in record:
        raise ArtifactError(f"{path} was not written by speechscope")
    return read_record(path, values)


def plain_values(path: Path) -> Any:
    """Return what a checkpoint holds beside tensors, in whose place something else stands.

    Raises
    ------
    ArtifactError
        It was not written by `torch.save`, or loading it would take more than its own size.
    Exception
        It is no archive, or its pickle is damaged or malformed.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ArtifactError(f"{path} is compressed, which no checkpoint of speechscope is")
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise ArtifactError(f"{path} claims to hold more than its size")
        sizes = {member.filename: member.file_size for member in members}
        if len(sizes) < len(members):
            raise ArtifactError(f"{path} holds two members of one name")
        pickles = [name for name in sizes if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ArtifactError(f"{path} was not written by speechscope")
        content = archive.read(pickles[0])
    folder = pickles[0].removesuffix("data.pkl")
    values = _Dry(path, content, {k.removeprefix(f"{folder}data/"): n for k, n in sizes.items()})
    plain = values.load()
    _check_values(path, plain, 4 * len(content) + 1000)
    return plain


class _Tensor:
    """What stands for a tensor while a pickle is read without making any."""


class _Dictionary(dict[Any, Any]):
    """What stands for an OrderedDict, which may have attributes."""


class _Dry(pickle._Unpickler):
    """Reads a pickle without making tensors; refuses what is neither one nor plain.

    It is the reader that is written in Python, which has no public name: the one in C takes memory
    for whatever place in its memo a pickle names.
    """

    def __init__(self, path: Path, content: bytes, sizes: Mapping[str, int]) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8")
        self._path = path
        self._sizes = sizes

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._tensor
        if (module, name) == ("collections", "OrderedDict"):
            return _Dictionary
        if module == "torch" and name in _BYTES:
            return name
        shown = f"{module}.{name}".encode("unicode_escape").decode()[:60]
        raise ArtifactError(
            f"{self._path} holds {shown}, which is neither a tensor nor a plain type; "
            "it is not loaded"
        )

    def persistent_load(self, pid: Any) -> int:
        """Return the number of values of a tensor's bytes, which have to be there."""
        _, kind, key, _, count = pid
        if type(count) is not int or count * _BYTES[kind] != self._sizes.get(key):
            raise ArtifactError(f"{self._path} claims {count} values for {str(key)[:20]!r}")
        return count

    def _tensor(self, count: int, offset: int, size: Any, stride: Any, *more: Any) -> _Tensor:
        numbers = (offset, *size, *stride)
        if len(size) != len(stride) or any(type(n) is not int or n < 0 for n in numbers):
            raise ArtifactError(f"{self._path} holds a tensor of shape {str(size)[:60]}")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if 0 not in size and (last >= count or math.prod(size) > count):
            raise ArtifactError(
                f"{self._path} holds a tensor of shape {str(size)[:60]}, but not its values"
            )
        return _Tensor()


def _check_values(path: Path, values: object, most: int) -> None:
    """Refuse what unfolds to more than `most` values, by lists that hold each other."""
    waiting: list[tuple[object, int]] = [(values, 0)]
    seen = 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if isinstance(value, dict):
            waiting += [(entry, depth + 1) for pair in value.items() for entry in pair]
        elif isinstance(value, list | tuple):
            waiting += [(entry, depth + 1) for entry in value]
        elif type(value) not in (*PLAIN, _Tensor):
            raise ArtifactError(f"{path} holds a {type(value).__name__}; it is not loaded")
        if depth > DEEPEST or seen + len(waiting) > most:
            raise ArtifactError(f"{path} unfolds to more than its size; it is not loaded")


def save(content: Mapping[str, Any], path: Path) -> None:
    """Write what `torch.save` makes of `content`.

    It is put together in memory: where a write fails or is interrupted, torch.save says only that
    the archive could not be ended.

    Raises
    ------
    OSError
        It cannot be written, such as on a full disk.
    """
    file = io.BytesIO()
    torch.save(content, file)
    try:
        path.write_bytes(file.getbuffer())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
