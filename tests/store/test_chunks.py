import hashlib
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import ZstdCodec

from speechscope.store.chunks import ZSTD_LEVEL, described, encode, write_chunk
from speechscope.store.record import new_record
from speechscope.store.writer import create_artifact


@pytest.mark.parametrize("dtype", ["float32", ">f4", "int64", "int8"])
def test_a_chunk_is_what_zarr_writes(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(0).normal(size=(60, 2, 3)).astype(dtype)
    array = zarr.create_array(
        tmp_path / "zarr",
        shape=(30, 2, 3),
        chunks=(30, 2, 3),
        dtype=np.dtype(dtype).newbyteorder("="),
        compressors=[ZstdCodec(level=ZSTD_LEVEL, checksum=True)],
        config={"write_empty_chunks": True},
    )
    array[...] = values[::2]
    assert encode(values[::2]) == (tmp_path / "zarr/c/0/0/0").read_bytes()


def test_a_written_chunk_is_described(tmp_path: Path) -> None:
    rows = np.arange(10.0)
    found = write_chunk(tmp_path / "c.3", rows)
    data = (tmp_path / "c.3").read_bytes()
    assert found == {"bytes": len(data), "digest": hashlib.sha256(data).hexdigest()}


def test_an_array_is_described_by_names_sizes_and_digests() -> None:
    one, two = {"bytes": 3, "digest": "aa"}, {"bytes": 4, "digest": "bb"}
    found = described({"c.1": two, "c.0": one})
    text = b"c.0\x003\x00aa\x00c.1\x004\x00bb\x00"
    assert found == {
        "chunks": 2,
        "bytes": 7,
        "digest": f"sha256:{hashlib.sha256(text).hexdigest()}",
    }
    others = [{"c.0": two, "c.1": one}, {"c.0": one}, {"c.0": one, "c.2": two}]
    assert found["digest"] not in [described(other)["digest"] for other in others]


def test_an_error_in_a_thread_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, rows: np.ndarray) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("speechscope.store.writer.write_chunk", fail)
    record = new_record("corpus", config={}, seed=0, device="cpu")
    with (
        pytest.raises(OSError, match="full"),
        create_artifact(tmp_path / "a.zarr", "test", record, force=False) as writer,
    ):
        writer.stream("rows", (), np.int8, ("row",)).append(np.zeros(3, dtype=np.int8))
    assert not list(tmp_path.iterdir())


def test_abandoned_threads_end_what_they_began_and_begin_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended, go = [], [], threading.Event()

    def slow(path: Path, rows: np.ndarray) -> dict[str, Any]:
        begun.append(path.name)
        go.wait(10)
        ended.append(path.name)
        return {}

    monkeypatch.setattr("speechscope.store.writer.write_chunk", slow)
    record = new_record("corpus", config={}, seed=0, device="cpu")
    with (
        pytest.raises(KeyboardInterrupt),
        create_artifact(tmp_path / "a.zarr", "test", record, force=False) as writer,
    ):
        stream = writer.stream("rows", (1_000_000,), np.float32, ("row", "value"))
        stream.append(np.zeros((4, 1_000_000), dtype=np.float32))
        threading.Timer(0.05, go.set).start()
        raise KeyboardInterrupt
    assert sorted(begun) == ["c.0.0", "c.1.0"] and sorted(ended) == sorted(begun)
