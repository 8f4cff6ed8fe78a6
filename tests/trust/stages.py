"""The commands that write, each on a corpus so small that it takes a fraction of a second."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import corpora
import torch
from trust.server import ForkServer, Running

from speechscope.store.artifact import Artifact
from speechscope.store.checkpoint import Checkpoint
from speechscope.store.lineage import is_checkpoint, verify

UNSTABLE = {"created", "seconds", "argv", "parents"}
"""Entries of records and histories that say when and how, not what."""


@dataclass(frozen=True)
class Stage:
    """A command that writes.

    Parameters
    ----------
    arguments
        Its command line but for the output.
    output
        What it writes.
    other
        More arguments, which make it write something else: the old artifact in the way.
    reads
        The artifact or folder it reads.
    option
        What stands before the output's name.
    before
        The command line that makes the old artifact, where more arguments do not.
    """

    arguments: str
    output: str
    other: str
    reads: str
    option: str = "-o"
    before: str = ""

    def line(self, *more: str, old: bool = False) -> list[str]:
        """Return the command line."""
        parts = [*self.arguments.split(), *(self.other.split() if old else ())]
        if old and self.before:
            parts = self.before.split()
        return [*parts, self.option, self.output, *more] if self.option else [*parts, *more]


LITTLE = "--epochs 2 --per-class 6"
INVERT = "invert decoder.pt --layer 1,9 --method bp,decode+bp --steps 3 --all"
NAVAI = "navai --align none,min-sensitivity --least 1"
CLUSTER = (
    "cluster --layer input,conv1 --reduce none --algorithm kmeans --per-class 3 --any --no-probes"
)
STAGES = {
    "prepare": Stage("prepare timit", "out.zarr", "--bins 101", "timit"),
    "train": Stage(f"train --network freq-padded {LITTLE}", "out.pt", "--seed 1", "corpus.zarr"),
    "train letters": Stage(
        "train letters.zarr --width 0.02 --epochs 2", "out.pt", "--seed 1", "letters.zarr"
    ),
    "decode-train": Stage(
        f"decode-train --layer 1 --together 1 {LITTLE}", "out.pt", "--seed 1", "model.pt"
    ),
    "invert": Stage(INVERT, "out.zarr", "--seed 1", "decoder.pt"),
    "invert --wav": Stage(
        "invert --layer 1 --method bp --steps 1 --items 0:3 -o heard.zarr -f",
        "wavs",
        "--seed 1",
        "model.pt",
        "--wav",
    ),
    "relevance": Stage("relevance --method gradient,lrp", "out.zarr", "--seed 1", "model.pt"),
    "maximize": Stage("maximize --layer conv2 --unit 0,1 --steps 3", "out.zarr", "--seed 1",
                      "model.pt"),
    "navai": Stage(NAVAI, "out.zarr", "--split test", "model.pt"),
    "cluster": Stage(CLUSTER, "out.zarr", "--seed 1", "model.pt"),
    "merge": Stage(
        "merge part-1-of-2.zarr part-2-of-2.zarr",
        "out.zarr",
        "",
        "part-1-of-2.zarr",
        before="merge other-1-of-2.zarr other-2-of-2.zarr",
    ),
    "merge corpora": Stage(
        "merge some-1-of-2.zarr some-2-of-2.zarr",
        "out.zarr",
        "",
        "some-1-of-2.zarr",
        before="merge less-1-of-2.zarr less-2-of-2.zarr",
    ),
    "merge averages": Stage(
        "merge sums-1-of-2.zarr sums-2-of-2.zarr",
        "out.zarr",
        "",
        "sums-1-of-2.zarr",
        before="merge rest-1-of-2.zarr rest-2-of-2.zarr",
    ),
    "report": Stage(
        "report inversion.zarr --examples 1", "out.html", "--items 1", "inversion.zarr"
    ),
    "export": Stage(
        "export inversion.zarr --to csv", "out", "--array steps", "inversion.zarr"
    ),
    "synth": Stage("synth made --speakers 2 --sentences 1", "made", "--seed 1", "", ""),
}  # fmt: skip
"""Every command that writes; a new one joins by a line."""

CHEAP = tuple(name for name in STAGES if name != "synth")
"""Stages without a synthesizer to start."""

READERS = {
    "corpus.zarr": ["score corpus.zarr", f"train --network freq-padded {LITTLE} -o out.pt"],
    "letters.zarr": ["train letters.zarr --width 0.02 --epochs 1 -o out.pt"],
    "model.pt": ["score model.pt", "relevance --method gradient -o out.zarr"],
    "decoder.pt": ["score decoder.pt", f"{INVERT} -o out.zarr"],
    "inversion.zarr": ["score inversion.zarr", "report inversion.zarr --examples 1 -o out.html"],
    "relevance.zarr": ["score relevance.zarr"],
    "navai.zarr": ["score navai.zarr"],
    "clusters.zarr": ["score clusters.zarr"],
    "maximum.zarr": ["info maximum.zarr"],
    "part-2-of-2.zarr": ["merge part-1-of-2.zarr part-2-of-2.zarr -o out.zarr"],
    "some-2-of-2.zarr": ["merge some-1-of-2.zarr some-2-of-2.zarr -o out.zarr"],
    "sums-2-of-2.zarr": ["merge sums-1-of-2.zarr sums-2-of-2.zarr -o out.zarr"],
}
"""Commands that read an artifact."""

MADE = {
    "corpus.zarr": "prepare timit",
    "letters.zarr": "prepare timit --recipe krug2018 --bins 16 -o letters.zarr --max-length none",
    "model.pt": f"train --network freq-padded {LITTLE}",
    "letters.pt": "train letters.zarr --width 0.02 --epochs 1 -o letters.pt",
    "decoder.pt": f"decode-train --layer 1,9 --together 1 {LITTLE}",
    "inversion.zarr": INVERT,
    "relevance.zarr": "relevance --method gradient,lrp",
    "navai.zarr": NAVAI,
    "clusters.zarr": CLUSTER,
    "maximum.zarr": "maximize --layer conv2 --unit 0,1 --steps 3",
}
"""Artifacts in the order they are made."""

BLOCK = 6
"""Items a chunk of shards: few, so that there are several."""
SHARDS = {
    f"{name}-{number}-of-2.zarr": f"{line} --shard {number}/2"
    for name, line in (
        ("part", INVERT),
        ("other", f"{INVERT} --seed 1"),
        ("some", "prepare timit"),
        ("less", "prepare timit --bins 101"),
        ("sums", NAVAI),
        ("rest", f"{NAVAI} --split test"),
    )
    for number in (1, 2)
}
"""Those of two artifacts of each kind."""


def lay_out(server: ForkServer, workdir: Path) -> Path:
    """Make a corpus folder with words, and one artifact of each kind."""
    corpora.timit(workdir / "timit", speakers=2, sentences=2)
    for number, phn in enumerate(sorted((workdir / "timit").rglob("*.PHN"))):
        phn.with_suffix(".TXT").write_text(f"0 12800 {('a cat', 'no', 'so it is')[number % 3]}\n")
    made: list[tuple[str, dict[str, int]]] = [(line, {}) for line in MADE.values()]
    made += [(f"{line} -o {name}", {"block": BLOCK}) for name, line in SHARDS.items()]
    for line, more in made:
        done = server.run(workdir, *line.split(), "-q", **more)
        assert done.wait() == 0, f"{line}: {done.err}"
    return workdir


def copy_of(workdir: Path, target: Path) -> Path:
    """Copy a folder, keeping times."""
    shutil.copytree(workdir, target, symlinks=True)
    return target


def fingerprint(path: Path) -> str:
    """Verify an output and return a digest of what it holds; times and paths do not count.

    Raises
    ------
    ArtifactError
        It is not whole.
    """
    digest = hashlib.sha256()
    if is_checkpoint(path) and path.suffix == ".pt":
        for line in _plain(Checkpoint(path).values):
            digest.update(line)
    elif (path / "zarr.json").exists():
        verify(path, deep=True)
        artifact = Artifact(path)
        told = {name: c["digest"] for name, c in artifact.contents.items()}
        digest.update(json.dumps([told, artifact.record["config"]], sort_keys=True).encode())
    elif path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(path)}\0".encode() + file.read_bytes())
    else:
        assert path.stat().st_size > 1000
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _plain(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        for key, entry in value.items():
            if key not in UNSTABLE:
                yield repr(key).encode()
                yield from _plain(entry)
    elif isinstance(value, list | tuple):
        yield f"{len(value)}".encode()
        for entry in value:
            yield from _plain(entry)
    elif isinstance(value, torch.Tensor):
        yield f"{value.dtype} {tuple(value.shape)}".encode()
        yield value.contiguous().numpy().tobytes()
    else:
        yield repr(value).encode()


def remove(path: Path) -> None:
    """Remove a file, a folder or nothing."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def left_over(workdir: Path) -> list[str]:
    """Return the hidden names in a folder."""
    return sorted(path.name for path in workdir.iterdir() if path.name.startswith("."))


def said_well(done: Running, codes: set[int]) -> None:
    """Fail unless a command ended with one of the codes, and an error with one line."""
    code, err = done.wait(), done.err
    assert code in codes, f"exit {code}, not {codes}: {err}"
    if code in (130, 143):
        # Between open() and `with`, a file is nobody's; Python does not show this unless asked to.
        err = err.replace("ResourceWarning:", "")
    for word in ("Traceback", "Exception ignored", "Warning:", "leaked", "never retrieved"):
        assert word not in err, err
    if code not in (0, 4):
        lines = [line for line in err.splitlines() if line.startswith("speechscope: ")]
        assert len(lines) == 1, f"{len(lines)} lines: {err}"
