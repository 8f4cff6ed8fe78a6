"""`cluster` from the command line, on segments, frames, waveforms and networks of others."""

import csv
import json
from pathlib import Path

import corpora
import numpy as np
import oracles
import pytest
import torch
import xarray

from speechscope.cli import run
from speechscope.clustering.samples import activations, choose, phones
from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.networks.saved import load_model
from speechscope.networks.subject import subject_of
from speechscope.stages.cluster import Cluster
from speechscope.store.artifact import Artifact

FOREIGN = """
import torch
from torch import nn


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, (5, 3), stride=(4, 2))
        self.relu = nn.ReLU()
        self.out = nn.LazyLinear(48)

    def forward(self, x):
        return self.out(self.relu(self.conv(x)).flatten(1))


def make():
    torch.manual_seed(0)
    network = Tiny()
    network(torch.zeros(1, 1, 201, 16))
    return network
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of segments and, in `frames`, one of frames."""
    folder = tmp_path_factory.mktemp("clusters")
    corpora.timit(folder / "timit", speakers=2, sentences=2)
    (folder / "frames").mkdir()
    little = ["--epochs", "1", "--per-class", "3", "-q"]
    assert run(["-C", str(folder), "prepare", "timit", "-q"]) == 0
    assert run(["-C", str(folder), "train", *little]) == 0
    prepare = ["prepare", "../timit", "--recipe", "pellegrini2016", "--phone-set", "timit-48"]
    inside = ["-C", str(folder / "frames")]
    assert run([*inside, *prepare, "-q"]) == 0
    assert run([*inside, "train", "--recipe", "pellegrini2016", *little]) == 0
    (folder / "mine.py").write_text(FOREIGN)
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


FEW = ["--layer", "0,3,fc1", "--reduce", "none,pca", "--any", "--split", "train", "-fq"]


def test_the_arrays_are_those_of_the_contract(here: Path) -> None:
    assert run(["cluster", *FEW, "--clusters", "3", "--seed", "4"]) == 0
    found = xarray.open_zarr("clusters.zarr")
    assert found.attrs["speechscope"]["parents"][0]["kind"] == "model"
    assert found.layer.values.tolist() == ["input", "pool1", "fc1"]
    assert found.reduction.values.tolist() == ["none", "pca"]
    assert found.algorithm.values.tolist() == ["kmeans", "spectral"]
    cell = ("layer", "reduction", "algorithm")
    assert found.cluster.dims == (*cell, "item")
    assert found.criterion.dims == (*cell, "k")
    assert found.composition.dims == (*cell, "cluster_number", "class")
    assert found.projection.dims == ("layer", "item", "component")
    assert found.activation_map.dims == ("layer", "map", "class", "map_frequency", "map_time")
    assert (found.n_clusters == 3).all() and found.k.values.tolist() == [3]
    assert (found.composition.sum(("cluster_number", "class")) == found.sizes["item"]).all()
    assert found.cka.values.diagonal() == pytest.approx([1, 1, 1], abs=1e-5)

    # Scores, means and projections are those of the network's activations.
    model, corpus = load_model(here / "model.pt"), Corpus(here / "corpus.zarr")
    labels = found.label.values
    for place in np.ndindex(3, 2, 2):
        clusters = found.cluster.values[place]
        wanted = oracles.clusters_as_phones(clusters, labels)
        got = float(found.precision.values[place]), float(found.recall.values[place])
        assert got == pytest.approx(wanted, abs=1e-6)
        for n, label in np.ndindex(3, len(corpus.classes)):
            both = ((clusters == n) & (labels == label)).sum()
            assert found.composition.values[(*place, n, label)] == both
    inputs = torch.from_numpy(corpus.centred(found.item_index.values))
    held = model.network.activation(inputs, "pool1").detach().numpy()
    maps, height, time = found.map_shape.values[1]
    assert (maps, height, time) == held.shape[1:]
    silence = corpus.classes.index("sil")
    mean = found.activation_map.values[1, :maps, silence, :height, :time]
    np.testing.assert_allclose(mean, held[labels == silence].mean(0), atol=1e-5)
    assert np.isnan(found.activation_map.values[1, maps:]).all()
    assert np.isnan(found.activation_map.values[2]).all()
    held = model.network.activation(inputs, "fc1").detach().numpy()
    mean = found.unit_activation.values[2, :, silence]
    np.testing.assert_allclose(mean, held[labels == silence].mean(0), atol=1e-4)
    assert np.isnan(found.unit_activation.values[:2]).all()
    held = model.network.activation(inputs, "pool1").detach().numpy()
    distances = np.linalg.norm(found.projection.values[1, 0] - found.projection.values[1], axis=1)
    flat = held.reshape(len(held), -1)
    assert (distances <= np.linalg.norm(flat - flat[0], axis=1) + 1e-3).all()


