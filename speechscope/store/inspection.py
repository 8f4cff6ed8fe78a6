"""What `info` shows of an artifact and what `check` verifies."""

from pathlib import Path
from typing import Any

from speechscope.errors import ArtifactError
from speechscope.store.artifact import Artifact
from speechscope.store.checkpoint import Checkpoint
from speechscope.store.lineage import digest_at, is_checkpoint, record_at
from speechscope.store.record import Record


def describe(path: Path) -> dict[str, Any]:
    """Return an artifact's kind, arrays, parents, settings and origin, and scores it holds.

    Raises
    ------
    ArtifactError
        It is missing, foreign or damaged.
    """
    if is_checkpoint(path):
        checkpoint = Checkpoint(path)
        arrays = {
            name: f"{tuple(value.shape)} {value.dtype}".replace("torch.", "")
            for name, value in _tensors(checkpoint.values)
        }
        test = checkpoint.values.get("test", {})
        scores = {"on the test split": {n: f"{v:.4f}" for n, v in test.items()}} if test else {}
        done = {"history": history(path, checkpoint.record)}
        return {**_origin(path, checkpoint.record), **done, **scores, "tensors": arrays}
    artifact = Artifact(path)
    arrays = {}
    for name in artifact:
        array = artifact.array(name)
        dims = array.metadata.dimension_names or ()  # type: ignore[union-attr]
        shape = ", ".join(f"{d} {n}" for d, n in zip(dims, array.shape, strict=True))
        arrays[name] = f"[{shape}] {array.dtype}"
    done = {"history": history(path, artifact.record)}
    return {**_origin(path, artifact.record), **done, "arrays": arrays}


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


def verify(path: Path, *, deep: bool) -> str:
    """Verify an artifact and return its kind.

    Raises
    ------
    ArtifactError
        It is not what was written.
    """
    if is_checkpoint(path):
        return Checkpoint(path).kind
    artifact = Artifact(path)
    if deep:
        artifact.verify()
    return artifact.kind


def _origin(path: Path, record: Record) -> dict[str, Any]:
    config = {k: _short(v) for k, v in record["config"].items()}
    return {
        "path": str(path),
        "kind": record["kind"],
        "created": record["created"],
        "command": " ".join(record["argv"]),
        "seed": record["seed"],
        "device": record["device"],
        "format version": record["format_version"],
        "software": record["software"],
        "parents": {p["path"]: f"{p['kind']} {p['digest'][:19]}" for p in record["parents"]},
        "settings": config,
    }


def _short(value: Any) -> Any:
    """Shorten a long list, such as that of the skipped items."""
    if isinstance(value, list) and len(value) > 10:
        return [*value[:10], f"… {len(value)} in all"]
    return value


def _tensors(values: Any, prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += _tensors(value, f"{prefix}{name}/")
        elif hasattr(value, "dtype"):
            found.append((f"{prefix}{name}", value))
    return found
