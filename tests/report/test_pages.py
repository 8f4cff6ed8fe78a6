"""Every kind of artifact as a page: what stands there is what the artifact holds."""

import base64
import io
import json
import os
import re
import shutil
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import reports
from numpy.typing import NDArray
from reports import HOSTILE, Page, content

from speechscope.cli import run
from speechscope.registry import CHAPTERS, SCORES
from speechscope.report.drawing import levels, palette
from speechscope.report.figures import Grid, Picture
from speechscope.scores import statistics
from speechscope.stages import STAGES, settings_class
from speechscope.stages.report import USUAL, Report
from speechscope.stages.score import Score
from speechscope.store.artifact import Artifact
from speechscope.store.record import new_record
from speechscope.store.writer import create_artifact, flag_attributes
from speechscope.work import progress

FIGURES = {
    "corpus.zarr": ["classes", "examples", "round-trip", "held"],
    "windows.zarr": ["classes", "examples"],
    "letters.zarr": ["classes", "examples"],
    "frames.zarr": ["classes", "examples"],
    "model.pt": ["curves", "confusion", "held", "filters", "responses"],
    "windows.pt": ["curves", "confusion", "held", "filters", "responses"],
    "letters.pt": ["curves", "confusion", "written", "filters", "responses"],
    "decoder.pt": ["curves", "leak-test"],
    "inversion.zarr": ["held", "grid", "layers", "scores", "intensity"],
    "relevance.zarr": ["overlays", "held"],
    "signals.zarr": ["overlays", "spectra", "held"],
    "spoken.zarr": ["overlays"],
    "maximum.zarr": ["optima", "climb"],
    "navai.zarr": ["patterns", "means", "shifts", "counts"],
}
TABLES = ("written",)
"""Those of them that are no pictures."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an artifact of every kind."""
    return reports.everything(tmp_path_factory.mktemp("reports"))


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The same folder to read from, and another to write to."""
    monkeypatch.chdir(folder)
    return tmp_path


def page_of(arguments: list[str], output: Path, code: int = 0) -> Page:
    path = output / "page.html"
    assert run(["report", *arguments, "-o", str(path), "-f", "-q"]) == code
    return Page(path.read_text("utf-8"))


@lru_cache
def seen(*arguments: str) -> Page:
    """Return the page of artifacts as they are in the folder of `here`, drawn once."""
    return page_of(list(arguments), Path.cwd().parent)


@pytest.mark.parametrize("name", FIGURES)
def test_every_kind_has_its_figures(here: Path, name: str) -> None:
    page = seen(name)
    assert page.figures == FIGURES[name]
    assert name in page.text


def test_a_page_needs_nothing_but_itself(here: Path) -> None:
    page = seen()  # everything by its usual name
    assert len(page.figures) > 20
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), f"<{tag} {name}={value}>"
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
    policy = [a["content"] for t, a in page.tags if a.get("http-equiv")]
    assert policy and str(policy[0]).startswith("default-src 'none'")
    for word in ("fetch(", "XMLHttpRequest", "import(", "http:", "https:", "@import"):
        assert word not in page.scripts.replace("http://www.w3.org/2000/svg", ""), word


def test_everything_in_the_artifacts_is_documented(folder: Path) -> None:
    assert reports.undocumented(folder) == []


def test_hostile_names_are_text(here: Path) -> None:
    page = seen("navai.zarr", "clusters.zarr")
    assert "alert(1)" not in page.scripts
    assert HOSTILE in page.text
    assert '"q"' in page.text and "s&t" in page.text
    assert any(HOSTILE in data.get("names", []) for data in page.data)
    scripts = [found for tag, found in page.tags if tag == "script"]
    clouds = [tag for tag, _ in page.tags if tag == "canvas"]
    assert len(scripts) == 2 + len(clouds)


def test_the_same_artifacts_give_the_same_page(here: Path) -> None:
    names = ["inversion.zarr", "navai.zarr", "--examples", "2"]
    for name in ("one.html", "two.html"):
        assert run(["report", *names, "-o", str(here / name), "-q"]) == 0
    assert (here / "one.html").read_bytes() == (here / "two.html").read_bytes()


def pixels(address: str) -> NDArray[np.integer]:
    """Return the colours of a picture in a page, (rows, columns, 3 or 4), the lowest row first."""
    from matplotlib import image

    found: NDArray[np.floating] = image.imread(io.BytesIO(content(address)))
    return np.asarray(np.rint(found * 255).astype(int))


def decibels(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return levels below the loudest point, no softer than −60 dB, value by value."""
    loudest = max(abs(float(v)) for v in values.ravel())
    out = np.empty(values.shape)
    for where, value in np.ndenumerate(values):
        out[where] = -60.0 if value == 0 else 20 * np.log10(abs(float(value)) / loudest)
    return np.maximum(out, -60.0)


