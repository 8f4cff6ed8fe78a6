"""Every unit through the commands: what xarray sees, and which stages take it."""

import csv
from pathlib import Path
from typing import Any

import corpora
import numpy as np
import pytest
import soundfile
import xarray

from speechscope.cli import run
from speechscope.errors import UsageProblem
from speechscope.settings import make
from speechscope.stages.prepare import Prepare
from speechscope.store.artifact import Artifact

UNITS = {
    "segment": ["--features", "mfcc", "--bins", "13", "--deltas", "1", "--normalize", "band"],
    "frame": ["--recipe", "pellegrini2016", "--phone-set", "timit-48"],
    "window": ["--recipe", "muckenhirn2019"],
    "utterance": ["--recipe", "krug2018"],
}
PER_ITEM = {"speaker", "utterance", "start", "stop", "split"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a corpus was prepared in every unit."""
    folder = tmp_path_factory.mktemp("units")
    root = corpora.timit(folder / "timit", speakers=3, sentences=3)
    for path in root.rglob("*.PHN"):
        path.with_suffix(".TXT").write_text("0 12800 a text\n")
    for unit, options in UNITS.items():
        assert (
            run(["-C", str(folder), "prepare", "timit", "-o", f"{unit}.zarr", "-q", *options]) == 0
        )
    return folder


def opened(folder: Path, unit: str) -> Any:
    return xarray.open_zarr(folder / f"{unit}.zarr")


@pytest.mark.parametrize("unit", UNITS)
def test_xarray_opens_every_unit(folder: Path, unit: str) -> None:
    data = opened(folder, unit)
    assert data.attrs["Conventions"].startswith("CF-")
    assert data.attrs["speechscope"]["config"]["unit"] == unit
    for name in PER_ITEM:
        assert data[name].dims == ("item",), name
    assert data["split"].attrs["flag_meanings"] == "train dev test"
    assert data["split"].attrs["flag_values"] == [0, 1, 2]
    assert data["speaker"].attrs["flag_meanings"] == "FAB00 FAB10 FAB20 FAB30"
    assert data["start"].attrs["units"] == "sample"
    assert data["start"].attrs["sampling_frequency"] == 16000
    if unit != "utterance":
        assert data["label"].attrs["flag_meanings"].split()[data["label"].values[0]] == "sil"
        assert data["label_folded"].dims == data["label"].dims == ("item",)
        assert data["mean"].dims == ("channel", "frequency", "time")
        assert data["time"].attrs["units"] == "s"
    assert data["waveform"].attrs["sampling_frequency"] == 16000
    for name, array in data.variables.items():
        if array.dtype.kind == "f":
            assert "units" in array.attrs, name


def test_the_coordinates_of_segments(folder: Path) -> None:
    data = opened(folder, "segment")
    assert data["input"].dims == ("item", "channel", "frequency", "time")
    assert data["channel"].values.tolist() == ["mfcc", "mfcc_delta"]
    assert data["frequency"].attrs == {"units": "1", "long_name": "cepstrum"}
    np.testing.assert_array_equal(data["frequency"], np.arange(13))
    np.testing.assert_allclose(data["time"][:2], [133.5 / 16000, 278.5 / 16000])


def test_the_coordinates_of_frames(folder: Path) -> None:
    data = opened(folder, "frame")
    assert data["input"].dims == ("frame", "channel", "frequency")
    assert data["centre"].dims == ("item",)
    assert data["frame_offset"].dims == data["waveform_offset"].dims == ("utterance_edge",)
    assert data["frequency"].attrs["units"] == "Hz"
    assert (np.diff(data["frequency"]) > 0).all() and 0 < data["frequency"][0] < 200
    np.testing.assert_allclose(data["time"], np.arange(-5, 6) * 0.01)
    assert data.sizes["channel"] == 3 and data.sizes["frequency"] == 40


def test_the_coordinates_of_windows_and_utterances(folder: Path) -> None:
    data = opened(folder, "window")
    np.testing.assert_allclose(data["time"][[0, 2000, 3999]], [-0.125, 0, 1999 / 16000])
    assert data["waveform_offset"].dims == ("utterance_edge",)
    data = opened(folder, "utterance")
    assert data["input"].dims == ("frame", "frequency") and data.sizes["frequency"] == 128
    assert data["input_offset"].dims == data["letter_offset"].dims == ("item_edge",)
    assert data["letter"].dims == ("character",)
    letters = data["letter"].attrs["flag_meanings"].split()
    assert "".join(letters[i] for i in data["letter"].values[:6]) == "a|text"


@pytest.mark.parametrize(
    "unit", ["frame", *(pytest.param(u, marks=pytest.mark.heavy) for u in ("window", "utterance"))]
)
def test_the_arrays_do_not_depend_on_the_number_of_workers(
    folder: Path, unit: str, tmp_path: Path
) -> None:
    arguments = ["-C", str(folder), "prepare", "timit", "-q", *UNITS[unit], "--workers", "2"]
    assert run([*arguments, "-o", str(tmp_path / "two.zarr")]) == 0
    one, two = Artifact(folder / f"{unit}.zarr"), Artifact(tmp_path / "two.zarr")
    assert list(one) == list(two)
    for name in one:
        np.testing.assert_array_equal(one.read(name), two.read(name))


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["train", "utterance.zarr", "--network", "freq"], 2, "holds utterances with letters"),
        (
            ["train", "frame.zarr", "--network", "freq-overlap"],
            2,
            "does not take inputs of 3 × 40 × 11",
        ),
        (["score", "frame.zarr"], 2, "holds items of unit frame; this needs `speechscope prepare"),
        (["score", "window.zarr"], 2, "window.zarr holds waveforms; this needs spectrograms"),
        (["score", "utterance.zarr"], 2, "holds items of unit utterance; this needs"),
    ],
)
def test_a_stage_that_cannot_take_a_unit_says_so_in_one_line(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    text: str,
) -> None:
    monkeypatch.chdir(folder)
    assert run(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert text in captured.err


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_is_shown_and_checked(
    folder: Path, unit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(folder / f"{unit}.zarr")
    assert run(["info", path]) == 0
    assert "unit" in capsys.readouterr().out
    assert run(["check", "--deep", path]) == 0


def test_the_round_trips_of_a_corpus(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", str(folder / "segment.zarr"), "--csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["bins"] for row in rows] == ["101"] * 3 + ["201"] * 3 + ["301"] * 3
    assert {row["items"] for row in rows} == {"21"}  # all test segments
    assert 0.99 < float(rows[3]["value"]) <= 1


def test_a_network_that_fits_is_trained_on_other_representations(workdir: Path) -> None:
    corpora.timit(workdir / "timit", speakers=3, sentences=3)
    prepare = ["prepare", "timit", "-q", "--features", "log-magnitude", "--normalize", "utterance"]
    assert run([*prepare, "--dev", "0.34"]) == 0
    assert run(["train", "--epochs", "1", "--per-class", "2", "-q"]) == 0
    assert run(["invert", "model.pt", "--method", "bp", "--layer", "3", "--steps", "2", "-q"]) == 0
    inversion = Artifact(workdir / "inversion.zarr")
    assert "waveform" not in inversion and inversion.attributes("frequency")["units"] == "Hz"
    assert run(["score", "inversion.zarr"]) == 0


def test_sound_comes_back_from_the_complex_transform(workdir: Path) -> None:
    corpora.timit(workdir / "timit", speakers=3, sentences=3)
    assert run(["prepare", "timit", "-q", "--features", "complex"]) == 0
    assert run(["train", "--epochs", "1", "--per-class", "2", "-q"]) == 0
    invert = ["invert", "model.pt", "--method", "bp", "--layer", "1", "--steps", "2", "-q"]
    assert run([*invert, "--wav", "wav"]) == 0
    inversion = Artifact(workdir / "inversion.zarr")
    original, back = (inversion.read(f"waveform_{n}") for n in ("original", "round_trip"))
    # The first and last samples of a segment are in no frame's middle; zeros are there.
    np.testing.assert_allclose(back, original, atol=1e-3)
    assert list((workdir / "wav").glob("*.wav"))


def test_no_folder_says_what_to_test_on(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["audio,start,end,label,speaker"]
    for number in range(4):
        name = f"r{number}.wav"
        soundfile.write(workdir / name, corpora.recording(seed=number), 16000)
        rows += [f"{name},0.0,0.1,aa,s{number}", f"{name},0.1,0.3,s,s{number}"]
    (workdir / "manifest.csv").write_text("\n".join(rows) + "\n")
    assert run(["prepare", "."]) == 0
    captured = capsys.readouterr()
    assert captured.out == "corpus.zarr\n"
    assert "no folder says what to test on: --split share:test=0.25, by speaker" in captured.err
    assert "of 4 utterances" in captured.err
    data = xarray.open_zarr(workdir / "corpus.zarr")
    assert len(set(data["speaker"].values[data["split"].values == 2])) == 1


def test_labels_of_a_corpus_become_its_classes(workdir: Path) -> None:
    root = corpora.timit(workdir / "timit", speakers=2, sentences=1)
    for path in root.rglob("*.PHN"):
        path.write_text("0 1600 Ä:\n1600 3200 zz\n3200 4800 aa\n")
    assert run(["prepare", "timit", "-q", "--phone-set", "as-is"]) == 0
    artifact = Artifact(workdir / "corpus.zarr")
    assert artifact.flags("label") == artifact.flags("label_folded") == ("aa", "zz", "Ä:")
    assert artifact.read("label").tolist() == [2, 1, 0] * 3


def test_unknown_labels_of_a_phone_set_are_named(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpora.timit(workdir / "timit", speakers=2, sentences=1)
    assert run(["prepare", "timit", "-q", "--phone-set", "sampa-fr"]) == 1
    err = capsys.readouterr().err
    assert "SX0.PHN: 0-1600: unknown phone 'h#', 6 times, also timit" in err
    assert "--phone-set timit-48 knows 100% of all" in err
    assert not (workdir / "corpus.zarr").exists()
    assert run(["prepare", "timit", "-q", "-f", "--phone-set", "sampa-fr", "--skip-bad"]) == 0


@pytest.mark.parametrize(("labels", "sentences"), [("phone", 3), ("speaker", 5)])
def test_speakers_keep_their_sa_sentences(workdir: Path, labels: str, sentences: int) -> None:
    corpora.timit(workdir / "timit", speakers=2, sentences=3)
    for number in range(2):
        for name in ("SA1", "SA2"):
            folder = workdir / f"timit/TRAIN/DR{number + 1}/FAB{number}0"
            corpora.utterance(folder, name, seed=7 * number)
    options = ["--recipe", "muckenhirn2019", "--labels", labels]
    assert run(["prepare", "timit", "-q", *options]) == 0
    artifact = Artifact(workdir / "corpus.zarr")
    assert artifact.record["config"]["drop_sa"] == (labels == "phone")
    names = artifact.attributes("utterance")["flag_meanings"].split()
    assert sum(name.startswith("FAB00") for name in names) == sentences
    split = artifact.read("split")[artifact.read("speaker") == 0]
    if labels == "speaker":
        # One of five is tested on: sec. 4.1 has one of ten.
        own = artifact.read("utterance")[artifact.read("speaker") == 0]
        assert len(set(own[split == 2].tolist())) == 1 and set(split.tolist()) == {0, 2}


@pytest.mark.parametrize(
    ("recipe", "given", "window", "overlap"),
    [
        ("churchman2015", {}, 267, 122),
        ("churchman2015", {"hop": 100}, 267, 167),
        ("pellegrini2016", {"hop": 80, "window": 400}, 400, 320),
        ("muckenhirn2019", {}, 160, 0),
        ("muckenhirn2019", {"hop": 400}, 400, 0),
    ],
)
def test_a_hop_is_what_frames_do_not_share(
    recipe: str, given: dict[str, int], window: int, overlap: int
) -> None:
    chosen = make(Prepare, "prepare", {"folder": "x", **given}, recipe).resolved()
    assert (chosen.window, chosen.overlap) == (window, overlap)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"labels": "letter"}, "--labels letter: --unit segment has none; use utterance"),
        ({"unit": "utterance"}, "--unit utterance: has no one phone"),
        ({"unit": "window"}, "--features real: --unit window needs waveform"),
        ({"features": "waveform"}, "--features waveform: --unit segment needs a representation"),
        ({"length": 100}, "--length 100: a segment holds at least one --window (267)"),
        ({"hop": 268}, "--hop: give 1 to --window (267) samples"),
        ({"normalize": "item"}, "--normalize item: for windows of the waveform"),
        ({"unit": "frame", "duration": True}, "--duration: --unit frame has no segments"),
        ({"unit": "frame", "padding": "speech"}, "--padding speech: --unit frame has no"),
        ({"context": 2}, "--context 2: an odd number has a middle frame"),
        ({"max_length": "0%"}, "--max-length 0%: give samples"),
        ({"max_length": "1.5"}, "--max-length 1.5: give samples"),
        (
            {"unit": "utterance", "labels": "speaker", "mapping": "m"},
            "--mapping: --labels speaker needs none",
        ),
        (
            {"unit": "window", "features": "waveform", "normalize": "band"},
            "--normalize band: waveforms have no bands",
        ),
    ],
)
def test_what_cannot_go_together_is_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        _ = make(Prepare, "prepare", {"folder": "x", **given}).resolved().longest
    assert str(caught.value).startswith(reason)
