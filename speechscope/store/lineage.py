"""Finding the artifacts that an artifact was made from, and making sure they are the same ones."""

import os
from collections.abc import Mapping
from pathlib import Path

from speechscope.errors import ArtifactError, NotThere
from speechscope.store import artifact
from speechscope.store.artifact import METADATA
from speechscope.store.record import Parent, Record, file_digest


def is_checkpoint(path: Path) -> bool:
    """Say whether a path is meant as a checkpoint: any file is, a folder is an artifact."""
    return path.is_file() or (not path.exists() and path.suffix == ".pt")


def record_at(path: Path) -> Record:
    """Read the record of an artifact or a checkpoint, without its chunks or tensors.

    Raises
    ------
    ArtifactError
        It is missing or foreign, or its record is damaged.
    """
    if is_checkpoint(path):
        from speechscope.store import checkpoint

        return checkpoint.read(path)[0]
    return artifact.open_record(path)


def digest_at(path: Path) -> str:
    """Return the digest that a child stores of this parent."""
    if is_checkpoint(path):
        return file_digest(path)
    return artifact.open_record(path)["digest"]


def verify(path: Path, *, deep: bool) -> str:
    """Verify an artifact or a checkpoint and return its kind; `deep` reads every byte of it.

    Raises
    ------
    ArtifactError
        It is not what was written.
    """
    if is_checkpoint(path):
        from speechscope.store import checkpoint

        return checkpoint.Checkpoint(path).kind
    opened = artifact.Artifact(path)
    if deep:
        opened.verify()
    return opened.kind


def history(path: Path, record: Record) -> list[str]:
    """Return the commands an artifact comes from, the first one first, with their times.

    A parent that is not where it was, or changed since, is said to be missing.
    """
    lines: list[str] = []
    for parent in record["parents"]:
        target = path.parent / parent["path"]
        try:
            same = target.exists() and digest_at(target) == parent["digest"]
            above = history(target, record_at(target)) if same else []
        except ArtifactError:
            above = []
        if not above:
            above = [f"(the {parent['kind']} {target}: not there as it was)"]
        lines += [line for line in above if line not in lines]
    words = " ".join(str(word) for word in record["argv"])
    return [*lines, f"{record['created']} {words}"]


def entry(parent: Path, kind: str, child: Path, digest: str | None = None) -> Parent:
    """Describe a parent for the record of the artifact that will stand at `child`.

    The path leads from the child's folder to the parent, so that moving both keeps the link.
    """
    path = os.path.relpath(parent.resolve(), child.parent.resolve())
    return {"path": path, "kind": kind, "digest": digest or digest_at(parent)}


def _is(path: Path, parent: Parent) -> bool:
    """Say whether the parent of an artifact stands at a path."""
    return path.exists() and digest_at(path) == parent["digest"]


def ancestor(
    path: Path, record: Record, kind: str, moved: Mapping[str, Path] | None = None
) -> Path:
    """Find the artifact of a kind that another was made from, however far up.

    Parameters
    ----------
    path, record
        The artifact to start from.
    kind
        The kind looked for: ``corpus``, ``model``, ``decoder``.
    moved
        Where parents now stand that are no longer where the record says, by kind
        (``--corpus``, ``--checkpoint``).

    Raises
    ------
    ArtifactError
        It is not there, or it is not the one this was made from.
    """
    if record["kind"] == kind:
        return path
    # What was made from two corpora has one place for them where they moved.
    several = "looked_at" in record["config"]
    for parent in record["parents"]:
        target = path.parent / parent["path"]
        other = (moved or {}).get(parent["kind"])
        if other is not None and not (several and _is(target, parent) and not _is(other, parent)):
            target = other
        option = "--corpus" if parent["kind"] == "corpus" else "--checkpoint"
        if not (target / METADATA).exists() and not target.is_file():
            there = target.exists()
            found = "which is no artifact any more" if there else "which is not there"
            raise (ArtifactError if there else NotThere)(
                f"{path} was made from {target}, {found}; "
                f"name the {parent['kind']} with {option} PATH"
            )
        if digest_at(target) != parent["digest"]:
            raise ArtifactError(
                f"{target} is not the {parent['kind']} {path} was made from (it changed since); "
                f"make {path.name} again, or name the right one with {option} PATH"
            )
        if parent["kind"] == kind:
            return target
        above = record_at(target)
        if above["parents"]:
            return ancestor(target, above, kind, moved)
    raise ArtifactError(f"{path} was not made from a {kind}")
