"""Training by command on utterances with letters, on frames and on windows."""

import json
import shutil
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
import torch

from speechscope.cli import run
from speechscope.corpus.letters import LETTERS, decode
from speechscope.corpus.store import Corpus
from speechscope.networks.saved import load_model
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.store.artifact import Artifact
from speechscope.store.checkpoint import Checkpoint
from speechscope.training import source
from speechscope.training.evaluation import constant_error, letter_answers, letter_error_rate
from speechscope.training.source import CorpusUtterances

CORPORA = {
    "letters": ["--recipe", "krug2018", "--dev", "0.34"],
    "frames": ["--recipe", "pellegrini2016", "--phone-set", "timit-48"],
    "windows": ["--recipe", "muckenhirn2019"],
    "speakers": ["--recipe", "muckenhirn2019", "--labels", "speaker"],
    "segments": [],
}
LETTER_TRAIN = ["train", "letters.zarr", "--recipe", "krug2018", "--width", "0.02", "--batch", "4"]
LETTER_TRAIN += ["--epochs", "2", "--lr", "0.003", "-q"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus of every kind, and a letter network."""
    folder = tmp_path_factory.mktemp("train-units")
    root = corpora.timit(folder / "timit", speakers=3, sentences=3)
    for number, path in enumerate(sorted(root.rglob("*.PHN"))):
        words = ("see the moon", "a text", "it's all")[number % 3]
        path.with_suffix(".TXT").write_text(f"0 12800 {words}\n")
    for name, flags in CORPORA.items():
        output = ["-o", f"{name}.zarr", "-q"]
        assert run(["-C", str(folder), "prepare", "timit", *flags, *output]) == 0
    assert run(["-C", str(folder), *LETTER_TRAIN, "-o", "letters.pt"]) == 0
    return folder


@pytest.fixture
def work(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to work in."""
    work = tmp_path / "work"
    shutil.copytree(folder, work)
    monkeypatch.chdir(work)
    return work


def weights(path: str) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = Checkpoint(Path(path)).values["state"]["weights"]
    return found


def test_a_letter_network_comes_back_from_its_checkpoint(folder: Path) -> None:
    model = load_model(folder / "letters.pt")
    assert isinstance(model.network, Wav2Letter) and not model.network.training
    made = model.checkpoint.values["network"]
    assert made == {
        "name": "wav2letter",
        "bins": 128,
        "width": 0.02,
        "padding": "same-time",
        "channels": 1,
    }
    assert model.classes == LETTERS and model.mean.shape == (1, 128)
    assert model.network.shapes[0] == (5, 1, 103)
    found = letter_answers(
        model.network, CorpusUtterances(Corpus(folder / "letters.zarr")), "test", 2
    )
    assert sorted(found.texts) == ["a text", "it's all", "see the moon"]
    assert found.error == model.checkpoint.values["test"]["letter error rate"]
    assert model.checkpoint.values["selected_on"] == "dev"


def test_letters_of_other_speech_are_scored_where_it_has_words(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["score", "letters.pt", "--csv", "--input"]
    assert run([*asked, "timit"]) == 0
    assert "letter error rate" in capsys.readouterr().out
    shutil.copy(next(Path("timit").rglob("*.WAV")), "alone.wav")
    assert run([*asked, "alone.wav"]) == 2
    assert "alone.wav: nobody labelled it" in capsys.readouterr().err


def test_what_is_said_of_a_letter_network(
    work: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run([*LETTER_TRAIN, "-o", "new.pt", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    facts = json.loads(captured.out)
    assert (facts["path"], facts["kind"], facts["network"]) == ("new.pt", "model", "wav2letter")
    assert [facts["last"]["epoch"], facts["selected_on"]] == [2, "dev"]
    plain = [word for word in LETTER_TRAIN if word != "-q"]
    assert run([*plain, "-o", "new.pt", "-f", "-v"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "new.pt\n"
    said = "(chosen on dev), on test: letter error rate"
    assert "epoch 1: loss" in captured.err and said in captured.err
    assert run(["score", "letters.pt", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["measure"] for row in rows] == ["letter error rate"]
    assert {(row["items"], row["letters"]) for row in rows} == {(3, 26)}
    assert {row["chosen_on"] for row in rows} == {"dev"}
    texts = ["see the moon", "a text", "it's all"]
    test = Checkpoint(work / "letters.pt").values["test"]
    assert rows[0]["value"] == pytest.approx(test["letter error rate"])
    assert rows[0]["chance"] == pytest.approx(constant_error(texts))
    assert constant_error(texts) < letter_error_rate((t, "") for t in texts)
    assert run(["info", "letters.pt"]) == 0
    text = capsys.readouterr().out
    assert f"letter error rate    {rows[0]['value']:.4f}" in text
    assert "of a constant answer" in text and "conv2.weight" in text
    assert run(["check", "--deep", "letters.pt"]) == 0


def test_letters_are_trained_without_being_asked_for(work: Path) -> None:
    short = ["--epochs", "1", "--width", "0.02", "-q"]
    assert run(["train", "letters.zarr", *short, "-o", "plain.pt"]) == 0
    named = ["--network", "wav2letter", "--optimizer", "adam"]
    assert run(["train", "letters.zarr", *named, *short, "-o", "named.pt"]) == 0
    for name, value in weights("plain.pt").items():
        assert torch.equal(value, weights("named.pt")[name]), name
    assert Checkpoint(Path("plain.pt")).record["config"]["recipe"] == "krug2018"


def test_letter_training_goes_on_where_it_stopped(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from speechscope.training.letters import LetterTraining

    batches = LetterTraining.batches

    def interrupted(self: LetterTraining) -> Any:
        if self.made == 1:
            raise KeyboardInterrupt
        return batches(self)

    with monkeypatch.context() as patch:
        patch.setattr(LetterTraining, "batches", interrupted)
        assert run([*LETTER_TRAIN, "-o", "new.pt"]) == 130
    assert not Path("new.pt").exists() and Path(".new.pt.resume").exists()
    assert run([*LETTER_TRAIN, "-o", "new.pt", "--resume"]) == 0
    assert not Path(".new.pt.resume").exists()
    for name, value in weights("letters.pt").items():
        assert torch.equal(value, weights("new.pt")[name]), name
    capsys.readouterr()
    falling = [*LETTER_TRAIN, "--schedule", "cosine", "-o", "falling.pt"]
    assert run(falling) == 0
    assert not torch.equal(weights("falling.pt")["conv2.weight"], weights("new.pt")["conv2.weight"])
    assert run([*falling, "--epochs", "3", "--resume"]) == 2
    assert "--epochs 3: the learning rate was to fall over 2 epochs" in capsys.readouterr().err


def test_letters_go_on_from_another_letter_network(work: Path) -> None:
    again = [*LETTER_TRAIN, "--from", "letters.pt", "--lr", "1e-12", "-o"]
    assert run([*again, "again.pt"]) == 0
    begun = Checkpoint(Path("letters.pt")).values["weights"]  # of its best epoch
    for name, value in weights("again.pt").items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(value, begun[name])
    record = Checkpoint(Path("again.pt")).record
    assert [parent["kind"] for parent in record["parents"]] == ["corpus", "model"]
    assert record["config"]["from"] == "letters.pt"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["train", "letters.zarr", "--network", "freq"], 2, "--network wav2letter takes them"),
        (["train", "frames.zarr", "--recipe", "krug2018"], 2, "frames.zarr does not hold; make th"),
        (["train", "frames.zarr", "--network", "wav2letter"], 2, "takes utterances with letters"),
        (["train", "letters.zarr", "--per-class", "3"], 2, "--per-class has no meaning for train"),
        (["train", "letters.zarr", "--freeze-encoder"], 2, "--freeze-encoder has no meaning for"),
        (["train", "letters.zarr", "--optimizer", "sgd"], 2, "--optimizer sgd: choose from adam"),
        (["train", "letters.zarr", "--schedule", "step"], 2, "step: choose from constant, cosine"),
        (
            ["train", "letters.zarr", "--width", "0.04", "--from", "letters.pt"],
            2,
            "conv1.weight is (10, 1, 128, 48) in the network and (5, 1, 128, 48) in what it is to",
        ),
        (["train", "segments.zarr", "--width", "0.5"], 2, "--width has no meaning for train --rec"),
        (["train", "letters.zarr", "-o", "letters.pt"], 2, "letters.pt exists already"),
        (["decode-train", "letters.pt"], 2, "letters.pt is a letter network, which gives letters"),
        (["invert", "letters.pt", "--method", "bp"], 2, "letters.pt is a letter network, which"),
        (["invert", "letters.pt"], 2, "letters.pt is a model; --method decode+bp needs a decoder"),
        (["report", "letters.pt", "--items", "x"], 2, "--items x: give positions such as 0,5,7"),
        (
            ["train", "frames.zarr", "--network", "freq-overlap"],
            2,
            "--network freq-overlap does not take inputs of 3 × 40 × 11 (channels × frequency × "
            "time); of the networks these do: freq-overlap-padded, logmel",
        ),
        (
            ["train", "windows.zarr", "--network", "freq-overlap"],
            2,
            "--network freq-overlap does not take inputs of 1 × 1 × 4000 (channels × frequency × "
            "time); of the networks these do: raw-phone, raw-speaker",
        ),
        (["train", "segments.zarr", "--recipe", "muckenhirn2019"], 2, "of the networks these do:"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    text: str,
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    assert run(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert text in captured.err
    assert sorted(folder.iterdir()) == before


def test_torchrun_does_not_train_letters(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run([*LETTER_TRAIN, "-o", "new.pt"]) == 2
    assert "wav2letter is trained in one process" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("corpus", "network", "sizes"),
    [
        # Pellegrini 2016, sec. 2 and 3: maps of 7 × 4 at the end.
        ("frames", "logmel", [(32, 36, 9), (32, 12, 9), (64, 8, 7), (64, 4, 7)]),
        # Muckenhirn 2019, table 1.
        ("windows", "raw-phone", [(80, 1, 398), (80, 1, 132), (60, 1, 126)]),
        ("speakers", "raw-speaker", [(80, 1, 398), (80, 1, 132), (80, 1, 123)]),
    ],
)
def test_the_recipe_of_a_corpus_trains_its_network(
    work: Path,
    capsys: pytest.CaptureFixture[str],
    corpus: str,
    network: str,
    sizes: list[tuple[int, int, int]],
) -> None:
    train = ["train", f"{corpus}.zarr", "--epochs", "1", "-q"]
    assert run([*train, "--sampling", "resample", "--per-class", "4"]) == 0
    model = load_model(work / "model.pt")
    assert model.name == model.checkpoint.record["config"]["network"] == network
    assert all(shape in model.network.shapes for shape in sizes)
    if corpus == "speakers":
        assert model.classes == ("FAB00", "FAB10", "FAB20")
    capsys.readouterr()
    assert run(["score", "model.pt", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    items = len(Corpus(work / f"{corpus}.zarr").items("test"))
    # Speakers are not folded: both accuracies are there once.
    assert [row["items"] for row in rows] == [items] * (2 if corpus == "speakers" else 4)


def test_what_later_stages_make_of_frames_and_windows(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--epochs", "1", "--sampling", "resample", "--per-class", "2", "-q"]
    for corpus in ("frames", "windows"):
        assert run(["train", f"{corpus}.zarr", "-o", f"{corpus}.pt", *few]) == 0
    decode = ["decode-train", "--layer", "1,3", "--epochs", "1", "--together", "0", "-q"]
    decode += ["--per-class", "2"]
    assert run([*decode, "frames.pt"]) == 0
    invert = ["invert", "--layer", "3", "--steps", "2", "-q"]
    assert run([*invert, "decoder.pt", "--method", "bp,decode"]) == 0
    assert run(["score", "inversion.zarr"]) == 0
    capsys.readouterr()
    assert run([*decode, "windows.pt", "-o", "w.pt"]) == 2
    error = capsys.readouterr().err
    assert "layer 1: a convolution with stride (1, 10) has no decoder" in error
    assert error.count("\n") == 1 and not Path("w.pt").exists()
    assert run([*invert, "windows.pt", "--method", "bp", "-o", "w.zarr"]) == 0
    heard = Artifact(Path("w.zarr"), "inversion")
    assert heard.array("waveform").shape == (1, 1, *heard.array("waveform_original").shape)


@pytest.mark.parametrize("corpus", ["frames", "windows"])
def test_held_items_are_put_together_piece_by_piece(
    folder: Path, monkeypatch: pytest.MonkeyPatch, corpus: str
) -> None:
    data = Corpus(folder / f"{corpus}.zarr")
    items = data.items("train")
    expected = data.centred(items)
    read: list[int] = []
    centred = Corpus.centred

    def noted(self: Corpus, some: Any) -> Any:
        read.append(len(some))
        return centred(self, some)

    monkeypatch.setattr(Corpus, "centred", noted)
    monkeypatch.setattr(source, "READ_BYTES", expected[:7].nbytes)
    held = source.CorpusSource(data, ("train",), torch.device("cpu"))
    assert held.held
    some = np.array([5, 0, len(items) - 1, 5])
    np.testing.assert_array_equal(held.fetch("train", some), expected[some])
    assert sum(read) == len(items) and max(read) == 7
    monkeypatch.setattr(source, "HELD_BYTES", 4 * expected[0].size * len(data.splits) - 1)
    read.clear()
    on_disk = source.CorpusSource(data, ("train",), torch.device("cpu"))
    assert not on_disk.held
    np.testing.assert_array_equal(on_disk.fetch("train", some), expected[some])
    assert read == [4]


def test_utterances_are_centred_and_held_where_they_fit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Corpus(folder / "letters.zarr")
    expected = [one - data.mean[..., None] for one in data.utterance_inputs(np.arange(4))]
    read: list[list[int]] = []
    inputs = Corpus.utterance_inputs

    def noted(self: Corpus, items: Any) -> Any:
        read.append(items.tolist())
        return inputs(self, items)

    monkeypatch.setattr(Corpus, "utterance_inputs", noted)
    for held, wanted in ((True, [[2, 0], [3]]), (False, [[2, 0], [0, 3]])):
        read.clear()
        utterances = CorpusUtterances(data, hold=held)
        for items in ([2, 0], [0, 3]):
            for item, found in zip(items, utterances.fetch(np.array(items)), strict=True):
                np.testing.assert_array_equal(found, expected[item])
        assert read == wanted
    assert utterances.lengths.tolist() == [x.shape[2] for x in data.utterance_inputs(np.arange(12))]
    monkeypatch.setattr("speechscope.training.source.HELD_BYTES", 1000)
    assert not CorpusUtterances(data)._held
    texts = [decode(labels) for labels in utterances.letters(np.array([0, 1, 2]))]
    assert texts == ["see the moon", "a text", "it's all"]
