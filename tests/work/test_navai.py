"""``navai`` by one process, by several, by Dask workers and in shards: the same arrays."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import corpora
import growing
import numpy as np
import pytest
from answers import evened

from speechscope import cli
from speechscope.navai.examples import Examples, LetterExamples
from speechscope.store.artifact import Artifact

FORMS = {
    "segments": ["model.pt", "--exclude", "sil", "--by", "speaker", "--least", "1"],
    "relevance": ["relevance.zarr", "--normalizer", "classes"],
    "letters": ["letters.pt", "--recipe", "krug2018", "--by", "before", "--least", "1"],
    "profile": ["model.pt", "--mode", "profile", "--layer", "conv1,fc2", "--adjust"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of segments, one of letters, and what comes of each alone."""
    folder = tmp_path_factory.mktemp("navai-growth")
    corpora.spoken(folder / "timit")
    little = ["--epochs", "1", "--per-class", "3", "--lr", "1e-6"]
    run(folder, "prepare", "timit", "--max-length", "none")
    run(folder, "train", *little, "-o", "even.pt")
    evened(folder / "even.pt", folder / "model.pt")
    run(folder, "relevance", "--method", "gradient,lrp", "--rule", "krug", "--all")
    letters = ["--recipe", "krug2018"]
    run(folder, "prepare", "timit", *letters, "-o", "letters.zarr")
    train = ["--width", "0.02", "--batch", "2", "--epochs", "1", "-o", "drawn.pt"]
    run(folder, "train", "letters.zarr", *letters, *train)
    evened(folder / "drawn.pt", folder / "letters.pt")
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch)
        for name, told in FORMS.items():
            run(folder, "navai", *told, "-o", f"{name}-alone.zarr")
    return folder


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    small_blocks(monkeypatch)
    monkeypatch.chdir(Path.cwd())
    yield


def small_blocks(patch: pytest.MonkeyPatch) -> None:
    """Cut the few items into many blocks, of two a span."""

    patch.setattr(Examples, "block", 5)
    patch.setattr(LetterExamples, "block", 1)
    patch.setattr("speechscope.navai.averages.SPANS", 4)


def run(folder: Path, *arguments: str, code: int = 0) -> None:
    assert cli.run(["-C", str(folder), *arguments, "-q"]) == code


def same(made: Path, name: str, other: Path) -> None:
    """Compare arrays, chunks and metadata, all by their digests."""
    alone = Artifact(made / f"{name}-alone.zarr")
    found = Artifact(other)
    assert found.contents == alone.contents
    found.verify()
    assert not list(other.rglob(".*"))


def test_several_letters_and_several_classes_are_averaged(made: Path) -> None:
    for name in ("segments", "letters"):
        found = Artifact(made / f"{name}-alone.zarr")
        assert len(found.flags("class")) > 2 and found.array("part_class").shape[0] > 3
        assert len(np.unique(found.read("item_index"))) > 1


@pytest.mark.parametrize("name", ["letters", "profile"])
def test_two_workers_give_the_arrays_of_one(name: str, made: Path, tmp_path: Path) -> None:
    run(made, "navai", *FORMS[name], "--workers", "2", "-o", str(tmp_path / "two.zarr"))
    same(made, name, tmp_path / "two.zarr")


def test_dask_workers_give_the_arrays_of_one(made: Path, tmp_path: Path) -> None:
    with growing.local_cluster() as address:
        for name, told in FORMS.items():
            path = tmp_path / f"{name}.zarr"
            at = ["--scheduler", address, "-o", str(path)]
            run(made, "navai", *told, *at)
            same(made, name, path)


@pytest.mark.parametrize("name", FORMS)
def test_shards_merged_are_the_whole(
    name: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / f"part-{number}-of-3.zarr" for number in (1, 2, 3)]
    for number, path in enumerate(paths, start=1):
        run(made, "navai", *FORMS[name], "--shard", f"{number}/3", "-o", str(path))
    run(tmp_path, "merge", *(str(path) for path in reversed(paths)))
    same(made, name, tmp_path / "part.zarr")
    alone = Artifact(made / f"{name}-alone.zarr")
    merged = Artifact(tmp_path / "part.zarr")
    assert merged.record["config"] == alone.record["config"]
    assert merged.kind == alone.kind == "navai"
    if name != "segments":
        return
    some = [str(path) for path in paths]
    capsys.readouterr()
    assert cli.run(["score", some[0]]) == 2
    assert "is a navai-shard; score takes" in capsys.readouterr().err
    run(tmp_path, "merge", *some[:2], "-f", code=2)
    assert "missing: 3" in capsys.readouterr().err
    shutil.rmtree(paths[1])
    told = [*FORMS[name], "--shard", "2/3", "-o", some[1]]
    run(made, "navai", *told, "--items", "0:10", code=2)  # one chunk too few
    run(made, "navai", *told, "--least", "2")
    run(tmp_path, "merge", *some, "-f", code=3)
    assert "least 2, not 1" in capsys.readouterr().err
    run(made, "navai", *told, "-f")
    chunk = next(paths[1].glob("sum_*_class/c.*"))
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    run(tmp_path, "merge", *some, "-f", code=3)
    assert "not those that were written" in capsys.readouterr().err
    same(made, name, tmp_path / "part.zarr")  # the old one is as it was


def test_a_shard_has_no_sound(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(made, "navai", "--shard", "1/2", "--wav", "heard", code=2)
    assert "a shard holds sums" in capsys.readouterr().err


def test_what_others_found_has_to_be_here(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("speechscope.work.tasks.LARGE", 0)
    monkeypatch.setattr("speechscope.work.tasks.np.load", lost)
    told = ["--workers", "2", "-o", "lost.zarr"]
    run(made, "navai", *FORMS["segments"], *told, code=1)
    assert not (made / "lost.zarr").exists()
