"""Spreading tasks over processes of this machine; one that dies costs only time.

The processes are started afresh (``spawn``): a copy of a process whose libraries have threads can
lock up. They end with this one, however it ends, so none goes on writing into an output that is
another run's by then.

What they are to do with each task is given to them once, as a file beside the output they work on
(`shared`), and so it is to workers on other machines (`speechscope.work.dask`).
"""

import ctypes
import hashlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from speechscope import __version__
from speechscope.errors import SpeechscopeError
from speechscope.work.local import AHEAD, Executor, Result, Task

LOSSES = 3
"""Times that processes may die before it is taken for a property of the task (chosen)."""


class Processes(Executor):
    """Runs tasks in processes, each with its share of the cores."""

    elsewhere = True

    def __init__(self, workers: int) -> None:
        self._workers = workers

    @contextmanager
    def ordered_map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task], folder: Path | None = None
    ) -> Iterator[Iterator[Result]]:
        """See `speechscope.work.local.Executor`.

        Raises
        ------
        SpeechscopeError
            Processes died `LOSSES` times; what they were at is begun again until then.
        """
        with shared(function, folder) as there:
            pool = _Pool(self._workers)
            try:
                yield _in_order(pool, there, iter(tasks), AHEAD * self._workers)
            finally:
                pool.end()


class _Pool:
    """Processes that are replaced, all of them, when one has died."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._lost = 0
        self._begin()

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, self._open = context.Pipe(duplex=False)
        share = max(1, (os.cpu_count() or 1) // self._workers)
        with deaf():
            self._pool = ProcessPoolExecutor(self._workers, context, _start, (self._ours, share))
            self._pool.submit(os.getpid)  # with the first task all of them are started

    def submit(self, function: Callable[[Task], Result], task: Task) -> Future[Result]:
        return self._pool.submit(function, task)

    def replace(self) -> None:
        self._lost += 1
        self.end()
        if self._lost >= LOSSES:
            raise SpeechscopeError(
                f"worker processes ended {self._lost} times, as they do when memory runs out; "
                "use fewer --workers, or 1 to see the error"
            )
        self._begin()

    def end(self) -> None:
        """End the processes at once, and wait until they have."""
        self._open.close()  # they wait for this
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._ours.close()


@contextmanager
def deaf() -> Iterator[None]:
    """Start processes that do not hear the keyboard's interrupts: these reach every process.

    They would meet them with a traceback while they import. The parent ends its processes.
    """
    # Were the tracker not running yet, their start would start it, and unblock interrupts.
    resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _in_order(
    pool: _Pool, function: Callable[[Task], Result], tasks: Iterator[Task], most: int
) -> Iterator[Result]:
    pending: deque[tuple[Task, Future[Result]]] = deque()
    while True:
        try:
            while len(pending) < most:
                try:
                    task = next(tasks)
                except StopIteration:
                    break
                pending.append((task, Future()))  # it is kept, should the pool be broken
                pending[-1] = task, pool.submit(function, task)
            if not pending:
                return
            result = pending[0][1].result()
        except BrokenProcessPool:
            pool.replace()
            pending = deque(
                (task, future if _has_result(future) else pool.submit(function, task))
                for task, future in pending
            )
            continue
        pending.popleft()
        yield result


def _has_result(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _start(ours: Connection, share: int) -> None:
    """Prepare a process: the keyboard's interrupt and the end of its tasks are the parent's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.setdefault("OMP_NUM_THREADS", str(share))  # before anything imports torch

    def end_with_parent() -> None:
        try:
            ours.recv()
        except (EOFError, OSError):
            os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


@dataclass(frozen=True)
class SharedFunction:
    """A function that lies in a file, which each process reads once; calling this calls it.

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


_OPEN: dict[Path, Any] = {}
"""The function this process was last given."""
_OPENING = threading.Lock()


def _opened(shared: SharedFunction) -> Any:
    with _OPENING:
        if shared.path not in _OPEN:
            if shared.version != __version__:
                raise SpeechscopeError(
                    f"a worker runs speechscope {__version__}, the command {shared.version}; "
                    "install the same release on all machines"
                )
            try:
                data = shared.path.read_bytes()
            except OSError as error:
                raise SpeechscopeError(
                    f"a worker cannot read {shared.path.parent} ({error.strerror}): the output has "
                    "to be in a folder that all machines share under one name"
                ) from error
            # Unpickled only if it is what the command that sent the task wrote.
            if hashlib.sha256(data).hexdigest() != shared.digest:
                raise SpeechscopeError(f"{shared.path} is not what was written; run this again")
            keep_freed()
            with _importable(shared.directory):
                function = pickle.loads(data)
            _OPEN.clear()
            _OPEN[shared.path] = function
        return _OPEN[shared.path]


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
def shared(
    function: Callable[[Task], Result], folder: Path | None
) -> Iterator[Callable[[Task], Result]]:
    """Give what other processes are given in the place of a function, while the block lasts.

    Parameters
    ----------
    folder
        Where an output is being built, which all processes share.

    Raises
    ------
    SpeechscopeError
        It cannot be pickled.
    """
    assert folder is not None
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
    path = folder.resolve() / f".function-{uuid.uuid4().hex}"
    path.write_bytes(data)
    try:
        yield SharedFunction(path, hashlib.sha256(data).hexdigest(), __version__, directory)
    finally:
        path.unlink(missing_ok=True)


MMAP_THRESHOLD = -3  # mallopt(3)
LARGE = 32 * 2**20
"""The largest array that is taken from kept memory; glibc allows no more."""


def keep_freed() -> None:
    """Keep freed memory for the next array instead of giving it back to the system.

    The main thread learns to; other threads, such as those a Dask worker computes in, give every
    larger array back and fault its pages in again for the next one: `relevance` then takes nearly
    twice as long (measured). Without effect where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, LARGE)
