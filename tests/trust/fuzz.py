"""Damaged files for every reader: each returns what it can vouch for, or says what is wrong."""

import json
import os
import tomllib
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import fuzzing
import numpy as np
import torch
from corpus import test_fuzz as corpus_files
from fuzzing import Mutation

from speechscope import settings, stages
from speechscope.corpus.utterances import BadRecording
from speechscope.errors import SpeechscopeError
from speechscope.store import checkpoint
from speechscope.store.artifact import Artifact
from speechscope.store.checkpoint import Checkpoint
from speechscope.store.lineage import verify
from speechscope.store.record import Parent, Record, file_digest, new_record
from speechscope.store.writer import create_artifact, flag_attributes

SECONDS = 10.0
"""Longest a reader may take for one file."""
Make = Callable[[Path], None]
Read = Callable[[Path, Mutation], None]
VALUES = np.arange(4000, dtype=np.float32).reshape(40, 100)
TOML = b'bins = 201\nquiet = true\n[train]\nepochs = 30\nlr = 1e-2\n[invert]\nlayer = ["1", "9"]\n'
OPTIONS = {"train": {"epochs": "epochs", "lr": "lr", "bins": "bins", "quiet": "quiet"},
           "invert": {"layer": "layer"}}  # fmt: skip


def record(kind: str) -> Record:
    """Return the record of an artifact with a parent."""
    parent = Parent(path="../corpus.zarr", kind="corpus", digest="sha256:0")
    return new_record(
        kind, config={"recipe": "x", "bins": 201}, seed=3, device="cpu", parents=[parent]
    )


def make_checkpoint(path: Path) -> None:
    """Write a checkpoint of a tensor and plain values."""
    values = {"weights": {"w": torch.from_numpy(VALUES)}, "names": ["a", "b"], "test": {"x": 0.5}}
    checkpoint.write(path, record("model"), values)


def make_artifact(path: Path) -> None:
    """Write an artifact of two arrays."""
    with create_artifact(path, "A test", record("corpus"), force=True) as writer:
        stream = writer.stream("input", (100,), np.float32, ("item", "frequency"))
        stream.append(VALUES)
        writer.put("label", np.arange(40, dtype=np.int16) % 3, ("item",),
                   flag_attributes("abc"))  # fmt: skip


def read_checkpoint(path: Path, mutation: Mutation) -> None:
    """All that was written or an error."""
    path.write_bytes(mutation.content)
    found = Checkpoint(path)
    assert torch.equal(found.values["weights"]["w"], torch.from_numpy(VALUES))
    assert found.values["names"] == ["a", "b"] and found.record["config"]["bins"] == 201
    stages.run("info", {"artifact": path})


def read_artifact(inside: str) -> Read:
    """Return a reader of an artifact one of whose files is damaged."""

    def read(path: Path, mutation: Mutation) -> None:
        file = path / inside
        whole = file.read_bytes()
        file.write_bytes(mutation.content)
        try:
            verify(path, deep=True)
            artifact = Artifact(path)
            np.testing.assert_array_equal(artifact.read("input"), VALUES)
            assert artifact.flags("label") == ("a", "b", "c")
            stages.run("info", {"artifact": path})
        finally:
            file.write_bytes(whole)

    return read


def read_resealed(path: Path, mutation: Mutation) -> None:
    """Metadata that was made by hand, digests and all: read, or an error; never more memory."""
    from speechscope.store.artifact import root_digest

    file = path / "zarr.json"
    array = path / "input" / "zarr.json"
    whole, inner = file.read_bytes(), array.read_bytes()
    array.write_bytes(mutation.content)
    try:
        root = json.loads(whole)
        told = root["attributes"]["speechscope"]
        told["contents"]["input"]["metadata"] = file_digest(array)
        told["digest"] = root_digest(root)
        file.write_text(json.dumps(root))
        verify(path, deep=True)
        found = Artifact(path)
        if "input" in found:
            assert found.read("input").nbytes < 1 << 22
        stages.run("info", {"artifact": path})
    finally:
        file.write_bytes(whole)
        array.write_bytes(inner)


def read_toml(path: Path, mutation: Mutation) -> None:
    """What a TOML reader finds in it, or an error."""
    path.write_bytes(mutation.content)
    found = settings.load(OPTIONS, path)
    told = tomllib.loads(mutation.content.decode())
    given = sum(len(v) if isinstance(v, dict) else 1 for v in told.values())
    assert sum(map(len, found.values())) >= (given > 0)


def _file(make: Make, inside: str = "") -> Callable[[], bytes]:
    """Return what gives the bytes of a file that `make` writes."""

    def content() -> bytes:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            make(path := Path(folder) / "x")
            return (path / inside if inside else path).read_bytes()

    return content


CHUNK = "input/c.0.0"
OWN: tuple[tuple[str, Callable[[], bytes], Read, Make | None], ...] = (
    ("model.pt", _file(make_checkpoint), read_checkpoint, None),
    ("root.zarr", _file(make_artifact, "zarr.json"), read_artifact("zarr.json"), make_artifact),
    ("array.zarr", _file(make_artifact, "input/zarr.json"), read_artifact("input/zarr.json"),
     make_artifact),
    ("chunk.zarr", _file(make_artifact, CHUNK), read_artifact(CHUNK), make_artifact),
    ("sealed.zarr", _file(make_artifact, "input/zarr.json"), read_resealed, make_artifact),
    ("speechscope.toml", lambda: TOML, read_toml, None),
)  # fmt: skip
"""Files of our own beside those of corpora (`tests/corpus/test_fuzz.py`)."""


def many(folder: Path, seeds: range, first: int = 0) -> Counter[str]:
    """Read damaged files of all kinds in turn; count those read and refused of each.

    Raises
    ------
    AssertionError
        A reader took damage for content, failed in another way than it says, or took too long.
    """
    kinds: list[tuple[str, Callable[[], bytes], Read, Make | None]] = list(OWN)
    kinds += [(name, make, read, None) for name, make, read in corpus_files.KINDS]
    originals: list[bytes] = []
    for number, (name, make, _, prepare) in enumerate(kinds):
        room = folder / str(number)
        room.mkdir(parents=True)
        if prepare is not None:
            prepare(room / name)
            # What is damaged is what stands there: records differ by their time.
            originals.append(_stands(room / name, name))
        else:
            originals.append(make())
    count: Counter[str] = Counter()
    for seed in seeds:
        number = seed % len(kinds)
        name, _, read, _ = kinds[number]
        mutation = Mutation(originals[number], seed + first)
        try:
            with fuzzing.time_limit(SECONDS):
                read(folder / str(number) / name, mutation)
            count[f"{name} read"] += 1
        except (BadRecording, SpeechscopeError) as error:
            assert str(error) and "\n" not in str(error), f"seed {seed + first}: {error}"
            count[f"{name} refused"] += 1
        except Exception as error:
            kind = mutation.kind.__name__
            raise AssertionError(f"seed {seed + first}: {kind} {name}") from error
    return count


def _stands(path: Path, name: str) -> bytes:
    inside = {"root.zarr": "zarr.json", "chunk.zarr": CHUNK}.get(name, "input/zarr.json")
    return (path / inside).read_bytes()


def bomb(path: Path, unfolded: int) -> None:
    """Write a checkpoint whose pickle is compressed, and unfolds to so many bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("archive/data.pkl", "w", force_zip64=True) as file:
            file.write(b"\x80\x02]q\x00.")
            for _ in range(unfolded >> 20):
                file.write(bytes(1 << 20))
        archive.writestr("archive/version", "3\n")
    os.sync()
