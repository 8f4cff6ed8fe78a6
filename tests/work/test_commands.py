"""``--workers``, ``--scheduler`` and ``--shard`` of the commands, and ``merge``."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import corpora
import growing
import pytest

from speechscope import cli
from speechscope.store.artifact import Artifact

COMMANDS = {
    "invert": ["invert", "model.pt", "--layer", "1,9", "--method", "bp", "--steps", "3", "--all"],
    "relevance": ["relevance", "model.pt", "--method", "gradient,lrp", "--all"],
    "prepare": ["prepare", "timit", "--max-length", "95%"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, and what each command makes of it alone."""
    folder = tmp_path_factory.mktemp("growth")
    corpora.timit(folder / "timit")
    run(folder, "prepare", "timit")
    run(folder, "train", "--epochs", "1", "--per-class", "6", "--network", "freq-overlap-padded")
    with pytest.MonkeyPatch.context() as patch:
        small_chunks(patch)
        for name, arguments in COMMANDS.items():
            run(folder, *arguments, "-o", f"{name}-alone.zarr")
    return folder


@pytest.fixture(autouse=True)
def chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    small_chunks(monkeypatch)


def small_chunks(patch: pytest.MonkeyPatch) -> None:
    """Make several chunks of a few items: the test speaker has twenty."""
    patch.setattr("speechscope.inversion.writing.BLOCK", 6)
    patch.setattr("speechscope.relevance.store.MOST", 6)
    patch.setattr("speechscope.corpus.prepare.BATCH", 3)


def run(folder: Path, *arguments: str, code: int = 0) -> None:
    assert cli.run(["-C", str(folder), *arguments, "-q"]) == code


@pytest.fixture(autouse=True)
def back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(Path.cwd())  # -C leaves, and this returns
    yield


def same(folder: Path, name: str, other: str) -> None:
    """Compare arrays, chunks and metadata, all by their digests."""
    alone, made = Artifact(folder / f"{name}-alone.zarr"), Artifact(folder / other)
    assert made.contents == alone.contents
    made.verify()


@pytest.mark.parametrize("name", COMMANDS)
def test_two_workers_give_the_arrays_of_one(name: str, made: Path, tmp_path: Path) -> None:
    run(made, *COMMANDS[name], "--workers", "2", "-o", str(tmp_path / "two.zarr"))
    same(made, name, str(tmp_path / "two.zarr"))


def test_dask_workers_give_the_arrays_of_one(made: Path, tmp_path: Path) -> None:
    with growing.local_cluster() as address:
        for name, arguments in COMMANDS.items():
            path = str(tmp_path / f"{name}.zarr")
            run(made, *arguments, "--scheduler", address, "-o", path)
            same(made, name, path)


@pytest.mark.parametrize("name", ["invert", "relevance"])
def test_three_shards_merged_are_the_whole(
    name: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / f"part-{number}-of-3.zarr" for number in (1, 2, 3)]
    for number, path in enumerate(paths, start=1):
        run(made, *COMMANDS[name], "--shard", f"{number}/3", "-o", str(path))
    lengths = [Artifact(path).array("label").shape[0] for path in paths]
    whole = Artifact(made / f"{name}-alone.zarr")
    assert sum(lengths) == whole.array("label").shape[0] and max(lengths) <= 12
    capsys.readouterr()
    run(tmp_path, "merge", *(str(path) for path in reversed(paths)), "--json")
    assert json.loads(capsys.readouterr().out)["items"] == sum(lengths)
    same(made, name, str(tmp_path / "part.zarr"))
    merged = Artifact(tmp_path / "part.zarr")
    assert merged.record["config"] == whole.record["config"]
    assert merged.record["parents"][0]["digest"] == whole.record["parents"][0]["digest"]
    parent = merged.record["parents"][0]["path"]
    assert (tmp_path / parent).resolve() == (made / "model.pt").resolve()

    some = [str(path) for path in paths]
    run(tmp_path, "merge", *some, code=2)  # part.zarr is there
    run(tmp_path, "merge", *some[:2], "-f", code=2)
    assert "missing: 3" in capsys.readouterr().err
    run(tmp_path, "merge", *some, some[0], "-f", code=2)
    run(tmp_path, "merge", str(made / f"{name}-alone.zarr"), "-o", "x.zarr", code=2)
    assert "is not a shard" in capsys.readouterr().err
    shutil.rmtree(paths[1])
    run(made, *COMMANDS[name], "--shard", "2/3", "--seed", "1", "-o", some[1])
    run(tmp_path, "merge", *some, "-f", code=3)
    assert "--seed 1, not 0" in capsys.readouterr().err
    run(made, *COMMANDS[name], "--shard", "2/3", "-f", "-o", some[1])
    chunk = next((paths[1] / merged_array(name)).glob("c.*"))
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    run(tmp_path, "merge", *some, "-f", code=3)
    assert "a chunk is damaged" in capsys.readouterr().err
    same(made, name, str(tmp_path / "part.zarr"))  # the old one is as it was


def merged_array(name: str) -> str:
    return {"invert": "reconstruction", "relevance": "relevance"}[name]


