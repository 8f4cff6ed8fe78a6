"""Every registered score, worked out anew from its artifact: its value, its pairing, its chance."""

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import adjusted_mutual_info_score, balanced_accuracy_score

from speechscope.corpus.store import Corpus
from speechscope.features.distances import max_cross_correlation, partners
from speechscope.networks.saved import load_model
from speechscope.registry import SCORES
from speechscope.relevance.explain import explained, relevance_by
from speechscope.scores import clusters
from speechscope.scores.navai import burst, strength, width
from speechscope.scores.relevance import area, randomised, removal_curves
from speechscope.scores.statistics import ABOVE, AT, Row, scored
from speechscope.settings import of_record
from speechscope.stages.relevance import Relevance
from speechscope.stages.score import Score
from speechscope.store import checkpoint
from speechscope.store.artifact import Artifact
from speechscope.store.checkpoint import Checkpoint
from speechscope.store.record import new_record

GOLDEN = Path(__file__).parents[1] / "golden" / "format-5.tar.xz"
DOCUMENTED = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
ELSEWHERE = {"corpus": "test_corpus", "listener": "test_listener", "model:layers": "test_layers"}
"""Scores that other files of this folder do this for."""


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registered")
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(folder, filter="data")
    return folder


def rows(path: Path, *names: str) -> dict[tuple[Any, ...], Row]:
    kind = path.stem if path.suffix == ".zarr" else str(Checkpoint(path).kind)
    found = scored(kind, path, Score(artifacts=(path,)))
    # Fields of likeness are names of layers.
    fields = {name for row in found if "cka" not in str(row.get("measure")) for name in row}
    assert not {name for name in fields if f"`{name}`" not in DOCUMENTED}
    return {tuple(row.get(name) for name in names): row for row in found if "verdict" in row}


def same(row: Row, value: float, chance: float) -> None:
    assert row["value"] == pytest.approx(value, rel=1e-5, abs=1e-7)
    assert row["chance"] == pytest.approx(chance, rel=1e-5, abs=1e-7)


def test_every_score_is_worked_out_anew() -> None:
    here = {name.removeprefix("test_the_").split("_")[0] for name in globals() if "_the_" in name}
    assert {*here, *ELSEWHERE} == set(SCORES.names())
    assert all((Path(__file__).parent / f"{name}.py").exists() for name in ELSEWHERE.values())


def test_the_model_is_right_as_often_as_counted(golden: Path) -> None:
    model, corpus = load_model(golden / "model.pt"), Corpus(golden / "corpus.zarr")
    items = corpus.items("test")
    with torch.no_grad():
        answers = model.network(torch.from_numpy(corpus.centred(items))).argmax(1).numpy()
    labels, fold = corpus.labels[items], model.fold
    found = rows(golden / "model.pt", "measure", "classes")
    for classes, table in ((48, np.arange(48)), (39, fold)):
        true, said = table[labels], table[answers]
        # Every answer given to every item: what shuffled pairs get on average.
        chance = np.mean(true[:, None] == said[None])
        same(found["accuracy", classes], float(np.mean(true == said)), float(chance))
        every = [balanced_accuracy_score(true, np.full(len(true), one)) for one in said]
        balanced = balanced_accuracy_score(true, said)
        same(found["class-balanced accuracy", classes], balanced, float(np.mean(every)))


