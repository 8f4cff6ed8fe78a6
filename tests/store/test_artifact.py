import asyncio
import gc
import itertools
import json
import shutil
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr.core.sync

from speechscope.errors import ArtifactError
from speechscope.store import writer as artifact_writer
from speechscope.store.artifact import Artifact
from speechscope.store.chunks import write_chunk
from speechscope.store.record import new_record
from speechscope.store.writer import CHUNK_BYTES, chunk_shape, create_artifact

ROWS = 700


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "corpus.zarr"
    record = new_record("corpus", config={"recipe": "x"}, seed=3, device="cpu")
    values = np.random.default_rng(0).normal(size=(ROWS, 1, 201, 16)).astype(np.float32)
    with create_artifact(path, "A test", record, force=False) as writer:
        stream = writer.stream(
            "input", (1, 201, 16), np.float32, ("item", "channel", "frequency", "time")
        )
        for start in range(0, ROWS, 97):
            stream.append(values[start : start + 97])
        writer.put("label", np.arange(ROWS, dtype=np.int16) % 5, ("item",))
        writer.put("frequency", np.arange(201) * 40.0, ("frequency",), {"units": "Hz"})
    return path


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    path = tmp_path / "corpus.zarr"
    shutil.copytree(original, path)
    return path


def expected() -> Any:
    return np.random.default_rng(0).normal(size=(ROWS, 1, 201, 16)).astype(np.float32)


def chunks(path: Path, name: str) -> list[Path]:
    return sorted((path / name).glob("c*"))


def test_what_was_streamed_is_read_back(original: Path) -> None:
    artifact = Artifact(original, "corpus")
    np.testing.assert_array_equal(artifact.read("input"), expected())
    assert artifact.record["seed"] == 3
    artifact.verify()


@pytest.mark.parametrize(
    "sizes", [[700], [310, 310], [100, 620, 3], [0, 311, 0, 309], [1] * 312, [620, *[200] * 4]]
)
def test_blocks_of_any_size_make_the_same_array(tmp_path: Path, sizes: list[int]) -> None:
    path, count = tmp_path / "corpus.zarr", sum(sizes)
    values = np.arange(count * 201 * 16, dtype=np.float32).reshape(count, 1, 201, 16)
    record = new_record("corpus", config={}, seed=0, device="cpu")
    dims = ("item", "channel", "frequency", "time")
    with create_artifact(path, "A test", record, force=False) as writer:
        stream = writer.stream("input", (1, 201, 16), np.float32, dims)
        for stop, size in zip(np.cumsum(sizes), sizes, strict=True):
            stream.append(values[stop - size : stop])
    artifact = Artifact(path)
    assert artifact.array("input").chunks == (310, 1, 201, 16)
    np.testing.assert_array_equal(artifact.read("input"), values)
    artifact.verify()