def test_a_shard_has_a_name_of_its_own(made: Path) -> None:
    run(made, *COMMANDS["relevance"], "--shard", "1/2")
    assert Artifact(made / "relevance-1-of-2.zarr").record["config"]["shard"]["stop"] == 12


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "1/2/3", "a/b", "1/999"])
def test_a_shard_that_is_none_is_refused(shard: str, made: Path) -> None:
    run(made, *COMMANDS["relevance"], "--shard", shard, "-o", "none.zarr", code=2)
    assert not (made / "none.zarr").exists()


def test_a_merged_artifact_needs_a_name(made: Path) -> None:
    run(made, "merge", "relevance-alone.zarr", code=2)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_cannot_be_asked_for_is_one_line(
    name: str, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ["--workers", "2", "--scheduler", "h:1"]
    run(made, *COMMANDS[name], *both, "-o", "none.zarr", code=2)
    assert "exclude each other" in capsys.readouterr().err
    run(made, *COMMANDS[name], "--scheduler", "none.json", "-o", "none.zarr", code=1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "no such scheduler file" in lines[0]
    assert not (made / "none.zarr").exists()


CORPORA = {
    "segments": [],
    "percentile": ["--max-length", "95%", "--split", "share:test=0.3,dev=0.2"],
    "frames": ["--recipe", "pellegrini2016", "--bins", "8"],
    "windows": ["--recipe", "muckenhirn2019", "--labels", "phone"],
    "letters": ["--recipe", "krug2018", "--bins", "16", "--max-length", "none"],
}


@pytest.mark.parametrize("name", CORPORA)
def test_shards_of_a_corpus_merged_are_the_whole(
    name: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made / "timit", tmp_path / "timit")
    for number, path in enumerate(sorted((tmp_path / "timit").rglob("*.PHN"))):
        path.with_suffix(".TXT").write_text(f"0 12800 {('a cat', 'no', 'so it is')[number % 3]}\n")
    command = ["prepare", "timit", "--skip-bad", *CORPORA[name]]
    run(tmp_path, *command, "-o", "whole.zarr")
    paths = [f"corpus-{number}-of-4.zarr" for number in (1, 2, 3, 4)]
    for number in (3, 1, 4, 2):
        run(tmp_path, *command, "--shard", f"{number}/4")
    capsys.readouterr()
    run(tmp_path, "merge", *paths, "--json")
    whole, merged = Artifact(tmp_path / "whole.zarr"), Artifact(tmp_path / "corpus.zarr")
    assert json.loads(capsys.readouterr().out)["items"] == whole.array("split").shape[0]
    assert merged.contents == whole.contents
    assert merged.record["config"] == whole.record["config"]
    merged.verify()
    parts = [Artifact(tmp_path / path).array("split").shape[0] for path in paths]
    assert sum(parts) == whole.array("split").shape[0] and min(parts) > 0


def test_shards_of_a_corpus_that_do_not_belong_together(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["prepare", str(made / "timit")]
    for number in (1, 2):
        run(tmp_path, *command, "--shard", f"{number}/2")
    run(tmp_path, *command, "--shard", "2/2", "--bins", "101", "-o", "other.zarr")
    run(tmp_path, *command, "--shard", "1/999", code=2)
    assert "give at most" in capsys.readouterr().err
    first, second = "corpus-1-of-2.zarr", "corpus-2-of-2.zarr"
    run(tmp_path, "merge", first, code=2)
    assert "missing: 2" in capsys.readouterr().err
    run(tmp_path, "merge", first, "other.zarr", code=3)
    assert "bins 101, not 201" in capsys.readouterr().err
    for array in ("input", "task_total"):
        chunk = next((tmp_path / second / array).glob("c.*"))
        data = bytearray(chunk.read_bytes())
        data[len(data) // 2] ^= 1
        chunk.write_bytes(data)
        run(tmp_path, "merge", first, second, code=3)
        assert "not those that were written" in capsys.readouterr().err
        data[len(data) // 2] ^= 1
        chunk.write_bytes(data)
    assert not (tmp_path / "corpus.zarr").exists()
    run(tmp_path, "merge", first, second)


def test_what_shards_of_a_corpus_left_out_is_what_one_run_does(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made / "timit", tmp_path / "timit")
    for number, path in enumerate(sorted((tmp_path / "timit").rglob("*.WAV"))):
        if number % 5 == 0:
            path.write_bytes(b"no recording")
        elif number % 5 == 1:
            path.with_suffix(".PHN").unlink()
    for listed in (1000, 3):
        monkeypatch.setattr("speechscope.corpus.arrays.LISTED", listed)
        run(tmp_path, "prepare", "timit", "-f", "-o", "whole.zarr", code=4)
        whole = capsys.readouterr().err.splitlines()[:-1]
        said: list[str] = []
        for number in (1, 2, 3):
            run(tmp_path, "prepare", "timit", "-f", "--shard", f"{number}/3", code=4)
            said += capsys.readouterr().err.splitlines()[:-1]
        if listed == 1000:
            assert said == whole and len(whole) > 5
        run(tmp_path, "merge", *(f"corpus-{n}-of-3.zarr" for n in (1, 2, 3)), "-f")
        one, other = (Artifact(tmp_path / name) for name in ("whole.zarr", "corpus.zarr"))
        assert one.contents == other.contents and ("skipped" in one) == (listed == 3)
        assert one.record["config"] == other.record["config"]
