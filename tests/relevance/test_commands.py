"""`relevance` and `maximize` from the command line, on segments and on waveforms."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
import soundfile
import torch
import xarray
from explaining import whole

from speechscope.cli import run
from speechscope.corpus.store import Corpus
from speechscope.networks.loading import load
from speechscope.networks.saved import load_model
from speechscope.networks.tracing import table_graph
from speechscope.relevance import store
from speechscope.relevance.gradient import sensitivity, smoothgrad
from speechscope.relevance.guided import guided_backpropagation
from speechscope.relevance.lrp import lrp_with_sums
from speechscope.relevance.waveforms import (
    Frames,
    cumulative_response,
    dictionary_response,
    spectral_gradient,
)
from speechscope.stages.relevance import Relevance
from speechscope.store import checkpoint
from speechscope.store.artifact import Artifact
from speechscope.store.record import new_record
from speechscope.work.local import Overlapping
from speechscope.work.tasks import mixed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of segments and, in `raw`, one of waveforms."""
    folder = tmp_path_factory.mktemp("relevance")
    corpora.timit(folder / "timit", speakers=2, sentences=2)
    (folder / "raw").mkdir()
    little = ["--epochs", "1", "--per-class", "3", "-q"]
    assert run(["-C", str(folder), "prepare", "timit", "-q"]) == 0
    assert run(["-C", str(folder), "train", *little]) == 0
    prepare = ["prepare", "../timit", "--recipe", "muckenhirn2019", "-q"]
    assert run(["-C", str(folder / "raw"), *prepare]) == 0
    assert run(["-C", str(folder / "raw"), "train", "--network", "raw-phone", *little]) == 0
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def test_relevance_is_that_of_the_library(here: Path) -> None:
    assert run(["relevance", "--method", "gradient,guided", "--items", "0:5", "-fq"]) == 0
    model, corpus = load_model(here / "model.pt"), Corpus(here / "corpus.zarr")
    items = corpus.items("test")[:5]
    x = torch.from_numpy(corpus.centred(items))
    scores = model.network(x)
    opened = xarray.open_zarr("relevance.zarr")
    assert opened.relevance.dims == ("technique", "item", "channel", "frequency", "time")
    assert opened.technique.values.tolist() == ["gradient", "guided"]
    assert opened.predicted.values.tolist() == scores.argmax(1).tolist()
    assert (opened.target == opened.predicted).all()
    np.testing.assert_allclose(opened.score, scores.amax(1), rtol=1e-5)
    np.testing.assert_allclose(opened.input, corpus.artifact.read_items("input", items), atol=1e-6)
    wanted = sensitivity(whole(model.network), x, scores.argmax(1)).numpy()
    np.testing.assert_allclose(opened.relevance[0], wanted, atol=1e-6 * np.abs(wanted).max())
    wanted = guided_backpropagation(whole(table_graph(model.network)), x, scores.argmax(1)).numpy()
    np.testing.assert_allclose(opened.relevance[1], wanted, atol=1e-6 * np.abs(wanted).max())
    assert opened.attrs["speechscope"]["parents"][0]["kind"] == "model"


