"""What checksums, syncs and verification cost of each command's time.

    python benchmarks/trust.py CORPUS [--repeats N] [--commands A,B] [--keep DIR] [--inside]

CORPUS is a corpus folder, such as `speechscope synth` makes. Every command is run in turn as it
is, and with all of that switched off by patches that stand below: no fsync, no SHA-256, no CRC of
checkpoints and no check of their pickles, no checksums in chunks, no reading back, no comparing of
what is there with what was written. First the arrays of both are compared; then the median of the
ratios of neighbouring runs is printed, of the time they took, and of the processor's seconds, which
other programs on the machine change little, but which leave out what waits for the disk.

Each run is a program of its own, as a user starts it: this file again, which patches the modules as
they are imported and then runs the command. With ``--inside`` commands run in one process, where
importing the libraries, which makes the share smaller, is left out.
"""

import argparse
import contextlib
import importlib
import importlib.abc
import importlib.machinery
import io
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

NOTHING = "sha256:0"
SHARD = "relevance --method gradient,lrp --all -f"
COMMANDS = {
    "prepare": ("prepare timit -f", "corpus.zarr"),
    "train": ("train --epochs 3 -f", "model.pt"),
    "decode-train": ("decode-train --layer 1,9 --epochs 1 --together 1 -f", "decoder.pt"),
    "invert": ("invert --layer 9 --method decode+bp -f", "inversion.zarr"),
    "relevance": (SHARD, "relevance.zarr"),
    "maximize": ("maximize --layer conv2 --unit 0,1,2,3 -f", "maximum.zarr"),
    "navai": ("navai --align none,min-sensitivity -f", "navai.zarr"),
    "cluster": ("cluster --layer conv1 --reduce pca --algorithm kmeans -f", "clusters.zarr"),
    "one shard": (f"{SHARD} --shard 1/2 -o one.zarr", "one.zarr"),
    "other shard": (f"{SHARD} --shard 2/2 -o other.zarr", "other.zarr"),
    "merge": ("merge one.zarr other.zarr -f -o merged.zarr", "merged.zarr"),
    "score": ("score model.pt inversion.zarr", ""),
    "report": ("report inversion.zarr --examples 2 -f -o report.html", ""),
    "info": ("info inversion.zarr", ""),
}  # fmt: skip
"""The defaults of each, but for few epochs and units."""
CHAIN = ("prepare", "train", "decode-train", "invert", "one shard", "other shard")
"""What others read."""


def plain(data: bytes) -> dict[str, Any]:
    """Describe a chunk without reading its bytes."""
    return {"bytes": len(data), "digest": ""}


def of_file(path: Path) -> dict[str, Any]:
    """Describe a chunk file without reading it."""
    return {"bytes": path.stat().st_size, "digest": ""}


def unchecked(*, level: int, checksum: bool) -> Any:
    """Return the codec without a checksum."""
    from zarr.codecs import ZstdCodec

    return ZstdCodec(level=level, checksum=False)


def encode(rows: Any) -> bytes:
    """As `chunks.encode`, without a checksum."""
    from numcodecs.zstd import compress

    from speechscope.store.chunks import ZSTD_LEVEL

    values = rows.astype(rows.dtype.newbyteorder("<"), order="C", copy=False)
    encoded: bytes = compress(values, ZSTD_LEVEL, False)
    return encoded


def unverified(path: Path) -> Any:
    """Load a checkpoint as it is."""
    import torch

    return torch.load(path, map_location="cpu", weights_only=True)


def constant(*arguments: Any) -> str:
    """Stand for a digest."""
    return NOTHING


def silent(*arguments: Any) -> None:
    """Do nothing."""


PATCHES: dict[str, dict[str, Any]] = {
    "os": {"fsync": silent},
    "speechscope.store.staging": {"sync_tree": silent, "_sync_entry": silent},
    "speechscope.store.chunks": {"describe": plain, "encode": encode},
    "speechscope.store.artifact": {
        "_describe": of_file,
        "check_contents": silent,
        "check_sizes": silent,
        "root_digest": constant,
    },
    "speechscope.store.writer": {
        "root_digest": constant,
        "ZstdCodec": unchecked,
    },
    "speechscope.store.checkpoint": {"load": unverified},
    "speechscope.store.record": {"file_digest": constant, "_check": silent},
    "speechscope.store.lineage": {"digest_at": constant},
}
"""By module, what takes the place of what."""


@contextlib.contextmanager
def without_trust() -> Iterator[None]:
    """Switch all of it off in this process."""
    with contextlib.ExitStack() as stack:
        for where, values in PATCHES.items():
            module = importlib.import_module(where)
            for name, value in values.items():
                stack.enter_context(mock.patch.object(module, name, value))
        yield


class Patching(importlib.abc.MetaPathFinder):
    """Patches modules of `PATCHES` when they are imported, and imports nothing itself."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find a module as usual, and have it patched once it is there."""
        spec = importlib.machinery.PathFinder.find_spec(name, path) if name in PATCHES else None
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def patched(module: ModuleType) -> None:
            run(module)
            for what, value in PATCHES[name].items():
                setattr(module, what, value)

        spec.loader.exec_module = patched  # type: ignore[method-assign]
        return spec


