"""Write an output beside its final name, and give it that name only when it is complete.

``corpus.zarr`` is built as ``.corpus.zarr.partial`` in the same folder, synced, then renamed.
A lock (``flock``) on the partial keeps a second writer out; the kernel drops it when the process
dies, however it dies, so what a killed run leaves behind is recognised as abandoned and removed by
the next one.
"""

import ctypes
import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from speechscope.errors import SpeechscopeError, UsageProblem

SYNCED = 8  # files on their way to the disk at once


class BeingWritten(SpeechscopeError):
    """Another process is writing the output."""


Owned = Callable[[Path], bool]


def need_folder(path: Path) -> None:
    """Refuse an output whose folder is not there.

    Raises
    ------
    SpeechscopeError
        It is not.
    """
    if not path.parent.is_dir():
        raise SpeechscopeError(f"{path.parent} does not exist; create it first")


def refuse_existing(path: Path, *, force: bool, owned: Owned | None = None) -> None:
    """Refuse to write over something that is there.

    Parameters
    ----------
    path
        The final name of the output.
    force
        Whether replacing it was asked for.
    owned
        Says whether what stands there is ours to replace. A folder that is not, such as the user's
        own recordings, is refused even with `force`.

    Raises
    ------
    UsageProblem
        The output exists and `force` is not set, or it is not ours.
    """
    if not path.exists() and not path.is_symlink():
        return
    if not force:
        raise UsageProblem(f"{path} exists already; --force replaces it, -o names another output")
    if path.is_dir() and any(path.iterdir()) and not (owned and owned(path)):
        raise UsageProblem(
            f"{path} was not made by speechscope; it is not replaced, even with --force"
        )


def refuse_busy(path: Path) -> None:
    """Refuse an output that another process is writing.

    Raises
    ------
    BeingWritten
        One is.
    """
    with suppress(FileNotFoundError):
        handle = os.open(_partial(path), os.O_RDONLY)
        try:
            _hold(handle, path)
        finally:
            os.close(handle)


@contextmanager
def staged(
    path: Path,
    *,
    force: bool,
    directory: bool,
    owned: Owned | None = None,
    keep: str | None = None,
    resume: bool = False,
) -> Iterator[Path]:
    """Give a path to build `path` at, and move it into place when the block ends well.

    When the block raises, the partial output is removed and the old one stays as it was.

    Parameters
    ----------
    path, force, owned
        See `refuse_existing`.
    directory
        Whether the output is a folder.
    keep
        Name of a file in an unfinished output that is worth going on with, and stays when the block
        raises.
    resume
        Whether to go on with one that is there.

    Raises
    ------
    UsageProblem
        See `refuse_existing`.
    BeingWritten
        Another process is writing this output.
    SpeechscopeError
        Its folder cannot be written.
    """
    refuse_existing(path, force=force, owned=owned)
    partial = _partial(path)
    handle = _lock(partial, path, directory=directory)
    try:
        if not directory:
            os.truncate(partial, 0)
        elif not (resume and keep and (partial / keep).is_file()):
            for leftover in list(partial.iterdir()):
                _remove(leftover)
        yield partial
        sync_tree(partial)
        refuse_existing(path, force=force, owned=owned)  # it may have appeared meanwhile
        _move_into_place(partial, path)
        _sync_entry(path.parent)
    except BaseException:
        if keep is None or not (partial / keep).is_file():
            _remove(partial)
        raise
    finally:
        os.close(handle)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")  # hidden, in the same folder


def _hold(handle: int, path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BeingWritten(
            f"{path} is being written by another process; wait for it or use -o"
        ) from error


def _lock(partial: Path, path: Path, *, directory: bool) -> int:
    """Create the partial output and lock it; return the descriptor that holds the lock."""
    while True:
        try:
            if directory:
                partial.mkdir(exist_ok=True)
                handle = os.open(partial, os.O_RDONLY)
            else:
                handle = os.open(partial, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:
            need_folder(path)
            continue  # another process renamed it between our two calls
        except FileExistsError:
            _remove(partial)  # a file where a folder has to be, or the reverse
            continue
        except OSError as error:
            raise SpeechscopeError(f"{path} cannot be written: {error.strerror}") from error
        try:
            _hold(handle, path)
        except BeingWritten:
            os.close(handle)
            raise
        # Between our open and our lock the other process may have renamed what we opened: then
        # the lock is on its finished output, and the name has to be taken anew.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), partial.stat()):
                return handle
        os.close(handle)


def _move_into_place(partial: Path, path: Path) -> None:
    if not path.is_dir() or path.is_symlink():
        partial.replace(path)
        return
    if not _exchange(partial, path):
        # No atomic exchange here: for an instant the name is free, never half-written.
        old = path.with_name(f".{path.name}.replaced")
        _remove(old)
        path.rename(old)
        partial.rename(path)
        partial = old
    _remove(partial)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names atomically (Linux ``renameat2``); False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    at_fdcwd, rename_exchange = -100, 2
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    done: int = renameat2(
        at_fdcwd, os.fsencode(first), at_fdcwd, os.fsencode(second), rename_exchange
    )
    if done == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(second))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _sync_entry(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(path: Path) -> None:
    """Flush a file, or every file and folder below a folder, to the disk."""
    if not path.is_dir():
        _sync_entry(path)
        return
    inside = sorted(path.rglob("*"), reverse=True)  # what is in a folder before the folder
    with ThreadPoolExecutor(SYNCED) as pool:  # a disk takes many at once
        for _ in pool.map(_sync_entry, inside):
            pass
    _sync_entry(path)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Replace `path` by what `write` puts at the path it is given, or leave it as it was."""
    temporary = path.with_name(f"{path.name}.new")
    try:
        write(temporary)
        _sync_entry(temporary)
        temporary.replace(path)
        _sync_entry(path.parent)
    except BaseException:
        _remove(temporary)
        raise
