"""Dividing the items of an artifact among jobs, and putting what they wrote together.

A shard is an artifact that holds some of the items; its record says which (``shard`` in its
settings). What an array is among shards, `merge_arrays` tells: the same in all, chunks to be moved,
or rows to be appended. A kind with more to it, such as a mean over all items, registers a `Merger`.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.errors import ArtifactError, UsageProblem
from speechscope.registry import MERGERS
from speechscope.store.artifact import Artifact
from speechscope.store.chunks import chunk_name, copy_chunk, described
from speechscope.store.lineage import entry
from speechscope.store.record import Record, new_record
from speechscope.store.writer import ArtifactWriter, chunk_shape, create_artifact

AXIS = "item"
SMALL = 1_000_000
"""Bytes of a chunk below which an array is written anew, in fewer chunks."""
ROWS = 1 << 26
"""Bytes of rows that are read at once."""


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


@dataclass(frozen=True)
class Merger:
    """How the shards of a kind become one artifact.

    Parameters
    ----------
    write
        Writes the arrays, of the shards by number, and returns the number of items.
    kind, title
        Of what comes out; "": those of the shards.
    own
        Settings that each shard has for itself.
    """

    write: Callable[[ArtifactWriter, Sequence[Artifact]], int]
    kind: str = ""
    title: str = ""
    own: Collection[str] = ()


def merge(paths: Sequence[Path], path: Path, *, force: bool) -> tuple[str, int]:
    """Put all shards of an artifact together at `path`; return its kind and its items.

    Raises
    ------
    UsageProblem
        These are not all the shards of one artifact.
    ArtifactError
        A shard is damaged, or was made in another way than the first.
    """
    opened = [Artifact(path) for path in paths]
    kind = opened[0].kind
    merger = MERGERS[kind] if kind in MERGERS else Merger(_moved)
    shards = _in_order(opened, merger.own)
    if kind in MERGERS:
        for shard in shards:
            shard.verify()  # what is read is not compared with its digest, as what is moved is
    first = shards[0]
    record = _record_of(first, merger.kind or kind, path)
    with create_artifact(path, merger.title or first.title, record, force=force) as writer:
        items = merger.write(writer, shards)
    return record["kind"], items


def _moved(writer: ArtifactWriter, shards: Sequence[Artifact]) -> int:
    merge_arrays(writer, shards, list(shards[0]))
    return int(shards[0].record["config"]["shard"]["items"])


def merge_arrays(
    writer: ArtifactWriter, shards: Sequence[Artifact], names: Collection[str]
) -> None:
    """Write arrays of all shards, by what they are among shards.

    Those that the record gives a role (``roles`` of ``shard``) grow while they are written, and
    have chunks across shards: their rows are appended. Of the others, what has an item axis is
    copied chunk by chunk, each compared with its digest, or written anew if it is small; what has
    none is the same in all shards.
    """
    roles = shards[0].record["config"]["shard"].get("roles", {})
    for name in names:
        dims = shards[0].dims(name)
        if name in roles:
            _appended(writer, name, shards, roles[name])
        elif AXIS not in dims:
            _same(writer, name, shards)
        elif _is_small(name, shards):
            axis = dims.index(AXIS)
            values = np.concatenate([shard.read(name) for shard in shards], axis=axis)
            writer.put(name, values, dims, shards[0].attributes(name))
        else:
            _copied(writer, name, dims.index(AXIS), shards)


def _in_order(shards: Sequence[Artifact], own: Collection[str]) -> list[Artifact]:
    """Return the shards by number; they are all of one artifact."""
    for shard in shards:
        if "shard" not in shard.record["config"]:
            raise UsageProblem(f"{shard.path} is not a shard; make them with --shard I/N")
    first = shards[0]
    for shard in shards[1:]:
        mine, theirs = _shared(first.record, own), _shared(shard.record, own)
        for name in {**mine, **theirs}:
            if mine.get(name) != theirs.get(name):
                raise ArtifactError(
                    f"{shard.path} is not a shard of the same artifact as {first.path}: "
                    f"{name} {theirs.get(name)}, not {mine.get(name)}"
                )
    of = first.record["config"]["shard"]["of"]
    by_number = {shard.record["config"]["shard"]["number"]: shard for shard in shards}
    missing = [str(number) for number in range(1, of + 1) if number not in by_number]
    if missing:
        raise UsageProblem(f"of {of} shards these are missing: {', '.join(missing)}")
    if len(by_number) < len(shards):
        raise UsageProblem("a shard was given twice")
    return [by_number[number] for number in range(1, of + 1)]


def _shared(record: Record, own: Collection[str]) -> dict[str, Any]:
    """Return what all shards share, by what a message calls it."""
    apart = ("shard", *own)
    settings = {name: value for name, value in record["config"].items() if name not in apart}
    place = record["config"]["shard"]
    return {
        **settings,
        **{f"shards, {name}": place[name] for name in ("of", "items", "chunk")},
        "kind": record["kind"],
        "--seed": record["seed"],
        "made from": [parent["digest"] for parent in record["parents"]],
    }


def _record_of(shard: Artifact, kind: str, path: Path) -> Record:
    """Return the record of what the shards make together."""
    old = shard.record
    return new_record(
        kind,
        config={name: value for name, value in old["config"].items() if name != "shard"},
        seed=old["seed"],
        device=old["device"],
        parents=[
            entry(shard.path.parent / parent["path"], parent["kind"], path, parent["digest"])
            for parent in old["parents"]
        ],
    )


def _same(writer: ArtifactWriter, name: str, shards: Sequence[Artifact]) -> None:
    """Write what all shards hold alike."""
    first = shards[0]
    for shard in shards[1:]:
        if shard.contents[name]["digest"] != first.contents[name]["digest"]:
            raise ArtifactError(f"{shard.path}/{name} is not that of {first.path}")
    writer.put(name, first.read(name), first.dims(name), first.attributes(name))


def _appended(writer: ArtifactWriter, name: str, shards: Sequence[Artifact], role: str) -> None:
    """Append an array's rows of all shards to one another.

    Parameters
    ----------
    role
        ``rows``; ``edges``: each shard's go on from the last before; else the name of an array
        whose rows they count, and of which there are some before.
    """
    first = shards[0]
    like = first.array(name)
    stream = writer.stream(
        name, like.shape[1:], like.dtype, first.dims(name), first.attributes(name)
    )
    before = 0
    for number, shard in enumerate(shards):
        for values in _read_rows(shard, name, 1 if role == "edges" and number else 0):
            stream.append(values + np.asarray(before, dtype=like.dtype) if before else values)
        if role == "edges":
            before += int(shard.read(name, -1))
        elif role != "rows":
            before += shard.array(role).shape[0]


def _read_rows(shard: Artifact, name: str, start: int) -> Iterator[NDArray[Any]]:
    array = shard.array(name)
    row = max(1, int(np.prod(array.shape[1:])) * array.dtype.itemsize)
    step = max(1, ROWS // row // array.chunks[0]) * array.chunks[0]
    edges = [start, *range(step, array.shape[0], step), array.shape[0]]
    for low, high in pairwise(edges):
        yield shard.read(name, slice(low, high))


def _is_small(name: str, shards: Sequence[Artifact]) -> bool:
    """Tell whether an array was written whole in every shard, and is small."""
    arrays = [shard.array(name) for shard in shards]
    return all(
        tuple(a.chunks) == chunk_shape(a.shape, a.dtype.itemsize)
        and np.prod(a.chunks) * a.dtype.itemsize < SMALL
        for a in arrays
    )


def _copied(writer: ArtifactWriter, name: str, axis: int, shards: Sequence[Artifact]) -> None:
    """Copy the chunks of an array, numbered on along the item axis."""
    first = shards[0]
    like = first.array(name)
    items = first.record["config"]["shard"]["items"]
    shape = (*like.shape[:axis], items, *like.shape[axis + 1 :])
    writer.create(name, shape, like.dtype, first.dims(name), first.attributes(name), like.chunks)
    for shard in shards:
        array = shard.array(name)
        if tuple(array.chunks) != tuple(like.chunks):
            raise ArtifactError(f"{shard.path}/{name} has chunks of {array.chunks}")
        before = shard.record["config"]["shard"]["start"] // array.chunks[axis]
        read: dict[str, dict[str, Any]] = {}
        for corner in np.ndindex(*array.cdata_shape):
            old = chunk_name(corner)
            new = chunk_name((*corner[:axis], corner[axis] + before, *corner[axis + 1 :]))
            read[old] = copy_chunk(shard.path / name / old, writer.folder / name / new)
            writer.written[name][new] = read[old]
        if described(read)["digest"] != shard.contents[name]["digest"]:
            raise ArtifactError(
                f"{shard.path}/{name}: a chunk is damaged; `speechscope check --deep {shard.path}` "
                "names it; make that shard again"
            )
