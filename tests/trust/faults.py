"""Faults of a command's surroundings, brought about inside its own process."""

import errno
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What changes the disk, by the names of Python's audit events; renaming in one step goes by ctypes.
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link"}
SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}
ERRORS = {"enospc": errno.ENOSPC, "eio": errno.EIO, "erofs": errno.EROFS, "edquot": errno.EDQUOT}


def arm(
    workdir: Path,
    *,
    at: int = 0,
    do: str = "",
    count: str = "",
    largest_file: int = 0,
    memory: int = 0,
    block: int = 0,
) -> Callable[[], None]:
    """Let the `at`-th change of the disk below `workdir` fail; return what ends the watch.

    Parameters
    ----------
    at, do
        Which change, from 1, and what happens instead of it (`ERRORS`) or before it (`SIGNALS`).
    count
        A file that receives how many changes there were.
    largest_file
        Bytes at which writing to any file fails (``RLIMIT_FSIZE``), by whatever library.
    memory
        Bytes of address space the process may add to what it has.
    block
        Items that long work is divided by, in the place of hundreds.
    """
    if block:
        from speechscope.corpus import prepare
        from speechscope.inversion import writing
        from speechscope.navai.examples import Examples

        writing.BLOCK = block
        Examples.block = property(lambda _: block)  # type: ignore[assignment]
        prepare.BATCH = 2  # utterances a task
    if largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    if memory:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    if not (at or count):
        return lambda: None
    home = os.fspath(workdir)
    seen = 0
    watching = True
    lock = threading.Lock()

    def happens(path: str) -> None:
        nonlocal seen
        with lock:
            seen += 1
            now = seen == at
        if now and do in SIGNALS:
            os.kill(os.getpid(), SIGNALS[do])
        elif now:
            raise OSError(ERRORS[do], os.strerror(ERRORS[do]), path)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not watching:
            return
        if event == "open":
            path, mode, flags = arguments
            changing = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or (
                isinstance(mode, str) and any(c in mode for c in "wax+")
            )
            if not changing or not isinstance(path, str | os.PathLike):
                return
        elif event in CHANGES:
            path = arguments[0]
            if not isinstance(path, str | os.PathLike):
                return
        elif event == "ctypes.dlsym" and arguments[1] == "renameat2":
            path = home
        else:
            return
        where = os.fspath(Path(path).absolute())
        if where.startswith(home):
            happens(where)

    fsync = os.fsync

    def synced(handle: Any) -> None:
        happens(f"file {handle}")
        fsync(handle)

    os.fsync = synced  # type: ignore[assignment]
    sys.addaudithook(hook)

    def finish() -> None:
        nonlocal watching
        watching = False
        if count:
            Path(count).write_text(str(seen))

    return finish
