"""The names along axes: written as Zarr has strings, read without believing what a file claims."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from numcodecs.vlen import VLenUTF8
from numcodecs.zstd import compress, decompress
from trust import forgery

from speechscope.errors import ArtifactError
from speechscope.store.artifact import Artifact
from speechscope.store.names import LARGEST, decoded, encoded
from speechscope.store.record import new_record
from speechscope.store.writer import create_artifact

NAMES = ["bp", "decode+bp", "ɔ̃", "", "a b"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    record = new_record("inversion", config={}, seed=0, device="cpu")
    with create_artifact(tmp_path / "a.zarr", "Test", record, force=False) as writer:
        writer.name_axis("technique", NAMES, {"long_name": "how"})
        values = np.arange(10.0).reshape(5, 2)
        writer.put("objective", values, ("technique", "item"), {"units": "1"})
    return tmp_path / "a.zarr"


def test_names_are_encoded_as_zarr_does() -> None:
    theirs = VLenUTF8().encode(np.array(NAMES, dtype=object))
    assert (
        bytes(decompress(encoded(NAMES))) == bytes(theirs) and decoded(encoded(NAMES), 5) == NAMES
    )


def test_names_are_read_by_zarr_and_by_us(path: Path) -> None:
    array: Any = zarr.open_group(path, mode="r")["technique"]
    assert array[:].tolist() == NAMES
    found = Artifact(path)
    assert found.flags("technique") == tuple(NAMES)
    assert found.read("technique").tolist() == NAMES and found.read("technique", 1) == "decode+bp"
    assert found.read("technique", slice(1, 3)).tolist() == NAMES[1:3]
    assert found.attributes("technique") == {"long_name": "how"}
    found.verify()


@pytest.mark.parametrize("consolidated", [True, False])
def test_xarray_selects_by_name(path: Path, consolidated: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = xarray.open_zarr(path, consolidated=consolidated)
    assert opened.objective.sel(technique="decode+bp").values.tolist() == [2, 3]
    with pytest.raises(KeyError, match="technique"):
        opened.sel(technique="lrp")


CLAIMS = {
    "many": (1 << 30).to_bytes(4, "little") + b"\2\0\0\0bp",
    "a long one": b"\1\0\0\0" + (1 << 30).to_bytes(4, "little") + b"bp",
    "fewer": b"\1\0\0\0\1\0\0\0a\1\0\0\0b",
    "a torn one": b"\1\0\0\0\1\0",
    "no text": b"\1\0\0\0\1\0\0\0\xff",
    "nothing": b"",
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_what_a_chunk_claims_is_not_believed(path: Path, claim: str) -> None:
    (path / "technique" / "c.0").write_bytes(compress(CLAIMS[claim], 1, True))
    forgery.reseal_root(path, "technique")
    for read in (lambda a: a.flags("technique"), lambda a: a.read("technique"), Artifact.verify):
        with pytest.raises(ArtifactError, match="technique"):
            read(Artifact(path))


def test_names_that_unfold_to_too_much_are_not_unfolded() -> None:
    with pytest.raises(ValueError, match="does not unfold"):
        decoded(forgery.frame_of(LARGEST + 1), 1)


@pytest.mark.parametrize(
    "told",
    [
        {"shape": [1 << 40], "chunk_grid": None},
        {"codecs": [{"name": "vlen-utf8"}]},
        {"codecs": [{"name": "pickle"}, {"name": "zstd"}]},
        {"shape": [4]},
        {"data_type": "fixed_length_utf32"},
    ],
    ids=str,
)
def test_forged_metadata_of_names_is_refused(path: Path, told: dict[str, Any]) -> None:
    if "chunk_grid" in told:
        grid = {"name": "regular", "configuration": {"chunk_shape": told["shape"]}}
        told = {**told, "chunk_grid": grid}
    forgery.reseal(path, "technique", **told)
    with pytest.raises(ArtifactError, match="technique"):
        Artifact(path).read("technique")


def test_as_many_names_as_the_axis_is_long(path: Path) -> None:
    (path / "technique" / "c.0").write_bytes(encoded(NAMES[:3]))
    forgery.reseal_root(path, "technique")
    with pytest.raises(ArtifactError, match="technique"):
        Artifact(path).flags("technique")
