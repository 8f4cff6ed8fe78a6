"""`score model.pt --layers`: what layers know by themselves, from the command line."""

import json
from pathlib import Path

import corpora
import numpy as np
import pytest
import torch

from speechscope.cli import run
from speechscope.clustering.geometry import abx, angles
from speechscope.clustering.measures import alignment, inner_products, probe
from speechscope.clustering.reduction import principal_components
from speechscope.clustering.samples import Samples, activations, classes_of, phones
from speechscope.corpus.phones import features_of
from speechscope.networks.subject import subject_of
from speechscope.scores import layers
from speechscope.scores.layers import Layer
from speechscope.scores.statistics import rows_of
from speechscope.store.artifact import Artifact


class Made(Layer):
    """A layer whose points are given."""

    points: np.ndarray = None  # type: ignore[assignment]


PLACED = ("b", "d", "p", "t", "m", "n", "iy", "ih", "eh", "ey", "s", "z")


def made(points: np.ndarray, labels: np.ndarray, speakers: np.ndarray) -> Layer:
    count = len(labels)
    samples = Samples(np.arange(count), np.arange(count + 1), labels)

    class Corpus:
        classes = PLACED
        artifact = ()

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


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole recordings with their words and the times of their phones."""
    folder = tmp_path_factory.mktemp("spoken")
    corpora.spoken(folder / "timit")
    return folder


def stretches(folder: Path, name: str) -> list[tuple[int, int, str]]:
    """The phones of a recording as its file has them."""
    lines = next(folder.rglob(f"{name}.PHN")).read_text().splitlines()
    return [(int(a), int(b), phone) for a, b, phone in map(str.split, lines)]


def test_a_letter_network_holds_phones_in_the_frames_where_they_sound(
    spoken: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(spoken)
    assert run(["prepare", "timit", "--recipe", "krug2018", "-o", "said.zarr", "-q"]) == 0
    train = ["train", "said.zarr", "--recipe", "krug2018", "--width", "0.02", "--epochs", "1"]
    assert run([*train, "--batch", "2", "-o", "said.pt", "-q"]) == 0
    subject = subject_of(Path("said.pt"), None, None, None, torch.device("cpu"))
    corpus = subject.corpus
    samples = phones(corpus, "test", "mean")
    names = classes_of(corpus)
    found = activations(subject, samples, "relu2")
    network = corpus.network  # type: ignore[attr-defined]
    row = 0
    for item in np.flatnonzero(corpus.splits == 2):
        x = corpus.utterance_inputs(np.array([item]))[0] - corpus.mean
        held = network.activation(torch.from_numpy(x)[None], "relu2")[0]
        sound = corpus.names("utterance")[corpus.artifact.read("utterance")[item]]
        share = held.shape[2] / (x.shape[2] * 160)
        for start, stop, phone in stretches(spoken, sound.split("/")[-1]):
            first, last = int(start * share), int(np.ceil(stop * share))
            assert names[samples.labels[row]] == phone
            torch.testing.assert_close(found[row], held[..., first:last].mean(2))
            row += 1
    assert row == len(samples)
    capsys.readouterr()
    monkeypatch.setattr(layers, "DRAWS", 10)
    monkeypatch.setattr(layers, "HALVES", 10)
    assert run(["score", "said.pt", "--layers", "input,relu2,conv12", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["layer"] for row in rows} == {"input", "relu2", "conv12"}
    assert {"ABX of phones across speakers", "CKA with input"} <= {row["measure"] for row in rows}
    rows = "".join(f"{path},see the moon\n" for path in (spoken / "timit").rglob("*.WAV"))
    (spoken / "unmarked").mkdir()
    (spoken / "unmarked" / "manifest.csv").write_text(f"audio,text\n{rows}")
    some = ["unmarked", "--recipe", "krug2018", "--split", "share:0.3", "-o", "unmarked.zarr", "-q"]
    assert run(["prepare", *some]) == 0
    assert run(["train", "unmarked.zarr", *train[2:], "--batch", "2", "-o", "un.pt", "-q"]) == 0
    assert run(["score", "un.pt", "--layers", "relu2"]) == 2
    assert "no times of phones" in capsys.readouterr().err


ANYONES = """
from torch import nn

