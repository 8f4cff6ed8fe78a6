"""Loops over arrays, compiled for the processor they run on.

PyTorch makes one pass over memory for every operation, and takes Python's lock to begin it. A chain
of small operations on the same numbers is one pass here, in which other threads go on.

What is compiled is kept on disk with its digest. Numba's own files have none, and one that a lost
power supply cut short would stop every command from then on.
"""

import hashlib
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from uuid import uuid4

import numpy as np
from numba import __version__, njit
from numba.core.caching import FunctionCache
from numba.core.serialize import dumps
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating]
Places: TypeAlias = NDArray[np.int64]
Marks: TypeAlias = NDArray[np.bool_]

Loop = TypeVar("Loop", bound=Callable[..., object])


def compiled(loop: Loop) -> Loop:
    """Return `loop`, to be compiled at its first call for the types of what it is given.

    What is compiled is kept beside the source or among the user's caches, where one of them may be
    written. It holds for the source file as it is, so that a loop may call those of its own file
    only.
    """
    return _made(loop, {"contract"})


def compiled_sums(loop: Loop) -> Loop:
    """Return `loop` compiled, with sums in whatever order is fast on the processor."""
    return _made(loop, {"contract", "reassoc"})


def _made(loop: Loop, freedom: set[str]) -> Loop:
    made: Any = njit(nogil=True, error_model="numpy", fastmath=freedom)(loop)
    with suppress(RuntimeError):  # no such place
        made._cache = _Cache(loop)
    dispatcher: Loop = made
    return dispatcher


class _Cache(FunctionCache):  # type: ignore[misc]
    """Numba's cache, in files with digests."""

    def __init__(self, loop: Callable[..., object]) -> None:
        super().__init__(loop)
        locator = self._impl.locator
        about = f"{__version__} {locator.get_source_stamp()}"
        self._cache_file = _Files(Path(self.cache_path), self._impl.filename_base, about)

    def save_overload(self, sig: object, data: object) -> None:
        """Keep what is compiled, where that is possible."""
        with suppress(OSError):
            super().save_overload(sig, data)


class _Files:
    """A file for every kind of arguments: its digest, and what is compiled.

    Parameters
    ----------
    folder, name
        Where the files lie, and the beginning of their names.
    about
        What else it depends on.
    """

    def __init__(self, folder: Path, name: str, about: str) -> None:
        self._folder, self._name, self._about = folder, name, about

    def _path(self, key: object) -> Path:
        digest = hashlib.sha256(f"{self._about} {key!r}".encode()).hexdigest()
        return self._folder / f"{self._name}.{digest[:16]}.loop"

    def load(self, key: object) -> object:
        """Return what is kept, or None where nothing is, or not what was written."""
        try:
            data = self._path(key).read_bytes()
        except OSError:
            return None
        digest, body = data[:32], data[32:]
        return pickle.loads(body) if hashlib.sha256(body).digest() == digest else None

    def save(self, key: object, data: object) -> None:
        """Keep something."""
        body, path = dumps(data), self._path(key)
        beside = path.with_name(f"{path.name}.{uuid4().hex}")
        try:
            beside.write_bytes(hashlib.sha256(body).digest() + body)
            beside.replace(path)
        except OSError:
            with suppress(OSError):
                beside.unlink()
            raise

    def flush(self) -> None:
        """Do nothing: what another source left is not looked at."""
