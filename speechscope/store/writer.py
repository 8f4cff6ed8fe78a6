"""Writing an artifact: arrays in whole chunks, verified complete, then moved into place.

Long work can be gone on with: while it is being written, the file ``.finished`` in the folder has a
line for every block that is, with the files of its chunks, their sizes and digests. A block counts
if all of its files are there as they were written, so that neither a torn line nor a chunk that
never reached the disk can be taken for work that is done.
"""

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
import zarr.core.sync
from numpy.typing import ArrayLike, DTypeLike, NDArray
from zarr.codecs import ZstdCodec

from speechscope.errors import ArtifactError
from speechscope.store.artifact import METADATA, is_artifact, read_back, root_digest
from speechscope.store.chunks import (
    SEPARATOR,
    ZSTD_LEVEL,
    chunk_name,
    describe,
    described,
    filled,
    regions,
    write_chunk,
)
from speechscope.store.names import encoded
from speechscope.store.record import Record, bytes_digest, work_of
from speechscope.store.staging import staged

CHUNK_BYTES = 4_000_000  # DESIGN sec. 2: chunks of 1-8 MB
THREADS = 2
"""Compressing, digesting and the disk let other threads run."""
WAITING = 4
"""Chunks of streams held at most, those at work included (chosen: 16 MB)."""
LOG = ".finished"
Chunks = Mapping[str, Mapping[str, Any]]


def chunk_shape(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Choose chunks of about `CHUNK_BYTES`: trailing dimensions whole, leading ones cut."""
    chunk = [1] * len(shape)
    room = max(1, CHUNK_BYTES // itemsize)
    for axis in range(len(shape) - 1, -1, -1):
        chunk[axis] = max(1, min(shape[axis], room))
        room //= chunk[axis]
        if chunk[axis] < shape[axis]:
            break
    return tuple(chunk)


def flag_attributes(names: Sequence[str]) -> dict[str, Any]:
    """Return the CF attributes of an integer label whose value i means ``names[i]``."""
    return {"flag_values": list(range(len(names))), "flag_meanings": " ".join(names)}


class Stream:
    """An array that grows along its first dimension; threads write its rows in whole chunks.

    Zarr itself would encode and write no more than this does, with more overhead a chunk.
    """

    def __init__(self, array: "zarr.Array[Any]", folder: Path, submit: Callable[..., None]) -> None:
        self.written: dict[str, dict[str, Any]] = {}  # descriptions of the chunks
        self._array = array
        self._folder = folder
        self._to_threads = submit
        self._rows = 0  # of chunks that are written, or on their way
        self._spare: list[NDArray[Any]] = []  # fresh memory costs as much as filling it
        self._tail = self._buffer()
        self._filled = 0  # rows of `_tail`

    def append(self, block: NDArray[Any]) -> None:
        """Add rows ``(n, …)``, which must not change afterwards."""
        step, used = len(self._tail), 0
        while used < len(block):
            if not self._filled and len(block) - used >= step:
                self._submit(block[used : used + step])
                used += step
                continue
            count = min(step - self._filled, len(block) - used)
            self._tail[self._filled : self._filled + count] = block[used : used + count]
            used, self._filled = used + count, self._filled + count
            if self._filled == step:
                self._submit(self._tail)
                self._tail, self._filled = self._buffer(), 0

    def close(self) -> None:
        """Write what is left and give the array its final length."""
        rows = self._rows + self._filled
        if self._filled:
            self._tail[self._filled :] = self._array.fill_value  # Zarr v3: edge chunks are whole
            self._submit(self._tail)
        self._array.resize((rows, *self._array.shape[1:]))

    def _buffer(self) -> NDArray[Any]:
        if self._spare:
            return self._spare.pop()
        return np.empty(self._array.chunks, dtype=self._array.dtype)

    def _submit(self, rows: NDArray[Any]) -> None:
        name = chunk_name((self._rows // len(rows), *(0 for _ in rows.shape[1:])))
        self._to_threads(self._write, name, rows)
        self._rows += len(rows)

    def _write(self, name: str, rows: NDArray[Any]) -> None:
        self.written[name] = write_chunk(self._folder / name, rows)
        if rows.base is None:  # a buffer of ours, not part of a block
            self._spare.append(rows)


class Finished:
    """The blocks of an unfinished artifact that are written.

    Parameters
    ----------
    folder
        Where the artifact is being built.
    record
        Of the artifact.

    Raises
    ------
    ArtifactError
        The folder holds blocks of other settings, or from another parent.
    """

    def __init__(self, folder: Path, record: Record) -> None:
        self._folder = folder
        self._work = work_of(record)
        self._blocks: dict[str, dict[str, Any]] = {}
        lines: list[dict[str, Any]] = []
        log = folder / LOG
        for line in log.read_text().splitlines() if log.is_file() else ():
            try:
                lines.append(json.loads(line))
            except ValueError:
                break  # the process died while it wrote this one
        self._begun = bool(lines)
        if lines:
            self._compare(lines[0])
            self._blocks = {line["block"]: line for line in lines[1:]}
            remove_scraps(folder)
            self._write("w", lines)  # without what was torn

    def block(self, name: str) -> tuple[Chunks, dict[str, NDArray[Any]]] | None:
        """Return a block's chunks and its small arrays, if it is written, every byte of it."""
        line = self._blocks.get(name)
        if line is None:
            return None
        for array, written in line["chunks"].items():
            for chunk, expected in written.items():
                try:
                    actual = describe((self._folder / array / chunk).read_bytes())
                except OSError:
                    return None
                if actual != expected:
                    return None
        small = {key: np.array(v, dtype=kind) for key, (kind, v) in line["small"].items()}
        return line["chunks"], small

    def add(self, name: str, written: Chunks, small: Mapping[str, NDArray[Any]]) -> None:
        """Note that a block is written.

        Parameters
        ----------
        written
            Its chunks by array and name, as `speechscope.store.describe` describes them.
        small
            Arrays of one dimension that the caller needs again.
        """
        values = {key: [str(array.dtype), array.tolist()] for key, array in small.items()}
        line = {"block": name, "chunks": written, "small": values}
        self._write("a", [line] if self._begun else [self._work, line])
        self._begun = True

    def _compare(self, begun: Mapping[str, Any]) -> None:
        now = self._work
        for name in now["config"]:
            if begun["config"].get(name) != now["config"][name]:
                raise ArtifactError(
                    f"{self._folder} was begun with {name} {begun['config'].get(name)}, now "
                    f"{now['config'][name]}; give the same settings, or run without --resume"
                )
        for name, value in now.items():
            if begun.get(name) != value:
                raise ArtifactError(
                    f"{self._folder} was begun with another {name.removesuffix('s')}; "
                    "run without --resume"
                )

    def _write(self, mode: str, lines: list[dict[str, Any]]) -> None:
        with (self._folder / LOG).open(mode) as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)