def test_the_same_seed_gives_the_same_arrays_for_any_number_of_workers(here: Path) -> None:
    some = [*FEW, "--reduce", "pca,tsne", "--clusters", "auto", "--most", "4"]
    assert run(["cluster", *some, "-o", "one.zarr"]) == 0
    assert run(["cluster", *some, "-o", "two.zarr", "--workers", "2"]) == 0
    one, two = Artifact(here / "one.zarr"), Artifact(here / "two.zarr")
    assert one.contents.keys() == two.contents.keys()
    for name in one.contents:
        np.testing.assert_array_equal(one.read(name), two.read(name), err_msg=name)
    criterion, number = one.read("criterion"), one.read("n_clusters")
    assert criterion.shape[-1] == 3 and np.isfinite(criterion).all()
    assert np.array_equal(criterion.argmin(-1) + 2, number)


def test_frames_stand_for_phones(here: Path) -> None:
    corpus = Corpus(here / "frames" / "corpus.zarr")
    third, mean = phones(corpus, "train", "third"), phones(corpus, "train", "mean")
    starts = mean.edges[:-1][np.diff(mean.edges) > 2]
    assert third.items.tolist() == mean.items[starts + 2].tolist()
    labels, utterances = corpus.labels, corpus.artifact.read("utterance")
    for low, high in zip(mean.edges[:-1], mean.edges[1:], strict=True):
        items = mean.items[low:high]
        assert len({(labels[i], utterances[i]) for i in items}) == 1
    # Of the eight labels of each recording, q is dropped.
    assert len(mean) == 7 * len(np.unique(utterances[mean.items]))
    subject = subject_of(here / "frames" / "model.pt", None, None, None, torch.device("cpu"))
    part = mean.take(np.arange(3))
    found = activations(subject, part, "pool1")
    for row, (low, high) in enumerate(zip(part.edges[:-1], part.edges[1:], strict=True)):
        whole = subject.network.activation(subject.inputs(part.items[low:high]), "pool1")
        np.testing.assert_allclose(found[row], whole.mean(0), atol=1e-5)


def test_samples_are_answered_correctly(here: Path) -> None:
    subject = subject_of(here / "model.pt", None, None, None, torch.device("cpu"))
    corpus = subject.corpus
    items = corpus.items("train")
    answers = subject.network(subject.inputs(items)).argmax(1).numpy()
    right = {label for label in np.unique(answers) if (corpus.labels[items] == label).any()}
    settings = Cluster(split="train", per_class=2)
    if len(right) < 2:
        with pytest.raises(UsageProblem, match="clustering needs two"):
            choose(subject, settings)
    else:
        found = choose(subject, settings)
        assert (
            subject.network(subject.inputs(found.first)).argmax(1).numpy() == found.labels
        ).all()
    found = choose(subject, Cluster(split="train", per_class=2, correct=False))
    assert (np.bincount(found.labels) <= 2).all()
    assert set(found.labels) == set(corpus.labels[items])


