"""What `info` shows of an artifact and what `check` verifies."""

from pathlib import Path
from typing import Any

from speechscope.artifact import Artifact
from speechscope.checkpoint import Checkpoint
from speechscope.lineage import is_checkpoint
from speechscope.provenance import Record


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
        return {**_origin(path, checkpoint.record), **scores, "tensors": arrays}
    artifact = Artifact(path)
    arrays = {}
    for name in artifact:
        array = artifact.array(name)
        dims = array.metadata.dimension_names or ()  # type: ignore[union-attr]
        shape = ", ".join(f"{d} {n}" for d, n in zip(dims, array.shape, strict=True))
        arrays[name] = f"[{shape}] {array.dtype}"
    return {**_origin(path, artifact.record), "arrays": arrays}


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
