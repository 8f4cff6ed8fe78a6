"""``speechscope info``: what an artifact is."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechscope.settings import Settings, argument
from speechscope.work.progress import Console

if TYPE_CHECKING:
    from speechscope.store.record import Record

PRESENTATION = ("json",)
LISTED = 10
"""Entries of a long list, such as that of the skipped items, that are shown."""


@dataclass(frozen=True, kw_only=True)
class Info(Settings):
    """Show an artifact's kind, arrays, parents, settings, and the commands it comes from.

    Example: speechscope info corpus.zarr
    """

    artifact: Path = argument(..., "An artifact; - reads one.", metavar="ARTIFACT")


@dataclass(frozen=True)
class Described:
    """What is known of an artifact, by name."""

    facts: Mapping[str, Any]

    def shown(self, form: str) -> str:
        """See `speechscope.stages.shared.Result`."""
        if form == "json":
            return json.dumps(self.facts)
        lines = []
        for key, value in self.facts.items():
            if isinstance(value, dict):
                lines += [f"{key}:"] + [f"  {name:<20} {entry}" for name, entry in value.items()]
            elif isinstance(value, list):
                lines += [f"{key}:"] + [f"  {entry}" for entry in value]
            else:
                lines.append(f"{key + ':':<16} {value}")
        return "\n".join(lines)


def run(settings: Info, console: Console) -> Described:
    """Return an artifact's kind, arrays, parents, settings and origin, and scores it holds."""
    from speechscope.store.artifact import Artifact
    from speechscope.store.checkpoint import Checkpoint
    from speechscope.store.lineage import history, is_checkpoint

    path = settings.artifact
    if is_checkpoint(path):
        checkpoint = Checkpoint(path)
        facts = {**_origin(path, checkpoint.record), "history": history(path, checkpoint.record)}
        if test := checkpoint.values.get("test"):
            facts["on the test split"] = {name: f"{value:.4f}" for name, value in test.items()}
        return Described({**facts, "tensors": dict(_shapes(checkpoint.values))})
    artifact = Artifact(path)
    arrays = {}
    for name in artifact:
        array = artifact.array(name)
        shape = ", ".join(
            f"{dim} {size}" for dim, size in zip(artifact.dims(name), array.shape, strict=True)
        )
        kind = "names" if artifact.is_names(name) else array.dtype
        arrays[name] = f"[{shape}] {kind}"
    done = {"history": history(path, artifact.record)}
    return Described({**_origin(path, artifact.record), **done, "arrays": arrays})


def _origin(path: Path, record: "Record") -> dict[str, Any]:
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
        "settings": {name: _short(value) for name, value in record["config"].items()},
    }


def _short(value: Any) -> Any:
    if isinstance(value, list) and len(value) > LISTED:
        return [*value[:LISTED], f"… {len(value)} in all"]
    return value


def tensors(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the tensors of a checkpoint by their names, ``weights/conv1.weight``."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from tensors(value, f"{prefix}{name}/")
        elif hasattr(value, "dtype"):
            yield f"{prefix}{name}", value


def _shapes(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in tensors(values):
        yield name, f"{tuple(value.shape)} {value.dtype}".replace("torch.", "")