class Frames(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.r, self.l = nn.Conv1d(1, 4, 400, 200), nn.LSTM(4, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.l(self.r(self.c(x).permute(2, 0, 1))[0]).permute(1, 0, 2)
"""


def test_anyones_network_holds_phones_where_they_sound(
    spoken: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(spoken)
    corpora.timit(spoken / "marked", speakers=2, sentences=2)
    whole = ["prepare", "marked", "--unit", "utterance", "--features", "waveform"]
    assert run([*whole, "--max-length", "none", "-o", "whole.zarr", "-q"]) == 0
    Path("someones.py").write_text(ANYONES)
    model = ["--model", "someones:Frames", "--layers", "c,l"]
    monkeypatch.setattr(layers, "DRAWS", 10)
    monkeypatch.setattr(layers, "HALVES", 10)
    capsys.readouterr()
    assert run(["score", "whole.zarr", *model, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["artifact"] for row in rows} == {"someones:Frames (random weights)"}
    assert {row["layer"] for row in rows} == {"c", "l"}
    torch.manual_seed(0)
    cpu = torch.device("cpu")
    subject = subject_of(None, "someones:Frames", None, Path("whole.zarr"), cpu)
    samples = phones(subject.corpus, "test", "mean")
    for layer, axis in (("c", 2), ("r", 1)):  # time stands where the module has it
        found = activations(subject, samples, layer)
        for row in (0, 3, len(samples) - 1):
            x = subject.inputs(samples.items[row : row + 1])
            held = subject.network.activation(x, layer).movedim(axis, 0)
            middles = 199.5 + 200 * np.arange(len(held))
            start, stop = samples.within[row]  # type: ignore[index]
            wanted = held[(start <= middles) & (middles < stop)].mean(0)
            torch.testing.assert_close(found[row].flatten(), wanted.flatten())
    told = ["--model", "someones:Frames", "--corpus", "whole.zarr", "--mode", "profile", "-q"]
    some = ["--split", "test", "--by", "phone", "--layer", "c,r", "-o", "profile.zarr"]
    torch.manual_seed(0)
    assert run(["navai", *told, *some]) == 0
    assert run(["navai", *told, "-o", "no.zarr"]) == 2  # answers to recordings of many lengths
    profiles, names = Artifact(Path("profile.zarr")), classes_of(subject.corpus)
    points = activations(subject, samples, "r").flatten(1).numpy()
    there = [n for n in np.unique(samples.labels) if names[n] not in ("h#", "sil")]
    means = {names[n]: points[samples.labels == n].mean(0) for n in there}
    every = np.stack([means[name] for name in profiles.flags("class")])
    over = np.mean(list(means.values()), 0)
    np.testing.assert_allclose(profiles.read("profile_r").reshape(len(every), -1), every - over,
                               atol=1e-5)  # fmt: skip
    assert run(["score", "profile.zarr"]) == 0
    assert run(["score", "whole.zarr", "--layers", "c"]) == 2
    assert run(["score", "whole.zarr", "--model", "someones:Frames"]) == 2


def test_abx_is_that_of_fastabx() -> None:
    """The figures are those of fastabx 0.9.0 for these points, on and across, angular."""
    rng = np.random.default_rng(3)
    phone, who = np.repeat(np.arange(5), 12), np.tile(np.repeat(np.arange(4), 3), 5)
    points = rng.normal(size=(60, 8)) + 0.7 * rng.normal(size=(5, 8))[phone]
    points += 0.5 * rng.normal(size=(4, 8))[who]
    distance = angles(points.astype(np.float32))
    assert 1 - abx(distance, phone, who).mean() == pytest.approx(0.29567901, abs=1e-7)
    assert 1 - abx(distance, who, phone).mean() == pytest.approx(0.41682099, abs=1e-7)


def test_layers_are_alike_or_not() -> None:
    rng = np.random.default_rng(0)
    first, noise = rng.normal(size=(2, 192, 30)).astype(np.float32)
    for second, verdict in ((first + 0.3 * noise, "above chance"), (noise, "at chance")):
        other = made(second.astype(np.float32), LABELS, WHO)
        rows = list(rows_of(layers._likeness(made(first, LABELS, WHO), [("it", other)])))
        assert [row["measure"] for row in rows] == ["CKA with it", "RSA with it", "CCA with it"]
        assert {row["verdict"] for row in rows} <= {verdict, "too few items to tell"}
        assert verdict != "above chance" or "too few items to tell" not in str(rows)