def test_frames_and_other_networks_can_be_clustered(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = ["--any", "--split", "train", "--reduce", "pca", "--per-class", "6", "-fq", "--json"]
    told = ["--frame", "mean", "--layer", "pool2"]
    assert run(["-C", "frames", "cluster", *told, *some]) == 0
    assert json.loads(capsys.readouterr().out)["layers"] == 1
    of_frames = Artifact(here / "frames" / "clusters.zarr")
    assert of_frames.record["config"]["recipe"] == "pellegrini2016"  # that of the model
    assert run(["-C", str(here), "cluster", "--model", "mine:make", *some]) == 0
    found = Artifact(here / "clusters.zarr", "clusters")
    assert found.flags("layer") == ("input", "conv", "relu", "out")
    assert found.record["config"]["model"] == "mine:make"
    assert json.loads(capsys.readouterr().out)["kind"] == "clusters"


def test_layers_of_two_networks_are_compared(here: Path) -> None:
    assert run(["train", "--epochs", "1", "--per-class", "2", "--seed", "3", "-q", "-f",
                "-o", "other.pt"]) == 0  # fmt: skip
    assert run(["cluster", *FEW, "--no-probes", "--against", "other.pt"]) == 0
    found = Artifact(here / "clusters.zarr", "clusters")
    against = found.read("cka_against")
    assert against[0, 0] == pytest.approx(1, abs=1e-4)  # the input is the same
    assert against.shape == (3, 1 + len(found.flags("against_layer")) - 1)
    assert "probe" not in found
    assert [p["kind"] for p in found.record["parents"]] == ["model", "model"]


def test_the_scores_are_tables(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cluster", *FEW, "--algorithm", "kmeans"]) == 0
    capsys.readouterr()
    assert run(["score", "clusters.zarr", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    found = Artifact(here / "clusters.zarr", "clusters")
    table = [row for row in rows if row.get("measure") == "f_measure"]
    assert [row["value"] for row in table] == pytest.approx(found.read("f_measure").ravel())
    assert all(row["verdict"] and row["chance"] <= 1 for row in table)
    agreement = [row["value"] for row in rows if row.get("measure") == "ami"]
    assert agreement == pytest.approx(found.read("mutual_information").ravel(), abs=1e-6)
    pure = [row for row in rows if row.get("measure") == "purity in manner"]
    stored = found.read("purity")[..., found.flags("feature").index("manner"), 0].ravel()
    assert [row["value"] for row in pure] == pytest.approx(stored)
    assert {row["probe"] for row in rows if "probe" in row} >= {"manner", "voicing"}
    assert sum(row.get("measure") == "cka" for row in rows) == 3
    assert run(["score", "clusters.zarr", "--csv"]) == 0
    table = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    likeness = [row for row in table if row["measure"] == "cka"]
    assert len(likeness) == 9 and {row["against"] for row in likeness} == set(found.flags("layer"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--layer", "conv9"], 2, "--layer conv9: expected 0 to"),
        (["--reduce", "umap"], 2, "--reduce umap: choose from none, pca, tsne"),
        (["--algorithm", "magic"], 2, "--algorithm magic: choose from kmeans"),
        (["--clusters", "many"], 2, "--clusters many: give a whole number or auto or classes"),
        (["--clusters", "1"], 2, "expected from 2"),
        (["--frame", "last"], 2, "--frame last: choose from third, middle, mean"),
        (["--split", "dev"], 2, "has no dev items"),
        (["--layer", "0", "--against", "none.pt"], 1, "none.pt does not exist"),
        (["absent.pt"], 1, "absent.pt does not exist"),
        (["corpus.zarr"], 3, "corpus.zarr"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    more = [] if "--split" in arguments else ["--split", "train"]
    assert run(["cluster", "--any", *more, *arguments, "-o", "wrong.zarr", "-q"]) == code
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not (here / "wrong.zarr").exists()


def test_an_existing_output_is_kept(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "there.zarr").mkdir(exist_ok=True)
    assert run(["cluster", *FEW[:-1], "-q", "-o", "there.zarr"]) == 2
    assert "there.zarr" in capsys.readouterr().err
