"""What `export` writes is read by the programs it is for, and holds what the artifact holds."""

import csv
import json
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from praatio.textgrid import openTextgrid
from scipy.io import loadmat

from speechscope.cli import run
from speechscope.corpus.store import Corpus
from speechscope.stages import STAGES
from speechscope.store import export
from speechscope.store.artifact import Artifact

GOLDEN = Path(__file__).parents[1] / "golden" / "format-5.tar.xz"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def here(made: Path, workdir: Path) -> Path:
    shutil.copytree(made, workdir, dirs_exist_ok=True)
    return workdir


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_of_a_table_is_one_observation(here: Path) -> None:
    assert run(["export", "inversion.zarr", "--to", "csv"]) == 0
    found = Artifact(here / "inversion.zarr")
    table = rows(here / "inversion-csv" / "technique-layer-item-step.csv")
    values = found.read("objective")
    assert len(table) == values.size
    assert set(table[0]) == {"technique", "layer", "item", "step", "label", "objective"}
    labels = np.array(found.flags("label"))[found.read("label")]
    for row in table:
        t = found.flags("technique").index(row["technique"])
        layer = found.flags("layer").index(row["layer"])
        item, value = int(row["item"]), values[t, layer, int(row["item"]), int(row["step"])]
        assert row["label"] == labels[item]
        assert row["objective"] == "" if np.isnan(value) else float(row["objective"]) == value
    columns = {(r["table"], r["column"]): r for r in rows(here / "inversion-csv" / "columns.csv")}
    assert columns["item-channel-frequency-time", "frequency"]["units"] == "Hz"
    told = columns["technique-layer-item-step", "objective"]
    assert told["meaning"].startswith("objective before each step")


