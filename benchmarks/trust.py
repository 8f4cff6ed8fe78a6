"""What checksums, syncs and verification cost of each command's time.

    python benchmarks/trust.py CORPUS [--repeats N] [--commands A,B] [--folder DIR]

CORPUS is a corpus folder, such as `speechscope synth` makes. Every command is run in turn as it
is, and with all of that switched off by patches that stand below: no fsync, no SHA-256, no CRC of
checkpoints and no check of their pickles, no checksums in chunks, no reading back, no comparing of
what is there with what was written. First the arrays of both are compared; then the median of the
ratios of neighbouring runs is printed. Commands run in one process, so that the time Python takes
to import its libraries, which would make the share smaller, is left out.
"""

import argparse
import contextlib
import io
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import zarr
from numcodecs.zstd import compress
from zarr.codecs import ZstdCodec

from speechscope import artifact, artifact_writer, checkpoint, chunks, lineage, provenance, staging
from speechscope.cli import run

NOTHING = "sha256:0"
COMMANDS = {
    "prepare": ("prepare timit -f", "corpus.zarr"),
    "train": ("train --epochs 2 --per-class 60 -f", "model.pt"),
    "decode-train": (
        "decode-train --layer 1,9 --epochs 1 --together 1 --per-class 20 -f", "decoder.pt"
    ),
    "invert": ("invert --layer 9 --method decode+bp --steps 60 --per-class 2 -f", "inversion.zarr"),
    "relevance": ("relevance --method gradient,lrp --per-class 4 -f", "relevance.zarr"),
    "maximize": ("maximize --layer conv2 --unit 0,1,2,3 --steps 60 -f", "maximum.zarr"),
    "score": ("score model.pt inversion.zarr", ""),
    "report": ("report inversion.zarr --examples 2 -f -o report.html", ""),
    "info": ("info inversion.zarr", ""),
}  # fmt: skip


def plain(data: bytes) -> dict[str, Any]:
    """Describe a chunk without reading its bytes."""
    return {"bytes": len(data), "digest": ""}


def of_file(path: Path) -> dict[str, Any]:
    """Describe a chunk file without reading it."""
    return {"bytes": path.stat().st_size, "digest": ""}


def unchecked(*, level: int, checksum: bool) -> ZstdCodec:
    """Return the codec without a checksum."""
    return ZstdCodec(level=level, checksum=False)


def encode(rows: Any) -> bytes:
    """As `chunks.encode`, without a checksum."""
    values = rows.astype(rows.dtype.newbyteorder("<"), order="C", copy=False)
    encoded: bytes = compress(values, chunks.ZSTD_LEVEL, False)
    return encoded


def silent(*arguments: Any) -> None:
    """Do nothing."""


@contextlib.contextmanager
def without_trust() -> Iterator[None]:
    """Switch all of it off."""

    def constant(*arguments: Any) -> str:
        return NOTHING

    with contextlib.ExitStack() as stack:
        for where, name, value in (
            (os, "fsync", silent),
            (staging, "sync_tree", silent),
            (staging, "_sync_entry", silent),
            (chunks, "describe", plain),
            (chunks, "encode", encode),
            (artifact, "_describe", of_file),
            (artifact, "check_contents", silent),
            (artifact, "check_sizes", silent),
            (artifact, "check_record", silent),
            (artifact, "root_digest", constant),
            (artifact_writer, "root_digest", constant),
            (artifact_writer, "file_digest", constant),
            (artifact_writer, "ZstdCodec", unchecked),
            (checkpoint, "check_archive", silent),
            (checkpoint, "check_record", silent),
            (provenance, "file_digest", constant),
            (lineage, "digest_at", constant),
        ):
            stack.enter_context(mock.patch.object(where, name, value))
        yield


def seconds(folder: Path, line: str) -> float:
    """Run a command; return how long it took."""
    begun = time.perf_counter()
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as error,
    ):
        code = run(["-C", str(folder), *line.split(), *(["-q"] if " -f" in line else [])])
    if code:
        raise SystemExit(f"{line}: exit {code}: {error.getvalue()}")
    return time.perf_counter() - begun


def compare(first: Path, second: Path) -> None:
    """Fail unless two outputs hold the same arrays."""
    if first.is_file():
        one, two = (torch.load(path, weights_only=True)["weights"] for path in (first, second))
        pairs = list(zip(leaves(one), leaves(two), strict=True))
        assert pairs and all(torch.equal(a, b) for a, b in pairs), first
        return
    groups = [zarr.open_group(path, mode="r") for path in (first, second)]
    for name in groups[0].array_keys():
        one, two = (np.asarray(group[name][...]) for group in groups)  # type: ignore[index]
        assert np.array_equal(one, two, equal_nan=one.dtype.kind == "f"), f"{first}/{name}"


def leaves(weights: Any) -> list[torch.Tensor]:
    """Return the tensors of nested dictionaries."""
    if isinstance(weights, torch.Tensor):
        return [weights]
    return [tensor for value in weights.values() for tensor in leaves(value)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--commands", help="comma-separated; the others run once")
    parser.add_argument("--folder", type=Path, help="where to write: the disk whose syncs count")
    chosen = parser.parse_args()
    wanted = chosen.commands.split(",") if chosen.commands else list(COMMANDS)
    root = Path(tempfile.mkdtemp(prefix="trust-", dir=chosen.folder))
    try:
        folders = root / "with", root / "without"
        for folder in folders:
            folder.mkdir()
            (folder / "timit").symlink_to(chosen.corpus.resolve())
        print("command        with [s]  without [s]  cost (median of ratios; smallest, largest)")
        for name, (line, output) in COMMANDS.items():
            both: list[tuple[float, float]] = []
            for number in range(1 + (chosen.repeats if name in wanted else 0)):
                with_it = without = 0.0
                for first in (number % 2 == 0, number % 2 == 1):
                    if first:
                        with_it = seconds(folders[0], line)
                    else:
                        with without_trust():
                            without = seconds(folders[1], line)
                both.append((with_it, without))
            if output:
                with without_trust():
                    compare(folders[0] / output, folders[1] / output)
            if name not in wanted:
                continue
            ratios = sorted(100 * (a / b - 1) for a, b in both[1:])  # the first runs warm up
            medians = [statistics.median(times) for times in zip(*both[1:], strict=True)]
            print(
                f"{name:<14} {medians[0]:8.2f}  {medians[1]:11.2f}  "
                f"{statistics.median(ratios):+5.1f} % ({ratios[0]:+.1f}, {ratios[-1]:+.1f})",
                flush=True,
            )
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