def launched(arguments: list[str], *, trusting: bool) -> None:
    """Be the command."""
    if not trusting:
        os.fsync = silent  # type: ignore[assignment]
        sys.meta_path.insert(0, Patching())
    sys.argv = ["speechscope", *arguments]
    from speechscope.cli import main

    main(arguments)


class Inside:
    """Runs commands in this process."""

    def __init__(self) -> None:
        from speechscope.cli import run

        self._run = run

    def seconds(self, folder: Path, line: str, *, trusting: bool) -> tuple[float, float]:
        """Run a command; return how long it took, and the processor's seconds."""
        off = contextlib.nullcontext() if trusting else without_trust()
        error = io.StringIO()
        with off, contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error):
            begun, used = time.perf_counter(), time.process_time()
            code = self._run(["-C", str(folder), *words(line)])
            took = time.perf_counter() - begun, time.process_time() - used
        if code:
            raise SystemExit(f"{line}: exit {code}: {error.getvalue()}")
        return took


class Programs:
    """Runs commands as programs of their own."""

    def seconds(self, folder: Path, line: str, *, trusting: bool) -> tuple[float, float]:
        """Run a command; return how long it took, and the processor's seconds."""
        mode = "--launch" if trusting else "--launch-without"
        command = [sys.executable, __file__, mode, "-C", str(folder), *words(line)]
        begun, before = time.perf_counter(), used()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        took = time.perf_counter() - begun, used() - before
        if done.returncode:
            raise SystemExit(f"{line}: exit {done.returncode}: {done.stderr}")
        return took


def used() -> float:
    """Return the processor's seconds of the programs that ended."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def words(line: str) -> list[str]:
    """Return the arguments of a command, and that it is to be quiet."""
    return [*line.split(), *(["-q"] if " -f" in line else [])]


def compare(first: Path, second: Path) -> None:
    """Fail unless two outputs hold the same arrays."""
    import numpy as np
    import torch
    import zarr

    if first.is_file():
        one, two = (torch.load(path, weights_only=True)["weights"] for path in (first, second))
        pairs = list(zip(leaves(one), leaves(two), strict=True))
        assert pairs and all(torch.equal(a, b) for a, b in pairs), first
        return
    groups = [zarr.open_group(path, mode="r") for path in (first, second)]
    for name in groups[0].array_keys():
        one, two = (np.asarray(group[name][...]) for group in groups)  # type: ignore[index]
        assert np.array_equal(one, two, equal_nan=one.dtype.kind == "f"), f"{first}/{name}"


def leaves(weights: Any) -> list[Any]:
    """Return the tensors of nested dictionaries."""
    if not isinstance(weights, dict):
        return [weights]
    return [tensor for value in weights.values() for tensor in leaves(value)]


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] in (["--launch"], ["--launch-without"]):
        launched(sys.argv[2:], trusting=sys.argv[1] == "--launch")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--commands", help="comma-separated; what they read is made once")
    parser.add_argument("--inside", action="store_true", help="in one process, without its start")
    parser.add_argument("--folder", type=Path, help="where to write: the disk whose syncs count")
    parser.add_argument("--keep", type=Path, help="the same, and what is there is not made again")
    chosen = parser.parse_args()
    wanted = chosen.commands.split(",") if chosen.commands else list(COMMANDS)
    root = chosen.keep or Path(tempfile.mkdtemp(prefix="trust-", dir=chosen.folder))
    who = Inside() if chosen.inside else Programs()
    try:
        folders = {trusting: root / ("with" if trusting else "without") for trusting in (1, 0)}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
            if not (folder / "timit").exists():
                (folder / "timit").symlink_to(chosen.corpus.resolve())
        print(
            "command        with [s]  without [s]  cost (smallest, largest)       of the processor"
        )
        last = max(list(COMMANDS).index(name) for name in wanted)
        for name, (line, output) in list(COMMANDS.items())[: last + 1]:
            both: list[tuple[tuple[float, float], ...]] = []
            if name in wanted:
                rounds = 1 + chosen.repeats
            else:
                rounds = int(name in CHAIN and not (folders[0] / output).exists())
            for number in range(rounds):
                took = {
                    trusting: who.seconds(folders[trusting], line, trusting=bool(trusting))
                    for trusting in ((1, 0) if number % 2 else (0, 1))
                }
                both.append((took[1], took[0]))
            if output and both:
                compare(folders[1] / output, folders[0] / output)
            if name not in wanted:
                continue
            both = both[1:]  # the first runs warm up
            cost = [sorted(100 * (a[i] / b[i] - 1) for a, b in both) for i in (0, 1)]
            medians = [statistics.median(each[i][0] for each in both) for i in (0, 1)]
            shown = [
                f"{statistics.median(all_):+5.1f} % ({all_[0]:+.1f}, {all_[-1]:+.1f})"
                for all_ in cost
            ]
            print(
                f"{name:<14} {medians[0]:8.2f}  {medians[1]:11.2f}  {shown[0]:<25} {shown[1]}",
                flush=True,
            )
    finally:
        if not chosen.keep:
            shutil.rmtree(root)


if __name__ == "__main__":
    main()
