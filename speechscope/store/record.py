"""The record every artifact carries: what it is, what made it, and what it was made from."""

import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from speechscope import __version__
from speechscope.errors import ArtifactError

FORMAT_VERSION = 5
"""What this program writes; it reads every version from `OLDEST` on."""
OLDEST = 4
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""By version: what makes of a file's content (the record under ``speechscope``, and what else a
checkpoint holds) that of the next version. A version without an entry is read as it is."""


class Parent(TypedDict):
    """One artifact that another was made from; `path` is relative to the child's folder."""

    path: str
    kind: str
    digest: str


class Record(TypedDict):
    """The ``speechscope`` attribute of an artifact (DESIGN sec. 2).

    `contents` and `digest` are those of a finished Zarr artifact (see `store.artifact`).
    """

    kind: str
    format_version: int
    argv: list[str]
    config: dict[str, Any]
    seed: int
    device: str
    software: dict[str, str]
    parents: list[Parent]
    created: str
    contents: NotRequired[dict[str, dict[str, Any]]]
    digest: NotRequired[str]


def new_record(
    kind: str, *, config: Mapping[str, Any], seed: int, device: str, parents: Sequence[Parent] = ()
) -> Record:
    """Describe an artifact that is about to be written by this process."""
    software = {"speechscope": __version__, "python": platform.python_version()}
    for package in ("numpy", "torch", "zarr", "scipy"):
        with suppress(metadata.PackageNotFoundError):  # a partial install reads artifacts as well
            software[package] = metadata.version(package)
    return {
        "kind": kind,
        "format_version": FORMAT_VERSION,
        "argv": ["speechscope", *sys.argv[1:]],
        "config": dict(config),
        "seed": seed,
        "device": device,
        "software": software,
        "parents": list(parents),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def work_of(record: Record) -> dict[str, Any]:
    """Return what of a record decides what an artifact holds, as JSON gives it back."""
    work: dict[str, Any] = {
        "kind": record["kind"],
        "format": record["format_version"],
        "software": record["software"],
        "seed": record["seed"],
        "device": record["device"],
        "parents": [parent["digest"] for parent in record["parents"]],
        "config": record["config"],
    }
    again: dict[str, Any] = json.loads(json.dumps(work))
    return again


def read_record(path: Path, content: Mapping[str, Any]) -> tuple[Record, dict[str, Any]]:
    """Return the record in what a file holds, and all of it, as a file of this version has them.

    Raises
    ------
    ArtifactError
        Its format is unknown, or the record lacks what commands rely on.
    """
    version = content["speechscope"].get("format_version")
    if type(version) is not int or not OLDEST <= version <= FORMAT_VERSION:
        known = str(OLDEST) if OLDEST == FORMAT_VERSION else f"{OLDEST} to {FORMAT_VERSION}"
        newer = type(version) is int and version > FORMAT_VERSION
        hint = "install a newer one" if newer else "use the release that wrote it or make it again"
        raise ArtifactError(
            f"{path} has format version {version}; this speechscope reads {known}; {hint}"
        )
    _check(path, content["speechscope"])
    current = dict(content)
    for older in range(version, FORMAT_VERSION):
        current = UPGRADES[older](current) if older in UPGRADES else current
    record = current["speechscope"]
    return cast("Record", {**record, "config": Config(record["config"], path)}), current


class Config(dict[str, Any]):
    """The settings in a record; one that is not there is the artifact's fault."""

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        super().__init__(values)
        self._path = path

    def __missing__(self, name: str) -> Any:
        raise ArtifactError(f"{self._path}: its record has no setting {name!r}; make it again")


def _check(path: Path, record: Mapping[str, Any]) -> None:
    """Refuse a record that lacks what commands rely on."""
    kinds: dict[str, type] = {"kind": str, "argv": list, "config": dict, "seed": int}
    kinds |= {"device": str, "software": dict, "parents": list, "created": str}
    if "contents" in record:
        kinds["contents"] = dict
        contents = record["contents"] if isinstance(record["contents"], dict) else {}
        for name, entry in contents.items():
            found = [
                type(entry.get(key)) if isinstance(entry, dict) else None
                for key in ("chunks", "bytes", "digest", "metadata")
            ]
            if found != [int, int, str, str]:
                raise ArtifactError(f"{path}: its record has no valid contents of {name!r}")
    wrong = [name for name, kind in kinds.items() if type(record.get(name)) is not kind]
    wrong += [
        "parents"
        for parent in record.get("parents") or ()
        if not isinstance(parent, dict)
        or any(type(parent.get(name)) is not str for name in ("path", "kind", "digest"))
    ]
    if wrong:
        raise ArtifactError(f"{path}: its record has no valid {wrong[0]}; make it again")


def bytes_digest(data: bytes) -> str:
    """Return the SHA-256 of bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; a file that did not change is read once a process."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        known = (status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns)
        if known not in _DIGESTS:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            # What changes twice within a tick of the file system's clock shows it only once.
            if time.time_ns() - status.st_ctime_ns < SETTLED:
                return digest
            _DIGESTS[known] = digest
        return _DIGESTS[known]


_DIGESTS: dict[tuple[int, ...], str] = {}
SETTLED = 2_000_000_000
"""Age at which a file's time tells of any further change [ns]; FAT counts in two seconds."""
