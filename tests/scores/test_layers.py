"""`score model.pt --layers`: what layers know by themselves, from the command line."""

import json
from pathlib import Path

import corpora
import numpy as np
import pytest

from speechscope.cli import run
from speechscope.clustering.measures import alignment, inner_products, probe
from speechscope.clustering.reduction import principal_components
from speechscope.clustering.samples import Samples
from speechscope.corpus.phones import features_of
from speechscope.scores import layers
from speechscope.scores.layers import Layer
from speechscope.scores.statistics import rows_of


class Made(Layer):
    """A layer whose points are given."""

    points: np.ndarray = None  # type: ignore[assignment]


PLACED = ("b", "d", "p", "t", "m", "n", "iy", "ih", "eh", "ey", "s", "z")


def made(points: np.ndarray, labels: np.ndarray, speakers: np.ndarray) -> Layer:
    count = len(labels)
    samples = Samples(np.arange(count), np.arange(count + 1), labels)

    class Corpus:
        classes = PLACED

    class Subject:
        corpus = Corpus

    layer = Layer(Subject, samples, "made")  # type: ignore[arg-type]
    layer.__dict__.update(points=points, speakers=speakers)
    return layer


LABELS = np.repeat(np.arange(12), 16)
WHO = np.tile(np.arange(8), 24)


def verdicts(points: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(layers, "DRAWS", 40)
    monkeypatch.setattr(layers, "HALVES", 20)
    rows = rows_of(made(points.astype(np.float32), LABELS, WHO).scores())
    return {str(row["measure"]): str(row["verdict"]) for row in rows}


def test_a_layer_of_noise_knows_nothing_and_one_of_voicing_that_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(192, 40))
    nothing = verdicts(noise, monkeypatch)
    assert {"probe of voicing", "probe of manner", "voicing is one step"} <= set(nothing)
    assert "above chance" not in nothing.values()
    voiced = np.array([value == "voiced" for value in features_of(PLACED)["voicing"]])
    knows = verdicts(noise + 3.0 * voiced[LABELS][:, None], monkeypatch)
    above = {measure for measure, verdict in knows.items() if verdict == "above chance"}
    assert {"probe of voicing", "ABX of phones across speakers", "voicing is one step"} <= above
    assert not {"ABX of speakers across phones", "probe of place", "place is one step"} & above


def test_a_probe_is_scored_by_its_mean_recall() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(192, 30)).astype(np.float32)
    points += rng.normal(size=(12, 30))[LABELS].astype(np.float32)
    scores = {score.names["measure"]: score for score in made(points, LABELS, WHO)._probes()}
    values = np.array(features_of(PLACED)["voicing"])[LABELS]
    components = principal_components(points)[:, : layers.PROBED]
    mean = scores["probe of voicing"].mean
    assert mean == pytest.approx(probe(components, values, WHO))


def test_the_likeness_of_some_items_is_that_of_their_points() -> None:
    first, second = np.random.default_rng(0).normal(1, 1, (2, 40, 6))
    second += first
    rows = np.arange(0, 40, 3)
    products = [inner_products(part)[np.ix_(rows, rows)] for part in (first, second)]
    wanted = alignment(*(inner_products(part[rows]) for part in (first, second)))
    assert alignment(*products) == pytest.approx(wanted)


def test_layers_of_a_model_are_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    corpora.timit(tmp_path / "timit", speakers=3, sentences=3)
    assert run(["prepare", "timit", "-q"]) == 0
    little = ["--epochs", "1", "--per-class", "3", "-q"]
    assert run(["train", *little]) == 0
    assert run(["train", *little, "--seed", "1", "-o", "one.pt"]) == 0
    capsys.readouterr()
    wanted = ["--layers", "input,pool1,12", "--json"]
    assert run(["score", "model.pt", "one.pt", *wanted]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["layer"] for row in rows} == {"input", "pool1", "fc2"}
    assert {"ABX of phones across speakers", "CKA with input"} <= {row["measure"] for row in rows}
    assert not any("accuracy" in row["measure"] for row in rows)
    between = {
        row["layer"]: row["value"]
        for row in rows
        if row["measure"] == "RSA with that of model.pt" and row["artifact"] == "one.pt"
    }
    # The input of two networks is the same, what they make of it is not.
    assert between["input"] == pytest.approx(1) and between["fc2"] < 0.99
    assert run(["score", "model.pt", "--layers", "pool9"]) == 2
    assert "pool9" in capsys.readouterr().err
    assert run(["score", "corpus.zarr", "--layers", "all"]) == 2
