"""Artifacts of earlier releases are read: one of each kind and format (``tests/golden``)."""

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from speechscope import cli, stages
from speechscope.errors import ArtifactError
from speechscope.networks.saved import load_model
from speechscope.store import record
from speechscope.store.artifact import Artifact
from speechscope.store.checkpoint import Checkpoint

GOLDEN = Path(__file__).parents[1] / "golden"
KINDS = {
    "corpus.zarr": "corpus",
    "letters.zarr": "corpus",
    "model.pt": "model",
    "letters.pt": "model",
    "decoder.pt": "decoder",
    "inversion.zarr": "inversion",
    "relevance.zarr": "relevance",
    "maximum.zarr": "maximum",
    "navai.zarr": "navai",
    "clusters.zarr": "clusters",
    "corpus-1-of-2.zarr": "corpus",
    "relevance-2-of-2.zarr": "relevance",
    "navai-2-of-2.zarr": "navai-shard",
}
LARGEST = 1_000_000


@pytest.fixture(scope="module", params=sorted(GOLDEN.glob("*.tar.xz")), ids=lambda p: p.name)
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the artifacts of a format."""
    assert request.param.stat().st_size < LARGEST
    folder = tmp_path_factory.mktemp("golden")
    with tarfile.open(request.param) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_every_format_that_is_read_has_its_artifacts() -> None:
    formats = {int(path.name.split(".")[0].split("-")[1]) for path in GOLDEN.glob("*.tar.xz")}
    assert formats == set(range(record.OLDEST, record.FORMAT_VERSION + 1))


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_read(golden: Path, name: str) -> None:
    checked: Any = stages.run("check", {"artifacts": [golden / name], "deep": True})
    assert checked.kinds == [(golden / name, KINDS[name])]
    facts = stages.run("info", {"artifact": golden / name}).shown("json")
    assert '"format version": ' in facts
    if name.endswith(".zarr"):
        artifact = Artifact(golden / name, KINDS[name])
        assert len(list(artifact)) > 3
        for array in artifact:
            values = artifact.read(array)
            assert len(artifact.dims(array)) == values.ndim


def test_all_formats_have_the_names_of_this_one(golden: Path) -> None:
    found = Artifact(golden / "inversion.zarr")
    assert found.dims("reconstruction")[:3] == ("technique", "layer", "item")
    assert found.read("technique").tolist() == ["bp", "decode"] == list(found.flags("technique"))
    assert found.read("layer").tolist() == ["conv1", "pool1"] and found.dims("layer") == ("layer",)
    assert found.read("layer_number").tolist() == [1, 3]
    assert found.dims("layer_number") == ("layer",)
    assert "technique" in found and "method" not in found and "method" not in list(found)
    assert not set(found.attributes("technique")) & {"flag_values", "flag_meanings"}
    assert "flag_meanings" in found.attributes("label")  # a label of items stays an integer
    explained = Artifact(golden / "relevance.zarr")
    assert explained.read("technique", 1) == "lrp"
    assert explained.dims("relevance")[:2] == ("technique", "item")
    clusters = Artifact(golden / "clusters.zarr")
    assert clusters.read("layer").tolist() == ["input", "pool1"]
    assert clusters.read("reduction").tolist() == ["none", "pca"] and "layer_number" not in clusters
    averages = Artifact(golden / "navai.zarr")
    assert averages.read("alignment").tolist() == ["none", "min-sensitivity"]
    assert averages.read("class").tolist() == list(averages.flags("class"))
    for name in found:
        assert found.contents[name]["chunks"] >= 1


def test_a_model_gives_the_scores_that_it_gave(golden: Path) -> None:
    model = load_model(golden / "model.pt")
    inputs = torch.from_numpy(Artifact(golden / "corpus.zarr").read("input", slice(0, 6)))
    with torch.no_grad():
        outputs = model.network(inputs - model.mean).numpy()
    np.testing.assert_allclose(outputs, np.load(golden / "outputs.npy"), atol=1e-5)


@pytest.mark.parametrize("kind", ["corpus", "relevance", "navai"])
def test_shards_are_merged(golden: Path, tmp_path: Path, kind: str) -> None:
    shards = [golden / f"{kind}-{number}-of-2.zarr" for number in (2, 1)]
    stages.run("merge", {"shards": shards, "output": tmp_path / "whole.zarr"})
    whole = Artifact(tmp_path / "whole.zarr", kind)
    if kind == "corpus":
        before = Artifact(golden / "corpus.zarr")
        assert whole.flags("channel") == before.flags("channel") == ("real",)
        for name in before:
            # Names along an axis were integers with attributes.
            apart = before.record["format_version"] == 4 and name == "channel"
            assert apart or whole.contents[name] == before.contents[name], name


NEXT: dict[str, dict[str, Any]] = {
    "train": {"corpus": "corpus.zarr", "network": "freq", "epochs": 1, "per_class": 2},
    "decode-train": {"model": "model.pt", "layer": ["1"], "epochs": 1, "per_class": 2},
    "invert": {"source": "decoder.pt", "layer": ["1"], "method": ["decode"], "items": ["0:4"]},
    "relevance": {"checkpoint": "model.pt", "method": ["gradient"], "items": ["0:4"]},
    "cluster": {"checkpoint": "model.pt", "layer": ["conv1"], "per_class": 2, "correct": False},
    "navai": {"checkpoint": "model.pt", "align": ["none"], "least": 1},
}


@pytest.mark.parametrize("stage", NEXT)
def test_stages_go_on_from_them(golden: Path, tmp_path: Path, stage: str) -> None:
    shutil.copytree(golden, tmp_path / "work")
    given = {
        name: tmp_path / "work" / value
        if name in ("corpus", "model", "source", "checkpoint")
        else value
        for name, value in NEXT[stage].items()
    }
    suffix = "pt" if "train" in stage else "zarr"
    written: Any = stages.run(stage, {**given, "output": tmp_path / f"out.{suffix}"})
    stages.run("check", {"artifacts": [written.path], "deep": True})
    if stage == "invert":
        before, after = Artifact(golden / "inversion.zarr"), Artifact(written.path)
        place = before.flags("technique").index("decode")
        np.testing.assert_allclose(
            after.read("reconstruction")[0, 0], before.read("reconstruction")[place, 0], atol=1e-5
        )


def test_they_are_scored_and_reported(golden: Path, tmp_path: Path) -> None:
    for name in KINDS:
        if "-of-" not in name and name != "letters.zarr" and "maximum" not in name:
            assert stages.run("score", {"artifacts": [golden / name]}).shown("json")
    names = [golden / name for name in KINDS if "-of-" not in name]
    stages.run("report", {"artifacts": names, "output": tmp_path / "report.html", "examples": 1})
    assert (tmp_path / "report.html").stat().st_size > 10_000


def test_what_is_newer_or_too_old_is_refused_by_name(
    golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = Artifact(golden / "corpus.zarr").record["format_version"]
    newest = record.FORMAT_VERSION
    for low, high, hint in (
        (version + 1, newest + 1, f"reads {version + 1}.*use the release that wrote it"),
        (1, version - 1, f"reads 1 to {version - 1}; install a newer one"),
    ):
        monkeypatch.setattr(record, "OLDEST", low)
        monkeypatch.setattr(record, "FORMAT_VERSION", high)
        for name in ("corpus.zarr", "model.pt"):
            with pytest.raises(ArtifactError, match=f"has format version {version}; .*{hint}"):
                (Artifact if name.endswith(".zarr") else Checkpoint)(golden / name)


def test_an_older_format_is_brought_up_version_by_version(
    golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = record.FORMAT_VERSION
    version = Artifact(golden / "corpus.zarr").record["format_version"]

    def renamed(content: dict[str, Any]) -> dict[str, Any]:
        config = dict(content["speechscope"]["config"])
        config["paper"] = config.pop("recipe")
        return {**content, "speechscope": {**content["speechscope"], "config": config}}

    def added(content: dict[str, Any]) -> dict[str, Any]:
        config = {**content["speechscope"]["config"]}
        config["after"] = config["paper"]  # that the one before has made
        return {**content, "speechscope": {**content["speechscope"], "config": config}, "new": 1}

    monkeypatch.setattr(record, "FORMAT_VERSION", newest + 3)
    monkeypatch.setattr(record, "UPGRADES", {newest: renamed, newest + 2: added})
    for name in ("corpus.zarr", "model.pt"):
        opened = (Artifact if name.endswith(".zarr") else Checkpoint)(golden / name)
        assert opened.record["config"]["after"] == "churchman2015"
        assert opened.record["format_version"] == version  # as it was written
    assert Checkpoint(golden / "model.pt").values["new"] == 1


def test_check_says_what_is_whole_before_what_is_not(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = str(golden / "decoder.pt"), tmp_path / "bad.pt"
    bad.write_bytes(b"no checkpoint")
    assert cli.run(["check", good, str(bad), good]) == 3
    out, err = capsys.readouterr()
    assert out == f"{good}: decoder, complete\n" and str(bad) in err
    assert cli.run(["check", "-q", good]) == 0 and capsys.readouterr().out == ""
    assert cli.run(["check", "--json", "--deep", good, str(bad)]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out) == [{"path": good, "kind": "decoder", "deep": True, "ok": True}]
    assert json.loads(err)["error"]["code"] == 3