def remove_scraps(folder: Path) -> None:
    """Remove what processes that died while they wrote may have left among the chunks."""
    for path in folder.rglob(".*"):
        if path.name != LOG:
            path.unlink(missing_ok=True)


class ArtifactWriter:
    """An artifact being written; `create_artifact` opens one and completes it.

    Attributes
    ----------
    folder
        Where the artifact is being built.
    finished
        Notes what is finished, where the command can go on with a stopped run.
    written
        By array and name, the chunks that were written as files (`speechscope.store.chunks.
        describe`), here or by others: they are not read back. Others are.
    pool
        The threads that write chunks of streams.
    """

    def __init__(
        self, folder: Path, title: str, record: Record, finished: Finished | None = None
    ) -> None:
        self.folder = folder
        self.finished = finished
        self.written: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix="chunks")
        self._running: deque[Future[None]] = deque()
        self._record = record
        self._arrays: dict[str, zarr.Array[Any]] = {}
        self._streams: list[Stream] = []
        attributes = {
            "Conventions": "CF-1.11",
            "title": title,
            "history": f"{record['created']} {' '.join(record['argv'])}",
        }
        if (folder / LOG).is_file():
            self._group = zarr.open_group(folder, mode="r+")
        else:
            self._group = zarr.create_group(folder, zarr_format=3, attributes=attributes)

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
        kind = np.dtype("O" if dtype is str else dtype)
        if (self.folder / name / METADATA).is_file():
            begun = cast("zarr.Array[Any]", self._group[name])
            same = begun.dtype.kind in "OT" if dtype is str else begun.dtype == kind
            if begun.shape != tuple(shape) or not same:
                raise ArtifactError(f"{self.folder}/{name} is another array; leave out --resume")
            self._arrays[name] = begun
            return begun
        # Never a plausible value: a chunk lost behind our back must not look like data.
        fill: Any = {"f": np.nan, "O": ""}.get(kind.kind)
        fill = np.iinfo(kind).min if fill is None else fill
        self._arrays[name] = self._group.create_array(
            name,
            shape=tuple(shape),
            chunks=tuple(chunks or chunk_shape(shape, kind.itemsize)),
            dtype=str if dtype is str else kind,
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
        if data.dtype.kind == "O":
            self.name_axis(name, data.tolist(), attributes)
            return
        array = self.create(name, data.shape, data.dtype, dims, attributes)
        written = self.written[name] = {}
        for corner, part in regions(data.shape, array.chunks):
            rows = filled(np.asarray(data[part]), array.chunks, array.fill_value)
            chunk = chunk_name(corner)
            written[chunk] = write_chunk(self.folder / name / chunk, rows)

    def name_axis(
        self, axis: str, names: Sequence[str], attributes: Mapping[str, Any] | None = None
    ) -> None:
        """Write the names along an axis, in order, as its coordinate: an array of strings."""
        size = (len(names),)
        self.create(axis, size, str, (axis,), attributes, size)
        data = encoded(names)
        (self.folder / axis / chunk_name((0,))).write_bytes(data)
        self.written[axis] = {chunk_name((0,)): describe(data)}

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
        stream = Stream(array, self.folder / name, self._submit)
        self._streams.append(stream)
        self.written[name] = stream.written
        return stream

    def _submit(self, write: Callable[..., None], *arguments: Any) -> None:
        """Have a thread call ``write(*arguments)``; raise what an earlier call raised."""
        while len(self._running) >= WAITING:
            self._running.popleft().result()
        self._running.append(self.pool.submit(write, *arguments))

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings in the record, so far."""
        return dict(self._record["config"])

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
        for stream in self._streams:
            stream.close()
        for future in self._running:
            future.result()
        self.pool.shutdown()
        contents: dict[str, dict[str, Any]] = {}
        consolidated: dict[str, Any] = {}
        for name, array in sorted(self._arrays.items()):
            metadata = (self.folder / name / METADATA).read_bytes()
            consolidated[name] = json.loads(metadata)
            contents[name] = {
                **self._contents(name, array.nchunks),
                "metadata": bytes_digest(metadata),
            }
        remove_scraps(self.folder)
        (self.folder / LOG).unlink(missing_ok=True)
        path = self.folder / METADATA
        root = json.loads(path.read_text())
        # What `zarr.consolidate_metadata` writes: an extension of Zarr v3, which xarray asks for.
        inline = {"kind": "inline", "must_understand": False, "metadata": consolidated}
        root["consolidated_metadata"] = inline
        root["attributes"]["speechscope"] = {**self._record, "contents": contents}
        root["attributes"]["speechscope"]["digest"] = root_digest(root)
        path.write_text(json.dumps(root, indent=1))

    def _contents(self, name: str, count: int) -> dict[str, Any]:
        """Describe an array's chunks, which are all here, and in full."""
        written = self.written.get(name)
        contents = read_back(self.folder / name) if written is None else described(written)
        for chunk, expected in (written or {}).items():
            path = self.folder / name / chunk
            size = path.stat().st_size if path.is_file() else None
            if size != expected["bytes"]:
                raise ArtifactError(
                    f"{name}/{chunk}: {size or 0} of the {expected['bytes']} bytes a worker "
                    "wrote are here; the output has to be in a folder that all machines share"
                )
        if contents["chunks"] != count:
            raise ArtifactError(f"{name}: {contents['chunks']} of {count} chunks were written")
        return contents


def _drain_zarr() -> None:
    """Let what an interrupted call left behind in Zarr's event loop end, and hear its errors.

    Zarr offers no way to wait for its own loop.
    """
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
        keep=None if resume is None else LOG,
        resume=bool(resume),
    ) as folder:
        finished = None if resume is None else Finished(folder, record)
        writer = ArtifactWriter(folder, title, record, finished)
        try:
            yield writer
            writer.finish()
        except BaseException:
            # Nothing may write any more when the folder is removed.
            writer.pool.shutdown(cancel_futures=True)
            _drain_zarr()
            raise
