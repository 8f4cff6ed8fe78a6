"""The record every artifact carries: what it is, what made it, and what it was made from."""

import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from speechscope import __version__

FORMAT_VERSION = 4


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
    return {
        "kind": kind,
        "format_version": FORMAT_VERSION,
        "argv": ["speechscope", *sys.argv[1:]],
        "config": dict(config),
        "seed": seed,
        "device": device,
        "software": _software(),
        "parents": list(parents),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _software() -> dict[str, str]:
    versions = {"speechscope": __version__, "python": platform.python_version()}
    for package in ("numpy", "torch", "zarr", "scipy"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # a partial install can still read artifacts
            continue
    return versions


def parent_entry(parent: Path, kind: str, digest: str, child: Path) -> Parent:
    """Point from a child to its parent, so that moving both together keeps the link."""
    relative = os.path.relpath(parent.resolve(), child.parent.resolve())
    return {"path": relative, "kind": kind, "digest": digest}


def digest_of(value: object) -> str:
    """Return the SHA-256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return bytes_digest(text.encode())


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
