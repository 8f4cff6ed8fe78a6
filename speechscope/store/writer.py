"""Writing an artifact: arrays in whole chunks, verified complete, then moved into place."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
import zarr.core.sync
from numpy.typing import ArrayLike, DTypeLike
from zarr.codecs import ZstdCodec

from speechscope.errors import ArtifactError
from speechscope.store.artifact import METADATA, is_artifact, read_back, root_digest
from speechscope.store.chunks import (
    SEPARATOR,
    ZSTD_LEVEL,
    ChunkThreads,
    chunk_name,
    described,
    filled,
    regions,
    write_chunk,
)
from speechscope.store.record import Record, bytes_digest
from speechscope.store.staging import staged
from speechscope.store.streams import Stream
from speechscope.store.unfinished import Finished, is_unfinished, remove_scraps

CHUNK_BYTES = 4_000_000  # DESIGN sec. 2: chunks of 1-8 MB


def chunk_shape(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Choose chunks of about `CHUNK_BYTES`: trailing dimensions whole, leading ones cut."""
    chunks = [1] * len(shape)
    room = max(1, CHUNK_BYTES // itemsize)
    for axis in range(len(shape) - 1, -1, -1):
        chunks[axis] = max(1, min(shape[axis], room))
        room //= chunks[axis]
        if chunks[axis] < shape[axis]:
            break
    return tuple(chunks)


def flag_attributes(names: Sequence[str]) -> dict[str, Any]:
    """Return the CF attributes of an integer label whose value i means ``names[i]``."""
    return {"flag_values": list(range(len(names))), "flag_meanings": " ".join(names)}


class ArtifactWriter:
    """An artifact being written; `create_artifact` opens one and completes it.

    Attributes
    ----------
    finished
        Notes what is finished, where the command can go on with a stopped run.
    """

    def __init__(
        self,
        folder: Path,
        title: str,
        record: Record,
        threads: ChunkThreads,
        finished: Finished | None = None,
    ) -> None:
        self._folder = folder
        self._record = record
        self._arrays: dict[str, zarr.Array[Any]] = {}
        self._streams: dict[str, Stream] = {}
        self._adopted: dict[str, dict[str, dict[str, Any]]] = {}
        self._threads = threads
        self.finished = finished
        attributes = {
            "Conventions": "CF-1.11",
            "title": title,
            "history": f"{record['created']} {' '.join(record['argv'])}",
        }
        if is_unfinished(folder):
            self._group = zarr.open_group(folder, mode="r+")
        else:
            self._group = zarr.create_group(folder, zarr_format=3, attributes=attributes)

    def __contains__(self, name: str) -> bool:
        return (self._folder / name / METADATA).is_file()

    @property
    def folder(self) -> Path:
        """Where the artifact is being built."""
        return self._folder

    def adopt(self, name: str, chunks: Mapping[str, dict[str, Any]]) -> None:
        """Learn of chunks of a created array that were written as files, by their names.

        Parameters
        ----------
        chunks
            Their descriptions (`speechscope.store.chunks.describe`), which are then not read back.
        """
        self._adopted.setdefault(name, {}).update(chunks)

    def create(
        self,
        name: str,
        shape: Sequence[int],
        dtype: DTypeLike,
        dims: Sequence[str],
        attributes: Mapping[str, Any] | None = None,
        chunks: Sequence[int] | None = None,
    ) -> "zarr.Array[Any]":
        """Make an array to be filled chunk by chunk; of an unfinished artifact, go on with it."""
        kind = np.dtype(dtype)
        if name in self:
            there = cast("zarr.Array[Any]", self._group[name])
            if there.shape != tuple(shape) or there.dtype != kind:
                raise ArtifactError(f"{self._folder}/{name} is another array; leave out --resume")
            self._arrays[name] = there
            return there
        # Never a plausible value: a chunk lost behind our back must not look like data.
        fill = np.nan if kind.kind == "f" else np.iinfo(kind).min
        self._arrays[name] = self._group.create_array(
            name,
            shape=tuple(shape),
            chunks=tuple(chunks or chunk_shape(shape, kind.itemsize)),
            dtype=kind,
            chunk_key_encoding={"name": "default", "separator": SEPARATOR},
            dimension_names=tuple(dims),
            compressors=[ZstdCodec(level=ZSTD_LEVEL, checksum=True)],
            fill_value=fill,
            config={"write_empty_chunks": True},
            attributes=dict(attributes or {}),
        )
        return self._arrays[name]

    def put(
        self,
        name: str,
        values: ArrayLike,
        dims: Sequence[str],
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a whole array at once."""
        data = np.asarray(values)
        array = self.create(name, data.shape, data.dtype, dims, attributes)
        written = {}
        for corner, part in regions(data.shape, array.chunks):
            rows = filled(np.asarray(data[part]), array.chunks, array.fill_value)
            chunk = chunk_name(corner)
            written[chunk] = write_chunk(self._folder / name / chunk, rows)
        self.adopt(name, written)

    def stream(
        self,
        name: str,
        row: Sequence[int],
        dtype: DTypeLike,
        dims: Sequence[str],
        attributes: Mapping[str, Any] | None = None,
    ) -> Stream:
        """Make an array of unknown length whose rows have the shape `row`."""
        # As for a very long array: the chunks never depend on how many rows will come.
        rows = chunk_shape((CHUNK_BYTES, *row), np.dtype(dtype).itemsize)[0]
        array = self.create(name, (0, *row), dtype, dims, attributes, (rows, *row))
        self._streams[name] = Stream(array, self._folder / name, self._threads)
        return self._streams[name]

    def set_config(self, **values: Any) -> None:
        """Add to the record what only became known while writing."""
        self._record["config"].update(values)

    def finish(self) -> None:
        """Complete the arrays and seal the record.

        Raises
        ------
        ArtifactError
            An array has chunks that were never written (an error in the program, not in its use).
        """
        for stream in self._streams.values():
            stream.close()
        self._threads.finish()
        self._check_adopted()
        remove_scraps(self._folder)
        if self.finished is not None:
            self.finished.end()
        contents: dict[str, dict[str, Any]] = {}
        consolidated: dict[str, Any] = {}
        for name, array in sorted(self._arrays.items()):
            metadata = (self._folder / name / METADATA).read_bytes()
            consolidated[name] = json.loads(metadata)
            contents[name] = {
                **self._contents(name, array.nchunks),
                "metadata": bytes_digest(metadata),
            }
        path = self._folder / METADATA
        root = json.loads(path.read_text())
        # What `zarr.consolidate_metadata` writes: an extension of Zarr v3, which xarray asks for.
        inline = {"kind": "inline", "must_understand": False, "metadata": consolidated}
        root["consolidated_metadata"] = inline
        root["attributes"]["speechscope"] = {**self._record, "contents": contents}
        root["attributes"]["speechscope"]["digest"] = root_digest(root)
        path.write_text(json.dumps(root, indent=1))

    def _contents(self, name: str, count: int) -> dict[str, Any]:
        if name in self._streams:
            return self._streams[name].contents()
        written = self._adopted.get(name)
        found = read_back(self._folder / name) if written is None else described(written)
        if found["chunks"] != count:
            raise ArtifactError(f"{name}: {found['chunks']} of {count} chunks were written")
        return found

    def _check_adopted(self) -> None:
        """Make sure that what others say they wrote is here, in full."""
        for array, chunks in self._adopted.items():
            for name, expected in chunks.items():
                path = self._folder / array / name
                size = path.stat().st_size if path.is_file() else None
                if size != expected["bytes"]:
                    raise ArtifactError(
                        f"{array}/{name}: {size or 0} of the {expected['bytes']} bytes a worker "
                        "wrote are here; the output has to be in a folder that all machines share"
                    )


def _drain_zarr() -> None:
    """Let what an interrupted call left behind in Zarr's event loop end, and hear its errors."""
    loop = zarr.core.sync.loop[0]
    if loop is None or loop.is_closed():
        return

    async def others() -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*left, return_exceptions=True)

    # A second interrupt ends the wait.
    asyncio.run_coroutine_threadsafe(others(), loop).result()


@contextmanager
def create_artifact(
    path: Path, title: str, record: Record, *, force: bool, resume: bool | None = None
) -> Iterator[ArtifactWriter]:
    """Write an artifact; it stands at `path` when the block has ended well, and not before.

    Parameters
    ----------
    resume
        Whether to go on with what an earlier run has finished; None: it cannot be gone on with. If
        it can, what is finished stays when the block does not end well.

    Raises
    ------
    UsageProblem, SpeechscopeError
        See `speechscope.store.staging.staged`.
    ArtifactError
        What is there was begun with other settings, or from another parent.
    """
    with staged(
        path,
        force=force,
        directory=True,
        owned=is_artifact,
        keep=None if resume is None else is_unfinished,
        resume=bool(resume),
    ) as folder:
        threads = ChunkThreads()
        try:
            finished = None if resume is None else Finished(folder, record)
            writer = ArtifactWriter(folder, title, record, threads, finished)
            yield writer
            writer.finish()
        except BaseException:
            # Nothing may write any more when the folder is removed.
            threads.abandon()
            _drain_zarr()
            raise
