"""Giving a function to other processes once, as a file beside the output they work on.

What travels with each task is the name of the file and its digest; a process reads it once.
"""

import hashlib
import pickle
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from speechscope import __version__
from speechscope.errors import SpeechscopeError
from speechscope.work.memory import keep_freed
from speechscope.work.parallel import Executor

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Parcel:
    """A function that lies in a file; calling this calls it.

    Parameters
    ----------
    path
        The file; it is there as long as the output is being written.
    digest
        SHA-256 of its bytes.
    version
        The release that wrote it.
    directory
        Where modules of the user's own may lie.
    """

    path: Path
    digest: str
    version: str
    directory: str

    def __call__(self, *arguments: Any) -> Any:
        """Call the function.

        Raises
        ------
        SpeechscopeError
            This process cannot read it, or runs another release.
        """
        return _opened(self)(*arguments)

    def check(self) -> None:
        """Refuse to go on with an output that is not being written any more.

        Raises
        ------
        SpeechscopeError
            It is not.
        """
        if not self.path.exists():
            raise SpeechscopeError(f"{self.path.parent} is not being written any more")


_OPEN: dict[Path, Any] = {}
"""The function this process was last given."""
_OPENING = threading.Lock()


def _opened(parcel: Parcel) -> Any:
    with _OPENING:
        if parcel.path not in _OPEN:
            if parcel.version != __version__:
                raise SpeechscopeError(
                    f"a worker runs speechscope {__version__}, the command {parcel.version}; "
                    "install the same release on all machines"
                )
            try:
                data = parcel.path.read_bytes()
            except OSError as error:
                raise SpeechscopeError(
                    f"a worker cannot read {parcel.path.parent} ({error.strerror}): the output has "
                    "to be in a folder that all machines share under one name"
                ) from error
            # Unpickled only if it is what the command that sent the task wrote.
            if hashlib.sha256(data).hexdigest() != parcel.digest:
                raise SpeechscopeError(f"{parcel.path} is not what was written; run this again")
            keep_freed()
            with _importable(parcel.directory):
                found = pickle.loads(data)
            _OPEN.clear()
            _OPEN[parcel.path] = found
        return _OPEN[parcel.path]


@contextmanager
def _importable(directory: str) -> Iterator[None]:
    """Look for modules in a directory, too, after all others."""
    if directory in sys.path:
        yield
        return
    sys.path.append(directory)
    try:
        yield
    finally:
        sys.path.remove(directory)


@contextmanager
def shipped(function: Function, folder: Path, executor: Executor) -> Iterator[Function]:
    """Give what an executor is to be given in the place of a function, while the block lasts.

    Parameters
    ----------
    folder
        Where an output is being built, which all processes share.

    Raises
    ------
    SpeechscopeError
        It cannot be pickled.
    """
    if not executor.elsewhere:
        yield function
        return
    directory = str(Path.cwd())
    try:
        with _importable(directory):
            data = pickle.dumps(function, protocol=5)
    except Exception as error:
        raise SpeechscopeError(
            f"this cannot be sent to other processes ({' '.join(str(error).split())[:160]}); "
            "run it without --workers and --scheduler"
        ) from error
    # A name of its own: whoever holds an old one must not take the new for it.
    path = folder.resolve() / f".parcel-{uuid.uuid4().hex}"
    path.write_bytes(data)
    try:
        digest = hashlib.sha256(data).hexdigest()
        yield cast("Function", Parcel(path, digest, __version__, directory))
    finally:
        path.unlink(missing_ok=True)
