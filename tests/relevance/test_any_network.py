"""Networks that are not ours from the command line: what is said, written and refused."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import corpora
import numpy as np
import pytest
import soundfile
import torch
from formulas import gradient, occluded

from speechscope.cli import run
from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.networks.loading import load
from speechscope.relevance.occlusion import Size, _spans, area
from speechscope.scores.relevance import area as area_under
from speechscope.scores.relevance import removal_curves
from speechscope.store.artifact import Artifact

MODELS = """
import torch
from torch import nn
from torch.nn import functional as F

class Frames(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.l = nn.Conv1d(1, 4, 400, 200), nn.Linear(4, 3)

    def forward(self, x):
        return self.l(F.relu(self.c(x)).transpose(1, 2)).log_softmax(-1)

class Beside(nn.Module):  # every answer rests on all of the recording
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.c, self.n = nn.Conv1d(1, 4, 400, 200), nn.InstanceNorm1d(4)
        self.r, self.l = nn.GRU(4, 5, bidirectional=True, batch_first=True), nn.Linear(10, 3)

    def forward(self, x):
        return self.l(self.r(self.n(self.c(x)).transpose(1, 2))[0])

class Rows(Beside):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv1d(20, 4, 3, 2)

class WrongInHalves(nn.Conv1d):  # as some convolutions are on some processors
    def forward(self, x):
        return 1.2 * super().forward(x) if x.dtype == torch.bfloat16 else super().forward(x)

class Halves(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.l = WrongInHalves(1, 4, 400, 200), nn.Linear(4, 3)
        self.bfloat16()

    def forward(self, x):
        return self.l(F.relu(self.c(x)).mean(-1))

class Root(nn.Module):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(1, 3)

    def forward(self, x):
        mean = x[:, 0, :100].mean(1, keepdim=True)
        return self.l(torch.sqrt(mean * (mean > 0)))

class Rounds(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.l = nn.Conv1d(1, 4, 400, 200), nn.Linear(4, 3)

    def forward(self, x):
        return self.l(torch.round(9 * self.c(x)).mean(-1))

class Stops(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.l = nn.Conv1d(1, 4, 400, 200), nn.Linear(4, 3)

    def forward(self, x):
        return self.l((self.c(x).detach() > 0).float().mean(-1))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("any")
    corpora.timit(folder / "timit", speakers=2, sentences=2)
    prepare = ["prepare", "timit", "--recipe", "muckenhirn2019", "-q"]
    assert run(["-C", str(folder), *prepare]) == 0
    (folder / "anyones.py").write_text(MODELS)
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def explain(model: str, *more: str) -> int:
    told = ["relevance", "--model", f"anyones:{model}", "--corpus", "corpus.zarr", "-f"]
    return run([*told, *more, *([] if "--items" in more else ["--items", "0:3"])])


def test_a_symbol_at_a_time_is_explained(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("Frames", "--method", "gradient,lrp", "--target", "2@0.1") == 0
    said = capsys.readouterr().err
    assert "anyones:Frames has random weights" in said
    assert "scores are explained before log_softmax" in said
    found = Artifact(here / "relevance.zarr", "relevance")
    config = found.record["config"]
    assert config["weights"] == "random weights" and config["scores"] == ":btv"
    network = load("anyones:Frames").network
    x = torch.from_numpy(found.read("input"))[:, None].requires_grad_()
    maps = torch.relu(network.c(x))  # type: ignore[operator]
    logits = network.l(maps.transpose(1, 2))  # type: ignore[operator]
    (wanted,) = torch.autograd.grad(logits[:, int(0.1 / 0.25 * logits.shape[1]), 2].sum(), x)
    scale = float(wanted.abs().max())
    np.testing.assert_allclose(found.read("relevance")[0], wanted[:, 0], atol=1e-6 * scale)
    assert found.read("target").tolist() == [2, 2, 2]
    assert found.attributes("relevance")["rules"] == "c: epsilon; relu: unchanged; l: epsilon"
    assert explain("Frames", "--method", "gradient", "--target", "0@0.1-0.2") == 0
    assert explain("Frames", "--method", "gradient", "--target", "text:1 2 1") == 0
    score = Artifact(here / "relevance.zarr", "relevance").read("score")
    loss = torch.nn.functional.ctc_loss(
        logits.detach().log_softmax(2).transpose(0, 1),
        torch.tensor([[1, 2, 1]] * 3), torch.full((3,), logits.shape[1]), torch.full((3,), 3),
        reduction="none",
    )  # fmt: skip
    np.testing.assert_allclose(score, -loss, rtol=1e-5)
    for target in ("0@9", "3@0.1", "0@0.2-0.1", "text:7"):
        assert explain("Frames", "--method", "gradient", "--target", target) == 2


def test_a_layer_this_processor_computes_wrongly_is_named(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain("Halves", "--method", "gradient") == 0
    said = capsys.readouterr().err
    assert "layer c: off by 0.2 of its size" in said and "layer l" not in said


def test_items_without_a_number_are_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    some = ["--items", "0:40", "--method", "gradient"]
    assert explain("Root", *some) == 4
    said = capsys.readouterr().err
    found = Artifact(here / "relevance.zarr", "relevance")
    finite = found.read("finite").astype(bool)
    below = found.read("input")[:, :100].mean(1) <= 0
    np.testing.assert_array_equal(finite, ~below)
    assert 0 < below.sum() < 40
    assert np.isfinite(found.read("relevance")[0][finite]).all()
    for index in found.read("item_index")[below][:20]:
        assert f"item {index} (" in said
    assert run(["score", "relevance.zarr", "--model", "anyones:Root", "--csv"]) == 0
    told = capsys.readouterr()
    assert "relevance.zarr: anyones:Root has random weights" in told.err
    rows = [row for row in csv.DictReader(told.out.splitlines()) if row["method"] == "gradient"]
    assert {row["items"] for row in rows if "letion" in row["measure"]} == {str(finite.sum())}


def test_a_network_that_stops_the_slope_is_said_to(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain("Stops", "--method", "gradient") == 1
    assert "no slope leads from the scores" in capsys.readouterr().err
    assert explain("Rounds", "--method", "gradient") == 0
    assert "3 items have relevance 0 everywhere" in capsys.readouterr().err
    for model, missed in (("Rounds", True), ("Frames", False)):
        assert explain(model, "--method", "integrated") == 0
        said = capsys.readouterr().err
        assert ("the integrated gradients of 3 items do not add up" in said) == missed, model
    assert explain("Stops", "--method", "occlusion", "--patch", "40ms") == 0
    capsys.readouterr()
    told = ["--model", "anyones:Stops", "--corpus", "corpus.zarr", "-f", "--steps", "2"]
    assert run(["maximize", *told, "-o", "m.zarr"]) == 1
    assert "no slope leads from the units" in capsys.readouterr().err
    assert run(["maximize", *told, "--layer", "c", "-o", "m.zarr"]) == 0


def test_patches_have_units() -> None:
    assert area("patch", "10x4") == (Size(10), Size(4))
    assert area("patch", "400Hzx40ms") == (Size(400, "Hz"), Size(0.04, "ms"))
    assert area("patch", "40ms")[1] == Size(0.04, "ms") and area("patch", "3Hz")[0].unit == "Hz"
    for text in ("4", "0x1", "4x0ms", "x", "3.5x2", "40 ms", "-1x2", "4xHz"):
        with pytest.raises(UsageProblem, match="--patch"):
            area("patch", text)
    mel = np.array([50.0, 110, 180, 260, 350, 450, 560, 680])
    places = list(_spans(8, Size(200, "Hz"), Size(200, "Hz"), mel))
    assert places == [slice(0, 3), slice(3, 5), slice(5, 7), slice(7, 8)]
    assert list(_spans(8, Size(5), Size(3), mel)) == [slice(0, 5), slice(3, 8)]
    with pytest.raises(UsageProblem, match="no axis in ms"):
        list(_spans(8, Size(0.04, "ms"), Size(2), None))


def test_one_phone_is_hidden_at_a_time(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare = ["prepare", "timit", "--unit", "utterance", "--features", "waveform", "-q", "-f"]
    assert run([*prepare, "--max-length", "none", "-o", "whole.zarr"]) == 0
    told = ["relevance", "--model", "anyones:Frames", "--corpus", "whole.zarr", "-f"]
    some = ["--method", "occlusion", "--patch", "phone", "--items", "0:2", "--target", "1@0.35"]
    assert run([*told, *some]) == 0
    found = Artifact(here / "relevance.zarr", "relevance")
    network = load("anyones:Frames").network
    x = torch.from_numpy(found.read("input"))[:, None]

    def score(x: torch.Tensor) -> torch.Tensor:
        logits = network.l(torch.relu(network.c(x)).transpose(1, 2))  # type: ignore[operator]
        found: torch.Tensor = logits[:, int(0.35 / 0.8 * logits.shape[1]), 1]
        return found

    wanted = torch.zeros_like(x)
    for phone in (0, 1, 2, 3, 4, 5, 7):  # q, the seventh, is none
        hidden, place = x.clone(), slice(1600 * phone, 1600 * (phone + 1))
        hidden[..., place] = 0
        wanted[..., place] = (score(x) - score(hidden))[:, None, None]
    np.testing.assert_allclose(found.read("relevance")[0], wanted[:, 0], atol=1e-6)
    assert wanted.abs().max() > 0
    assert explain("Frames", "--method", "occlusion", "--patch", "phone") == 2
    assert "no times of phones" in capsys.readouterr().err


@pytest.fixture(scope="module")
def uneven(folder: Path) -> Path:
    """Whole recordings, one of them shorter."""
    corpora.timit(folder / "uneven", speakers=2, sentences=2)
    path = next((folder / "uneven/TEST").rglob("*1.WAV"))
    samples = corpora.recording(0.55)
    soundfile.write(path, samples, corpora.RATE, subtype="PCM_16")
    path.with_suffix(".PHN").write_text(corpora.labels(len(samples)))
    prepare = ["prepare", "uneven", "--unit", "utterance", "--features", "waveform", "-q"]
    assert run(["-C", str(folder), *prepare, "--max-length", "none", "-o", "uneven.zarr"]) == 0
    return folder / "uneven.zarr"


def test_a_recording_is_given_as_long_as_it_is(uneven: Path, here: Path) -> None:
    network = load("anyones:Frames").network
    told = ["relevance", "--model", "anyones:Frames", "--corpus", "uneven.zarr", "-f", "-q"]
    methods = ["--method", "gradient,occlusion", "--patch", "50ms", "--stride", "50ms"]
    assert run([*told, *methods, "--items", "0:2"]) == 0
    found = Artifact(here / "relevance.zarr", "relevance")
    lengths = Artifact(uneven, "corpus").read("stop")[found.read("item_index")]
    assert sorted(lengths.tolist()) == [8800, 12800]
    for row, length in enumerate(lengths):
        x = torch.from_numpy(found.read("input")[row, :length])[None, None]

        def scores(x: torch.Tensor) -> torch.Tensor:
            out = network.l(torch.relu(network.c(x[:, 0])).transpose(1, 2))  # type: ignore[operator]
            summed: torch.Tensor = out.sum(1)
            return summed

        x, target = x[None], torch.from_numpy(found.read("target")[row : row + 1]).long()
        wanted = [
            gradient(scores, x, target),
            occluded(scores, x, target, (1, 800), (1, 800)),
        ]
        assert float(found.read("score")[row]) == pytest.approx(
            float(scores(x)[0, target]), rel=1e-4
        )
        for of, told_by in zip(found.read("relevance"), wanted, strict=True):
            assert not of[row, length:].any()
            np.testing.assert_allclose(
                of[row, :length], told_by[0, 0, 0], atol=1e-5 * float(told_by.abs().max())
            )
    assert run([*told, "--method", "gradient", "--items", "0:2", "--target", "1@0.7"]) == 4
    finite = Artifact(here / "relevance.zarr", "relevance").read("finite")
    np.testing.assert_array_equal(finite, lengths > 8800)


@pytest.mark.heavy
def test_no_command_answers_of_what_stands_behind_a_recording(
    uneven: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network, corpus = load("anyones:Beside").network, Artifact(uneven, "corpus")
    told = ["--model", "anyones:Beside", "--corpus", "uneven.zarr", "-f", "-q"]
    some = ["--method", "gradient,lrp", "--layer", "n", "--activity", "r", "--items", "0:2"]
    assert run(["relevance", *told, *some, "-o", "inner.zarr"]) == 0
    inner = Artifact(here / "inner.zarr")
    row = int(corpus.read("stop")[inner.read("item_index")].argmin())
    x = torch.from_numpy(inner.read("input")[row, :8800])[None, None]
    assert not inner.read("input")[row, 8800:].any()
    maps = network.c(x).detach().requires_grad_()  # type: ignore[operator]

    def behind(maps: torch.Tensor) -> torch.Tensor:
        frames: torch.Tensor = network.r(network.n(maps).transpose(1, 2))[0]  # type: ignore[operator]
        return frames

    out = network.l(behind(maps)).sum(1)  # type: ignore[operator]
    target = int(inner.read("target")[row])
    assert target == int(out.argmax())
    (slope,) = torch.autograd.grad(out[0, target], maps)
    found = inner.read("relevance")[0, row]
    scale = float(slope.abs().max())
    np.testing.assert_allclose(found[:, :43], slope[0], atol=1e-5 * scale)
    assert not inner.read("relevance")[:, row, :, 43:].any()
    activity = behind(maps)[0].mean(0).detach()
    np.testing.assert_allclose(inner.read("activity_r")[row], activity, atol=1e-6)

    bp = ["--method", "bp", "--layer", "r", "--steps", "3", "--l2", "0.01", "--items", "0:2"]
    assert run(["invert", *told, *bp, "-o", "inverted.zarr"]) == 0
    inverted, mean = Artifact(here / "inverted.zarr"), torch.from_numpy(corpus.read("mean"))
    y = torch.from_numpy(inverted.read("reconstruction")[0, 0, row])
    assert not y[..., 8800:].any() and not inverted.read("original")[row, ..., 8800:].any()
    y = y[0, :, :8800]
    apart = behind(network.c(y[None])) - behind(maps)  # type: ignore[operator]
    apart = apart.detach()
    energy = apart.square().sum() / 2 + 0.01 / 2 * (y - mean[0, :, :8800]).square().sum()
    steps = inverted.read("objective")[0, 0, row]
    assert np.nanmin(steps) == pytest.approx(float(energy), rel=1e-4) and steps[0] > steps[-1]

    align = ["--align", "none,max-sensitivity", "--split", "test", "--least", "1"]
    assert run(["navai", *told, *align, "-o", "navai.zarr"]) == 0
    averaged = Artifact(here / "navai.zarr")
    (place,) = np.flatnonzero(averaged.read("item_index") == inner.read("item_index")[row])
    x.requires_grad_()
    (slope,) = torch.autograd.grad(network(x).sum(1)[0, target], x)
    assert int(averaged.read("target")[place]) == target
    assert averaged.read("shift")[:, place].tolist() == [0, int(slope.argmax()) - 6400]

    one = ["--method", "gradient", "--items", f"{row}:{row + 1}", "-o", "one.zarr"]
    assert run(["relevance", *told, *one]) == 0
    capsys.readouterr()
    assert run(["score", "one.zarr", "--model", "anyones:Beside", "--json"]) == 0
    rows = {r["measure"]: r for r in json.loads(capsys.readouterr().out)}
    with torch.no_grad():
        curves = removal_curves(network_scores(network), x, torch.tensor([target]), slope, steps=20)
    for measure, curve in zip(("deletion", "insertion"), curves, strict=True):
        assert rows[measure]["value"] == pytest.approx(float(area_under(curve)[0]), rel=1e-4)


@pytest.mark.heavy
def test_utterances_of_spectrograms_are_looked_into_as_recordings_are(
    uneven: Path, here: Path
) -> None:
    for path in (here / "uneven").rglob("*.WAV"):
        path.with_suffix(".TXT").write_text("0 1 she had\n")
    made = ["--unit", "utterance", "--features", "mel", "--bins", "20", "--labels", "letter"]
    sizes = ["--window", "400", "--hop", "160", "--max-length", "none", "-o", "mel.zarr"]
    assert run(["prepare", "uneven", *made, *sizes, "-q"]) == 0
    told = ["--model", "anyones:Rows", "--corpus", "mel.zarr", "-f", "-q"]
    some = ["--method", "gradient,occlusion", "--patch", "phone", "--items", "0:2"]
    assert run(["relevance", *told, *some, "-o", "mels.zarr"]) == 0
    network, corpus = load("anyones:Rows").network, Corpus(here / "mel.zarr")
    found = Artifact(here / "mels.zarr")
    items, sums = found.read("item_index"), dict[str, list[torch.Tensor]]()
    assert len({corpus.utterance_inputs(items[n : n + 1])[0].shape for n in (0, 1)}) == 2
    for row, item in enumerate(items):
        x = torch.from_numpy(corpus.utterance_inputs(items[row : row + 1])[0])
        size, middles = x.shape[2], 200 + 160 * np.arange(x.shape[2])
        target = torch.from_numpy(found.read("target")[row : row + 1]).long()
        scores = network_scores(network)
        slope = gradient(scores, x, target)[0]
        own = found.read("relevance")[:, row, 0]
        assert not own[..., size:].any()
        scale = 1e-5 * float(slope.abs().max())
        np.testing.assert_allclose(own[0, :, :size], slope, atol=scale)
        full = scores(x)[0, target].detach()
        maps = network.c(x)[0].detach()  # type: ignore[operator]
        # Of a kernel of 3 in steps of 2, in the middle of the recording, by a quarter of a frame.
        left = (size - 1 - 2 * (maps.shape[1] - 1) - 0.5) / 2
        at = 200 + 160 * (left + 2 * np.arange(maps.shape[1]))
        for name, there in corpus.phones(int(item)):
            inside = (middles >= there.start) & (middles < there.stop)
            hidden = x * torch.from_numpy(~inside)
            lost = float(full - scores(hidden)[0, target].detach())
            assert own[1, 0, :size][inside] == pytest.approx(lost, rel=1e-3, abs=1e-5)
            frames = np.flatnonzero((at >= there.start) & (at < there.stop))
            if not len(frames):
                frames = np.abs(at - (there.start + there.stop - 1) / 2).argmin()[None]
            sums.setdefault(name, []).append(maps[:, frames[len(frames) // 2]])
    some = ["--mode", "profile", "--by", "phone", "--frame", "middle", "--layer", "c"]
    assert run(["navai", *told, *some, "--split", "test", "--items", "0:2", "-o", "pro.zarr"]) == 0
    profile = Artifact(here / "pro.zarr")
    means = {name: torch.stack(held).mean(0) for name, held in sums.items() if name not in SILENT}
    over = torch.stack([*means.values()]).mean(0)
    wanted = torch.stack([means[name] for name in profile.flags("class")]) - over
    np.testing.assert_allclose(profile.read("profile_c"), wanted, atol=1e-5)


SILENT = ("h#", "sil")
"""Left out of profiles by default."""


def network_scores(network: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda x: network(x).sum(1)


@pytest.mark.parametrize("frame", ["mean", "middle"])
def test_layers_hold_phones_at_their_frames(uneven: Path, here: Path, frame: str) -> None:
    told = ["cluster", "--model", "anyones:Frames", "--corpus", "uneven.zarr", "-f", "-q"]
    some = ["--any", "--per-class", "9", "--clusters", "2", "--reduce", "none", "--no-probes"]
    assert run([*told, *some, "--algorithm", "kmeans", "--frame", frame]) == 0
    found, corpus = Artifact(here / "clusters.zarr", "clusters"), Artifact(uneven, "corpus")
    assert found.flags("layer") == ("c", "relu", "l")
    network = load("anyones:Frames").network
    held: dict[str, list[torch.Tensor]] = {}
    edges, names = corpus.read("phone_offset"), found.flags("label")
    for item in np.flatnonzero(corpus.read("split") == 2):
        begin = corpus.read("waveform_offset")[item]
        x = torch.from_numpy(corpus.read("waveform")[begin : begin + corpus.read("stop")[item]])
        out = network.c(x[None, None])[0]  # type: ignore[operator]
        middles = 199.5 + 200 * np.arange(out.shape[1])  # of a kernel of 400 in steps of 200
        for phone in range(edges[item], edges[item + 1]):
            start, stop = corpus.read("phone_start")[phone], corpus.read("phone_stop")[phone]
            inside = np.flatnonzero((middles >= start) & (middles < stop))
            inside = inside if frame == "mean" else inside[[len(inside) // 2]]
            held.setdefault(names[corpus.read("phone")[phone]], []).append(out[:, inside].mean(1))
    classes = found.flags("class") if "class" in found else names
    for name, values in held.items():
        mean = found.read("unit_activation")[0, :4, list(classes).index(name)]
        wanted = torch.stack(values).mean(0).detach().numpy()
        np.testing.assert_allclose(mean, wanted, atol=1e-6)
    told[told.index("anyones:Frames")] = "anyones:Root"
    assert run([*told, *some, "--layer", "l"]) == 2


def test_lazy_layers_are_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (here / "anyones.py").open("a") as file:
        file.write("\nclass Lazy(nn.Sequential):\n    def __init__(self):\n")
        file.write("        super().__init__(nn.Flatten(), nn.LazyLinear(3))\n")
    import sys

    sys.modules.pop("anyones", None)
    assert explain("Lazy", "--method", "gradient") == 2
    assert "has lazy layers" in capsys.readouterr().err
