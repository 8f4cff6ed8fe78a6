"""Autoencoders through the commands: Riemens' rows as flags, their scores, what is refused."""

import json
from pathlib import Path

import corpora
import pytest
import torch

from speechscope.cli import run
from speechscope.networks.saved import first_weights
from speechscope.stages.decode_train import _judge
from speechscope.store.checkpoint import Checkpoint
from speechscope.work.progress import Console

QUICK = ["--epochs", "1", "--per-class", "4", "-q", "-f"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus and a network that has seen little of it."""
    folder = tmp_path_factory.mktemp("autoencoders")
    corpora.timit(folder / "timit", speakers=2, sentences=2)
    network = ["--network", "freq-overlap-padded", "--epochs", "1", "--per-class", "2", "-q"]
    for stage in (["prepare", "timit", "-q"], ["train", *network]):
        assert run(["-C", str(folder), *stage]) == 0
    return folder


@pytest.fixture
def work(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained)
    return trained


def test_a_row_of_riemens_as_flags(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = ["--units", "1,2", "--encoder", "random", "--decoder", "transpose-tied"]
    more = ["--stack", "weak", "--unpool", "blind", "--no-relu", "--noise", "0.1"]
    command = ["decode-train", "--recipe", "riemens2015", *row, *more]
    assert run([*command, *QUICK, "-o", "tied.pt"]) == 0
    assert run(["score", "tied.pt", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["layer"] for row in rows] == [3, 6, 3, 6]
    assert all(row["verdict"] for row in rows[2:])
    for row in rows[:2]:
        assert row["artifact"] == "tied.pt"
        assert (row["encoder"], row["decoder"]) == ("random", "transpose-tied")
        assert (row["unpool"], row["stack"], row["relu"]) == ("blind", "weak", False)
        # Blind unpooling lets nothing past the code.
        assert row["mangled_correlation"] < 0.3 and row["silence"] > 0
    checkpoint = Checkpoint(Path("tied.pt"))
    weights = first_weights(checkpoint, ())
    assert set(weights) == {f"conv{n}.{part}" for n in (1, 2) for part in ("weight", "bias")}
    assert not torch.equal(
        weights["conv1.weight"], Checkpoint(Path("model.pt")).values["weights"]["conv1.weight"]
    )
    assert {r["stage"] for r in checkpoint.values["history"]} == {0, 1}
    assert run(["invert", "tied.pt", "--method", "decode", "--layer", "3"]) == 2
    assert "tied.pt decodes an encoder of its own (--encoder random)" in capsys.readouterr().err


def test_a_network_begins_from_an_encoder(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = ["--units", "1", "--encoder", "random", "--decoder", "random", "--stack", "none"]
    assert run(["decode-train", "--recipe", "riemens2015", *row, *QUICK, "-o", "auto.pt"]) == 0
    train = ["train", "--network", "freq-overlap-padded", *QUICK, "--from"]
    assert run([*train, "auto.pt", "--freeze-encoder", "-o", "kept.pt"]) == 0
    weights = Checkpoint(Path("kept.pt")).values["weights"]
    for name, value in first_weights(Checkpoint(Path("auto.pt")), ()).items():
        assert torch.equal(weights[name], value)
    parents = Checkpoint(Path("kept.pt")).record["parents"]
    assert [parent["kind"] for parent in parents] == ["corpus", "decoder"]
    capsys.readouterr()
    assert run(["train", "--network", "freq-overlap", *QUICK, "--freeze-encoder"]) == 2
    assert "--freeze-encoder: name the encoder with --from decoder.pt" in capsys.readouterr().err
    assert run([*train, "model.pt", "--freeze-encoder"]) == 2
    assert "model.pt is a model, which has no encoder apart" in capsys.readouterr().err
    assert run(["train", "--network", "time", *QUICK, "--from", "auto.pt"]) == 2
    assert "conv1.weight is (8, 1, 201, 3) in the network" in capsys.readouterr().err


def test_a_network_goes_on_from_a_model(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Nothing moves at this rate: what is there after an epoch is what the training began from.
    train = ["train", "--network", "freq-overlap-padded", *QUICK, "--lr", "1e-12", "--from"]
    begun = Checkpoint(Path("model.pt")).values
    assert run([*train, "model.pt", "-o", "same.pt"]) == 0
    same = Checkpoint(Path("same.pt"))
    for name, value in begun["weights"].items():
        torch.testing.assert_close(same.values["state"]["weights"][name], value)
    assert [parent["kind"] for parent in same.record["parents"]] == ["corpus", "model"]
    assert same.record["config"]["from"] == "model.pt"
    # The 61 labels as they are: others than the model's 48, so that the last layer is drawn.
    assert run(["prepare", "timit", "--phone-set", "timit-61", "-o", "sixty.zarr", "-q"]) in (0, 4)
    command = ["train", "sixty.zarr", *train[1:], "model.pt", "-o", "other.pt"]
    assert run(command) == 0
    other = Checkpoint(Path("other.pt")).values["state"]["weights"]
    assert len(other["fc4.bias"]) > len(begun["weights"]["fc4.bias"])
    for name, value in begun["weights"].items():
        if not name.startswith("fc4"):
            torch.testing.assert_close(other[name], value)


def test_switch_decoders_are_not_run_on_activations_alone(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    switching = ["--layer", "3", "--unpool", "switch", "--together", "0"]
    assert run(["decode-train", *switching, *QUICK, "-o", "switch.pt"]) == 0
    assert run(["invert", "switch.pt", "--method", "decode", "--layer", "3"]) == 2
    assert "switch.pt unpools by the encoder's switches" in capsys.readouterr().err


def test_a_baseline_has_nothing_to_train(work: Path) -> None:
    fixed = ["--layer", "1", "--decoder", "transpose-tied", "--stack", "none"]
    assert run(["decode-train", *fixed, *QUICK, "-o", "fixed.pt"]) == 0
    values = Checkpoint(Path("fixed.pt")).values
    assert values["history"] == [] and values["scores"][0]["test"] > 0
    assert list(values["weights"][1]) == ["stages.0.bias"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--units", "2", "--layer", "3"], "--units and --layer exclude each other"),
        (["--units", "4"], "--units 4: the network has 1 to 3"),
        (["--encoder", "random"], "--stack decoder restores what a kept encoder does"),
        (["--sparse", "1"], "--sparse shapes the code of an encoder that is trained"),
        (["--unpool", "sideways"], "--unpool sideways: choose from switch, blind"),
        (["--recipe", "riemens2015", "--units", "4"], "--units 4: the network has 1 to 3"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(
    work: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["decode-train", *flags, *QUICK, "-o", "none.pt"]) == 2
    assert message in capsys.readouterr().err
    assert not Path("none.pt").exists()


def test_a_decoder_that_is_no_better_than_silence_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scores = [{"layer": n, "test": e, "silence": 2.0} for n, e in ((1, 0.5), (6, 2.0), (9, 2.1))]
    _judge(scores, Console())
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("layers 6, 9: the decoders restore test items no better than silence")
    _judge(scores[:1], Console())
    assert not capsys.readouterr().err