def test_the_pictures_of_an_inversion_are_its_arrays(here: Path) -> None:
    page = seen("inversion.zarr", "--items", "4,1")
    artifact = Artifact(Path("inversion.zarr"))
    original, found = artifact.read("original"), artifact.read("reconstruction")
    sounding = np.array([np.flatnonzero(original[i].any(axis=(0, 1)))[[0, -1]] for i in (4, 1)])
    frames = int(np.ptp(sounding, axis=1).max()) + 1
    wanted = []
    for item, (first, last) in zip((4, 1), sounding, strict=True):
        for method in range(2):  # methods down, layers across, the original before them
            row = [original[item], *found[method, :, item]]
            wanted += [decibels(values[0])[:, first : last + 1] for values in row]
    assert len(page.images["grid"]) == len(wanted) == 2 * 2 * (1 + 2)
    for address, values in zip(page.images["grid"], wanted, strict=True):
        drawn = pixels(address)
        assert drawn.shape[1] == frames, "time counts from where the sound begins"
        there = values.shape[1]
        ramp = palette("sequential").astype(int)
        expected = levels(values, -60.0, 0.0).astype(int)
        near = [ramp[np.clip(expected + step, 0, 255)] for step in (-1, 0, 1)]  # float32
        apart = np.abs(drawn[:, :there, None, :3] - np.stack(near, axis=2)).max(axis=-1)
        assert apart.min(axis=2).max() == 0
        assert there == frames or not drawn[:, there:, 3].any()


def test_draws_stand_in_a_row_after_their_original(tmp_path: Path) -> None:
    from speechscope.report.chapters.inversion import _Inversion

    rng, path = np.random.default_rng(0), tmp_path / "inversion.zarr"
    names = ("bp", "regress", *(f"regress#{n}" for n in range(1, 9)))
    original = rng.random((2, 1, 6, 8), np.float32)
    restored = rng.random((len(names), 1, *original.shape), np.float32)
    sizes = ("item", "channel", "frequency", "time")
    record = new_record("inversion", config={}, seed=0, device="cpu")
    with create_artifact(path, "test", record, force=True) as writer:
        writer.put("original", original, sizes)
        writer.put("reconstruction", restored, ("technique", "layer", *sizes))
        writer.name_axis("technique", names)
        writer.name_axis("layer", ["pool3"])
        writer.put("layer_number", np.array([9]), ("layer",))
        writer.put("label", np.array([0, 1]), ("item",), flag_attributes(["iy", "aa"]))
    drawn = _Inversion(path, Report())
    (figure,) = drawn.draws([0, 1])
    assert figure.columns == ["original", "regress", *(f"regress#{n}" for n in range(1, 7))]
    assert [name for name, _ in figure.rows] == ["[iy] layer 9 (pool3)", "[aa] layer 9 (pool3)"]
    assert "6 of 8 draws" in figure.note
    for item, (_, cells) in enumerate(figure.rows):
        values = [original[item], *restored[1:8, 0, item]]
        for cell, wanted in zip(cells, values, strict=True):
            assert isinstance(cell, Picture)
            np.testing.assert_allclose(cell.values[:, :8], decibels(wanted[0]), atol=1e-4)
    others = [name for name, _ in drawn.cases([0]).rows]
    assert others == ["[iy] bp", "[iy] regress"], "draws are no methods to compare"