def test_every_value_is_in_a_table(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("corpus", "relevance", "maximum", "navai", "clusters", "letters"):
        assert run(["export", f"{name}.zarr", "--to", "csv", "-q"]) == 0
        found = Artifact(here / f"{name}.zarr")
        tables = {p.stem: p for p in (here / f"{name}-csv").glob("*.csv")}
        for array in found:
            dims = found.dims(array)
            if dims != (array,):
                column = [row[array] for row in rows(tables["-".join(dims)])]
                assert len(column) == found.array(array).size, (name, array)
                values = found.read(array).ravel()
                if values.dtype.kind == "f":
                    numbers = np.array([float(x or "nan") for x in column], values.dtype)
                    np.testing.assert_array_equal(numbers, values)


def test_large_arrays_are_named_and_taken_when_asked(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export, "MOST", 1000)
    assert run(["export", "inversion.zarr", "--to", "csv", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "reconstruction" in err and "reconstruction" in json.loads(out)["left_out"]
    asked = ["export", "inversion.zarr", "--to", "csv", "--array", "reconstruction", "-o", "r"]
    assert run(asked) == 0
    assert {p.name for p in (here / "r").iterdir()} == {
        *("technique-layer-item-channel-frequency-time.csv", "columns.csv", ".speechscope")
    }
    assert run(["export", "inversion.zarr", "--to", "csv", "--array", "x", "-o", "x"]) == 2
    assert "--array x: inversion.zarr has" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["inversion", "clusters", "navai", "corpus"])
def test_archives_hold_every_array_with_names_and_units(here: Path, name: str) -> None:
    assert run(["export", f"{name}.zarr", "--to", "npz"]) == 0
    assert run(["export", f"{name}.zarr", "--to", "mat"]) == 0
    found, mat = Artifact(here / f"{name}.zarr"), loadmat(here / f"{name}.mat", simplify_cells=True)
    with np.load(here / f"{name}.npz", allow_pickle=False) as npz:
        assert set(npz) == {*found, "about"}
        told: Any = json.loads(str(npz["about"]))["arrays"]
        for array in found:
            values = found.read(array)
            assert told[array]["dimensions"] == list(found.dims(array))
            assert told[array]["units"] == found.attributes(array).get("units", "")
            in_mat = np.atleast_1d(mat[export.identifier(array)])
            if values.dtype.kind == "O":
                assert npz[array].tolist() == values.tolist() == in_mat.tolist()
            else:
                np.testing.assert_array_equal(npz[array], values)
                np.testing.assert_array_equal(np.squeeze(in_mat), np.squeeze(values))
    assert set(mat["about"]) == {export.identifier(array) for array in found}


def test_sounds_say_what_they_are(here: Path) -> None:
    assert run(["export", "inversion.zarr", "--to", "wav"]) == 0
    names = {path.name for path in (here / "inversion-wav").glob("*.wav")}
    label = Artifact(here / "inversion.zarr").flags("label")
    first = label[Artifact(here / "inversion.zarr").read("label", 0)]
    assert {f"0000_{first}_original.wav", f"0000_{first}_layer03_decode.wav"} <= names
    assert len(names) == 4 + 4 * 2 * 2
    for name in ("relevance", "navai"):
        assert run(["export", f"{name}.zarr", "--to", "wav"]) == 0
        assert list((here / f"{name}-wav").glob("*.wav"))
    assert run(["export", "corpus.zarr", "--to", "wav"]) == 0
    corpus = Corpus(here / "corpus.zarr")
    for number, path in enumerate(sorted((here / "corpus-wav").glob("*.wav"))):
        assert path.stem == f"{number:06d}_{corpus.classes[corpus.labels[number]]}"
        edges = corpus.artifact.read("waveform_offset")
        assert len(soundfile.read(path)[0]) == edges[number + 1] - edges[number]


def test_praat_reads_the_labels_of_recordings(here: Path) -> None:
    parselmouth = pytest.importorskip("parselmouth")
    assert run(["export", "corpus.zarr", "--to", "textgrid"]) == 0
    corpus = Corpus(here / "corpus.zarr")
    read, rate = corpus.artifact.read, corpus.config["rate"]
    for number, name in enumerate(corpus.names("utterance")):
        path = here / "corpus-textgrid" / f"{name.replace('/', '_')}.TextGrid"
        tier = openTextgrid(str(path), includeEmptyIntervals=False).getTier("label").entries
        items = np.flatnonzero(read("utterance") == number)
        assert [i.label for i in tier] == [corpus.classes[k] for k in corpus.labels[items]]
        np.testing.assert_allclose([i.start for i in tier], read("start")[items] / rate)
    for source in ("relevance", "letters"):
        assert run(["export", f"{source}.zarr", "--to", "textgrid"]) == 0
        grids = list((here / f"{source}-textgrid").glob("*.TextGrid"))
        assert grids and parselmouth.read(str(grids[0])).xmax > 0


def test_checkpoints_and_what_has_no_such_form(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", "model.pt", "--to", "csv"]) == 0
    assert [row["epoch"] for row in rows(here / "model-csv" / "epoch.csv")] == ["1"]
    assert run(["export", "model.pt", "--to", "npz"]) == 0
    assert run(["export", "model.pt", "--to", "mat"]) == 0
    with np.load(here / "model.npz") as npz:
        assert npz["weights/conv1.weight"].ndim == 4
    for arguments, code, text in (
        (["clusters.zarr", "--to", "wav"], 2, "clusters.zarr (clusters) holds no sound"),
        (["maximum.zarr", "--to", "wav"], 2, "maximum.zarr (maximum) holds no sound"),
        (["clusters.zarr", "--to", "textgrid"], 2, "takes a corpus or relevance"),
        (["model.pt", "--to", "wav"], 2, "holds no sound"),
        (["inversion.zarr", "--to", "wav", "--array", "steps"], 2, "has no meaning"),
        (["model.pt", "--to", "csv"], 2, "exists already"),
        (["model.pt"], 2, "export needs --to"),
        (["model.pt", "--to", "xls"], 2, "--to xls: choose from csv, npz, mat, textgrid, wav"),
    ):
        capsys.readouterr()
        assert run(["export", *arguments]) == code, arguments
        assert text in capsys.readouterr().err


def fields(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(fields, value.values()))
    return set().union(*map(fields, value)) if isinstance(value, list) else set()


FREE = {"dropped", "software", "parents", "settings", "arrays", "tensors", "on the test split"}
"""Fields whose own fields are names of what there is."""
UNFORCED = {"check", "info", "export", "merge", "report", "help"}
LINES = (
    "prepare timit",
    "train corpus.zarr --network freq --epochs 1 --per-class 2",
    "decode-train model.pt --layer 1 --together 1 --epochs 1 --per-class 2",
    "invert model.pt --layer 1 --method bp --steps 2 --items 0:4",
    "relevance model.pt --method gradient --items 0:4",
    "maximize model.pt --layer conv1 --unit 0 --steps 2",
    "navai model.pt --align none --least 1",
    "cluster model.pt --layer conv1 --reduce none --per-class 2 --any --no-probes",
    "merge relevance-1-of-2.zarr relevance-2-of-2.zarr -o merged.zarr",
    "report corpus.zarr",
    "export corpus.zarr --to npz",
    "export corpus.zarr --to wav",
    "check corpus.zarr",
    "check corpus.zarr model.pt",
    "info corpus.zarr",
    "info model.pt",
    "synth said --speakers 2 --sentences 1",
    "listen model.pt --input sound.wav -o heard",
    "help invert",
)
SLOW = {"demo": ("next",), "doctor": ("looked at", "found", "verdict"), "score": ()}
"""Commands that other tests run, and their fields: of `score`, tests/scores/test_registered.py."""


def test_every_field_of_json_is_documented(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import corpora

    text = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
    commands = set(re.findall(r"`([a-z-]+)`", text.partition("## `--json`")[2]))
    assert {line.split()[0] for line in LINES} | set(SLOW) == set(STAGES) <= commands
    assert all(f"`{field}`" in text for said in SLOW.values() for field in said)
    corpora.timit(here / "timit", speakers=2, sentences=2)
    soundfile.write(here / "sound.wav", np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    shapes: dict[str, set[type]] = {}
    lacking = set()
    for line in LINES:
        more = [] if line.split()[0] in UNFORCED else ["-f"]
        capsys.readouterr()
        assert run([*line.split(), "--json", *more]) == 0, line
        found = json.loads(capsys.readouterr().out)
        shapes.setdefault(line.split()[0], set()).add(type(found))
        told = found if isinstance(found, list) else [found]
        for row in told:
            plain = {k: None if k in FREE else v for k, v in row.items()}
            lacking |= {f"{line}: {field}" for field in fields(plain) if f"`{field}`" not in text}
    assert not lacking
    assert all(len(kinds) == 1 for kinds in shapes.values())
    assert shapes["check"] == {list} and shapes["info"] == {dict}


def test_errors_are_json_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from speechscope.scores.tables import COLUMNS

    text = (Path(__file__).parents[2] / "docs" / "export.md").read_text()
    assert ", ".join(f"`{name}`" for name in COLUMNS) in text.replace("\n", " ")
    for line, code, kind in (
        ("prepare nowhere --json -o n.zarr", 1, "SpeechscopeError"),
        ("info model.pt --json --nonsense", 2, "NoSuchOption"),
        ("train corpus.zarr --epochs -1 --json", 2, "UsageProblem"),
        ("info timid --json", 1, "NotThere"),
        ("train clusters.zarr --json", 3, "ArtifactError"),
    ):
        capsys.readouterr()
        assert run(line.split()) == code, line
        out, err = capsys.readouterr()
        told = json.loads(err.splitlines()[-1])["error"]
        assert not out and (told["code"], told["kind"]) == (code, kind)
        assert set(told) <= set(re.findall(r"`(\w+)`", text)) and told["message"]


def test_a_row_of_the_csv_is_one_value() -> None:
    from speechscope.scores.tables import tidy

    assert list(tidy({"artifact": "a", "layer": 1, "test": 1.5, "silence": 2.0})) == [
        {"artifact": "a", "layer": 1, "measure": "test", "value": 1.5},
        {"artifact": "a", "layer": 1, "measure": "silence", "value": 2.0},
    ]
    assert list(tidy({"layer": "x", "measure": "cka", "x": 1.0, "y": None})) == [
        {"layer": "x", "measure": "cka", "against": "x", "value": 1.0},
        {"layer": "x", "measure": "cka", "against": "y", "value": None},
    ]
    plain: dict[str, Any] = {"measure": "f0", "layer": None, "value": 1.0, "low": 0.5}
    assert list(tidy(plain)) == [plain]
