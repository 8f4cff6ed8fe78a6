"""Attempts to break the commands: signals, failing disks, damaged files. Each returns its counts.

`tests/trust/test_*.py` make a few of each; `tests/trust/long_run.py` thousands.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from trust import stages
from trust.server import ForkServer, Running
from trust.stages import STAGES, Stage, fingerprint, left_over, remove, said_well

from speechscope.errors import ArtifactError
from speechscope.store.lineage import verify

ENDS = {signal.SIGKILL: {-9}, signal.SIGTERM: {143, -15}, signal.SIGINT: {130, -2}}
"""Exit codes after a signal; an early one, or the second, ends the process as the system does."""
RESUMED = (".resume", ".partial")
"""What an interrupted run may leave: the state it can go on from, or what a killed one built."""
ROOM = "512m"
"""A disk that holds any output, and the states of a training before it."""


class Target:
    """One stage in a folder of its own, with its old and its new output known.

    Parameters
    ----------
    server
        Runs the commands.
    laid
        A folder with one artifact of each kind, which is copied.
    folder
        Where to work.
    name
        In `STAGES`.
    """

    def __init__(self, server: ForkServer, laid: Path, folder: Path, name: str) -> None:
        self.server, self.stage = server, STAGES[name]
        self.workdir = stages.copy_of(laid, folder / name.replace(" ", "-"))
        self.output = self.workdir / self.stage.output
        self.old = self._made(old=True)
        self.kept = folder / f"{self.output.name}.old"
        remove(self.kept)
        self.output.rename(self.kept)
        begun = time.monotonic()
        self.new = self._made()
        self.seconds = time.monotonic() - begun
        assert self.old != self.new
        remove(self.output)
        self.quiet_names = set(left_over(self.workdir))

    def _made(self, *, old: bool = False) -> str:
        done = self.server.run(self.workdir, *self.stage.line("-q", old=old))
        said_well(done, {0})
        return fingerprint(self.output)

    def set(self, *, fresh: bool) -> None:
        """Put the old output in place, or none."""
        remove(self.output)
        if fresh:
            return
        copy = shutil.copytree if self.kept.is_dir() else shutil.copy2
        copy(self.kept, self.output)

    def outcome(self, *, fresh: bool) -> str:
        """Say what stands at the final name: none, old or new; fail for anything else."""
        if not os.path.lexists(self.output):
            assert fresh, "the old output is gone"
            return "none"
        found = fingerprint(self.output)
        assert found in (self.new, *(() if fresh else (self.old,))), "a mixture stands there"
        return "new" if found == self.new else "old"

    def recover(self, *more: str) -> None:
        """Run again without a fault: the output is the new one, and nothing is left over."""
        said_well(self.server.run(self.workdir, *self.stage.line("-q", "--force", *more)), {0})
        assert fingerprint(self.output) == self.new
        names = set(left_over(self.workdir)) - self.quiet_names
        assert not names, f"left over: {names}"


def kills(target: Target, count: int, seed: int) -> Counter[str]:
    """Send signals at random moments: the old output or the new one, and the next run is well."""
    rng = np.random.default_rng([seed, 1, *target.stage.arguments.encode()])
    found: Counter[str] = Counter()
    for number in range(count):
        fresh = bool(number % 2)
        target.set(fresh=fresh)
        sent = list(ENDS)[rng.choice(3, p=[0.6, 0.2, 0.2])]
        running = target.server.start(target.workdir, *target.stage.line("-q", "--force"))
        time.sleep(float(rng.uniform(0.0, 1.05)) * target.seconds)
        running.send(sent, group=bool(rng.integers(2)))
        if sent != signal.SIGKILL and rng.integers(3) == 0:  # an impatient user
            time.sleep(float(rng.uniform(0.0, 0.05)))
            running.send(sent, group=True)
        ended(running, sent)
        found[f"{sent.name} {target.outcome(fresh=fresh)}"] += 1
        if rng.integers(4) == 0:
            target.recover()
            found["run again"] += 1
    target.recover()
    return found


def ended(running: Running, sent: signal.Signals) -> None:
    """Fail unless a command ended by the signal, or well before it, without a traceback."""
    codes = {0, *ENDS[sent]}
    if running.wait() < 0:
        assert running.wait() in codes, running.wait()
        assert "Traceback" not in running.err, running.err
    else:
        said_well(running, codes)


def changes(target: Target) -> int:
    """Return how many changes of the disk the stage makes."""
    target.set(fresh=True)
    count = target.workdir.parent / "count"
    done = target.server.run(target.workdir, *target.stage.line("-q"), count=str(count))
    said_well(done, {0})
    return int(count.read_text())


def failing_changes(target: Target, what: Sequence[str], most: int, seed: int) -> Counter[str]:
    """Let single changes of the disk fail, or the process die before them; `most` of each."""
    rng = np.random.default_rng([seed, 2, *target.stage.arguments.encode()])
    total = changes(target)
    found: Counter[str] = Counter(changes=total)
    for do in what:
        everyone = np.arange(1, total + 1)
        chosen = everyone if total <= most else np.sort(rng.permutation(everyone)[:most])
        for number, at in enumerate(chosen):
            fresh = bool((number + at) % 2)
            target.set(fresh=fresh)
            line = target.stage.line("-q", "--force")
            running = target.server.run(target.workdir, *line, at=int(at), do=do)
            if do in ("kill", "term", "int"):
                ended(running, {"kill": signal.SIGKILL, "term": signal.SIGTERM}.get(
                    do, signal.SIGINT))  # fmt: skip
            else:
                said_well(running, {0, 1})
            outcome = target.outcome(fresh=fresh)
            assert running.wait() != 0 or outcome == "new"
            found[f"{do} {outcome}"] += 1
        target.recover()
    return found


def small_files(target: Target, most: int) -> Counter[str]:
    """Let no file grow beyond a size, whatever library writes it: sizes up to the largest file."""
    found: Counter[str] = Counter()
    target.set(fresh=True)
    said_well(target.server.run(target.workdir, *target.stage.line("-q")), {0})
    files = [target.output, *target.output.rglob("*")]
    largest = max(path.stat().st_size for path in files if path.is_file())
    # Standard error is a file as well, and takes a line.
    sizes = sorted({*np.geomspace(1000, largest - 1, most).astype(int).tolist(), largest - 1})
    for number, size in enumerate(sizes):
        fresh = bool(number % 2)
        target.set(fresh=fresh)
        line = target.stage.line("-q", "--force")
        running = target.server.run(target.workdir, *line, largest_file=size)
        said_well(running, {1})
        found[target.outcome(fresh=fresh)] += 1
    target.recover()
    return found


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Give a file system of its own in memory; needs root, and Linux."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "trust", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def full_disk(target: Target, most: int) -> Counter[str]:
    """Write to a disk of N pages, for N up to what is needed: each write fails once."""
    found: Counter[str] = Counter()
    with small_disk(target.workdir / "full") as disk:
        stage = target.stage
        moved = Stage(stage.arguments.replace("heard.zarr", "full/heard.zarr"),
                      f"full/{stage.output}", stage.other, stage.reads, stage.option)  # fmt: skip
        if not moved.option:  # synth names its output first
            moved = Stage(stage.arguments.replace(" made", " full/made"), "full/made", "", "", "")
        said_well(target.server.run(target.workdir, *moved.line("-q")), {0})
        output = target.workdir / moved.output
        resumes = stage.arguments.startswith(("invert", "relevance"))  # finished blocks are kept
        used = shutil.disk_usage(disk).used // 4096
        pages = range(1, used) if used <= most else np.unique(np.geomspace(1, used - 1, most)
                                                              .astype(int)).tolist()  # fmt: skip
        for size in pages:
            for path in disk.iterdir():
                remove(path)
            resize = ["mount", "-o", f"remount,size={size * 4096}", str(disk)]
            subprocess.run(resize, check=True)
            said_well(target.server.run(target.workdir, *moved.line("-q")), {1})
            assert not output.exists(), "a wrong output"
            left = [p.name for p in disk.iterdir() if p.name.endswith(".partial")]
            assert resumes or not left, f"left behind: {left}"
            found["refused"] += 1
        for path in disk.iterdir():
            remove(path)
        subprocess.run(["mount", "-o", f"remount,size={ROOM}", str(disk)], check=True)
        said_well(target.server.run(target.workdir, *moved.line("-q")), {0})
    return found


def files_of(path: Path) -> list[Path]:
    """Return the files of an artifact or a checkpoint."""
    return [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())


def chunk_files(path: Path) -> list[Path]:
    """Return the chunk files of an artifact."""
    return [file for file in files_of(path) if file.name.startswith("c")]


def found_deep(path: Path) -> bool:
    """Say whether ``check --deep`` refuses an artifact."""
    try:
        verify(path, deep=True)
    except ArtifactError as error:
        assert "\n" not in str(error)
        return True
    return False


def flips(
    server: ForkServer, workdir: Path, count: int, seed: int, *, run_every: int = 1
) -> Counter[str]:
    """Flip single bytes of artifacts: found by ``check --deep``, or nothing they hold changed.

    A command that reads the artifact either refuses it (exit 3) or never came near the damage:
    what it says and writes is then what it was.
    """
    rng = np.random.default_rng([seed, 3])
    found: Counter[str] = Counter()
    names = [name for name in stages.READERS if (workdir / name).exists()]
    whole = {name: fingerprint(workdir / name) for name in names}
    usual = {}
    for name in names:
        for line in stages.READERS[name]:
            usual[line] = result_of(server, workdir, line)
            assert usual[line][0] == 0, line
    for number in range(count):
        name = names[number % len(names)]
        files = files_of(workdir / name)
        sizes = np.array([file.stat().st_size for file in files], dtype=float)
        # Half of the flips anywhere, half in a random file: metadata is small.
        shares = sizes / sizes.sum() if rng.integers(2) else None
        file = files[rng.choice(len(files), p=shares)]
        content = file.read_bytes()
        damaged = bytearray(content)
        damaged[rng.integers(len(damaged))] ^= int(rng.integers(1, 256))
        file.write_bytes(damaged)
        try:
            if found_deep(workdir / name):
                found["found by check --deep"] += 1
                harmless = False
            else:
                assert fingerprint(workdir / name) == whole[name], f"{file}: unnoticed"
                found["harmless"] += 1
                harmless = True
            if number % run_every == 0:
                lines = stages.READERS[name]
                line = lines[int(rng.integers(len(lines)))]
                code, result = result_of(server, workdir, line)
                assert code == 3 or (code == 0 and result == usual[line][1]), (file, line, code)
                assert not harmless or code in (0, 3)
                found["refused by a reader" if code == 3 else "read elsewhere, same result"] += 1
        finally:
            file.write_bytes(content)
    for name in names:
        assert fingerprint(workdir / name) == whole[name]
    return found


def result_of(server: ForkServer, workdir: Path, line: str) -> tuple[int, str]:
    """Run a command; return its code, and what it said and wrote but for times and paths."""
    outputs = [workdir / name for name in ("out.zarr", "out.pt", "out.html")]
    for path in outputs:
        remove(path)
    done = server.run(workdir, *line.split(), *(["-q"] if " -o " in line else []))
    said_well(done, {0, 3})
    prints = [fingerprint(path) for path in outputs if path.exists()]
    for path in outputs:
        remove(path)
    return done.wait(), done.out + " ".join(prints)


def lost_chunks(server: ForkServer, workdir: Path, most: int, seed: int) -> Counter[str]:
    """Delete every chunk once, cut every chunk once, and put one more beside it once."""
    rng = np.random.default_rng([seed, 4])
    found: Counter[str] = Counter()
    for name in (name for name in stages.READERS if (workdir / name).is_dir()):
        path = workdir / name
        files = chunk_files(path)
        chosen = files if len(files) <= most else [files[i] for i in rng.permutation(len(files))][
            :most]  # fmt: skip
        for number, file in enumerate(chosen):
            content = file.read_bytes()
            for harm in ("deleted", "cut", "emptied", "added", "swapped"):
                if harm == "deleted":
                    file.unlink()
                elif harm == "cut":
                    file.write_bytes(content[: int(rng.integers(1, len(content)))])
                elif harm == "emptied":
                    file.write_bytes(b"")
                elif harm == "added":
                    file.with_name(f"{file.name}9").write_bytes(content)
                else:
                    other = files[(files.index(file) + 1) % len(files)]
                    if other == file or other.read_bytes() == content:
                        continue
                    file.write_bytes(other.read_bytes())
                try:
                    assert found_deep(path), f"{file} {harm}: unnoticed"
                    if number % 5 == 0:
                        line = stages.READERS[name][0]
                        code, _ = result_of(server, workdir, line)
                        gone = code == 1 and not path.exists()
                        assert code == 3 or gone or harm == "swapped", (line, harm)
                    found[harm] += 1
                finally:
                    file.write_bytes(content)
                    file.with_name(f"{file.name}9").unlink(missing_ok=True)
        assert not found_deep(path)
    return found


def cold_signals(target: Target, count: int, seed: int) -> Counter[str]:
    """Send signals to programs that were started as a user does, from their first moment on."""
    rng = np.random.default_rng([seed, 5, *target.stage.arguments.encode()])
    found: Counter[str] = Counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for number in range(count):
        fresh = bool(number % 2)
        target.set(fresh=fresh)
        sent = list(ENDS)[number % 3]
        process = subprocess.Popen(
            [sys.executable, "-m", "speechscope", *target.stage.line("-q", "--force")],
            cwd=target.workdir,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        # Python itself meets an interrupt before the program's first line with a traceback.
        time.sleep(0.15 + float(rng.uniform(0.0, 2.0)))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sent)
        _, err = process.communicate(timeout=900)
        assert process.returncode in {0, *ENDS[sent]}, (process.returncode, err)
        for word in ("Traceback", "Exception ignored"):
            assert word not in err, err
        found[f"{sent.name} {target.outcome(fresh=fresh)}"] += 1
    target.recover()
    return found
