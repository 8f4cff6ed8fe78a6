"""The chain from recordings to scores, through the commands, on a tiny corpus."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
import torch

from speechscope.cli import run
from speechscope.corpus.store import Corpus
from speechscope.features.distances import max_cross_correlation
from speechscope.features.stft import Stft
from speechscope.networks.saved import load_classifier
from speechscope.scores.tables import COLUMNS
from speechscope.store.artifact import Artifact
from speechscope.store.checkpoint import Checkpoint

TRAIN = ["train", "--epochs", "2", "--per-class", "20", "-q"]
DECODE = ["decode-train", "--layer", "1,9", "--epochs", "1", "--together", "1"]
DECODE += ["--per-class", "10", "-q"]
INVERT = ["invert", "--layer", "1,9", "--method", "bp,decode,decode+bp", "--steps", "5", "-q"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every stage has run."""
    folder = tmp_path_factory.mktemp("pipeline")
    corpora.timit(folder / "timit", speakers=3, sentences=3)
    for stage in (["prepare", "timit", "-q"], TRAIN, DECODE, INVERT):
        assert run(["-C", str(folder), *stage]) == 0
    return folder


@pytest.fixture
def work(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to work in."""
    folder = tmp_path / "work"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    return folder


def test_the_arrays_of_an_inversion(finished: Path) -> None:
    artifact = Artifact(finished / "inversion.zarr", "inversion")
    original = artifact.read("original")
    count = len(original)  # one item of each class in the test split
    assert [artifact.flags("label")[i] for i in artifact.read("label")] == [
        *("iy", "aa", "s", "t", "cl", "sil")
    ]
    assert artifact.flags("technique") == ("bp", "decode", "decode+bp")
    assert artifact.read("layer_number").tolist() == [1, 9]
    assert artifact.read("reconstruction").shape == (3, 2, count, 1, 201, 16)
    objective = artifact.read("objective")
    assert objective.shape == (3, 2, count, 6)
    # bp stores the start and five steps; decode one value; decode+bp the decoder's and five.
    assert np.isfinite(objective[[0, 2]]).all()
    assert np.isnan(objective[1, ..., 1:]).all() and np.isfinite(objective[1, ..., 0]).all()
    assert (artifact.read("steps") == np.array([5, 0, 5])[:, None, None]).all()
    stft = Stft(2554, 267, 122, 400, 16000)
    found = artifact.read("reconstruction")[2, 1, :, 0]
    np.testing.assert_allclose(artifact.read("waveform")[2, 1], stft.inverse(found), atol=1e-6)
    items = artifact.read("item_index")
    corpus = Artifact(finished / "corpus.zarr")
    np.testing.assert_allclose(original, corpus.read_items("input", items), atol=1e-6)


def test_xarray_opens_an_inversion(finished: Path) -> None:
    import xarray

    dataset = xarray.open_zarr(finished / "inversion.zarr")
    assert dataset["reconstruction"].dims[:3] == ("technique", "layer", "item")
    assert dataset["frequency"].attrs["units"] == "Hz"


def test_scores_of_every_kind(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished)
    assert run(["score", "model.pt", "inversion.zarr", "decoder.pt", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    accuracies = [row for row in rows if row["artifact"] == "model.pt"]
    assert [(r["measure"], r["classes"]) for r in accuracies] == [
        ("accuracy", 48),
        ("accuracy", 39),
        ("class-balanced accuracy", 48),
        ("class-balanced accuracy", 39),
    ]
    assert all(0 <= row["value"] <= 1 for row in accuracies)
    # Whoever reads a score is to know whether test items helped to choose the weights.
    best = Checkpoint(Path("model.pt")).values["best_epoch"]
    assert {(row["epoch"], row["chosen_on"]) for row in accuracies} == {(best, "dev")}
    inversions = [row for row in rows if row["artifact"] == "inversion.zarr"]
    waveforms = [row for row in inversions if row["measure"] == "waveform (mxcorr)"]
    assert [(r["method"], r["layer"]) for r in waveforms] == [
        (m, layer) for m in ("bp", "decode", "decode+bp") for layer in (1, 9)
    ]
    assert all(row["chance"] < 0.5 < row["ceiling"] for row in waveforms)
    measures = {row["measure"] for row in inversions}
    assert {"manner of the phone", "mismatch of the waveform", "log-mel distance [dB]"} <= measures
    decoders = [row for row in rows if row["artifact"] == "decoder.pt"]
    assert [row["layer"] for row in decoders] == [1, 9, 1, 9]
    for told, judged in zip(decoders[:2], decoders[2:], strict=True):
        # The same items, beside silence, with a verdict.
        assert judged["value"] == pytest.approx(told["test"], rel=1e-5)
        assert (judged["null"], judged["ceiling"]) == ("silence", 0)
        assert judged["chance"] == pytest.approx(told["silence"], rel=1e-5)
        above = judged["verdict"] == "above chance"
        assert above == (judged["p"] is not None and judged["p"] < 0.05)
        assert not above or told["test"] < told["silence"]
    assert run(["score", "inversion.zarr", "--csv"]) == 0
    table = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert list(table[0]) == list(COLUMNS) and len(table) == len(inversions)
    assert [(r["method"], r["measure"]) for r in table] == [
        (r["method"], r["measure"]) for r in inversions
    ]
    assert run(["score", "model.pt", "inversion.zarr"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("model.pt: ") and text.splitlines()[1].startswith("inversion.zarr: ")
    assert "class-balanced accuracy" in text and "decode+bp, layer 9" in text


def test_another_network_names_what_it_hears(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished)
    assert run(["score", "inversion.zarr", "--listener", "model.pt", "--json"]) == 0
    rows = {
        (row["method"], row["layer"], row["measure"]): row
        for row in json.loads(capsys.readouterr().out)
    }
    artifact, corpus = Artifact(finished / "inversion.zarr"), Corpus(finished / "corpus.zarr")
    model = load_classifier(finished / "model.pt")
    waves = artifact.read("waveform")[0, 0]
    x = torch.from_numpy(corpus.representation.segments(waves) - corpus.mean)
    with torch.no_grad():
        answers = model.fold[model.network(x).argmax(1).numpy()]
    truth = model.fold[artifact.read("label")]
    row = rows["bp", 1, "phone named by the listener"]
    assert row["value"] == pytest.approx(np.mean(answers == truth))
    assert row["value"] <= rows["bp", 1, "phone among the listener's first five"]["value"]
    assert run(["score", "inversion.zarr", "--listener", "corpus.zarr"]) == 3


def test_stages_are_joined_by_pipes(finished: Path, tmp_path: Path) -> None:
    program = f"{sys.executable} -m speechscope -C {tmp_path}"
    pipe = " | ".join(
        f"{program} {stage}"
        for stage in (
            f"prepare {finished / 'timit'} -q",
            "train - --epochs 1 --per-class 5 -q",
            "decode-train - --layer 9 --epochs 1 --together 0 --per-class 2 -q",
            "invert - --layer 9 --method decode+bp --steps 2 -q",
            "score - --csv",
        )
    )
    done = subprocess.run(pipe, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert {row["method"] for row in rows} == {"decode+bp"}
    assert done.stderr == ""


def test_the_same_seed_gives_the_same_arrays(work: Path) -> None:
    assert run([*INVERT, "-o", "again.zarr"]) == 0
    assert run([*INVERT, "--seed", "1", "-o", "other.zarr"]) == 0
    first, again, other = (Artifact(Path(f"{n}.zarr")) for n in ("inversion", "again", "other"))
    for name in first:
        np.testing.assert_array_equal(first.read(name), again.read(name))
    assert (first.read("item_index") != other.read("item_index")).any()


def test_a_resumed_training_equals_an_uninterrupted_one(work: Path) -> None:
    shorter = ["train", "--epochs", "1", "--per-class", "20", "-q", "-o", "short.pt"]
    assert run(shorter) == 0
    longer = ["train", "--epochs", "2", "--per-class", "20", "-q", "-o", "short.pt", "--resume"]
    assert run(longer) == 0
    once, twice = Checkpoint(Path("model.pt")).values, Checkpoint(Path("short.pt")).values
    for name, value in once["state"]["weights"].items():
        assert torch.equal(value, twice["state"]["weights"][name]), name
    assert len(twice["history"]) == 2


def test_an_interrupted_training_leaves_a_state_to_resume(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from speechscope.training.classifier import ClassifierTraining

    batches = ClassifierTraining.batches

    def interrupted(self: ClassifierTraining) -> Any:
        if self.made == 1:
            raise KeyboardInterrupt
        return batches(self)

    with monkeypatch.context() as patch:
        patch.setattr(ClassifierTraining, "batches", interrupted)
        assert run([*TRAIN, "-o", "new.pt"]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert not Path("new.pt").exists() and Path(".new.pt.resume").exists()
    assert run([*TRAIN, "-o", "new.pt", "--resume"]) == 0
    assert not Path(".new.pt.resume").exists()
    once, twice = Checkpoint(Path("model.pt")).values, Checkpoint(Path("new.pt")).values
    for name, value in once["state"]["weights"].items():
        assert torch.equal(value, twice["state"]["weights"][name]), name


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["train", "model.pt"], 3, "model.pt is not a speechscope artifact (no zarr.json)"),
        (["train", "nothing.zarr"], 1, "nothing.zarr does not exist"),
        (["train", "--augment", "pitch", "-f"], 2, "--augment pitch: choose none, all, or some"),
        (["train", "--augment", "gain=-1", "-f"], 2, "--augment gain=-1: choose none, all"),
        (["train", "--augment", "noise", "-f"], 2, "no amount of it helped; give one (noise=0.1)"),
        (["train", "--optimizer", "lbfgs", "-f"], 2, "--optimizer lbfgs: choose from adagrad"),
        (["train", "--network", "alexnet", "-f"], 2, "--network alexnet: choose from time, freq"),
        (["train", "--device", "tpu", "-f"], 2, "--device tpu: choose auto, cpu, cuda"),
        (
            ["train", "--resume", "--per-class", "20", "--lr", "0.5"],
            3,
            "was trained with lr 0.01, now 0.5",
        ),
        (["train"], 2, "model.pt exists already"),
        (["decode-train", "corpus.zarr", "-f"], 3, "corpus.zarr"),
        (["decode-train", "--layer", "99", "-f"], 2, "layer 99: expected 1 to 16"),
        (["invert", "model.pt", "-f"], 2, "model.pt is a model; --method decode+bp needs a deco"),
        (["invert", "--layer", "3", "-f"], 2, "has decoders for layers 1, 9, not 3"),
        (["invert", "--method", "magic", "-f"], 2, "method magic: choose from decode, align"),
        (["invert", "--layer", "1", "--items", "900:", "-f"], 2, "the test split has items 0 to"),
        (["invert", "--layer", "1", "--items", "0", "--all"], 2, "exclude each other"),
        (["invert", "--layer", "1", "--audio", "a", "--input", "b"], 2, "exclude each other"),
        (["invert", "--layer", "1", "--input", "birds", "-f"], 2, "--input birds: choose from"),
        (["invert", "--layer", "1", "--audio", "a.wav", "-f"], 1, "a.wav: a.wav cannot"),
        (["invert", "--optimizer", "newton", "-f"], 2, "--optimizer newton: choose from bold"),
        (["report", "inversion.zarr", "--figure", "pie"], 2, "--figure pie: choose from held, "),
        (["score", "model.pt", "--json", "--csv"], 2, "exclude each other"),
        (
            ["train", "-o", "x.pt", "--device", "cpu", "--compile"],
            2,
            "--compile is for CUDA devices",
        ),
        (["report", "-o", "picture.gif"], 2, "choose from html, png, pdf"),
        (["report", "inversion.zarr", "--items", "99", "-f"], 2, "has items 0 to 5, not 99"),
        (["check", "corpus.zarr", "model.pt", "nothing"], 1, "nothing does not exist"),
    ],
)
def test_errors_name_what_where_and_what_to_do(
    work: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, text: str
) -> None:
    before = {path: path.stat().st_mtime_ns for path in work.iterdir()}
    assert run(arguments) == code
    error = capsys.readouterr().err
    assert text in error
    assert error.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in work.iterdir()} == before


def test_a_corpus_that_changed_is_refused_by_all_that_came_from_it(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["prepare", "timit", "--bins", "211", "-f", "-q"]) == 0
    for stage in (DECODE, INVERT, ["score", "model.pt"]):
        assert run([*stage, *(["-f"] if stage[0] != "score" else [])]) == 3
        assert "is not the corpus model.pt was made from" in capsys.readouterr().err


def test_a_damaged_parent_is_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = work / "decoder.pt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    assert run([*INVERT, "-f"]) == 3
    assert "decoder.pt" in capsys.readouterr().err
    assert run(["check", "decoder.pt"]) == 3


def test_moved_parents_are_named(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "away").mkdir()
    for name in ("corpus.zarr", "model.pt"):
        (work / name).rename(work / "away" / name)
    assert run([*INVERT, "-f"]) == 1
    assert "name the model with --checkpoint PATH" in capsys.readouterr().err
    assert run([*INVERT, "-f", "--checkpoint", "away/model.pt"]) == 0


def test_waveforms_are_written_and_can_be_played(work: Path) -> None:
    import soundfile

    assert run([*INVERT, "-f", "--wav", "wavs"]) == 0
    files = sorted(path.name for path in (work / "wavs").glob("*.wav"))
    assert len(files) == 6 * (1 + 3 * 2)
    assert "0001_aa_layer09_decode+bp.wav" in files
    samples, rate = soundfile.read(work / "wavs" / "0001_aa_original.wav")
    assert rate == 16000 and len(samples) == 2554
    assert np.abs(samples).max() == pytest.approx(0.7, abs=1e-4)


def test_the_picture_of_an_inversion(work: Path) -> None:
    from matplotlib import image

    assert (
        run(["report", "inversion.zarr", "--items", "1,2", "--figure", "grid", "-o", "grid.png"])
        == 0
    )
    pixels = image.imread(work / "grid.png")
    assert pixels.shape[0] > 300 and pixels[..., :3].std() > 0.05


def test_a_second_writer_is_refused(work: Path) -> None:
    command = [sys.executable, "-m", "speechscope", *TRAIN, "-o", "x.pt", "--epochs", "900"]
    first = subprocess.Popen(command, env={**os.environ})
    while not (work / ".x.pt.partial").exists():
        assert first.poll() is None
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    first.terminate()
    assert first.wait() == 143
    assert second.returncode == 1
    assert "x.pt is being written by another process" in second.stderr


def test_every_method_average_and_input_runs(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import soundfile

    soundfile.write("two seconds.wav", corpora.recording(1.0, 5), 16000)
    short = ["invert", "--layer", "9", "-q", "-f", "--steps", "3", "--proposals", "120"]
    short += ["--align-items", "40", "--align-epochs", "1", "--optimizer", "lbfgs"]
    short += ["--regress-epochs", "1", "--regress-steps", "2"]
    everything = [*short, "--method", "anneal,align,anneal+bp,align+bp+anneal", "--average", "2"]
    sounds = [*short, "--on", "waveform", "--method", "bp,regress,decode+bp,regress+bp"]
    for options, where in (
        ([*short, "--method", "decode"], ["--audio", "two seconds.wav"]),
        ([*short, "--method", "decode", "--count", "4"], ["--input", "chirps"]),
        (sounds, ["--audio", "two seconds.wav"]),
        ([*sounds, "--average", "2"], ["--items", "0:3"]),
        (everything, ["--items", "0:3"]),
    ):
        assert run([*options, *where]) == 0
        capsys.readouterr()
        artifact = Artifact(Path("inversion.zarr"))
        assert np.isfinite(artifact.read("reconstruction")).all()
        assert np.isfinite(artifact.read("mismatch")).all()
        assert run(["score", "inversion.zarr", "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        kind = {"--items": "corpus", "--audio": "audio", "--input": "chirps"}[where[0]]
        assert {row["input"] for row in rows} == {kind}
        waveforms = [row for row in rows if row["measure"] == "waveform (mxcorr)"]
        assert {row["items"] for row in waveforms} == {{"corpus": 3, "audio": 7, "chirps": 4}[kind]}
        assert all(row["low"] <= row["value"] <= row["high"] for row in waveforms)
        assert {row["verdict"] for row in rows} <= {None, "too few items to tell"}
        # STOI is for recordings, whose segments follow each other.
        assert any(row["measure"].startswith("stoi") for row in rows) == (kind == "audio")
        assert kind != "chirps" or artifact.flags("label") == ("chirps",)
    # Annealing's history holds the best so far, once every hundred proposals.
    history = artifact.read("objective")[0, 0, :, :3]
    assert (np.diff(history, axis=1) <= 0).all()
    assert run(["report", "inversion.zarr", "--figure", "intensity", "-o", "bars.png", "-q"]) == 0
    assert Path("bars.png").stat().st_size > 1000


def test_another_corpus_is_reconstructed_with_the_first_ones_mean(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpora.timit(Path("other"), speakers=1, sentences=2)
    assert run(["prepare", "other", "-q", "-o", "other.zarr"]) == 0
    more = ["--method", "decode", "--layer", "1", "-f", "-q", "--items", "0:2"]
    assert run(["invert", *more, "--input", "other.zarr"]) == 0
    found = Artifact(Path("inversion.zarr"))
    other = Artifact(Path("other.zarr"))
    items = found.read("item_index")
    np.testing.assert_allclose(found.read("original"), other.read_items("input", items), atol=1e-5)
    assert run(["prepare", "other", "-q", "-f", "-o", "other.zarr", "--bins", "211"]) == 0
    assert run(["invert", *more, "--input", "other.zarr"]) == 2
    assert "prepare it in the same way" in capsys.readouterr().err


def test_moduli_are_given_a_phase(work: Path) -> None:
    assert run(["prepare", "timit", "--features", "sqrt-magnitude", "-q", "-o", "sqrt.zarr"]) == 0
    assert run([*TRAIN, "sqrt.zarr", "-o", "sqrt.pt"]) == 0
    more = ["--method", "bp", "--layer", "1", "--steps", "2", "--rate", "1e-3", "-q", "-f"]
    assert run(["invert", "sqrt.pt", *more, "--wav", "wavs"]) == 0
    artifact = Artifact(Path("inversion.zarr"))
    wanted, heard = artifact.read("waveform_original"), artifact.read("waveform_round_trip")
    assert np.median(max_cross_correlation(wanted, heard)) > 0.5
    assert len(list(Path("wavs").glob("*.wav"))) == 12
    # A decoder trained up to a delay needs the sign.
    assert run(["invert", "sqrt.pt", "--method", "align", "--layer", "1", "-f"]) == 2
