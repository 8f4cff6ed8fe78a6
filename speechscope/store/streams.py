"""Arrays that grow along their first dimension while they are written."""

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from speechscope.store.chunks import ChunkThreads, chunk_name, described, write_chunk


class Stream:
    """An array that grows along its first dimension; rows are written in whole chunks.

    Zarr itself would encode and write no more than this does, with more overhead a chunk.
    """

    def __init__(self, array: "zarr.Array[Any]", folder: Path, threads: ChunkThreads) -> None:
        self._array = array
        self._folder = folder
        self._threads = threads
        self._rows = 0  # of chunks that are written, or on their way
        self._spare: list[NDArray[Any]] = []  # fresh memory costs as much as filling it
        self._tail = self._buffer()
        self._held = 0  # rows of `_tail`
        self._written: dict[str, dict[str, Any]] = {}

    def append(self, block: NDArray[Any]) -> None:
        """Add rows ``(n, …)``, which must not change afterwards."""
        step, used = len(self._tail), 0
        while used < len(block):
            if not self._held and len(block) - used >= step:
                self._submit(block[used : used + step])
                used += step
                continue
            count = min(step - self._held, len(block) - used)
            self._tail[self._held : self._held + count] = block[used : used + count]
            used, self._held = used + count, self._held + count
            if self._held == step:
                self._submit(self._tail)
                self._tail, self._held = self._buffer(), 0

    def close(self) -> None:
        """Write what is left and give the array its final length."""
        rows = self._rows + self._held
        if self._held:
            self._tail[self._held :] = self._array.fill_value  # Zarr v3: edge chunks are whole
            self._submit(self._tail)
        self._array.resize((rows, *self._array.shape[1:]))

    def contents(self) -> dict[str, Any]:
        """Describe the chunks, once all are written."""
        return described(self._written)

    def _buffer(self) -> NDArray[Any]:
        if self._spare:
            return self._spare.pop()
        return np.empty(self._array.chunks, dtype=self._array.dtype)

    def _submit(self, rows: NDArray[Any]) -> None:
        name = chunk_name((self._rows // len(rows), *(0 for _ in rows.shape[1:])))
        self._threads.submit(self._write, name, rows)
        self._rows += len(rows)

    def _write(self, name: str, rows: NDArray[Any]) -> None:
        self._written[name] = write_chunk(self._folder / name, rows)
        if rows.base is None:  # a buffer of ours, not part of a block
            self._spare.append(rows)
