"""Dividing the items of an artifact among jobs, and putting what they wrote together.

A shard is an artifact of its own kind that holds some of the items, in whole chunks; its record
says which (``shard`` in its settings). Merging moves chunks, and computes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speechscope.errors import ArtifactError, UsageProblem
from speechscope.store.artifact import Artifact
from speechscope.store.chunks import chunk_name, copy_chunk, described
from speechscope.store.record import Record, new_record, parent_entry
from speechscope.store.writer import ArtifactWriter, chunk_shape, create_artifact

AXIS = "item"
SMALL = 1_000_000
"""Bytes of a chunk below which an array is written anew, in fewer chunks."""


@dataclass(frozen=True)
class Shard:
    """One of several artifacts that items are divided among: the `number`-th `of` so many."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read ``I/N``.

        Raises
        ------
        UsageProblem
            It is not two whole numbers, 1 ≤ I ≤ N.
        """
        parts = text.split("/")
        if len(parts) == 2 and all(part.isdecimal() for part in parts):
            number, of = int(parts[0]), int(parts[1])
            if 1 <= number <= of:
                return cls(number, of)
        raise UsageProblem(f"--shard {text}: give I/N with I from 1 to N, such as 3/16")

    def part(self, count: int, step: int) -> slice:
        """Return this shard's items: whole chunks of `step`, as evenly divided as they can be.

        Raises
        ------
        UsageProblem
            There are fewer chunks than shards.
        """
        chunks = -(-count // step)
        if chunks < self.of:
            raise UsageProblem(
                f"--shard {self.number}/{self.of}: {count} items are {chunks} chunks of {step}; "
                f"give at most {chunks} shards"
            )
        edges = [chunks * number // self.of * step for number in (self.number - 1, self.number)]
        return slice(edges[0], min(count, edges[1]))

    def config(self, count: int, step: int) -> dict[str, int]:
        """Return what a shard's record says of it."""
        part = self.part(count, step)
        return {
            "number": self.number,
            "of": self.of,
            "start": part.start,
            "stop": part.stop,
            "items": count,
            "chunk": step,
        }

    def path(self, path: Path) -> Path:
        """Return the default name of this shard of an output: ``inversion-3-of-16.zarr``."""
        return path.with_stem(f"{path.stem}-{self.number}-of-{self.of}")


def merge(paths: Sequence[Path], path: Path, *, force: bool) -> tuple[str, int]:
    """Put all shards of an artifact together at `path`; return its kind and its items.

    Chunks are copied as they are, each compared with its digest; small arrays are written anew.

    Raises
    ------
    UsageProblem
        These are not all the shards of one artifact.
    ArtifactError
        A shard is damaged, or was made in another way than the first.
    """
    shards = in_order(paths)
    first = shards[0]
    shard = first.record["config"]["shard"]
    with create_artifact(path, first.title, record_of(first, path), force=force) as writer:
        for name in first:
            dims = first.dims(name)
            if AXIS not in dims:
                put_same(writer, name, shards)
            elif _is_small(name, shards):
                axis = dims.index(AXIS)
                values = np.concatenate([held.read(name) for held in shards], axis=axis)
                writer.put(name, values, dims, first.attributes(name))
            else:
                _copied(writer, name, dims.index(AXIS), shards, shard)
    return first.kind, int(shard["items"])


def in_order(paths: Sequence[Path], own: Sequence[str] = ()) -> list[Artifact]:
    """Open the shards by number; they are all of one artifact.

    Parameters
    ----------
    own
        Settings that each shard has for itself.

    Raises
    ------
    UsageProblem, ArtifactError
        See `merge`.
    """
    shards = [Artifact(path) for path in paths]
    for held in shards:
        if "shard" not in held.record["config"]:
            raise UsageProblem(f"{held.path} is not a shard; make them with --shard I/N")
    first = shards[0]
    for held in shards[1:]:
        for what, mine, theirs in _differences(first.record, held.record, own):
            raise ArtifactError(
                f"{held.path} is not a shard of the same artifact as {first.path}: "
                f"{what} {theirs}, not {mine}"
            )
    of = first.record["config"]["shard"]["of"]
    found = {held.record["config"]["shard"]["number"]: held for held in shards}
    missing = [str(number) for number in range(1, of + 1) if number not in found]
    if missing:
        raise UsageProblem(f"of {of} shards these are missing: {', '.join(missing)}")
    if len(found) < len(shards):
        raise UsageProblem("a shard was given twice")
    return [found[number] for number in range(1, of + 1)]


