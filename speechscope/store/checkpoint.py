"""Checkpoints (``.pt``): tensors and plain types in one file, verified before they are used."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch

from speechscope.errors import ArtifactError
from speechscope.store.checkpoint_file import PLAIN, check_archive, plain_values, save
from speechscope.store.checks import Settings, check_record, check_version
from speechscope.store.record import Record, file_digest


class Checkpoint:
    """A checkpoint read from disk: its record, its values, its digest.

    Raises
    ------
    ArtifactError
        The file is missing, foreign, damaged, of another kind or format version.
    """

    def __init__(self, path: Path, kind: str | None = None) -> None:
        self.path = path
        self.values: dict[str, Any] = _read(path, _load)
        self.record = _checked_record(path, self.values)
        if kind is not None and self.kind != kind:
            raise ArtifactError(f"{path} is a {self.kind}; a {kind} is needed here")

    @property
    def kind(self) -> str:
        """What the checkpoint is: model or decoder."""
        return self.record["kind"]

    @property
    def digest(self) -> str:
        """The SHA-256 of the file."""
        return file_digest(self.path)


def open_record(path: Path) -> Record:
    """Read a checkpoint's record; of its tensors, nothing is read.

    Raises
    ------
    ArtifactError
        See `Checkpoint`.
    """
    return _checked_record(path, _read(path, plain_values))


def write(path: Path, record: Record, values: Mapping[str, Any]) -> None:
    """Write a checkpoint's bytes at `path`; `speechscope.store.staging` makes that safe.

    Parameters
    ----------
    values
        Tensors, numbers, strings, and lists, tuples and dictionaries of these.

    Raises
    ------
    TypeError
        A value is of another type: it could not be loaded with ``weights_only``.
    """
    content = {"speechscope": dict(record), **values}
    _check_plain(content, "checkpoint")
    save(content, path)


def _check_plain(value: object, where: str) -> None:
    if isinstance(value, torch.Tensor) or type(value) in PLAIN:
        return
    if isinstance(value, Mapping):
        for key, entry in value.items():
            _check_plain(entry, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, entry in enumerate(value):
            _check_plain(entry, f"{where}[{index}]")
    else:
        raise TypeError(f"{where} is a {type(value).__name__}, which no checkpoint may hold")


def _load(path: Path) -> Any:
    check_archive(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _read(path: Path, load: Callable[[Path], Any]) -> dict[str, Any]:
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist; name the checkpoint or run the stage before")
    try:
        values = load(path)
    except ArtifactError:
        raise
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:100]
        raise ArtifactError(
            f"{path} is damaged or not a checkpoint of tensors and plain types ({reason})"
        ) from error
    if not isinstance(values, dict):
        raise ArtifactError(f"{path} was not written by speechscope")
    return values


def _checked_record(path: Path, values: Mapping[str, Any]) -> Record:
    record = values.get("speechscope")
    if not isinstance(record, dict) or "kind" not in record:
        raise ArtifactError(f"{path} was not written by speechscope")
    check_version(path, record)
    check_record(path, record)
    return cast("Record", {**record, "config": Settings(record["config"], path)})