def test_the_sounds_of_an_inversion_are_its_waveforms(here: Path) -> None:
    import soundfile

    page = seen("inversion.zarr", "--items", "2", "--figure", "grid")
    artifact = Artifact(Path("inversion.zarr"))
    wanted = [artifact.read("waveform_original", 2), *artifact.read("waveform")[0, :, 2]]
    wanted += list(artifact.read("waveform")[1, :, 2])
    assert len(page.sounds) == len(wanted), "a sound is in the page once"
    ids = [str(found["id"]) for tag, found in page.tags if tag == "audio"]
    cells = [str(found["data-sounds"]).split() for _, found in page.tags if "data-sounds" in found]
    beside = [[ids[0]], *([restored, ids[0]] for restored in ids[1:])]
    assert cells == [*beside[:3], beside[0], *beside[3:]], "the original is beside each"
    for sound, samples in zip(page.sounds, wanted, strict=True):
        found, rate = soundfile.read(io.BytesIO(content(sound)))
        assert rate == 16000
        np.testing.assert_allclose(found, samples * 0.7 / np.abs(samples).max(), atol=1e-4)


def test_the_patterns_of_navai_are_its_array(here: Path) -> None:
    page = seen("navai.zarr")
    artifact = Artifact(Path("navai.zarr"))
    pattern, count = artifact.read("pattern"), artifact.read("count")
    kept = np.flatnonzero(count)
    assert len(page.images["patterns"]) == 2 * len(kept) == 8
    for number, address in enumerate(page.images["patterns"]):
        values = pattern[number % 2, kept[number // 2]]
        size = np.abs(values)
        roots = np.sign(values) * np.sqrt(size / np.percentile(size, 99))
        expected = palette("diverging")[levels(roots, -1.0, 1.0)]
        np.testing.assert_array_equal(pixels(address)[..., :3], expected)


def test_patterns_begin_and_end_with_the_sounds(tmp_path: Path) -> None:
    reports.navai(tmp_path / "navai.zarr", silent=2)
    written = CHAPTERS.of("navai")[0](tmp_path / "navai.zarr", Report())
    (patterns,) = (figure for figure in written.figures if figure.name == "patterns")
    assert isinstance(patterns, Grid)
    for name, cells in patterns.rows:
        for cell in cells:
            assert isinstance(cell, Picture) and cell.values.shape == (6, 6)
            assert (cell.x.low, cell.x.high) == pytest.approx((15, 75))  # frames 2 to 7, each 10 ms
            assert np.isnan(cell.values[:, 0]).all() == (name == "[iy]")
            assert np.isfinite(cell.values[:, 1:]).all()


def test_the_points_of_a_cloud_are_the_projection(here: Path) -> None:
    page = seen("clusters.zarr")
    artifact = Artifact(Path("clusters.zarr"))
    data = next(data for data in page.data if "views" in data)
    assert data["label"] == artifact.read("label").tolist()
    for view, expected in zip(data["views"], artifact.read("projection"), strict=True):
        found = np.frombuffer(base64.b64decode(view), "<f4").reshape(-1, 3)
        np.testing.assert_array_equal(found, expected)
    assert len(data["sounds"]) == 40 and all(
        sound.startswith("data:audio") for sound in data["sounds"]
    )
    assert data["groups"]["manner"] == {
        "of": [int(label > 1) for label in data["label"]],
        "names": ["vowel", "-"],
    }
    means = [data for data in page.data if "views" in data][1]
    assert means["label"] == [0, 1, 2, 4]


def test_a_composition_is_counted_from_the_points(here: Path) -> None:
    page = seen("clusters.zarr")
    artifact = Artifact(Path("clusters.zarr"))
    score, cluster = artifact.read("f_measure"), artifact.read("cluster")
    for layer in range(2):
        way = int(score[layer, 0].argmax())
        for number in range(3):
            label = artifact.read("label")[cluster[layer, 0, way] == number]
            shares = np.bincount(label, minlength=5) / len(label)
            order = sorted(range(5), key=lambda k: -shares[k])
            named = [f"{reports.CLASSES[k]} {100 * shares[k]:.0f} %" for k in order if shares[k]]
            assert [str(number), str(len(label)), ", ".join(named)] in page.rows


def test_the_confusion_matrix_is_what_score_counts(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = seen("model.pt")
    data = next(data for data in page.data if "counts" in data)
    capsys.readouterr()
    assert run(["score", "model.pt", "--json"]) == 0
    rows = [row for row in json.loads(capsys.readouterr().out) if row["measure"] == "accuracy"]
    counts = np.array(data["counts"])
    folded = rows[-1]
    assert counts.sum() == folded["items"]
    assert np.trace(counts) / counts.sum() == pytest.approx(folded["value"])


def test_examples_bound_the_page(here: Path) -> None:
    names = ["corpus.zarr", "inversion.zarr", "clusters.zarr"]
    few, many = (page_of([*names, "--examples", count], here) for count in ("1", "4"))
    # By kind: the corpus' examples, the grid and the layers of the inversion.
    assert len(few.sounds) < len(many.sounds) <= 4 * (1 + 5)
    assert few.size < many.size
    cloud = next(data for data in few.data if "views" in data)
    assert len(cloud["label"]) == 40  # at most 40 for each example
    assert "1 of 6 items" in few.text


def test_figures_and_examples_that_are_not_there_are_named(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, text in (
        (["inversion.zarr", "--items", "99"], "inversion.zarr has items 0 to 5, not 99"),
        (["inversion.zarr", "--items", "one"], "--items one: give positions such as 0,5,7"),
        (["inversion.zarr", "--figure", "pie"], "--figure pie: choose from held, scores-table"),
        (["inversion.zarr", "--format", "gif"], "choose from html, png, pdf"),
        (["inversion.zarr", "--width", "84mm"], "--width goes with --format png or pdf"),
        (
            ["inversion.zarr", "--format", "pdf", "--width", "84"],
            "--width 84: give a width such as",
        ),
        (["inversion.zarr", "--format", "pdf", "--style", "no"], "--style no: no such file, and"),
        (["inversion.zarr", "--examples", "0"], "--examples"),
    ):
        assert run(["report", *arguments, "-o", str(here / "x.html")]) == 2
        err = capsys.readouterr().err
        assert text in err and err.count("\n") == 1
        assert not (here / "x.html").exists()


def test_scores_are_those_that_were_kept_and_of_this_artifact(
    folder: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(folder / "decoder.pt", "decoder.pt")
    assert run(["score", "decoder.pt", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    settings = Score(artifacts=(Path("decoder.pt"), Path("other.pt")))
    assert statistics.kept(Path("decoder.pt"), settings) == said
    kept = Path(".decoder.pt.scores.json")
    for change in ({"digest": "another's"}, {"speechscope": "0.0"}, {"rows": 3}):
        kept.write_text(json.dumps({**json.loads(kept.read_text()), **change}))
        assert statistics.kept(Path("decoder.pt"), settings) is None
        statistics.scored("decoder", Path("decoder.pt"), settings)
    assert statistics.kept(Path("decoder.pt"), replace(settings, by=("phone",))) is None
    os.utime(kept, (0, 0))  # before the program that scores was changed
    assert statistics.kept(Path("decoder.pt"), settings) is None
    statistics.scored("decoder", Path("decoder.pt"), settings)
    monkeypatch.setattr(SCORES, "of", lambda kind: pytest.fail("worked out again"))
    assert page_of(["decoder.pt"], workdir).figures == FIGURES["decoder.pt"]


def test_a_page_explains_the_words_it_says(here: Path) -> None:
    text = seen("maximum.zarr").text
    assert "counted as Churchman (2015) counts" not in text  # its words are others
    text = seen("inversion.zarr").text
    assert "a step length that grows" not in text
    for said in ("what layer 1 (conv1), 9 (pool3) of", "bp reconstruction by gradient descent"):
        assert said in " ".join(text.split()), said


def test_a_long_score_tells_a_log_how_far_it_is(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    for name, told in (("corpus.zarr", "0 of "), ("inversion.zarr", "3 of 4 parts")):
        assert run(["score", name]) == 0
        assert f"score {name}: {told}" in capsys.readouterr().err


def test_nothing_here_is_said(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = " ".join(getattr(settings_class(name), "usual", "") for name in STAGES)
    assert set(re.findall(r"[a-z]+\.(?:zarr|pt)", written)) == set(USUAL)
    assert run(["report"]) == 2
    assert (
        "name an artifact; there is none here of corpus.zarr, model.pt" in capsys.readouterr().err
    )


def test_a_damaged_artifact_is_refused_in_one_line(
    folder: Path, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "navai.zarr", "navai.zarr")
    chunk = next(Path("navai.zarr/pattern").glob("c.*"))
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    Path("note.txt").write_text("hello")
    for name in ("navai.zarr", "note.txt", "no.zarr"):
        assert run(["report", name]) == (1 if name == "no.zarr" else 3)
        err = capsys.readouterr().err
        assert name in err and err.count("\n") == 1
        assert not Path("report.html").exists()


def test_a_parent_that_is_gone_leaves_its_part_out(
    folder: Path, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(folder / "model.pt", "model.pt")
    page = page_of(["model.pt"], workdir, code=4)
    assert page.figures == ["curves", "filters"]
    assert "Left out: confusions" in page.text
    assert "skipped model.pt: confusions and first-layer responses" in capsys.readouterr().err
    page_of(["model.pt", "--skip-bad"], workdir)
    moved = ["model.pt", "--corpus", str(folder / "corpus.zarr")]
    assert page_of(moved, workdir).figures == FIGURES["model.pt"]


def test_profiles_of_layers_leave_their_chapter_out(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = new_record("navai", config={"mode": "profile"}, seed=0, device="cpu")
    with create_artifact(Path("navai.zarr"), "test", record, force=False) as writer:
        writer.put("profile_conv1", np.zeros((2, 3)), ("class", "map"))
    assert page_of(["navai.zarr", "-q"], workdir, code=4).figures == []
    assert "profiles of layers have no figures" in capsys.readouterr().err


def test_arrays_that_are_not_there_leave_their_figure_out(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports.clusters(Path("clusters.zarr"), None, optional=False)
    assert page_of(["clusters.zarr"], workdir).figures == ["f-measure"]
    assert capsys.readouterr().err == ""


def test_what_stands_there_is_replaced_only_by_force(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = here / "page.html"
    path.write_text("mine")
    assert run(["report", "navai.zarr", "-o", str(path)]) == 2
    assert path.read_text() == "mine"
    assert "exists already" in capsys.readouterr().err


@pytest.mark.heavy
@pytest.mark.parametrize("file_format", ["png", "pdf"])
def test_every_figure_is_a_file(here: Path, file_format: str) -> None:
    names = sorted(
        {"clusters.zarr", *FIGURES} - {"windows.zarr", "frames.zarr", "letters.zarr", "spoken.zarr"}
    )
    names = names if file_format == "png" else ["inversion.zarr", "clusters.zarr"]
    once, twice = here / "once", here / "twice"
    for output in (once, twice) if file_format == "pdf" else (once,):
        wanted = ["--format", file_format, "-o", str(output)]
        assert run(["report", *names, *wanted, "--examples", "1", "-q"]) == 0
    files = sorted(path.name for path in once.glob(f"*.{file_format}"))
    assert (
        f"inversion-grid.{file_format}" in files and f"clusters-projection.{file_format}" in files
    )
    expected = sum(len([f for f in FIGURES.get(n, []) if f not in TABLES]) for n in names)
    assert len(files) == expected + 5  # of the clusters: F, criterion, projections, map
    for name in files:
        start = (once / name).read_bytes()
        assert start.startswith(b"\x89PNG" if file_format == "png" else b"%PDF")
        assert file_format == "png" or start == (twice / name).read_bytes(), name


def test_one_figure_is_one_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from matplotlib import image

    path = here / "bars.png"
    assert run(["report", "inversion.zarr", "-o", str(path)]) == 2
    assert (
        "(held, grid, layers, scores, intensity); choose one with --figure"
        in capsys.readouterr().err
    )
    assert run(["report", "inversion.zarr", "--figure", "intensity", "-o", str(path)]) == 0
    assert image.imread(path)[..., :3].std() > 0.05
    assert capsys.readouterr().out == f"{path}\n"


def test_a_style_is_that_of_matplotlib(here: Path) -> None:
    from matplotlib import image

    style = here / "mine.mplstyle"
    style.write_text("figure.facecolor: 112233\n")
    path = here / "styled.png"
    wanted = ["--figure", "scores", "-o", str(path), "--width", "84mm"]
    assert run(["report", "inversion.zarr", *wanted, "--style", str(style)]) == 0
    pixels = image.imread(path)
    assert np.rint(pixels[0, 0, :3] * 255).tolist() == [0x11, 0x22, 0x33]
    assert pixels.shape[1] == pytest.approx(84 / 25.4 * 300, abs=1)


def test_a_page_opens_with_what_score_says(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["model.pt", "inversion.zarr", "maximum.zarr"]
    page = seen(*names)
    found = page.rows[1 : 1 + len(names)]
    capsys.readouterr()
    assert run(["score", "model.pt", "inversion.zarr", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    accuracy = [row for row in rows if row["measure"] == "accuracy"][-1]
    looked, figure, chance, best, said = found[0]
    assert looked.startswith("A network of ") and "48 classes" in looked
    assert figure.startswith(f"{100 * accuracy['value']:.0f} % of the test sounds")
    assert (
        f"95 % interval {100 * accuracy['low']:.0f} % to {100 * accuracy['high']:.0f} %" in figure
    )
    assert chance.startswith(f"{100 * accuracy['chance']:.0f} %") and best == "100 %"
    assert str(accuracy["verdict"]) in said
    assert run(["score", "model.pt"]) == 0
    printed = "".join(capsys.readouterr())
    sentence = next(line for line in printed.splitlines() if line.startswith("model.pt: "))
    assert sentence.removeprefix("model.pt: n") in said  # its name stands in the same row
    assert "6 sounds, rebuilt from what layer 1 (conv1), 9 (pool3)" in found[1][0]
    assert "(the best of 4: " in found[1][1]
    assert "Nothing here is scored" in found[2][4]
    # The record is at the end, after all figures.
    assert page.text.index("made by") > page.text.index("Optimal inputs")


def test_the_files_of_the_page_are_in_the_package() -> None:
    from importlib import resources

    names = {
        path.name for path in resources.files("speechscope.report").joinpath("page_files").iterdir()
    }
    assert {"report.html.jinja", "style.css", "report.js", "cloud.js"} <= names


def test_what_is_said_of_relevance_is_of_this_kind_of_input(here: Path) -> None:
    of_waveform = seen("signals.zarr").text
    assert "its relevance below" in of_waveform and "in grey" not in of_waveform
    of_spectrogram = seen("relevance.zarr").text
    assert "in grey: red speaks for" in of_spectrogram and "▶ sounds the input" in of_spectrogram