def _differences(one: Record, other: Record, own: Sequence[str]) -> Iterator[tuple[str, Any, Any]]:
    yield from _unequal(_apart_from_place(one, own), _apart_from_place(other, own))
    digests = [[parent["digest"] for parent in record["parents"]] for record in (one, other)]
    yield from _unequal(
        {"kind": one["kind"], "--seed": one["seed"], "made from": digests[0]},
        {"kind": other["kind"], "--seed": other["seed"], "made from": digests[1]},
    )


def _apart_from_place(record: Record, own: Sequence[str]) -> dict[str, Any]:
    """Return the settings that all shards share."""
    apart = ("shard", *own)
    settings = {name: value for name, value in record["config"].items() if name not in apart}
    shared = ("of", "items", "chunk")
    return {**settings, **{f"shards, {n}": record["config"]["shard"][n] for n in shared}}


def _unequal(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in {**one, **other}:
        if one.get(name) != other.get(name):
            yield name, one.get(name), other.get(name)


def record_of(shard: Artifact, path: Path) -> Record:
    """Return the record of what the shards make together."""
    old = shard.record
    return new_record(
        old["kind"],
        config={name: value for name, value in old["config"].items() if name != "shard"},
        seed=old["seed"],
        device=old["device"],
        parents=[
            parent_entry(shard.path.parent / parent["path"], parent["kind"], parent["digest"], path)
            for parent in old["parents"]
        ],
    )


def put_same(writer: ArtifactWriter, name: str, shards: Sequence[Artifact]) -> None:
    """Write what all shards hold alike."""
    first = shards[0]
    for held in shards[1:]:
        if held.contents[name]["digest"] != first.contents[name]["digest"]:
            raise ArtifactError(f"{held.path}/{name} is not that of {first.path}")
    dims = first.dims(name)
    writer.put(name, first.read(name), dims, first.attributes(name))


def _is_small(name: str, shards: Sequence[Artifact]) -> bool:
    """Tell whether an array was written whole in every shard, and is small."""
    arrays = [held.array(name) for held in shards]
    return all(
        tuple(a.chunks) == chunk_shape(a.shape, a.dtype.itemsize)
        and np.prod(a.chunks) * a.dtype.itemsize < SMALL
        for a in arrays
    )


def _copied(
    writer: ArtifactWriter,
    name: str,
    axis: int,
    shards: Sequence[Artifact],
    shard: Mapping[str, int],
) -> None:
    """Copy the chunks of an array, numbered on along the item axis."""
    like = shards[0].array(name)
    shape = (*like.shape[:axis], shard["items"], *like.shape[axis + 1 :])
    dims = shards[0].dims(name)
    writer.create(name, shape, like.dtype, dims, shards[0].attributes(name), like.chunks)
    for held in shards:
        array = held.array(name)
        if tuple(array.chunks) != tuple(like.chunks):
            raise ArtifactError(f"{held.path}/{name} has chunks of {array.chunks}")
        before = held.record["config"]["shard"]["start"] // array.chunks[axis]
        found: dict[str, dict[str, Any]] = {}
        for corner in np.ndindex(*array.cdata_shape):
            old = chunk_name(corner)
            moved = (*corner[:axis], corner[axis] + before, *corner[axis + 1 :])
            new = chunk_name(moved)
            found[old] = copy_chunk(held.path / name / old, writer.folder / name / new)
            writer.adopt(name, {new: found[old]})
        if described(found)["digest"] != held.contents[name]["digest"]:
            raise ArtifactError(
                f"{held.path}/{name}: a chunk is damaged; `speechscope check --deep {held.path}` "
                "names it; make that shard again"
            )
