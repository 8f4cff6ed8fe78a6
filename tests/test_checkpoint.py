from pathlib import Path

import numpy as np
import pytest
import torch

from speechscope import checkpoint, provenance
from speechscope.checkpoint import Checkpoint
from speechscope.errors import ArtifactError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    record = provenance.new_record("model", config={"lr": 0.1}, seed=0, device="cpu")
    target = tmp_path / "model.pt"
    checkpoint.write(target, record, {"weights": {"w": torch.arange(4000.0)}, "names": ["a", "b"]})
    return target


def test_values_and_record_come_back(path: Path) -> None:
    loaded = Checkpoint(path, "model")
    assert torch.equal(loaded.values["weights"]["w"], torch.arange(4000.0))
    assert loaded.record["config"] == {"lr": 0.1}
    assert loaded.digest == provenance.file_digest(path)


def test_values_that_could_not_be_loaded_are_refused_when_written(tmp_path: Path) -> None:
    record = provenance.new_record("model", config={}, seed=0, device="cpu")
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
