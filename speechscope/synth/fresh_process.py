"""Running each task in a process of its own.

For libraries whose results depend on what the process did before. The processes are forked from a
server that has imported the libraries and used none of them.
"""

import multiprocessing
import os
import select
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from speechscope.errors import SpeechscopeError
from speechscope.work.processes import deaf

Task = TypeVar("Task")
Result = TypeVar("Result")


def fresh_map(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    workers: int,
    imports: Sequence[str] = (),
) -> Generator[Result, None, None]:
    """Yield ``function(task)`` for every task as it is done, each from a new process.

    Parameters
    ----------
    function
        Importable by name, from a module that is light to import.
    tasks
        Taken one by one, when a process is free.
    workers
        Processes at a time.
    imports
        Modules that the processes need, imported once.

    Raises
    ------
    SpeechscopeError
        A task raised an error, or its process died.
    """
    context = multiprocessing.get_context("forkserver")
    # Without __main__ among them, every process would run the program's main module again.
    context.set_forkserver_preload(["__main__", *imports])
    with deaf():
        forkserver.ensure_running()
    running: dict[object, tuple[Connection, BaseProcess]] = {}
    waiting = iter(tasks)
    try:
        while True:
            while len(running) < max(workers, 1):
                task = next(waiting, None)
                if task is None:
                    break
                receiver, sender = context.Pipe(duplex=False)
                process: BaseProcess = context.Process(
                    target=_run, args=(sender, function, task), daemon=True
                )
                process.start()
                sender.close()
                running[receiver] = receiver, process
            if not running:
                return
            for ready in wait([receiver for receiver, _ in running.values()]):
                yield _result(*running.pop(ready))
    finally:
        for receiver, process in running.values():
            process.terminate()
            process.join()
            receiver.close()


def _run(sender: Connection, function: Callable[[Task], Result], task: Task) -> None:
    # The server may have been started by others, and hear interrupts.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(sender,), daemon=True).start()
    outcome: tuple[bool, object]
    try:
        outcome = True, function(task)
    except Exception as error:
        outcome = False, str(error) if isinstance(error, SpeechscopeError) else repr(error)
    with suppress(BrokenPipeError):  # the parent has ended
        sender.send(outcome)


def _end_with(sender: Connection) -> None:
    """End this process when the parent is gone, however it went: its output is another's by now."""
    watch = select.poll()
    watch.register(sender.fileno(), 0)  # only the end of the reader is waited for
    watch.poll()
    os._exit(1)


def _result(receiver: Connection, process: BaseProcess) -> Any:
    """Return what a process sent back.

    Raises
    ------
    SpeechscopeError
        Its task raised an error, or it died.
    """
    try:
        done, result = receiver.recv()
    except EOFError:
        process.join()
        done, result = False, f"a process ended with exit code {process.exitcode}"
    process.join()
    receiver.close()
    if not done:
        raise SpeechscopeError(result)
    return result
