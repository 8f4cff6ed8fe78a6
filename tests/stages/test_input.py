"""A network is looked at with other speech than it was trained with: ``--input`` and `listen`."""

import csv
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import corpora
import numpy as np
import pytest
import soundfile

from speechscope import stages
from speechscope.cli import run
from speechscope.corpus import seen
from speechscope.corpus.seen import Seen
from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.networks.saved import load_model
from speechscope.relevance.store import Explainer
from speechscope.stages import seeing
from speechscope.store.artifact import Artifact
from speechscope.store.lineage import record_at
from speechscope.store.staging import staged
from speechscope.work.local import Serial

RATE = 16000
LITTLE = {"epochs": 1, "per_class": 3, "batch": 16}
RECIPES = ("churchman2015", "muckenhirn2019", "pellegrini2016")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder a recipe with its corpus and a model, and another corpus folder beside them."""
    folder = tmp_path_factory.mktemp("seen")
    corpora.timit(folder / "timit", speakers=2, sentences=2)
    corpora.timit(folder / "other", speakers=1, sentences=2)
    for recipe in RECIPES:
        (folder / recipe).mkdir()
        given = {"folder": folder / "timit", "recipe": recipe, "phone_set": "timit-48", "dev": 0.0}
        stages.run("prepare", {**given, "output": folder / recipe / "corpus.zarr"})
        made = {"corpus": folder / recipe / "corpus.zarr", "output": folder / recipe / "model.pt"}
        network = {"network": "raw-phone"} if recipe == "muckenhirn2019" else {}
        stages.run("train", {**LITTLE, **made, **network})
    return folder


@pytest.fixture
def here(trained: Path, workdir: Path) -> Callable[[str], Path]:
    """Put the corpus and the model of a recipe into the working directory."""

    def put(recipe: str) -> Path:
        shutil.copytree(trained / recipe, workdir, dirs_exist_ok=True)
        return workdir

    return put


def same(first: Path, second: Path) -> None:
    one, other = Artifact(first), Artifact(second)
    assert sorted(one) == sorted(other)
    for name in one:
        np.testing.assert_array_equal(one.read(name), other.read(name), err_msg=name)


@pytest.mark.parametrize("stage", ["relevance", "navai", "cluster"])
def test_the_corpus_of_the_network_itself_changes_nothing(
    here: Callable[[str], Path], stage: str
) -> None:
    here("churchman2015")
    of_stage: dict[str, dict[str, Any]] = {
        "relevance": {"method": "guided"},
        "navai": {"align": "none"},
        "cluster": {"layer": 9, "reduce": "none", "algorithm": "kmeans", "correct": False},
    }
    given = of_stage[stage]
    stages.run(stage, {**given, "output": "usual.zarr"})
    shutil.copytree("corpus.zarr", "copy.zarr")
    stages.run(stage, {**given, "output": "seen.zarr", "input": "copy.zarr"})
    same(Path("usual.zarr"), Path("seen.zarr"))
    assert "looked_at" not in record_at(Path("seen.zarr"))["config"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_folder_is_prepared_as_the_network_was_trained(
    trained: Path, here: Callable[[str], Path], recipe: str
) -> None:
    here(recipe)
    stages.run("relevance", {"input": trained / "other", "method": "gradient", "all": True})
    record = record_at(Path("relevance.zarr"))
    seen, model = record["parents"]
    assert (seen["kind"], model["kind"]) == ("corpus", "model")
    other, own = Corpus(Path(seen["path"])), Corpus(Path("corpus.zarr"))
    for name in ("rate", "samples", "window", "overlap", "features", "unit", "normalize"):
        assert other.config[name] == own.config[name], name
    artifact = Artifact(Path("relevance.zarr"))
    items = artifact.read("item_index")
    whole = other.view.read(items).reshape(artifact.array("input").shape)
    np.testing.assert_allclose(artifact.read("input"), whole, atol=1e-6)
    # The network's mean is taken away, not that of the other corpus.
    import torch

    network = load_model(Path("model.pt")).network
    with torch.no_grad():
        scores = network(torch.from_numpy(other.view.read(items) - own.mean))
    answers = scores.flatten(2).mean(2) if scores.dim() > 2 else scores
    np.testing.assert_array_equal(artifact.read("predicted"), answers.argmax(1).numpy())
    expected = answers.softmax(1).max(1).values.numpy()
    np.testing.assert_allclose(artifact.read("probability"), expected, rtol=1e-4)
    names = [other.names("label")[k] for k in other.artifact.read("label")[items]]
    said = [artifact.flags("label")[k] for k in artifact.read("label")]
    folded = {"h#": "sil", "tcl": "cl"}
    assert [folded.get(name, name) for name in names] == said


def test_the_next_stage_finds_what_the_one_before_prepared(
    trained: Path, here: Callable[[str], Path]
) -> None:
    here("churchman2015")
    given = {"input": trained / "other"}
    stages.run("relevance", {**given, "method": "gradient"})
    before = sorted(path.name for path in Path().glob("other.*.zarr"))
    stages.run("navai", {**given, "align": "none"})
    stages.run("cluster", {**given, "layer": 9, "reduce": "none", "correct": False})
    assert sorted(path.name for path in Path().glob("other.*.zarr")) == before and len(before) == 1
    assert run(["score", "relevance.zarr", "clusters.zarr", "navai.zarr"]) == 0
    assert run(["report", "relevance.zarr", "clusters.zarr", "navai.zarr", "-q"]) == 0
    assert run(["check", "--deep", "relevance.zarr", before[0]]) == 0


def test_a_score_is_of_the_other_corpus(
    trained: Path, here: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    here("churchman2015")
    assert run(["score", "model.pt", "--input", str(trained / "other"), "--csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    (path,) = Path().glob("other.*.zarr")
    seen = Seen(path, Corpus(Path("corpus.zarr")))
    accuracy = next(r for r in rows if r["measure"] == "accuracy" and r["classes"] == "48")
    assert int(accuracy["items"]) == len(seen.items("test")) > 0
    import torch

    network = load_model(Path("model.pt")).network
    with torch.no_grad():
        answers = network(torch.from_numpy(seen.centred(seen.items("test")))).argmax(1).numpy()
    right = float(np.mean(answers == seen.labels[seen.items("test")]))
    assert float(accuracy["value"]) == pytest.approx(right)


def test_classes_are_matched_by_name_and_by_folding_and_others_are_named(
    here: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    here("churchman2015")
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    Path("mine").mkdir()
    soundfile.write("mine/a.wav", noise, RATE)
    labels = ["IY1", "tcl", "axr", "zzz", "h#", "iy"]
    rows = [f"a.wav,{n / 10},{(n + 1) / 10},{name},me" for n, name in enumerate(labels)]
    rows.append("a.wav,0.6,1.0,iy,me")
    Path("mine/manifest.csv").write_text("audio,start,end,label,speaker\n" + "\n".join(rows))
    assert run(["relevance", "--input", "mine", "--all", "--method", "gradient"]) == 0
    artifact = Artifact(Path("relevance.zarr"))
    said = [artifact.flags("label")[k] for k in artifact.read("label")]
    assert said == ["iy", "cl", "er", "sil", "iy"]
    told = capsys.readouterr().err
    assert "1 items of 1 classes that the network does not know are left out: zzz 1" in told
    longest = Corpus(Path("corpus.zarr")).config["max_length"]
    assert f"1 are left out, longer than {longest} samples" in told


def test_case_is_part_of_labels_that_differ_by_it(here: Callable[[str], Path]) -> None:
    here("churchman2015")
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    Path("sampa").mkdir()
    soundfile.write("sampa/a.wav", noise, RATE)
    rows = [
        f"a.wav,{n / 10},{(n + 1) / 10},{name},me" for n, name in enumerate("s S n N y j".split())
    ]
    Path("sampa/manifest.csv").write_text("audio,start,end,label,speaker\n" + "\n".join(rows))
    stages.run("relevance", {"input": "sampa", "all": True, "method": "gradient"})
    artifact = Artifact(Path("relevance.zarr"))
    # What is y here is a vowel, and a glide of the network's.
    assert [artifact.flags("label")[k] for k in artifact.read("label")] == ["s", "n"]


def test_labels_beside_a_recording_that_a_network_has_no_use_for_are_none(
    trained: Path, tmp_path: Path
) -> None:
    source = next((trained / "timit" / "TEST").rglob("*.WAV"))
    beside = tmp_path / source.parent.name / source.name
    beside.parent.mkdir()
    for suffix in (".WAV", ".PHN"):
        beside.with_suffix(suffix).write_bytes(source.with_suffix(suffix).read_bytes())

    def rows(path: Path, labels: str, *classes: str) -> list[seen.Row]:
        return seen._beside(
            path, cast(Corpus, SimpleNamespace(config={"labels": labels}, classes=classes))
        )

    assert rows(beside, "phone") and not rows(beside, "letter")
    assert not rows(beside, "speaker", "someone")
    assert len(rows(beside, "speaker", beside.parent.name)) == len(rows(beside, "phone"))
    beside.with_suffix(".TXT").write_text("0 9 She had.\n")
    assert {row[4] for row in rows(beside, "letter")} == {"She had."}


def speech(seconds: float, rate: int = RATE) -> np.ndarray:
    """Vowels and noise by turns."""
    time = np.arange(round(seconds * rate)) / rate
    voice = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 20))
    noise = np.random.default_rng(1).normal(size=len(time))
    return (0.05 * np.where((time * 4).astype(int) % 2, voice, noise)).astype(np.float32)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recording_without_labels_becomes_a_textgrid_exact_to_the_sample(
    here: Callable[[str], Path], recipe: str
) -> None:
    parselmouth = pytest.importorskip("parselmouth")
    here(recipe)
    soundfile.write("talk.wav", speech(1.7), RATE)
    given = {"input": "talk.wav", "all": True, "method": "guided", "textgrid": "grids"}
    stages.run("relevance", given)
    (path,) = Path("grids").glob("*.TextGrid")
    grid = parselmouth.read(str(path))

    def asked(what: str, *more: object) -> Any:
        return parselmouth.praat.call(grid, what, 1, *more)

    artifact = Artifact(Path("relevance.zarr"))
    corpus = Corpus(Path(record_at(Path("relevance.zarr"))["parents"][0]["path"]))
    items = artifact.read("item_index")
    start, stop = (corpus.artifact.read(name)[items] for name in ("start", "stop"))
    answers = [artifact.flags("predicted")[k] for k in artifact.read("predicted")]
    assert {artifact.flags("label")[k] for k in artifact.read("label")} == {"?"}
    for middle, answer in zip((start + stop) / 2 / RATE, answers, strict=True):
        place = asked("Get interval at time", middle)
        assert asked("Get label of interval", place) == answer
    for place in range(1, asked("Get number of intervals") + 1):
        time = asked("Get end time of interval", place) * RATE
        assert time == pytest.approx(round(time), abs=1e-6)
    with path.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["answer"] for row in rows] == answers
    shares = [[float(v) for name, v in row.items() if name.endswith("Hz")] for row in rows]
    np.testing.assert_allclose(np.sum(shares, axis=1), 1, atol=1e-3)


def test_segments_of_a_recording_cover_it_every_so_many_samples(
    here: Callable[[str], Path],
) -> None:
    here("churchman2015")
    soundfile.write("talk.wav", speech(1.0), RATE)
    stages.run("relevance", {"input": "talk.wav", "all": True, "method": "gradient", "every": 500})
    corpus = Corpus(Path(record_at(Path("relevance.zarr"))["parents"][0]["path"]))
    starts, stops = corpus.artifact.read("start"), corpus.artifact.read("stop")
    np.testing.assert_array_equal(starts, np.arange(0, RATE, 500))
    np.testing.assert_array_equal(stops, np.minimum(starts + 2554, RATE))
    # Another step is another corpus: what was made from the first stays whole.
    stages.run("relevance", {"input": "talk.wav", "method": "gradient", "output": "b.zarr"})
    assert run(["score", "relevance.zarr"]) == 0


@pytest.mark.parametrize("recipe", RECIPES)
def test_recordings_are_cut_at_pauses(here: Callable[[str], Path], recipe: str) -> None:
    here(recipe)
    pause = np.random.default_rng(0).normal(0, 1e-4, RATE // 2).astype(np.float32)
    parts = [pause, speech(0.6), pause[:1000], speech(0.2), pause, speech(0.3), pause]
    soundfile.write("talk.wav", np.concatenate(parts), RATE)
    stages.run("relevance", {"input": "talk.wav", "all": True, "method": "guided", "pauses": True})
    corpus = Corpus(Path(record_at(Path("relevance.zarr"))["parents"][0]["path"]))
    starts, stops = corpus.artifact.read("start"), corpus.artifact.read("stop")
    # A gap of 62 ms is no pause.
    spans = [(8000, 8000 + 13800), (8000 + 13800 + 8000, 8000 + 13800 + 8000 + 4800)]
    frame = RATE // 100
    if corpus.unit == "segment":
        assert (stops - starts).max() <= 2554
        met = [n for n in range(1, len(starts)) if starts[n] != stops[n - 1]]
        edges = [(starts[0], stops[met[0] - 1]), (starts[met[0]], stops[-1])]
        assert len(met) == 1
        np.testing.assert_allclose(edges, spans, atol=frame)
    else:
        middle = (starts + stops) // 2
        inside = [any(a - frame <= m <= b + frame for a, b in spans) for m in middle]
        assert all(inside) and len(middle) == pytest.approx(18600 / frame, abs=4)


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_layers_hold_along_a_recording_comes_with_its_times(
    here: Callable[[str], Path], recipe: str
) -> None:
    here(recipe)
    soundfile.write("talk.wav", speech(0.5), RATE)
    given = {"input": "talk.wav", "all": True, "method": "gradient", "activity": "all"}
    stages.run("relevance", given)
    artifact, network = Artifact(Path("relevance.zarr")), load_model(Path("model.pt")).network
    corpus = Seen(Path(record_at(Path("relevance.zarr"))["parents"][0]["path"]),
                  Corpus(Path("corpus.zarr")))  # fmt: skip
    import torch

    items = artifact.read("item_index")
    with torch.no_grad():
        held = network.activations(torch.from_numpy(corpus.centred(items)), network.names)
    for number, name in enumerate(network.names, start=1):
        wanted = held[number].flatten(2).mean(2) if held[number].dim() > 2 else held[number]
        found = artifact.read(f"activity_{name}")
        assert artifact.dims(f"activity_{name}") == ("item", f"unit_{name}")
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(artifact.read("start"), corpus.artifact.read("start")[items])
    last = f"activity_{network.names[-1]}"
    assert run(["export", "relevance.zarr", "--to", "csv", "--array", last, "-o", "table"]) == 0
    with next(Path("table").glob(f"*{network.names[-1]}*.csv")).open() as file:
        assert len(list(csv.DictReader(file))) == artifact.read(last).size


def test_an_input_that_another_process_prepares_is_waited_for(
    here: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here("churchman2015")
    soundfile.write("talk.wav", speech(0.5), RATE)
    command = ["relevance", "--input", "talk.wav", "--method", "gradient", "--force"]
    assert run(command) == 0
    (path,) = Path().glob("talk.*.zarr")
    path.rename("made.zarr")
    with staged(path, force=False, directory=True) as partial:

        def other(seconds: float) -> None:
            """The other process ends while this one waits."""
            assert seconds == seeing.WAIT and not path.exists()
            shutil.copytree("made.zarr", partial, dirs_exist_ok=True)
            partial.rename(path)
            partial.mkdir()

        monkeypatch.setattr("time.sleep", other)
        assert run(command) == 0
        path.rename("again.zarr")
    said = capsys.readouterr().err
    assert "another process prepares it" in said and "as it was prepared before" in said


def test_relevance_of_a_folder_of_recordings_goes_on_where_it_was_stopped(
    here: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    here("churchman2015")
    Path("talks").mkdir()
    for number in range(6):
        soundfile.write(f"talks/{number}.wav", speech(0.4 + number / 10), RATE)
    given = {"input": "talks", "all": True, "method": "guided", "workers": 2}
    monkeypatch.setattr(Explainer, "chunk_items", lambda self, count: 4)
    stages.run("relevance", {**given, "output": "whole.zarr"})
    begun, call = [], Explainer.__call__

    def stopping(self: Explainer, *task: Any) -> Any:
        begun.append(task)
        if len(begun) == 7:
            raise KeyboardInterrupt
        return call(self, *task)

    monkeypatch.setattr(Explainer, "alone", lambda self, tasks: Serial())
    monkeypatch.setattr(Explainer, "__call__", stopping)
    with pytest.raises(KeyboardInterrupt):
        stages.run("relevance", {**given, "workers": 1})
    stages.run("relevance", {**given, "workers": 1, "resume": True})
    assert len(begun) == 1 + -(-Artifact(Path("whole.zarr")).read("score").shape[0] // 4)
    same(Path("whole.zarr"), Path("relevance.zarr"))


@pytest.mark.parametrize("rate, channels", [(8000, 1), (44100, 2)])
def test_any_rate_and_stereo_are_heard_alike(
    here: Callable[[str], Path], rate: int, channels: int
) -> None:
    here("churchman2015")
    samples = speech(1.0, rate)
    soundfile.write("talk.wav", np.stack([samples] * channels, 1), rate)
    stages.run("relevance", {"input": "talk.wav", "all": True, "method": "gradient"})
    corpus = Corpus(Path(record_at(Path("relevance.zarr"))["parents"][0]["path"]))
    assert int(corpus.artifact.read("stop").max()) == RATE


def odd(name: str) -> None:
    """Write a recording that is none, or hardly one."""
    samples, path = speech(0.3), Path(name)
    values = {
        "silent": np.zeros(RATE), "steady": np.full(RATE, 0.25), "loud": samples * 1e30,
        "faint": np.linspace(1e-30, 2e-30, RATE), "hole": np.where(samples > 0.1, np.nan, samples),
        "two\nlines": samples, "two": samples[:2], "good": samples,
    }  # fmt: skip
    if path.stem in values:
        soundfile.write(path, values[path.stem].astype(np.float32), RATE, subtype="FLOAT")
    elif path.stem == "cut":
        odd("good.wav")
        path.write_bytes(Path("good.wav").read_bytes()[:5000])
        Path("good.wav").unlink()
    elif path.stem == "text":
        path.write_text("words")
    elif path.stem == "link":
        path.symlink_to("nowhere.wav")
    elif path.stem == "empty":
        path.mkdir()


ODD = {
    "nothing.wav": "is not there",
    "silent.wav": "is silent: every sample is 0",
    "steady.wav": "is silent: every sample is 0.25",
    "loud.wav": "no sound's",
    "faint.wav": "is silent: every sample is 1",
    "hole.wav": "not numbers",
    "two.wav": "too short",
    "cut.wav": "truncated",
    "text.wav": "cannot be read (Format not recognised)",
    "two\nlines.wav": "rename it",
    "empty": "holds no recording",
}
"""What cannot be heard, and what is said of it."""


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("what", ODD)
def test_what_cannot_be_heard_is_one_clear_line(
    here: Callable[[str], Path], capsys: pytest.CaptureFixture[str], what: str
) -> None:
    here("muckenhirn2019")
    odd(what)
    assert run(["relevance", "--input", what]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert ODD[what] in line and "manifest" not in line
    assert "--input " in line and line.count(repr(what)[1:-1]) <= 2


@pytest.mark.skipif(sys.platform == "darwin", reason="its disks have no such names")
def test_listen_refuses_a_name_before_it_makes_a_folder(
    here: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    here("muckenhirn2019")
    Path("loop.wav").symlink_to("loop.wav")
    latin = os.fsdecode(b"lat\xfcn.wav")
    soundfile.write("plain.wav", speech(0.2), RATE)
    Path("plain.wav").rename(latin)
    before = sorted(Path().iterdir())
    for name, why in (("loop.wav", "is not there"), ("no.wav", "is not there"), (latin, "UTF-8")):
        assert run(["listen", "--input", name]) == 1
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert why in line and "--input" in line and "--debug" not in line
    assert sorted(Path().iterdir()) == before


def test_of_a_folder_what_can_be_heard_is_and_the_rest_is_named(
    here: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    here("muckenhirn2019")
    bad = {name: says for name, says in ODD.items() if name not in ("nothing.wav", "empty")}
    bad["link.wav"] = "is not a file"
    Path("talks").mkdir()
    for name in (*bad, "good.wav"):
        odd(name)
        Path(name).rename(f"talks/{name}")
    given = ["relevance", "--input", "talks", "--method", "gradient", "--textgrid", "grids"]
    assert run(given) == 4
    lines = [line for line in capsys.readouterr().err.splitlines() if "skipped" in line]
    for name, says in bad.items():
        assert sum(says in line and repr(name)[1:-1] in line for line in lines) == 1
    assert len(lines) == len(bad)
    # As long as its recording, if its last windows are not.
    (grid,) = Path("grids").glob("*.TextGrid")
    assert grid.name == "talks_good.TextGrid" and "\nxmax = 0.3\n" in grid.read_text()
    with grid.with_suffix(".csv").open() as file:
        assert float(list(csv.DictReader(file))[-1]["stop"]) == 0.3


@pytest.mark.parametrize("recipe", RECIPES[:2])
def test_items_of_a_recording_are_inverted(here: Callable[[str], Path], recipe: str) -> None:
    here(recipe)
    soundfile.write("talk.wav", speech(1.0), RATE)
    given = {"input": "talk.wav", "source": "model.pt", "layer": 1, "method": "bp", "steps": 1}
    stages.run("invert", {**given, "items": "1:3"})
    assert Artifact(Path("inversion.zarr")).read("item_index").tolist() == [1, 2]
    with pytest.raises(UsageProblem, match="has items 0 to"):
        stages.run("invert", {**given, "items": "900", "force": True})


def test_what_would_fail_or_fill_the_disk_is_said_before_the_work(
    here: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here("muckenhirn2019")
    given = ["relevance", "--method", "gradient", "--force"]
    assert run([*given, "--textgrid", "no/grids"]) == 1
    assert "no does not exist" in capsys.readouterr().err and not Path("relevance.zarr").exists()
    sizes, size = [], Explainer.size

    def asked(self: Explainer, count: int) -> int:
        sizes.append(size(self, count))
        return sizes[-1]

    monkeypatch.setattr(Explainer, "size", asked)
    monkeypatch.setattr("speechscope.stages.relevance.LARGE", 0)
    assert run(given) == 0
    items = len(Artifact(Path("relevance.zarr")).read("item_index"))
    arrays = [Artifact(Path("relevance.zarr")).array(name) for name in
              ("input", "relevance", "spectral_relevance")]  # fmt: skip
    assert sizes == [sum(4 * array.size for array in arrays)]
    said = f"{items} items take up to {sizes[0] / 1e9:.1f} GB"
    assert said in capsys.readouterr().err


def test_a_tenth_of_a_second_is_one_item(here: Callable[[str], Path]) -> None:
    here("churchman2015")
    soundfile.write("short.wav", speech(0.1), RATE)
    stages.run("relevance", {"input": "short.wav", "all": True, "method": "gradient"})
    assert Artifact(Path("relevance.zarr")).read("predicted").shape[0] in (1, 2)


def test_labels_that_are_not_there_are_not_scored(
    here: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    here("churchman2015")
    soundfile.write("talk.wav", speech(1.0), RATE)
    assert run(["score", "model.pt", "--input", "talk.wav"]) == 2
    assert "nobody labelled it" in capsys.readouterr().err
    assert run(["cluster", "--input", "talk.wav"]) == 2
    assert "nobody labelled it" in capsys.readouterr().err
    assert run(["relevance", "--input", "talk.wav", "--method", "gradient"]) == 0
    assert len(Artifact(Path("relevance.zarr")).read("item_index")) == -(-RATE // 1277)
    assert run(["relevance", "--input", "talk.wav", "--target", "label"]) == 2
    assert "--target label" in capsys.readouterr().err


def test_a_corpus_prepared_otherwise_is_made_anew_or_refused(
    trained: Path, here: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    here("churchman2015")
    other = {"folder": trained / "other", "phone_set": "timit-48", "split": "test"}
    stages.run("prepare", {**other, "output": "mel.zarr", "features": "mel", "bins": 40})
    stages.run("relevance", {"input": "mel.zarr", "all": True, "method": "gradient"})
    stages.run(
        "relevance",
        {"input": trained / "other", "all": True, "method": "gradient", "output": "b.zarr"},
    )
    one, two = (Artifact(Path(name)).read("input") for name in ("relevance.zarr", "b.zarr"))
    np.testing.assert_allclose(one, two, atol=1e-4)
    stages.run("prepare", {**other, "output": "frames.zarr", "recipe": "pellegrini2016"})
    capsys.readouterr()
    assert run(["relevance", "--input", "frames.zarr", "-o", "c.zarr"]) == 2
    assert "name the folder of its recordings" in capsys.readouterr().err


@pytest.mark.parametrize(
    "recipe", [RECIPES[0], *(pytest.param(r, marks=pytest.mark.heavy) for r in RECIPES[1:])]
)
def test_listen_makes_a_page_and_a_textgrid_of_a_recording(
    here: Callable[[str], Path], recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    here(recipe)
    soundfile.write("talk.wav", speech(1.3), RATE)
    assert run(["listen", "--input", "talk.wav"]) == 0
    assert capsys.readouterr().out.strip() == "talk-heard/report.html"
    page = Path("talk-heard/report.html").read_text()
    assert "speechscope score talk-heard/relevance.zarr works them out" in page
    assert 'class="recording"' in page and 'class="answers"' in page
    assert len(list(Path("talk-heard/recordings").glob("*.TextGrid"))) == 1
    assert run(["listen", "--input", "talk.wav"]) == 2
    assert run(["listen", "--input", "talk.wav", "--force", "-q"]) == 0


def test_listen_goes_on_where_it_was_stopped(
    here: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here("churchman2015")
    Path("talks").mkdir()
    for number in range(2):
        soundfile.write(f"talks/{number}.wav", speech(0.4 + number / 10), RATE)
    monkeypatch.setattr(Explainer, "chunk_items", lambda self, count: 2)
    monkeypatch.setattr(Explainer, "alone", lambda self, tasks: Serial())
    begun, call = [], Explainer.__call__

    def stopping(self: Explainer, *task: Any) -> Any:
        begun.append(task)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return call(self, *task)

    monkeypatch.setattr(Explainer, "__call__", stopping)
    listen = ["listen", "--input", "talks", "--method", "gradient"]
    assert run(listen) == 130 and run(listen) == 2  # it is there, if not whole
    assert run([*listen, "--resume"]) == 0
    made = Path("talks-heard/relevance.zarr")
    tasks = -(-Artifact(made).array("input").shape[0] // 2)
    assert len(begun) == 1 + tasks > 4
    assert len(list(Path("talks-heard/recordings").glob("*.TextGrid"))) == 2
    # Of a finished run, what comes behind its long work is made anew.
    shutil.rmtree("talks-heard/recordings")
    Path("talks-heard/report.html").unlink()
    assert run([*listen, "--resume"]) == 0 and len(begun) == 1 + tasks
    assert "was finished before" in capsys.readouterr().err
    assert Path("talks-heard/report.html").exists() and Path("talks-heard/recordings").exists()
    assert run([*listen, "--resume", "--target", "aa"]) == 2
    given = {"input": "talks", "method": "gradient", "output": "whole.zarr"}
    stages.run("relevance", given)
    same(Path("whole.zarr"), made)


def test_networks_are_compared_on_the_same_items(
    trained: Path, here: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    here("churchman2015")
    shutil.copy("model.pt", "same.pt")
    stages.run("train", {**LITTLE, "epochs": 3, "seed": 1, "output": "b.pt"})
    asked = ["score", "model.pt", "same.pt", "b.pt", "--input", str(trained / "other"), "--csv"]
    capsys.readouterr()
    assert run([*asked, "--by", "phone,speaker"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    compared = {r["artifact"]: r for r in rows if r["measure"].endswith("over model.pt")}
    assert set(compared) == {"same.pt", "b.pt"}
    assert float(compared["same.pt"]["value"]) == 0
    assert compared["same.pt"]["verdict"] in ("no difference seen", "too few items to tell")
    (path,) = Path().glob("other.*.zarr")
    seen = Seen(path, Corpus(Path("corpus.zarr")))
    items, right = seen.items("test"), {}
    import torch

    for name in ("model.pt", "b.pt"):
        with torch.no_grad():
            found = load_model(Path(name)).network(torch.from_numpy(seen.centred(items)))
        right[name] = seen.fold[found.argmax(1).numpy()] == seen.fold[seen.labels[items]]
    expected = right["b.pt"].mean() - right["model.pt"].mean()
    assert float(compared["b.pt"]["value"]) == pytest.approx(expected, abs=1e-6)
    of_phones = [r for r in rows if r.get("phone") and r["artifact"] == "model.pt"]
    assert sum(int(r["items"]) for r in of_phones) == len(items)
    assert {r["speaker"] for r in rows if r.get("speaker")} == set(seen.names("speaker"))


def test_networks_of_other_inputs_are_compared_each_with_its_own(
    trained: Path, here: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    here("churchman2015")
    other = {"folder": trained / "timit", "phone_set": "timit-48", "output": "mel.zarr"}
    stages.run("prepare", {**other, "features": "mel", "bins": 201})
    stages.run("train", {**LITTLE, "corpus": "mel.zarr", "output": "mel.pt"})
    capsys.readouterr()
    assert run(["score", "model.pt", "mel.pt", "--input", str(trained / "other"), "--csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    (compared,) = [row for row in rows if row["measure"] == "folded accuracy over model.pt"]
    accuracy = {r["artifact"]: float(r["value"]) for r in rows if r["measure"] == "accuracy"
                and r["classes"] == "39"}  # fmt: skip
    expected = accuracy["mel.pt"] - accuracy["model.pt"]
    assert float(compared["value"]) == pytest.approx(expected, abs=1e-6)
    assert len(list(Path().glob("other.*.zarr"))) == 2


STEP = 20


def sequences() -> Any:
    """Return a network that answers every 20 samples, of the 69 around."""
    import torch

    torch.manual_seed(0)
    first = torch.nn.Conv1d(1, 8, 50, STEP)
    last = torch.nn.Conv1d(8, 5, 2, bias=False)
    return torch.nn.Sequential(torch.nn.Unflatten(1, (1, -1)), first, torch.nn.Tanh(), last)


def test_a_recording_of_any_length_is_answered_as_in_one_pass(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a network that takes whole recordings, in stretches of the longest it was given."""
    import torch

    corpora.timit(Path("timit"), speakers=2, sentences=1)
    whole = {"unit": "utterance", "features": "waveform", "max_length": "none"}
    stages.run("prepare", {"folder": "timit", **whole})
    samples = speech(3.3)
    soundfile.write("talk.wav", samples, RATE, subtype="FLOAT")
    monkeypatch.setattr("speechscope.corpus.seen.FRAMES", STEP)
    given = {"model": "test_input:sequences", "scores": ":bvt", "input": "talk.wav"}
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    stages.run("relevance", {**given, "method": "gradient", "textgrid": "grids"})
    artifact = Artifact(Path("relevance.zarr"))
    assert artifact.array("input").shape[0] > 6
    with torch.no_grad():
        scores = sequences()(torch.from_numpy(samples)[None])[0].softmax(0)
    (path,) = Path("grids").glob("*.csv")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    probability, answers = scores.max(0)
    assert len(set(answers.tolist())) > 1 and len(rows) == len(answers)
    assert [int(row["answer"]) for row in rows] == answers.tolist()
    found = [float(row["probability"]) for row in rows]
    np.testing.assert_allclose(found, probability, atol=1e-4)
    middle = (70 - 1) / 2 + STEP * np.arange(len(answers))  # of what each sees
    times = np.array([[float(row[name]) for name in ("start", "stop")] for row in rows])
    np.testing.assert_allclose(times.mean(1)[1:-1] * RATE, middle[1:-1], atol=STEP / 2)
    soundfile.write("short.wav", samples[:50], RATE)
    for command in (["relevance"], ["invert", "--layer", "1", "--steps", "1"]):
        asked = [*command, "--model", given["model"], "--scores", ":bvt", "--input", "short.wav"]
        assert run([*asked, "--force"]) == 1
        assert "short is too short for the network" in capsys.readouterr().err
    # What lies behind the end of the shorter last stretch is nobody's answer.
    last = artifact.read("answer")[-1]
    assert (last >= 0).sum() == (len(samples) % 6400 + 6400 - 70) // STEP + 1 < len(last)
