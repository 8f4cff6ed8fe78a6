import hashlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from speechscope.errors import ArtifactError
from speechscope.store import checkpoint
from speechscope.store import record as provenance
from speechscope.store.checkpoint import Checkpoint
from speechscope.store.record import file_digest, new_record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    record = new_record("model", config={"lr": 0.1}, seed=0, device="cpu")
    target = tmp_path / "model.pt"
    checkpoint.write(target, record, {"weights": {"w": torch.arange(4000.0)}, "names": ["a", "b"]})
    return target


def test_values_and_record_come_back(path: Path) -> None:
    loaded = Checkpoint(path, "model")
    assert torch.equal(loaded.values["weights"]["w"], torch.arange(4000.0))
    assert loaded.record["config"] == {"lr": 0.1}
    assert loaded.digest == file_digest(path)


def test_values_that_could_not_be_loaded_are_refused_when_written(tmp_path: Path) -> None:
    record = new_record("model", config={}, seed=0, device="cpu")
    with pytest.raises(TypeError, match=r"checkpoint\['history'\]\[0\] is a float64"):
        checkpoint.write(tmp_path / "m.pt", record, {"history": [np.float64(1)]})


def test_a_flipped_byte_of_a_tensor_is_found(path: Path) -> None:
    # torch.load alone reads this file without complaint: it compares no CRC.
    data = bytearray(path.read_bytes())
    position = data.index(torch.arange(4000.0).numpy().tobytes()) + 8000
    data[position] ^= 1
    path.write_bytes(data)
    torch.load(path, weights_only=True)
    with pytest.raises(ArtifactError, match="is damaged"):
        Checkpoint(path)


def test_a_truncated_file_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match="damaged or not a checkpoint"):
        Checkpoint(path)


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"speechscope": {"kind": "model"}, "weights": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ArtifactError):
        Checkpoint(tmp_path / "evil.pt")
    assert not (tmp_path / "ran").exists()


def test_foreign_missing_and_mismatched_files_are_refused(path: Path, tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1)}, tmp_path / "foreign.pt")
    with pytest.raises(ArtifactError, match="not written by speechscope"):
        Checkpoint(tmp_path / "foreign.pt")
    with pytest.raises(ArtifactError, match="does not exist"):
        Checkpoint(tmp_path / "missing.pt")
    with pytest.raises(ArtifactError, match="is a model; a decoder is needed"):
        Checkpoint(path, "decoder")


def test_a_record_is_read_without_tensors(path: Path) -> None:
    data = path.read_bytes()
    for inside, refused in ((torch.arange(4000.0).numpy().tobytes(), False), (b"weights", True)):
        damaged = bytearray(data)
        damaged[data.index(inside) + len(inside) // 2] ^= 1
        path.write_bytes(damaged)
        if refused:
            with pytest.raises(ArtifactError, match="damaged or not a checkpoint"):
                checkpoint.read(path)
        else:
            assert checkpoint.read(path)[0]["config"] == {"lr": 0.1}
        with pytest.raises(ArtifactError, match="damaged"):
            Checkpoint(path)
    torch.save({"w": torch.zeros(3)}, path)
    with pytest.raises(ArtifactError, match="not written by speechscope"):
        checkpoint.read(path)
    with pytest.raises(ArtifactError, match="does not exist"):
        checkpoint.read(path.with_name("none.pt"))


def test_a_digest_is_taken_once_of_what_did_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    read: list[Any] = []
    taken = hashlib.file_digest

    def counted(file: Any, name: str) -> Any:
        read.append(file)
        return taken(file, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    fresh = file_digest(path)
    assert file_digest(path) == fresh and len(read) == 2  # it may change any moment
    monkeypatch.setattr(provenance, "SETTLED", 0)
    assert [file_digest(path) for _ in range(3)] == [fresh] * 3 and len(read) == 3
    times = path.stat()
    time.sleep(0.02)
    path.write_bytes(b"two")  # as long as before, and said to be as old
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file_digest(path) != fresh
    (tmp_path / "other").write_bytes(b"two")
    assert file_digest(tmp_path / "other") == file_digest(path)


def test_an_interrupt_while_saving_is_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.serialization, "_get_storage_alignment", stopped)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save({"w": torch.zeros(1000)}, tmp_path / "m.pt")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_named() -> None:
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        checkpoint.save({"w": torch.zeros(1000)}, Path("/dev/full"))
