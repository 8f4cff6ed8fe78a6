"""The recipe of a stage is that of what it reads, unless another is named."""

from pathlib import Path

import corpora
import pytest

from speechscope import stages
from speechscope.store.lineage import record_at

SMALL = {"epochs": 1, "per_class": 4, "batch": 16}


@pytest.fixture
def frames(workdir: Path) -> Path:
    corpora.timit(workdir / "timit", speakers=3, sentences=2)
    given = {"folder": "timit", "recipe": "pellegrini2016", "phone_set": "timit-48", "dev": 0.0}
    stages.run("prepare", given)
    return workdir


def test_a_chain_follows_the_recipe_of_its_corpus(frames: Path) -> None:
    stages.run("train", SMALL)
    config = record_at(Path("model.pt"))["config"]
    assert (config["recipe"], config["network"]) == ("pellegrini2016", "logmel")
    assert config["optimizer"] == "sgd" and config["sampling"] == "plain"
    stages.run("cluster", {"layer": "pool1", "reduce": "none", "correct": False, "probes": False})
    assert record_at(Path("clusters.zarr"))["config"]["recipe"] == "pellegrini2016"


def test_another_recipe_may_be_named(frames: Path) -> None:
    stages.run("train", {**SMALL, "recipe": "churchman2015", "network": "logmel"})
    config = record_at(Path("model.pt"))["config"]
    assert (config["recipe"], config["optimizer"]) == ("churchman2015", "adagrad")
    stages.run("navai", {"align": "none"})
    assert record_at(Path("navai.zarr"))["config"]["recipe"] == "churchman2015"


@pytest.mark.parametrize("stage", ["invert", "relevance", "maximize", "navai", "cluster"])
def test_another_network_takes_the_recipe_of_the_corpus_it_is_looked_into_with(
    frames: Path, stage: str
) -> None:
    theirs = {"model": "package.module:factory"}
    assert stages.choose(stage, theirs).recipe == "pellegrini2016"
    Path("corpus.zarr").rename("moved.zarr")
    assert stages.choose(stage, {**theirs, "corpus": "moved.zarr"}).recipe == "pellegrini2016"
