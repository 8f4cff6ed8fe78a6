"""Commands in processes forked from one that has imported everything: hundreds a minute.

Run as a script it is the server: it listens on a Unix socket, and forks for every request a
process that runs one command line and nothing else, in a process group of its own.
"""

import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

LIBRARIES = ("torch", "zarr", "soundfile", "scipy.signal", "matplotlib.figure")
PATIENCE = 900.0
"""Longest a command may take, on a machine that pauses what runs [s]."""
START_SECONDS = 300.0
"""Longest the server may take to import everything."""


@dataclass
class Running:
    """A command that runs, or has run."""

    pid: int
    folder: Path
    _socket: socket.socket
    _code: int | None = None

    def wait(self, seconds: float = PATIENCE) -> int:
        """Return the exit code, negative for a signal."""
        if self._code is None:
            self._socket.settimeout(seconds)
            status = int(self._socket.makefile().readline())
            self._code = os.waitstatus_to_exitcode(status)
            self._socket.close()
        return self._code

    def send(self, number: signal.Signals, *, group: bool) -> None:
        """Send a signal to the process, or to all it started; one that has ended hears nothing."""
        try:
            (os.killpg if group else os.kill)(self.pid, number)
        except ProcessLookupError:
            pass

    @property
    def out(self) -> str:
        """What it wrote on standard output."""
        return (self.folder / "out").read_text(errors="replace")

    @property
    def err(self) -> str:
        """What it wrote on standard error."""
        return (self.folder / "err").read_text(errors="replace")


class ForkServer:
    """A server as a context: `start` runs a command in the background, `run` to its end."""

    def __enter__(self) -> "ForkServer":
        self._folder = tempfile.TemporaryDirectory(prefix="trust-")
        self._path = Path(self._folder.name) / "socket"
        self._count = 0
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self._path)], env=environment
        )
        for _ in range(int(START_SECONDS * 50)):
            if self._path.exists():
                return self
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError("the fork server did not start")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def start(self, workdir: Path, *argv: str, stdin: str = "", **fault: Any) -> Running:
        """Run a command line in `workdir`; see `trust.faults.arm` for the faults."""
        self._count += 1
        folder = Path(self._folder.name) / str(self._count % 50)
        folder.mkdir(exist_ok=True)
        (folder / "in").write_text(stdin)
        for name in ("out", "err"):  # a process may be killed before it opens them
            (folder / name).write_text("")
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(60)
        connection.connect(str(self._path))
        request = {"cwd": str(workdir), "argv": argv, "io": str(folder), "fault": fault}
        connection.sendall(json.dumps(request).encode() + b"\n")
        pid = b""
        while not pid.endswith(b"\n"):  # byte by byte: the status comes later
            pid += connection.recv(1)
        return Running(int(pid), folder, connection)

    def run(self, workdir: Path, *argv: str, seconds: float = PATIENCE, **more: Any) -> Running:
        """Run a command line to its end."""
        running = self.start(workdir, *argv, **more)
        running.wait(seconds)
        return running


def serve(path: Path) -> None:
    """Import everything, then fork for every request."""
    import speechscope

    for module in pkgutil.walk_packages(speechscope.__path__, "speechscope."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in LIBRARIES:
        importlib.import_module(name)
    listening = socket.socket(socket.AF_UNIX)
    # The name appears when everything is ready.
    listening.bind(f"{path}.new")
    listening.listen(64)
    gc.freeze()
    Path(f"{path}.new").rename(path)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            supervise(connection)
        connection.close()


def supervise(connection: socket.socket) -> None:
    """Fork the command, tell its number, and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request = json.loads(connection.makefile().readline())
    pid = os.fork()
    if pid == 0:
        connection.close()
        command(request)
    connection.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    try:
        connection.sendall(f"{status}\n".encode())
    finally:
        os._exit(0)


def command(request: dict[str, Any]) -> None:
    """Become the command."""
    os.setsid()
    os.chdir(request["cwd"])
    os.environ["PWD"] = request["cwd"]
    for number, name in enumerate(("in", "out", "err")):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(Path(request["io"]) / name, flags, 0o600), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    warnings.simplefilter("default")
    sys.argv = ["speechscope", *request["argv"]]
    code: object = 1
    try:
        from faults import arm  # type: ignore[import-not-found]  # beside this file

        from speechscope.cli import main

        finish = arm(Path(request["cwd"]), **request["fault"])
        try:
            main(request["argv"])
        finally:
            finish()
    except SystemExit as error:
        code = error.code
    except BaseException:
        import traceback

        traceback.print_exc()
    # As Python ends a program: threads are waited for, buffers written.
    import threading

    threading._shutdown()  # type: ignore[attr-defined]
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