@pytest.mark.parametrize("left", ["chunks", "zarr"])
def test_nothing_is_written_after_an_interrupt(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    left: str,
) -> None:
    written = []

    def slow(path: Path, rows: Any) -> dict[str, Any]:
        time.sleep(0.1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        written.append(path)
        return {"bytes": 0, "digest": ""}

    async def of_zarr() -> None:
        await asyncio.to_thread(slow, tmp_path / ".corpus.zarr.partial/input/c.9", None)
        raise OSError("never heard")

    monkeypatch.setattr("speechscope.store.writer.write_chunk", slow)
    record = new_record("corpus", config={}, seed=0, device="cpu")
    with (
        pytest.raises(KeyboardInterrupt),
        create_artifact(tmp_path / "corpus.zarr", "A test", record, force=False) as writer,
    ):
        stream = writer.stream("input", (1_000_000,), np.float32, ("item", "sample"))
        if left == "chunks":
            stream.append(np.zeros((4, 1_000_000), dtype=np.float32))
        else:
            # What is left of a call that an interrupt ended: a task of Zarr's own thread.
            loop = zarr.core.sync.loop[0]
            assert loop is not None
            loop.call_soon_threadsafe(loop.create_task, of_zarr())
        raise KeyboardInterrupt
    before = len(written)
    assert not list(tmp_path.iterdir())
    time.sleep(0.25)
    assert not list(tmp_path.iterdir()) and len(written) == before > 0
    gc.collect()
    assert capfd.readouterr().err == ""


def test_items_are_read_in_any_order_and_repeated(original: Path) -> None:
    items = np.array([699, 0, 311, 310, 309, 0, 5, 620])
    found = Artifact(original).read_items("input", items)
    np.testing.assert_array_equal(found, expected()[items])


def test_xarray_opens_it_without_a_warning(original: Path) -> None:
    import xarray

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = xarray.open_zarr(original)
        assert dataset["input"].dims == ("item", "channel", "frequency", "time")
        assert dataset["frequency"].attrs["units"] == "Hz"
        assert dataset.attrs["Conventions"] == "CF-1.11"
        np.testing.assert_array_equal(dataset["input"][5].values, expected()[5])


def test_metadata_is_consolidated_as_zarr_does_it(copy: Path) -> None:
    def consolidated() -> Any:
        return json.loads((copy / "zarr.json").read_text())["consolidated_metadata"]

    ours = consolidated()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(copy)
    assert ours == consolidated() and set(ours["metadata"]) == {"input", "label", "frequency"}


@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (3, 900_000), (2, 5, 300_000)])
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_what_was_put_is_read_back_and_all_chunks_lie_in_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], dtype: str
) -> None:
    monkeypatch.setattr(artifact_writer, "read_back", None)  # it is described as it is written
    values = (np.random.default_rng(0).normal(size=shape) * 9).astype(dtype)
    record = new_record("corpus", config={}, seed=0, device="cpu")
    path = tmp_path / "x.zarr"
    with create_artifact(path, "t", record, force=False) as writer:
        writer.put("values", values, [f"axis_{n}" for n in range(len(shape))])
    made = Artifact(path)
    made.verify()
    np.testing.assert_array_equal(made.read("values"), values)
    grid = [
        range(-(-n // step)) for n, step in zip(shape, made.array("values").chunks, strict=True)
    ]
    names = {".".join(["c", *map(str, corner)]) for corner in itertools.product(*grid)}
    assert {file.name for file in (path / "values").iterdir()} == {"zarr.json", *names}


def test_a_missing_chunk_is_found_on_opening(copy: Path) -> None:
    chunks(copy, "input")[1].unlink()
    with pytest.raises(ArtifactError, match=r"input: 2 of 3 chunks"):
        Artifact(copy)


def test_a_truncated_chunk_is_found_on_opening(copy: Path) -> None:
    chunk = chunks(copy, "input")[1]
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="bytes where"):
        Artifact(copy)


def test_a_flipped_bit_is_found_when_read_and_named_by_verify(copy: Path) -> None:
    chunk = chunks(copy, "input")[1]
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    artifact = Artifact(copy)
    with pytest.raises(ArtifactError, match="a chunk is damaged"):
        artifact.read("input")
    np.testing.assert_array_equal(artifact.read("input", slice(0, 10)), expected()[:10])
    with pytest.raises(ArtifactError, match=str(chunk)):
        artifact.verify()


def test_every_byte_of_every_metadata_file_counts(copy: Path) -> None:
    for path in [copy / "zarr.json", copy / "input" / "zarr.json"]:
        whole = path.read_bytes()
        for position in range(0, len(whole), max(1, len(whole) // 60)):
            data = bytearray(whole)
            data[position] ^= 1
            path.write_bytes(data)
            try:
                changed = json.loads(data) != json.loads(whole)
            except ValueError:
                changed = True
            if changed:  # a space turned into another white space changes nothing
                with pytest.raises(ArtifactError):
                    Artifact(copy)
        path.write_bytes(whole)
    Artifact(copy).verify()


def test_another_kind_a_missing_one_and_a_foreign_one_are_refused(
    copy: Path, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match="is a corpus; a inversion is needed"):
        Artifact(copy, "inversion")
    with pytest.raises(ArtifactError, match="does not exist"):
        Artifact(tmp_path / "nothing.zarr")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match="not a speechscope artifact"):
        Artifact(tmp_path / "empty")


def test_a_format_from_the_future_is_refused_by_name(copy: Path) -> None:
    root = json.loads((copy / "zarr.json").read_text())
    root["attributes"]["speechscope"]["format_version"] = 99
    (copy / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(ArtifactError, match="format version 99"):
        Artifact(copy)


def test_an_array_never_filled_is_not_finished(tmp_path: Path) -> None:
    record = new_record("corpus", config={}, seed=0, device="cpu")
    with (
        pytest.raises(ArtifactError, match="0 of 1 chunks"),
        create_artifact(tmp_path / "x.zarr", "t", record, force=False) as writer,
    ):
        writer.create("input", (4,), np.float32, ("item",))
    assert list(tmp_path.iterdir()) == []


def test_an_array_with_a_chunk_too_few_is_not_finished(tmp_path: Path) -> None:
    record = new_record("corpus", config={}, seed=0, device="cpu")
    with (
        pytest.raises(ArtifactError, match="input: 1 of 2 chunks were written"),
        create_artifact(tmp_path / "x.zarr", "t", record, force=False) as writer,
    ):
        writer.create("input", (4,), np.float32, ("item",), chunks=(2,))
        written = write_chunk(writer.folder / "input" / "c.1", np.zeros(2, np.float32))
        writer.written["input"]["c.1"] = written
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("shape", "itemsize", "chunks"),
    [
        ((34222, 1, 201, 16), 4, (310, 1, 201, 16)),  # 12,864 bytes an item
        ((2, 5, 96, 1, 201, 16), 4, (1, 3, 96, 1, 201, 16)),  # 1.2 MB a layer
        ((10,), 8, (10,)),
        ((0, 3), 4, (1, 3)),
    ],
)
def test_chunks_hold_whole_trailing_dimensions(
    shape: tuple[int, ...], itemsize: int, chunks: tuple[int, ...]
) -> None:
    assert chunk_shape(shape, itemsize) == chunks
    assert np.prod(chunks) * itemsize <= CHUNK_BYTES