def test_the_decoder_is_held_against_silence(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    silence = torch.from_numpy(rng.normal(8, 1, 60))
    record = new_record("decoder", config={}, seed=0, device="cpu", parents=[])
    for test, verdict in ((silence - 1, ABOVE), (silence + 0.01, AT)):
        row = {"layer": 9, "test": float(test.mean()), "items": {"test": test, "silence": silence}}
        checkpoint.write(tmp_path / "decoder.pt", record, {"scores": [row]})
        (found,) = rows(tmp_path / "decoder.pt", "measure").values()
        assert found["verdict"] == verdict
        same(found, float(test.mean()), float(silence.mean()))


def test_the_inverse_is_held_against_its_example_and_the_mean(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    error, example, mean = (torch.from_numpy(rng.normal(m, 1, 60)) for m in (5, 8, 7))
    row = {"layer": 9, "error": error, "example": example, "mean": mean}
    row["speaker"] = torch.arange(60) % 10
    record = new_record("inverse", config={}, seed=0, device="cpu", parents=[])
    for scores, verdict in (([row], ABOVE), ([{**row, "error": mean + 0.01}], AT)):
        checkpoint.write(tmp_path / "inverse.pt", record, {"scores": scores})
        (found,) = rows(tmp_path / "inverse.pt", "layer").values()
        assert found["verdict"] == verdict
        same(found, float(torch.as_tensor(scores[0]["error"]).mean()), float(mean.mean()))


def test_the_inversion_is_held_against_lost_pairs(golden: Path) -> None:
    artifact = Artifact(golden / "inversion.zarr", "inversion")
    found = rows(golden / "inversion.zarr", "method", "layer", "measure")
    original, restored = artifact.read("original"), artifact.read("reconstruction")
    waves, heard = artifact.read("waveform_original"), artifact.read("waveform")
    pairs = partners(len(original))
    for m, method in enumerate(artifact.flags("technique")):
        for at, layer in enumerate(artifact.read("layer_number").tolist()):

            def apart(second: np.ndarray) -> float:
                return float(np.linalg.norm((original - second).reshape(4, -1), axis=1).mean())

            own = restored[m, at]
            others = float(np.mean([apart(own[pair]) for pair in pairs]))
            same(found[method, layer, "Euclidean distance"], apart(own), others)
            row = found[method, layer, "waveform (mxcorr)"]
            nulls = {
                "another item's reconstruction": [heard[m, at][pair] for pair in pairs],
                "another item": [waves[pair] for pair in pairs],
                "the average": [np.broadcast_to(artifact.read("waveform_average"), waves.shape)],
            }
            means = {
                name: np.mean([max_cross_correlation(waves, other) for other in of])
                for name, of in nulls.items()
            }
            assert row["value"] == pytest.approx(max_cross_correlation(waves, heard[m, at]).mean())
            assert float(row["chance"]) >= max(means.values()) - 1e-6  # type: ignore[arg-type]
            if row["null"] in means:
                assert row["chance"] == pytest.approx(means[str(row["null"])])
            same(
                found[method, layer, "mismatch"],
                float(artifact.read("mismatch")[m, at].mean()),
                float(artifact.read("mismatch_other")[m, at].mean()),
            )


def agreeing(first: torch.Tensor, second: torch.Tensor) -> float:
    pairs = zip(first.flatten(1), second.flatten(1), strict=True)
    return float(np.mean([spearmanr(a, b).statistic for a, b in pairs]))


def test_the_relevance_is_held_against_random_weights(golden: Path) -> None:
    artifact = Artifact(golden / "relevance.zarr", "relevance")
    model, corpus = load_model(golden / "model.pt"), Corpus(golden / "corpus.zarr")
    x = torch.from_numpy(corpus.centred(artifact.read("item_index")))
    target = torch.from_numpy(artifact.read("target").astype(np.int64))
    settings = of_record(Relevance, "relevance", artifact.record["config"])
    found = rows(golden / "relevance.zarr", "method", "measure")
    untrained = explained(randomised(model.network, 0), x[:1], None)
    pairs = partners(len(x))
    for own, method in zip(artifact.read("relevance"), artifact.flags("technique"), strict=True):
        mine = torch.from_numpy(own).view_as(x)
        random = relevance_by(method, untrained, x, target, settings, [0] * len(x))
        curves = [
            [float(area(c).mean()) for c in removal_curves(model.network, x, target, r, steps=20)]
            for r in (mine, random)
        ]
        for n, measure in enumerate(("deletion", "insertion")):
            same(found[method, measure], curves[0][n], curves[1][n])
        others = [agreeing(mine, random[torch.from_numpy(pair)]) for pair in pairs]
        row = found[method, "agreement with random weights"]
        same(row, agreeing(mine, random), float(np.mean(others)))


def test_the_navai_is_held_against_shuffled_classes(golden: Path) -> None:
    artifact = Artifact(golden / "navai.zarr", "navai")
    time = artifact.read("time")
    step = float(time[1] - time[0])
    found = rows(golden / "navai.zarr", "alignment", "measure")
    patterns, shuffled = artifact.read("pattern"), artifact.read("pattern_shuffled")
    for a, alignment in enumerate(artifact.flags("alignment")):
        pairs = list(zip(patterns[a], shuffled[a], strict=True))
        narrow = [[width(one, step) for one in pair] for pair in pairs]
        same(found[alignment, "width [ms]"], *np.mean(narrow, axis=0))
        strong = [strength(*pair) for pair in pairs]
        same(found[alignment, "strength"], float(np.mean(strong)), 1.0)
        plosive = [n for n, name in enumerate(artifact.flags("class")) if name in "bdgptk"]
        if (alignment, "burst of plosives") in found:
            rises = [[burst(one, step) for one in pairs[n]] for n in plosive]
            same(found[alignment, "burst of plosives"], *np.mean(rises, axis=0))


def test_the_clusters_are_held_against_the_classes_of_others(
    golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CHANCES", "HALVES"):
        monkeypatch.setattr(clusters, name, 20)
    artifact = Artifact(golden / "clusters.zarr", "clusters")
    found = rows(golden / "clusters.zarr", "layer", "reduction", "algorithm", "measure")
    labels, rng = artifact.read("label"), np.random.default_rng(5)
    axes = [artifact.flags(name) for name in ("layer", "reduction", "algorithm")]
    grouped = artifact.read("cluster")
    for way in np.ndindex(grouped.shape[:3]):
        names = [of[n] for of, n in zip(axes, way, strict=True)]
        for measure, value in (
            ("f_measure", float(artifact.read("f_measure")[way])),
            ("ami", adjusted_mutual_info_score(labels, grouped[way])),
        ):
            row = found[(*names, measure)]
            assert row["value"] == pytest.approx(value, abs=1e-5)
        orders = [rng.permutation(labels) for _ in range(30)]
        drawn = [adjusted_mutual_info_score(order, grouped[way]) for order in orders]
        assert row["chance"] == pytest.approx(np.mean(drawn), abs=0.15)
        assert row["null"] == "the classes of other samples"
