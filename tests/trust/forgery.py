"""Files made to harm: checkpoints and artifacts that no program of ours would write."""

import io
import json
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from numcodecs.zstd import compress

from speechscope.store.artifact import root_digest
from speechscope.store.record import file_digest, new_record


class Storage:
    """The bytes of a tensor, and how many values a checkpoint says they are."""

    def __init__(self, key: str, count: int, kind: Any = torch.FloatStorage) -> None:
        self.pid = ("storage", kind, key, "cpu", count)


class Tensor:
    """A tensor of any shape over a storage."""

    def __init__(self, storage: Storage, size: Any, stride: Any, offset: int = 0) -> None:
        self.parts: tuple[Any, ...] = (storage, offset, size, stride, False, OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return torch._utils._rebuild_tensor_v2, self.parts


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        return value.pid if isinstance(value, Storage) else None


def pickled(values: Any) -> bytes:
    """Return the pickle of values in which `Tensor` and `Storage` stand."""
    out = io.BytesIO()
    _Pickler(out, protocol=2).dump(values)
    return out.getvalue()


def archive(
    path: Path, pickled: bytes, data: dict[str, bytes] | None = None, *, deflate: bool = False
) -> None:
    """Write a checkpoint file around a pickle."""
    method = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/byteorder", "little")
        for key, content in (data or {}).items():
            file.writestr(f"archive/data/{key}", content)
        file.writestr("archive/version", "3\n")


def record(kind: str = "model", **changes: Any) -> dict[str, Any]:
    """Return a record that is as it has to be, but for some entries."""
    return {**new_record(kind, config={}, seed=0, device="cpu"), **changes}


def reseal(path: Path, array: str, **metadata: Any) -> None:
    """Change an array's metadata, and make all digests and counts agree with what is there."""
    file = path / array / "zarr.json"
    told = json.loads(file.read_text())
    told.update(metadata)
    file.write_text(json.dumps(told))
    reseal_root(path, array)


def reseal_root(path: Path, array: str, **record: Any) -> None:
    """Make the record agree with an array that was changed."""
    root = json.loads((path / "zarr.json").read_text())
    own = root["attributes"]["speechscope"]
    if array:
        chunks = list((path / array).glob("c*"))
        own["contents"][array]["metadata"] = file_digest(path / array / "zarr.json")
        own["contents"][array]["chunks"] = len(chunks)
        own["contents"][array]["bytes"] = sum(p.stat().st_size for p in chunks)
    own.update(record)
    own["digest"] = root_digest(root)
    (path / "zarr.json").write_text(json.dumps(root))


def frame_of(claimed: int) -> bytes:
    """Return a small Zstandard frame that claims to unfold to so many bytes."""
    frame: bytes = compress(bytes(70_000), 1, True)
    assert frame[4] >> 6 == 2  # the size stands in four bytes after the descriptor
    begin = 5 if frame[4] >> 5 & 1 else 6
    return frame[:begin] + min(claimed, 0xFFFFFFFF).to_bytes(4, "little") + frame[begin + 4 :]
