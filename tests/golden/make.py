"""Make the golden artifacts of a format, with the program that writes it.

Run once for a format, with a release of that format on the path, and never again::

    PYTHONPATH=RELEASE python tests/golden/make.py tests/golden/format-N.tar.xz

The archive holds one small artifact of each kind, made from one another, some shards, and
``outputs.npy``: the scores of the model for the first items of the corpus.
"""

import os
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soundfile
import torch

from speechscope import cli

RATE = 16000
PHONES = ("h#", "aa", "s", "iy", "n", "h#")
GRAIN = 64
"""Weights are multiples of 1 / 64 afterwards, so that the archive is small."""
CHAIN = (
    "prepare timit --bins 24",
    "train --network freq --epochs 1 --per-class 2",
    "decode-train --layer 1,3 --together 1 --epochs 1 --per-class 2",
    "invert --layer 1,3 --method bp,decode --steps 3 --items 0:4",
    "relevance --method gradient,lrp --items 0:4",
    "maximize --layer conv1 --unit 0,1 --steps 3",
    "navai --align none,min-sensitivity --least 1",
    "cluster --layer input,pool1 --reduce none,pca --per-class 2 --any --no-probes",
    "prepare timit --recipe krug2018 --bins 16 --max-length none -o letters.zarr",
    "train letters.zarr --recipe krug2018 --width 0.02 --epochs 1 -o letters.pt",
)
SHARDED = (
    ("prepare timit --bins 24", "corpus"),
    ("relevance --method gradient --all", "relevance"),
    ("navai --align none --least 1", "navai"),
)


def corpus(root: Path) -> None:
    """Write two speakers of two sentences: tones of few values, so that they are small."""
    for number, split in enumerate(("TRAIN", "TEST")):
        folder = root / split / "DR1" / f"FAB{number}0"
        folder.mkdir(parents=True)
        for sentence in range(2):
            count = 2400
            time = np.arange(count) / RATE
            tones = np.sin(2 * np.pi * np.outer([300 + 150 * sentence, 1300 + 200 * number], time))
            samples = np.round(0.2 * tones.sum(axis=0) * 32) / 32
            path = folder / f"SX{10 * number + sentence}.WAV"
            soundfile.write(path, samples, RATE, subtype="PCM_16")
            edges = np.linspace(0, count, len(PHONES) + 1).astype(int)
            rows = zip(edges[:-1], edges[1:], PHONES, strict=True)
            path.with_suffix(".TXT").write_text(f"0 {count} a cat\n")
            path.with_suffix(".PHN").write_text("".join(f"{a} {b} {p}\n" for a, b, p in rows))


def run(line: str) -> None:
    """Run a command; it has to succeed."""
    if cli.run([*line.split(), "-q"]):
        raise SystemExit(line)


def coarse(value: Any) -> Any:
    """Round all tensors of a checkpoint."""
    if isinstance(value, dict):
        return {name: entry if name == "mean" else coarse(entry) for name, entry in value.items()}
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return (value * GRAIN).round() / GRAIN
    return value


def make() -> None:
    """Make all artifacts in the working directory."""
    from speechscope import api
    from speechscope.store import checkpoint

    corpus(Path("timit"))
    for line in CHAIN:
        run(line)
        name = "model.pt" if "network" in line else "letters.pt"
        if line.startswith("train"):
            values = torch.load(name, weights_only=True)
            record = values.pop("speechscope")
            checkpoint.write(Path(name), record, coarse(values))
        if name == "model.pt":
            model = api.load_model("model.pt")
            inputs = api.read_inputs(api.load_corpus("corpus.zarr"), range(6), model)
            with torch.no_grad():
                np.save("outputs.npy", model.network(inputs).numpy())
    small = (
        mock.patch("speechscope.relevance.store.MOST", 4),
        mock.patch("speechscope.corpus.prepare.BATCH", 1),
        mock.patch("speechscope.navai.examples.Examples.block", property(lambda _: 2)),
    )
    with small[0], small[1], small[2]:
        for line, name in SHARDED:
            for number in (1, 2):
                run(f"{line} --shard {number}/2 -o {name}-{number}-of-2.zarr")


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        make()
        with tarfile.open(target, "w:xz", preset=9) as archive:
            for path in sorted(Path().iterdir()):
                if path.name != "timit":
                    archive.add(path)
        os.chdir("/")