def test_what_a_device_does_not_hold_is_explained_in_halves(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["relevance", "--method", "guided,lrp,integrated", "--items", "0:7", "-fq", "-o"]
    assert run([*command, "whole.zarr"]) == 0
    tried = []

    def little(of: Any, x: torch.Tensor, *given: Any) -> Any:
        tried.append(len(x))
        if len(x) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return lrp_with_sums(of, x, *given)

    monkeypatch.setattr(store, "lrp_with_sums", little)
    assert run([*command, "halves.zarr"]) == 0
    assert tried == [7, 4, 3]
    one, other = (Artifact(here / name) for name in ("whole.zarr", "halves.zarr"))
    for name in ("relevance", "relevance_sum"):
        wanted = one.read(name)
        np.testing.assert_allclose(other.read(name), wanted, atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize(
    "command",
    [
        ["relevance", "--method", "guided,lrp", "--items", "0", "-fq"],
        ["maximize", "--unit", "aa", "--steps", "2", "-fq"],
    ],
    ids=lambda command: command[0],
)
def test_pytorchs_compiler_is_not_imported(here: Path, command: list[str]) -> None:
    script = (
        "import sys; from speechscope.cli import run\n"
        f"assert run({command}) == 0\n"
        "print([m for m in ('torch._dynamo', 'sympy') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stderr == b"[]\n"  # as much of a short command's time as all the rest


def test_targets_and_layers(here: Path) -> None:
    assert run(["relevance", "--target", "label", "--method", "lrp", "-fq"]) == 0
    found = Artifact(here / "relevance.zarr", "relevance")
    assert found.read("target").tolist() == found.read("label").tolist()
    by_label = found.read("relevance")
    assert run(["relevance", "--target", "aa", "--method", "lrp", "--layer", "pool1", "-fq"]) == 0
    found = Artifact(here / "relevance.zarr", "relevance")
    assert {found.flags("target")[t] for t in found.read("target")} == {"aa"}
    assert found.array("relevance").shape[2:] == (8, 194, 1) != by_label.shape[2:]


def test_an_items_relevance_does_not_depend_on_the_others(here: Path) -> None:
    some = ["relevance", "--method", "smoothgrad,lrp", "--samples", "3", "-fq"]
    assert run([*some, "--all"]) == 0
    everything = Artifact(here / "relevance.zarr").read("relevance")
    assert run([*some, "--items", "3"]) == 0
    alone = Artifact(here / "relevance.zarr").read("relevance")
    np.testing.assert_allclose(alone[:, 0], everything[:, 3], atol=1e-5 * np.abs(alone).max())


def test_every_item_and_every_unit_has_noise_of_its_own(here: Path) -> None:
    some = ["relevance", "--method", "smoothgrad", "--samples", "2", "--items", "0:3", "-fq"]
    assert run([*some, "--seed", "4"]) == 0
    artifact = Artifact(here / "relevance.zarr")
    items, target = artifact.read("item_index"), torch.from_numpy(artifact.read("target")).long()
    x = torch.from_numpy(Corpus(here / "corpus.zarr").centred(items))
    of = whole(load_model(here / "model.pt").network)
    seeds = [mixed(4, int(item)) for item in items]
    wanted = smoothgrad(of, x, target, Relevance(samples=2), seeds).numpy()
    np.testing.assert_allclose(
        artifact.read("relevance")[0], wanted, atol=1e-6 * np.abs(wanted).max()
    )
    assert run(["maximize", "--steps", "0", "--unit", "aa,s", "-fq"]) == 0
    first, second = Artifact(here / "maximum.zarr").read("optimum")
    assert not np.allclose(first, second)


def test_sounds_are_written_for_spectrograms_and_waveforms(here: Path) -> None:
    assert run(["relevance", "--method", "gradient", "--items", "0", "--wav", "out", "-fq"]) == 0
    assert sorted(p.name.split("_", 2)[2] for p in Path("out").glob("*.wav")) == [
        "gradient.wav",
        "original.wav",
    ]
    # A spectrogram is heard with every value weighted by the magnitude of its relevance.
    artifact = Artifact(here / "relevance.zarr")
    weight = np.abs(artifact.read("relevance")[0])
    heard = Corpus(here / "corpus.zarr").sound_of(artifact.read("input") * weight / weight.max())[0]
    samples, _ = soundfile.read(next(Path("out").glob("*gradient.wav")))
    np.testing.assert_allclose(samples, heard * 0.7 / np.abs(heard).max(), atol=1e-4)
    raw = ["raw/model.pt", "-o", "raw/relevance.zarr", "--items", "0", "--wav", "heard", "-fq"]
    assert run(["relevance", "--method", "guided,lrp", *raw]) == 0
    file = next(Path("heard").glob("*guided.wav"))
    samples, rate = soundfile.read(file)
    found = Artifact(here / "raw/relevance.zarr").read("relevance")[0, 0]
    assert rate == 16000 and found.shape == samples.shape == (4000,)
    np.testing.assert_allclose(samples, found * 0.7 / np.abs(found).max(), atol=1e-4)


def test_waveforms_have_spectral_relevance(here: Path) -> None:
    raw = ["raw/model.pt", "-o", "raw/relevance.zarr", "--items", "0:3", "-fq"]
    assert run(["relevance", "--method", "guided,lrp", *raw]) == 0
    opened = xarray.open_zarr("raw/relevance.zarr")
    assert opened.spectral_relevance.dims == ("technique", "item", "frequency", "frame")
    np.testing.assert_allclose(opened.frequency[[0, 1, -1]], [0, 40, 8000])
    wanted = spectral_gradient(torch.tensor(opened.relevance.values[0]), Frames(400, 160))
    np.testing.assert_allclose(opened.spectral_relevance[0], wanted, rtol=1e-4, atol=1e-9)
    total = opened.spectral_relevance[1].sum(("frequency", "frame"))
    np.testing.assert_allclose(total, opened.relevance[1].sum("sample"), rtol=1e-2, atol=1e-3)


def test_relevance_of_waveforms_over_shifts(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = ["raw/model.pt", "-o", "raw/relevance.zarr", "--items", "0:2", "-fq"]
    assert run(["relevance", "--method", "guided,lrp", "--shifts", "3", *raw]) == 0
    artifact = Artifact(here / "raw/relevance.zarr")
    network = load_model(here / "raw/model.pt").network
    of = whole(table_graph(network))
    x = artifact.read("input") - Corpus(here / "raw/corpus.zarr").mean[0, 0]
    target = torch.from_numpy(artifact.read("target").astype(np.int64))
    total = np.zeros_like(x)
    for shift in range(3):
        moved = np.zeros_like(x)
        moved[:, shift:] = x[:, : x.shape[1] - shift]
        signal = guided_backpropagation(of, torch.from_numpy(moved[:, None, None]), target)
        total[:, : x.shape[1] - shift] += signal[:, 0, 0, shift:].numpy() / 3
    found = artifact.read("relevance")
    scale = np.abs(total).max()
    np.testing.assert_allclose(found[0], total, rtol=1e-3, atol=1e-5 * scale)
    # What LRP holds at every layer is that of the waveform where it is.
    assert not np.allclose(artifact.read("relevance_sum")[:, 0], found[1].sum(1), rtol=1e-3)
    assert run(["score", "raw/relevance.zarr"]) == 0
    for arguments in (["model.pt"], ["raw/model.pt", "--layer", "conv2"]):
        capsys.readouterr()
        assert run(["relevance", *arguments, "--shifts", "2", "-fq"]) == 2
        assert "--shifts: only what enters" in capsys.readouterr().err


def test_maximize_climbs(here: Path) -> None:
    assert run(["maximize", "--steps", "15", "--unit", "aa,s", "--wav", "max", "-fq"]) == 0
    found = Artifact(here / "maximum.zarr", "maximum")
    climbed = found.read("activation")
    assert climbed.shape == (2, 16) and (climbed[:, -1] > climbed[:, 0]).all()
    model = load_model(here / "model.pt")
    optimum = torch.from_numpy(found.read("optimum"))
    numbers = found.read("map").tolist()
    assert [model.classes[n] for n in numbers] == list(found.flags("unit")) == ["aa", "s"]
    reached = model.network(optimum)[torch.arange(2), numbers]
    np.testing.assert_allclose(climbed[:, -1], reached, rtol=1e-4)
    assert len(list(Path("max").glob("*.wav"))) == 2
    assert (
        run(["-C", "raw", "maximize", "--layer", "conv2", "--unit", "0", "--steps", "2", "-fq"])
        == 0
    )
    shape = Artifact(here / "raw/maximum.zarr").array("waveform").shape
    assert shape == (1, 30 + 2 * 10 + 6 * 30)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["relevance", "--method", "magic"], "--method magic: choose from gradient"),
        (["relevance", "--rule", "best"], "--rule best: choose from epsilon"),
        (["relevance", "--target", "xyz"], "--target xyz: choose predicted, label or one of"),
        (["relevance", "--layer", "99"], "layer 99: expected 1 to 16"),
        (["relevance", "--patch", "3"], "--patch 3: give BINSxFRAMES"),
        (["relevance", "--layer", "2", "--wav", "w"], "--wav: what enters a layer"),
        (["relevance", "--items", "0", "--all"], "exclude each other"),
        (["maximize", "--unit", "xyz"], "--unit xyz: choose from"),
        (["maximize", "--layer", "conv1", "--unit", "0", "--wav", "w"], "have no sound"),
    ],
)
def test_what_is_impossible_is_a_usage_error(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    assert run([*arguments, "-o", "never.zarr"]) == 2
    assert text in capsys.readouterr().err
    assert not Path("never.zarr").exists() and not Path("w").exists()


ELSEWHERE = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, (8, 4), stride=(4, 2))
        self.norm = nn.BatchNorm2d(3)
        self.relu = nn.ReLU(inplace=True)
        self.last = nn.Linear(3 * 49 * 7, 10)

    def forward(self, x):
        x = self.relu(self.norm(self.conv(x)))
        return torch.softmax(self.last(x.view(x.size(0), -1)), dim=1)

class Wave(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv1d(1, 3, 20, stride=10), nn.Linear(3, 5)

    def forward(self, x):
        return self.last(torch.relu(self.conv(x)).mean(dim=2))

def nothing():
    return 3
"""


def test_any_network_is_explained_and_maximized(here: Path) -> None:
    Path("elsewhere.py").write_text(ELSEWHERE)
    torch.manual_seed(0)
    torch.save(load("elsewhere:Small").network.state_dict(), "elsewhere.pt")
    theirs = ["--model", "elsewhere:Small", "--weights", "elsewhere.pt", "-o", "their.zarr", "-fq"]
    assert run(["relevance", *theirs, "--method", "gradient,guided,lrp", "--items", "0:3"]) == 0
    found = Artifact(here / "their.zarr", "relevance")
    assert found.record["config"]["model"] == "elsewhere:Small"
    assert found.record["parents"][0]["kind"] == "corpus"
    x = torch.from_numpy(found.read("input")).requires_grad_()
    network = load("elsewhere:Small", Path("elsewhere.pt")).network
    maps = network.relu(network.norm(network.conv(x)))  # type: ignore[operator]
    logits = network.last(maps.flatten(1))  # type: ignore[operator]
    best = logits.max(1)
    assert found.read("target").tolist() == best.indices.tolist()
    np.testing.assert_allclose(found.read("score"), best.values.detach(), rtol=1e-4)
    (wanted,) = torch.autograd.grad(best.values.sum(), x)
    scale = float(wanted.abs().max())
    np.testing.assert_allclose(found.read("relevance")[0], wanted, atol=1e-5 * scale)
    assert run(["maximize", *theirs, "--layer", "conv", "--unit", "1@0x2", "--steps", "5"]) == 0
    climbed = Artifact(here / "their.zarr", "maximum").read("activation")
    assert climbed[0, -1] > climbed[0, 0]
    wave = ["--model", "elsewhere:Wave", "--corpus", "raw/corpus.zarr", "-o", "their.zarr", "-fq"]
    assert run(["relevance", *wave, "--method", "lrp", "--layer", "last", "--items", "0"]) == 0
    assert Artifact(here / "their.zarr").array("relevance").shape == (1, 1, 3)
    assert run(["maximize", *wave, "--unit", "all", "--steps", "2"]) == 0
    assert Artifact(here / "their.zarr").array("waveform").shape == (5, 4000)


def test_only_networks_of_ours_work_on_two_blocks_at_a_time(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    class Noting(Overlapping):
        def __init__(self, *, together: bool) -> None:
            asked.append(together)
            super().__init__(together=together)

    monkeypatch.setattr(store, "Overlapping", Noting)
    monkeypatch.setattr(store, "MOST", 2)
    Path("elsewhere.py").write_text(ELSEWHERE)
    some = ["relevance", "--method", "gradient", "-fq", "-o", "their.zarr"]
    assert run([*some, "--items", "0:5"]) == 0
    assert run([*some, "--items", "0"]) == 0  # one block has all threads
    assert run([*some, "--items", "0:5", "--model", "elsewhere:Small"]) == 0
    assert asked == [True, False, False]


@pytest.mark.parametrize(("few", "sizes"), [(2, 2), (3, 4)])
def test_blocks_are_even_in_number_where_they_are_not_too_small(
    here: Path, monkeypatch: pytest.MonkeyPatch, few: int, sizes: int
) -> None:
    monkeypatch.setattr(store, "MOST", 4)
    monkeypatch.setattr(store, "FEW", few)
    assert run(["relevance", "--method", "gradient", "--items", "0:4", "-fq"]) == 0
    assert Artifact(here / "relevance.zarr").array("relevance").chunks[1] == sizes


def test_relevance_of_any_network_is_scored(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("elsewhere.py").write_text(ELSEWHERE)
    torch.manual_seed(0)
    torch.save(load("elsewhere:Small").network.state_dict(), "elsewhere.pt")
    theirs = ["--model", "elsewhere:Small", "--weights", "elsewhere.pt"]
    made = ["-o", "their.zarr", "--method", "occlusion,lrp", "--items", "0:3", "-fq"]
    assert run(["relevance", *theirs, *made]) == 0
    capsys.readouterr()
    assert run(["score", "their.zarr", *theirs, "--json"]) == 0
    rows = {(r["method"], r["measure"]): r for r in json.loads(capsys.readouterr().out)}
    assert {"deletion", "sensitivity-n", "agreement with random weights"} <= {m for _, m in rows}
    # Without its own weights, the network is not the one that was explained.
    torch.save(load("elsewhere:Small").network.state_dict(), "others.pt")
    for arguments, code, message in (
        ([], 2, "explains elsewhere:Small: name it by --model"),
        (["--model", "elsewhere:Wave"], 2, "explains elsewhere:Small"),
        (theirs[:2], 3, "--weights: not those"),
        ([*theirs[:3], "others.pt"], 3, "--weights: not those"),
        (theirs[2:], 2, "--weights goes with --model"),
    ):
        assert run(["score", "their.zarr", *arguments]) == code
        assert message in capsys.readouterr().err
    assert run(["score", "model.pt", *theirs]) == 2
    assert "model.pt is a model; --model goes with relevance" in capsys.readouterr().err


def test_any_network_is_inverted(here: Path) -> None:
    Path("elsewhere.py").write_text(ELSEWHERE)
    theirs = ["--model", "elsewhere:Small", "-o", "inverted.zarr", "-fq", "--items", "0:3"]
    adam = ["--steps", "30", "--optimizer", "adam", "--rate", "0.01"]
    assert run(["invert", *theirs, "--layer", "conv,relu", *adam]) == 0
    found = Artifact(here / "inverted.zarr", "inversion")
    assert found.record["config"]["model"] == "elsewhere:Small"
    assert found.flags("layer") == ("conv", "relu") and found.flags("technique") == ("bp",)
    assert found.read("layer_number").tolist() == [1, 3]
    objective = found.read("objective")
    assert (np.nanmin(objective, 3) < 0.9 * objective[..., 0]).all()
    np.testing.assert_allclose(
        found.read("original"), Corpus(here / "corpus.zarr").view.read(_first(here, 3)), atol=1e-5
    )
    wave = ["--model", "elsewhere:Wave", "--corpus", "raw/corpus.zarr", "-o", "inverted.zarr"]
    assert run(["invert", *wave, "--layer", "relu", "--steps", "5", "--items", "0", "-fq"]) == 0
    found = Artifact(here / "inverted.zarr", "inversion")
    np.testing.assert_array_equal(
        found.read("waveform").ravel(), found.read("reconstruction").ravel()
    )
    assert run(["score", "inverted.zarr", "--json"]) == 0


def _first(here: Path, count: int) -> np.ndarray:
    return Corpus(here / "corpus.zarr").items("test")[:count]


def test_windows_are_prepared_as_another_network_wants_them(here: Path) -> None:
    sizes = ["--length", "1024", "--hop", "400", "--sample-rate", "8000", "--normalize", "item"]
    prepare = ["prepare", "timit", "--recipe", "muckenhirn2019", *sizes, "-o", "theirs.zarr", "-fq"]
    assert run(prepare) == 0
    corpus = Corpus(here / "theirs.zarr")
    items = corpus.items("train")
    windows = corpus.view.read(items)
    assert corpus.input_shape == (1, 1, 1024) and corpus.config["rate"] == 8000
    starts = corpus.artifact.read("start")[items[:2]]
    assert starts[1] - starts[0] == 400
    np.testing.assert_allclose(windows.mean(3), 0, atol=1e-5)
    np.testing.assert_allclose(windows.std(3), 1, rtol=1e-4)
    np.testing.assert_allclose(corpus.mean, windows.mean(0), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--normalize", "item"], "--normalize item: for windows of the waveform"),
        (["--hop", "300"], "--hop: give 1 to --window (267) samples"),
        (["--length", "100", "--max-length", "100"], "--length 100: a segment holds at least"),
    ],
)
def test_sizes_that_cannot_be_are_refused(
    here: Path, capsys: pytest.CaptureFixture[str], options: list[str], text: str
) -> None:
    assert run(["prepare", "timit", *options, "-o", "never.zarr"]) == 2
    assert text in capsys.readouterr().err


def test_letter_networks_are_explained_where_they_answer(here: Path) -> None:
    """On windows of 206 frames; the utterances of the test corpus are shorter, so 3 s are said."""
    folder = here / "said"
    for split, name in (("TRAIN", "FAA0"), ("TEST", "FAB0")):
        for number in range(2):
            place = folder / split / "DR1" / name / f"SX{number}"
            place.parent.mkdir(parents=True, exist_ok=True)
            samples = corpora.recording(3.0, seed=number)
            soundfile.write(place.with_suffix(".WAV"), samples, 16000, subtype="PCM_16")
            place.with_suffix(".PHN").write_text(corpora.labels(len(samples)))
            place.with_suffix(".TXT").write_text(f"0 {len(samples)} See it.\n")
    train = ["train", "said.zarr", "--recipe", "krug2018", "--width", "0.02", "--epochs", "1"]
    assert run(["prepare", "said", "--recipe", "krug2018", "-o", "said.zarr", "-q"]) == 0
    assert run([*train, "--batch", "2", "-o", "said.pt", "-q"]) == 0
    model = load_model(here / "said.pt")
    # So that it answers with letters, without learning to.
    values = dict(model.checkpoint.values)
    values["weights"]["conv12.bias"][26:] -= 1e3
    record = new_record(
        "model", config={}, seed=0, device="cpu", parents=model.checkpoint.record["parents"]
    )
    checkpoint.write(Path("letters.pt"), record, values)
    explained = ["relevance", "letters.pt", "--items", "0:4", "-o", "letters.zarr", "-fq"]
    assert run([*explained, "--method", "gradient,lrp", "--rule", "krug"]) == 0
    found = xarray.open_zarr("letters.zarr")
    assert found.relevance.shape == (2, 4, 1, 128, 206)
    assert found.target.values.tolist() == found.predicted.values.tolist()
    assert (found.label == found.predicted).all()
    np.testing.assert_allclose(np.abs(found.relevance[1]).max(("frequency", "time")), 1, rtol=1e-5)
    assert run(["score", "letters.zarr", "--json"]) == 0
    assert run([*explained, "--target", "label"]) == 2


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--model", "elsewhere"], 2, "give package.module:factory"),
        (["--model", "elsewhere:Absent"], 2, "--model elsewhere:Absent: AttributeError"),
        (["--model", "no.such:Thing"], 2, "ModuleNotFoundError"),
        (["--model", "elsewhere:nothing"], 2, "expected a torch.nn.Module, found a int"),
        (["--model", "elsewhere:Wave"], 2, "Wave takes no inputs of shape (1, 201, 16)"),
        (["--model", "elsewhere:Small", "--weights", "none.pt"], 3, "No such file"),
        (["--model", "elsewhere:Small", "--weights", "text.pt"], 3, "not the weights of Small"),
        (["--model", "elsewhere:Small", "--target", "label"], 2, "the network gives 10 scores"),
        (["model.pt", "--model", "elsewhere:Small"], 2, "exclude each other"),
        (["--weights", "text.pt"], 2, "--weights goes with --model"),
    ],
)
def test_what_is_no_network_is_said(
    here: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, text: str
) -> None:
    Path("elsewhere.py").write_text(ELSEWHERE)
    Path("text.pt").write_text("not weights")
    assert run(["relevance", *options, "-o", "never.zarr"]) == code
    assert text in capsys.readouterr().err


def test_relevance_is_scored(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["relevance", "--method", "gradient,lrp", "-o", "scored.zarr", "-fq"]) == 0
    capsys.readouterr()
    assert run(["score", "scored.zarr", "--json"]) == 0
    rows = {(r["method"], r["measure"]): r for r in json.loads(capsys.readouterr().out)}
    measures = {"deletion", "insertion", "sensitivity-n", "agreement with random weights"}
    layers = ("conv1", "conv2", "conv3", "fc1", "fc2", "fc3", "fc4")
    held = {f"at {layer} over score" for layer in layers}
    where = {m for _, m in rows if ", " in m or " by " in m}
    assert {m for _, m in rows} == {*measures, "agreement with lrp", *held, *where}
    assert {"deletion by another item", "AUC, in the phone", "pointing, at the burst"} <= where
    known = [row for row in rows.values() if row["items"] > 1]
    assert all(row["low"] <= row["value"] <= row["high"] for row in known)
    assert all(
        (rows[key]["chance"] is None) == (key[1] in held) for key in rows if rows[key]["items"]
    )
    # The biases of one epoch are small; nothing else takes relevance from the score.
    assert rows["lrp", "at fc4 over score"]["value"] == pytest.approx(1, abs=0.05)
    assert all(
        abs(rows[m, "agreement with random weights"]["value"]) < 0.5 for m in ("gradient", "lrp")
    )
    assert 0 <= rows["lrp", "deletion"]["value"] <= 1
    raw = ["raw/model.pt", "-o", "raw/scored.zarr", "--per-class", "2", "-fq"]
    assert run(["relevance", "--method", "gradient", *raw]) == 0
    capsys.readouterr()
    assert run(["score", "raw/scored.zarr", "--json"]) == 0
    found = {r["measure"] for r in json.loads(capsys.readouterr().out)}
    assert measures <= found
    # The tones of the test corpus are voiced, two of its phones are vowels.
    assert {m[:8] for m in found - measures} >= {"F0 of aa", "F1 of aa", "F2 of aa", "AUC, in "}
    assert {"F0 of all vowels, F", "strongest frequency [Hz]"} <= found


def test_what_the_first_layer_filters_and_every_layer_holds_is_stored(here: Path) -> None:
    raw = ["raw/model.pt", "-o", "raw/relevance.zarr", "--items", "0:3", "-fq"]
    assert run(["relevance", "--method", "lrp", *raw]) == 0
    opened = xarray.open_zarr("raw/relevance.zarr")
    network, x = load_model(here / "raw/model.pt").network, opened.input.values
    x = x - Corpus(here / "raw/corpus.zarr").mean[0, 0]
    kernels = network.parameters_of("conv1")[0].detach().flatten(1)
    np.testing.assert_allclose(opened.filter_frequency[[1, -1]], [40, 8000])
    response = cumulative_response(kernels, 400)
    np.testing.assert_allclose(opened.cumulative_response, response, rtol=1e-5)
    stretches = [x[1, start : start + 30] for start in range(0, 4000 - 29, 10)]
    wanted = dictionary_response(kernels, torch.tensor(np.array(stretches)), 400).mean(0)
    np.testing.assert_allclose(opened.dictionary_response[1], wanted, rtol=1e-4)
    assert opened.propagated_layer.values.tolist() == [*("conv1", "conv2", "conv3", "fc1", "fc2")]
    total = opened.relevance[0].sum("sample")
    np.testing.assert_allclose(opened.relevance_sum[:, 0], total, rtol=1e-3, atol=1e-4)
