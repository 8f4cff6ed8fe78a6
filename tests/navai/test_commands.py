"""`navai` from the command line: on segments, frames, waveforms and utterances with letters."""

import json
import shutil
from pathlib import Path

import corpora
import numpy as np
import oracles
import pytest
import soundfile
import torch
import xarray
from answers import evened
from explaining import rule, whole

from speechscope.cli import run
from speechscope.corpus.letters import NAMES
from speechscope.corpus.store import Corpus
from speechscope.navai.sound import sound_of
from speechscope.networks.saved import load_model
from speechscope.networks.tracing import table_graph
from speechscope.networks.wav2letter import Wav2Letter
from speechscope.relevance.gradient import sensitivity
from speechscope.relevance.lrp import lrp
from speechscope.store.artifact import Artifact

SILENT = ("h#", "sil")
"""Left out by default."""
# Hardly trained: what is drawn answers different inputs differently; what has learned from so
# little answers one thing always.
LITTLE = ["--epochs", "1", "--per-class", "3", "--lr", "1e-6", "-q"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of segments, one of frames, one of waveforms and one of letters."""
    folder = tmp_path_factory.mktemp("navai")
    corpora.spoken(folder / "timit")  # long enough for windows without padding
    at = ["-C", str(folder)]
    assert run([*at, "prepare", "timit", "--max-length", "none", "-q"]) == 0
    assert run([*at, "train", *LITTLE, "-o", "even.pt"]) == 0
    evened(folder / "even.pt", folder / "model.pt")
    frames = ["--recipe", "pellegrini2016", "--phone-set", "timit-48", "--dev", "0"]
    assert run([*at, "prepare", "timit", *frames, "-o", "frames.zarr", "-q"]) == 0
    train = ["--recipe", "pellegrini2016", "-o", "frames.pt", *LITTLE]
    assert run([*at, "train", "frames.zarr", "--batch", "32", *train]) == 0
    raw = ["--recipe", "muckenhirn2019", "-q"]
    assert run([*at, "prepare", "timit", *raw, "-o", "raw.zarr"]) == 0
    assert run([*at, "train", "raw.zarr", *raw, *LITTLE, "-o", "drawn.pt"]) == 0
    evened(folder / "drawn.pt", folder / "raw.pt")
    letters = ["--recipe", "krug2018", "-q"]
    assert run([*at, "prepare", "timit", *letters, "-o", "letters.zarr"]) == 0
    train = ["--width", "0.02", "--batch", "2", "--epochs", "1", "-o", "letters.pt"]
    assert run([*at, "train", "letters.zarr", *letters, *train]) == 0
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def test_segments_are_averaged_by_the_class_they_are_predicted_as(here: Path) -> None:
    assert run(["navai", "--exclude", "sil", "-fq"]) == 0
    opened = xarray.open_zarr("navai.zarr")
    assert opened["mean"].dims == opened.pattern.dims == ("alignment", "class", "frequency", "time")
    assert opened.normalizer.dims == ("alignment", "frequency", "time")
    assert opened["count"].dims == ("class",) and opened["shift"].dims == ("alignment", "item")
    names = opened["class"].values.tolist()

    model, corpus = load_model(here / "model.pt"), Corpus(here / "corpus.zarr")
    items = corpus.items("train")
    x = torch.from_numpy(corpus.centred(items))
    target = model.network(x).argmax(1)
    kept = target != model.classes.index("sil")
    x, target = x[kept], target[kept]
    assert opened.item_index.values.tolist() == items[kept.numpy()].tolist()
    assert [model.classes[t] for t in target] == [
        opened.target.attrs["flag_meanings"].split(" ")[t] for t in opened.target.values
    ]
    slopes = sensitivity(whole(model.network), x, target).numpy()
    heights = lrp(whole(table_graph(model.network)), x, target, rule("krug")).numpy()
    frames = x.shape[3]
    places = [
        [frames // 2] * len(x),
        [np.unravel_index(g.argmin(), g.shape)[2] for g in slopes],
        [np.unravel_index(g.argmax(), g.shape)[2] for g in slopes],
        [np.unravel_index(r.argmax(), r.shape)[2] for r in heights],
    ]
    assert (opened["shift"].values == np.array(places) - frames // 2).all()
    assert np.abs(opened["shift"].values[1:]).max() > 0
    for a, chosen in enumerate(places):
        over = oracles.navai_mean(x.numpy(), [0] * len(x), chosen, 0)[0]
        np.testing.assert_allclose(opened.normalizer[a], over, atol=1e-6)
        for number, name in enumerate(names):
            label = model.classes.index(name)
            wanted = oracles.navai_mean(x.numpy(), target.tolist(), chosen, label)[0]
            np.testing.assert_allclose(opened["mean"][a, number], wanted, atol=1e-6)
            np.testing.assert_allclose(opened.pattern[a, number], wanted - over, atol=2e-6)
    assert opened["count"].sum() == len(x)


def test_letters_are_averaged_over_windows_without_padding(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A network hardly trained answers what its biases say: another set of letters counts here.
    monkeypatch.setattr("speechscope.navai.examples.SPOKEN", NAMES)
    monkeypatch.setattr("speechscope.navai.examples.MOST", 16)
    assert run(["navai", "letters.pt", "--exclude", "x", "-o", "l.zarr", "-fq"]) == 0
    found = Artifact(here / "l.zarr", "navai")
    assert found.record["config"]["recipe"] == "krug2018"  # that of the model
    corpus = Corpus(here / "letters.zarr")
    model = load_model(here / "letters.pt")
    twin = Wav2Letter(width=0.02, padding="valid")
    twin.load_state_dict(model.network.state_dict())
    twin.eval().requires_grad_(False)
    items, outputs = found.read("item_index"), found.read("output")
    target, shift = found.read("target"), found.read("shift")
    held = {i: corpus.utterance_inputs(np.array([i]))[0] - corpus.mean[..., None] for i in items}
    # Zeros before the first frame: 23, 3 in each of eight layers and 15 in one, of two frames each.
    before = 23 + 2 * (8 * 3 + 15)
    for item, values in held.items():
        answer = model.network(torch.from_numpy(values[None]))[0].argmax(0)
        places = range(len(answer))
        inside = [o for o in places if 0 <= 2 * o - before <= values.shape[2] - 206]
        wanted = [o for o in inside if NAMES[answer[o]] != "x"]
        assert outputs[items == item].tolist() == wanted and len(wanted) > 5
    windows = []
    for item, output in zip(items, outputs, strict=True):
        start = 2 * output - before
        windows.append(held[item][..., start : start + 206])
    x = torch.from_numpy(np.stack(windows))
    scores = twin(x)[..., 0]
    assert scores.argmax(1).tolist() == target.tolist()
    for item in held:  # the outputs are those of the whole utterance
        padded = model.network(torch.from_numpy(held[item][None]))[0]
        mine = items == item
        np.testing.assert_allclose(scores[mine].T, padded[:, outputs[mine]], atol=1e-4)
    gradient = sensitivity(whole(twin), x, torch.from_numpy(target.astype(np.int64))).numpy()
    chosen = [int(np.unravel_index(g.argmin(), g.shape)[2]) for g in gradient]
    assert (shift[1] == np.array(chosen) - 103).all() and (shift[0] == 0).all()
    for number, name in enumerate(found.flags("class")):
        mean = oracles.navai_mean(x.numpy(), target.tolist(), chosen, NAMES.index(name))[0]
        np.testing.assert_allclose(found.read("mean")[1, number], mean, atol=1e-5)


def test_relevance_gives_the_same_averages_as_its_model(here: Path) -> None:
    some = ["relevance", "--method", "lrp,gradient", "--rule", "krug", "--all", "-fq"]
    assert run(some) == 0
    assert run(["navai", "relevance.zarr", "-o", "stored.zarr", "-fq"]) == 0
    assert run(["navai", "--split", "test", "-o", "fresh.zarr", "-fq"]) == 0
    stored, fresh = (Artifact(here / name, "navai") for name in ("stored.zarr", "fresh.zarr"))
    assert (stored.read("shift") == fresh.read("shift")).all()
    np.testing.assert_allclose(stored.read("pattern"), fresh.read("pattern"), atol=1e-5)
    assert stored.record["parents"][0]["kind"] == "relevance"


def test_relevance_for_other_classes_is_left_out(here: Path) -> None:
    assert run(["relevance", "--method", "gradient", "--target", "aa", "--all", "-fq"]) == 0
    told = ["navai", "relevance.zarr", "--align", "none,max-sensitivity", "-fq"]
    model, corpus = load_model(here / "model.pt"), Corpus(here / "corpus.zarr")
    answers = model.network(torch.from_numpy(corpus.centred(corpus.items("test")))).argmax(1)
    right = int((answers == model.classes.index("aa")).sum())
    assert run(told) == (0 if right else 1)
    if right:
        assert len(Artifact(here / "navai.zarr").read("item_index")) == right


def test_derivatives_have_arrays_of_their_own(here: Path) -> None:
    assert run(["navai", "frames.pt", "--align", "none,max-lrp", "-fq"]) == 0
    opened = xarray.open_zarr("navai.zarr")
    assert opened.pattern_channels.dims == ("alignment", "class", "channel", "frequency", "time")
    assert opened.pattern_channels.shape[2:] == (3, 40, 11)
    np.testing.assert_array_equal(opened.pattern_channels[:, :, 0], opened.pattern)
    assert opened.time.values.tolist() == pytest.approx([0.01 * n for n in range(-5, 6)])


def test_classes_split_by_what_was_said(here: Path) -> None:
    assert run(["navai", "--by", "phone", "--least", "1", "--align", "none", "-fq"]) == 0
    found = Artifact(here / "navai.zarr")
    corpus = Corpus(here / "corpus.zarr")
    items, target = found.read("item_index"), found.read("target")
    values = corpus.centred(items)
    for row, (c, v) in enumerate(
        zip(found.read("part_class"), found.read("part_value"), strict=True)
    ):
        name = found.flags("part_value")[v]
        mine = (target == c) & (corpus.labels[items] == corpus.classes.index(name))
        assert found.read("count_by")[0, row] == mine.sum() > 0
        np.testing.assert_allclose(
            found.read("mean_by")[0, row], values[mine][:, 0].mean(0), atol=1e-6
        )
    assert found.read("count_by").sum() == len(items)


def said_beside(corpus: Corpus, item: int, step: int) -> str:
    """Return the label that comes before (-1) or after (1) that of an item in its recording."""
    recordings, place = corpus.artifact.read("utterance"), item
    while 0 <= place < len(recordings) and recordings[place] == recordings[item]:
        if corpus.labels[place] != corpus.labels[item]:
            return str(corpus.classes[corpus.labels[place]])
        place += step
    return "edge"


@pytest.mark.parametrize("by", ["speaker", "before", "after", "context"])
def test_classes_split_by_speaker_and_context(here: Path, by: str) -> None:
    told = ["--by", by, "--least", "1", "--align", "none,min-sensitivity", "-o", "by.zarr", "-fq"]
    for model, data in (("model.pt", "corpus.zarr"), ("frames.pt", "frames.zarr")):
        assert run(["navai", model, "--items", "0:80", *told]) == 0
        found, corpus = Artifact(here / "by.zarr"), Corpus(here / data)
        speakers = corpus.artifact.read("speaker")
        wanted: dict[tuple[str, str], int] = {}
        names = found.flags("target")
        for item, target in zip(found.read("item_index"), found.read("target"), strict=True):
            value = {
                "speaker": corpus.names("speaker")[speakers[item]],
                "before": said_beside(corpus, item, -1),
                "after": said_beside(corpus, item, 1),
                "context": f"{said_beside(corpus, item, -1)}_{said_beside(corpus, item, 1)}",
            }[by]
            wanted[names[target], value] = wanted.get((names[target], value), 0) + 1
        values = found.flags("part_value")
        parts = zip(found.read("part_class"), found.read("part_value"), strict=True)
        keys = [(names[c], values[v]) for c, v in parts]
        for counts in found.read("count_by"):
            assert dict(zip(keys, counts.tolist(), strict=True)) == wanted


def test_letters_split_by_the_phones_of_another_corpus(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speechscope.navai.examples.SPOKEN", NAMES)
    told = ["--exclude", "x", "--by", "phone", "--least", "1", "-o", "by.zarr", "-fq"]
    assert run(["navai", "letters.pt", "--phones", "frames.zarr", *told]) == 0
    found = Artifact(here / "by.zarr")
    frames = Corpus(here / "frames.zarr")
    items, outputs = found.read("item_index"), found.read("output")
    letters = Corpus(here / "letters.zarr")
    names = letters.names("utterance")
    for a in range(2):
        counts: dict[str, int] = {}
        for item, output, moved in zip(items, outputs, found.read("shift")[a], strict=True):
            sample = (2 * int(output) - 101 + 103 + int(moved)) * 160 + 200
            name = names[int(letters.artifact.read("utterance")[item])]
            theirs = frames.artifact.read("utterance") == frames.names("utterance").index(name)
            middle = (frames.artifact.read("start") + frames.artifact.read("stop")) // 2
            best = np.flatnonzero(theirs)[np.abs(middle[theirs] - sample).argmin()]
            if abs(int(middle[best]) - sample) > 80:
                continue  # a phone that the corpus leaves out
            label = frames.classes[frames.labels[best]]
            counts[label] = counts.get(label, 0) + 1
        stored: dict[str, int] = {}
        for value, count in zip(found.read("part_value"), found.read("count_by")[a], strict=True):
            label = found.flags("part_value")[value]
            if count:
                stored[label] = stored.get(label, 0) + int(count)
        assert counts == stored


def test_profiles_are_means_of_activations(here: Path) -> None:
    told = ["--mode", "profile", "--layer", "conv1,pool3,fc2", "-o", "profile.zarr", "-fq"]
    model, corpus = load_model(here / "model.pt"), Corpus(here / "corpus.zarr")
    x = torch.from_numpy(corpus.centred(corpus.items("train")))
    target = model.network(x).argmax(1)
    for adjust in (False, True):
        assert run(["navai", *told, *(["--adjust"] if adjust else [])]) == 0
        found = Artifact(here / "profile.zarr")
        names = found.flags("class")
        rows = [target == model.classes.index(name) for name in names]
        assert len(rows) > 2
        for layer in ("conv1", "pool3", "fc2"):
            number = model.network.resolve(layer)
            values = model.network.activation(x, number)
            if adjust:
                place = values.detach().requires_grad_()
                if layer == "fc2":
                    out = model.network.activation(place, len(model.network.names), number)
                    chosen = out.gather(1, target[:, None]).sum()
                    values = values * torch.autograd.grad(chosen, place)[0].abs()
                else:
                    continue
            means = torch.stack([values[row].mean(0) for row in rows])
            wanted = means - means.mean(0)
            stored = found.read(f"profile_{layer}")
            np.testing.assert_allclose(stored, wanted, atol=1e-4 * float(wanted.abs().max()))
    assert run(["score", "profile.zarr"]) == 0


def test_letters_have_profiles_too(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speechscope.navai.examples.SPOKEN", NAMES)
    told = ["--mode", "profile", "--layer", "relu9", "--exclude", "x", "-o", "lp.zarr", "-fq"]
    assert run(["navai", "letters.pt", *told]) == 0
    assert Artifact(here / "lp.zarr").array("profile_relu9").shape[1:] == (5, 1, 32)
    by_phone = ["--mode", "profile", "--by", "phone", "--frame", "middle", "--layer", "relu3"]
    assert run(["navai", "letters.pt", *by_phone, "-o", "pp.zarr", "-fq"]) == 0
    found, network = Artifact(here / "pp.zarr"), load_model(here / "letters.pt").network
    corpus, sums = Corpus(here / "letters.zarr"), dict[str, list[np.ndarray]]()
    hop = corpus.config["window"] - corpus.config["overlap"]
    for item in corpus.items("train"):
        x = corpus.utterance_inputs(item[None])[0] - corpus.mean[..., None]
        held = network.activation(torch.from_numpy(x)[None], "relu3")[0, :, 0].T.numpy()
        step = hop * x.shape[2] / len(held)  # the first layer takes every other
        for name, there in corpus.phones(item):
            touched = [
                n
                for n in range(len(held))
                if n * step < there.stop and (n + 1) * step > there.start
            ]
            sums.setdefault(name, []).append(held[touched[len(touched) // 2]])
    wanted = np.stack([np.mean(sums[name], 0) for name in found.flags("class")])
    over = np.mean([np.mean(rows, 0) for name, rows in sums.items() if name not in SILENT], 0)
    stored = found.read("profile_relu3")[..., 0]
    np.testing.assert_allclose(stored, wanted - over, atol=1e-5 * float(np.abs(wanted).max()))


@pytest.mark.parametrize("model", ["model.pt", "frames.pt", "raw.pt"])
def test_means_and_patterns_are_heard(here: Path, model: str, tmp_path: Path) -> None:
    told = ["--align", "none", "--items", "0:20", "--wav", str(tmp_path / "heard"), "-fq"]
    assert run(["navai", model, *told]) == 0
    files = sorted(path.name for path in (tmp_path / "heard").glob("*.wav"))
    found = Artifact(here / "navai.zarr")
    kinds = [f"{name}_none_{kind}.wav" for name in found.flags("class") for kind in ("mean",)]
    assert set(kinds) <= set(files) and len(files) == 2 * len(kinds)
    corpus = load_model(here / model).checkpoint.record["parents"][0]["path"]
    data = Corpus(here / corpus)
    base = data.mean[0] if data.mean.ndim == 3 else data.mean
    for number, name in enumerate(found.flags("class")):
        for kind, added in (("mean", base), ("pattern", np.zeros_like(base))):
            samples, rate = soundfile.read(tmp_path / "heard" / f"{name}_none_{kind}.wav")
            assert rate == 16000 and np.abs(samples).max() == pytest.approx(0.7, abs=1e-3)
            wanted = sound_of(data, found.read(kind, (0, number)) + added)
            wanted = wanted * (0.7 / np.abs(wanted).max())
            np.testing.assert_allclose(samples, wanted, atol=1e-3)


def test_a_band_is_heard_where_it_lies(here: Path) -> None:
    corpus = Corpus(here / "frames.zarr")
    frequency = corpus.artifact.read("frequency")
    for band in (12, 30):
        values = np.full(corpus.input_shape[1:], -12.0, dtype=np.float32)
        values[band] = 0.0
        spectrum = np.abs(np.fft.rfft(sound_of(corpus, values)))
        loudest = spectrum.argmax() / (len(spectrum) - 1) * 8000
        assert abs(loudest - frequency[band]) < frequency[band + 1] - frequency[band]


def test_scores_are_printed_as_data(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["navai", "frames.pt", "--align", "none,max-lrp", "-fq"]) == 0
    capsys.readouterr()
    assert run(["score", "navai.zarr", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["alignment"] for row in rows} == {"none", "max-lrp"}
    assert {"width [ms]", "strength"} <= {row["measure"] for row in rows}
    for row in rows:
        assert row["low"] <= row["value"] <= row["high"]
        assert (row["gain"] is None) == (row["beyond"] is None) == (row["alignment"] == "none")


def test_the_same_seed_gives_the_same_arrays(here: Path) -> None:
    for name in ("one.zarr", "two.zarr"):
        assert run(["navai", "frames.pt", "--align", "none", "-o", name, "-fq"]) == 0
    one, two = Artifact(here / "one.zarr"), Artifact(here / "two.zarr")
    for array in one:
        np.testing.assert_array_equal(one.read(array), two.read(array))


def test_classes_nothing_is_predicted_as_are_named(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, corpus = load_model(here / "model.pt"), Corpus(here / "corpus.zarr")
    answers = model.network(torch.from_numpy(corpus.centred(corpus.items("train")))).argmax(1)
    given = {model.classes[int(answer)] for answer in answers} - {"sil"}
    never = next(name for name in model.classes if name not in given and name != "sil")
    told = ["navai", "--align", "none", "-f", "--class"]
    assert run([*told, f"{sorted(given)[0]},{never}"]) == 0
    assert f"nothing was predicted as {never}" in capsys.readouterr().err
    assert Artifact(here / "navai.zarr").flags("class") == (sorted(given)[0],)
    shutil.rmtree("navai.zarr")
    assert run([*told, never]) == 1
    assert f"none of the items was predicted as {never}" in capsys.readouterr().err
    assert not Path("navai.zarr").exists()


def test_any_network_is_averaged(here: Path) -> None:
    Path("tiny_navai.py").write_text(
        "import torch\n"
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(201 * 16, 5))\n"
    )
    told = ["--model", "tiny_navai:make", "--corpus", "corpus.zarr", "-o", "tiny.zarr", "-fq"]
    assert run(["navai", *told, "--rule", "epsilon"]) == 0
    found, corpus = Artifact(here / "tiny.zarr"), Corpus(here / "corpus.zarr")
    items, target = found.read("item_index"), found.read("target")
    label = found.flags("target").index(found.flags("class")[0])
    wanted = corpus.centred(items[target == label])[:, 0].mean(0)
    np.testing.assert_allclose(found.read("mean")[0, 0], wanted, atol=1e-6)
    assert run(["navai", *told, "--mode", "profile", "--layer", "1", "--items", "0:40"]) == 0
    from tiny_navai import make  # type: ignore[import-not-found]

    x = torch.from_numpy(corpus.centred(corpus.items("train")[:40]) + corpus.mean)
    out = make()(x).detach()
    rows = [out.argmax(1) == int(name) for name in Artifact(here / "tiny.zarr").flags("class")]
    wanted = torch.stack([out[row].mean(0) for row in rows])
    stored = Artifact(here / "tiny.zarr").read("profile_1")
    np.testing.assert_allclose(stored, wanted - wanted.mean(0), atol=1e-5)
    assert run(["navai", *told, "--mode", "profile", "--adjust"]) == 2
    assert run(["navai", *told, "--mode", "profile", "--by", "phone"]) == 2  # has no recordings


def test_a_layer_without_a_rule_leaves_the_alignments_that_need_none(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("soft_navai.py").write_text(
        "import torch\n"
        "def make():\n"
        "    return torch.nn.Sequential(\n"
        "        torch.nn.Flatten(), torch.nn.Softplus(), torch.nn.Linear(201 * 16, 5))\n"
    )
    told = ["navai", "--model", "soft_navai:make", "--corpus", "corpus.zarr", "-o", "s.zarr", "-fq"]
    assert run(told) == 1
    said = capsys.readouterr().err
    assert "layer 1 (Softplus): no rule" in said
    left = said.split("--align ")[1].split()[0]
    assert left == "none,min-sensitivity,max-sensitivity"
    assert run([*told, "--align", left]) == 0


WRONG = [
    (["corpus.zarr"], 2, "corpus.zarr is a corpus; navai takes a model or relevance"),
    (["nowhere.pt"], 1, "nowhere.pt does not exist"),
    (["--align", "middle"], 2, "--align middle: choose from none"),
    (["--class", "zz"], 2, "--class zz: choose from iy"),
    (["--class", "sil"], 2, "--class sil is left out by --exclude"),
    (["--exclude", "zz"], 2, "--exclude zz: choose from"),
    (["--by", "mood"], 2, "--by mood: choose from none, phone"),
    (["--split", "dev"], 2, "has no dev items"),
    (["--layer", "fc2"], 2, "--layer has no meaning for --mode inputs"),
    (["--mode", "profile", "--align", "none"], 2, "--align has no meaning for --mode profile"),
    (["--mode", "profile", "--layer", "fc9"], 2, "layer fc9: expected 1 to"),
    (["--phones", "frames.zarr"], 2, "--phones goes with --by phone"),
    (["letters.pt", "--by", "phone"], 2, "letters.zarr has no phones; name a corpus"),
    (["letters.pt", "--by", "phone", "--phones", "letters.zarr"], 2, "is labelled with letters"),
    (["--items", "9000"], 2, "--items 9000: the train split has items"),
]


@pytest.mark.parametrize(("told", "code", "message"), WRONG, ids=lambda v: str(v)[:30])
def test_what_cannot_be_done_is_said(
    here: Path, told: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["navai", *told, "-o", "wrong.zarr", "-q"]) == code
    assert message in capsys.readouterr().err
    assert not Path("wrong.zarr").exists()


def test_relevance_has_to_be_of_inputs_and_of_the_right_kind(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["relevance", "--method", "guided", "--items", "0", "-o", "g.zarr", "-fq"]) == 0
    assert run(["navai", "g.zarr", "--align", "max-lrp", "-o", "no.zarr"]) == 2
    assert "it needs lrp (speechscope relevance --method" in capsys.readouterr().err
    told = ["relevance", "--method", "lrp", "--layer", "pool1", "--items", "0", "-o", "i.zarr"]
    assert run([*told, "-fq"]) == 0
    assert run(["navai", "i.zarr", "-o", "no.zarr"]) == 2
    assert "i.zarr explains what enters pool1" in capsys.readouterr().err


def test_an_interrupt_leaves_nothing_behind(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("speechscope.navai.averages.Averages.add", interrupted)
    before = sorted(path.name for path in here.iterdir())
    assert run(["navai", "-o", "stopped.zarr", "-q"]) == 130
    assert sorted(path.name for path in here.iterdir()) == before
