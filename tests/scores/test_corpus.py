import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pytest

from speechscope.cli import run
from speechscope.features.stft import Transform
from speechscope.scores import corpus
from speechscope.scores.corpus import DROPPED, KEPT, PUBLISHED, REAL, round_trip
from speechscope.scores.statistics import ABOVE, AT, Row, rows_of

TINY = Transform(samples=64, window=16, overlap=8, bins=3, rate=16000)
PAPER = Transform(samples=2554, window=267, overlap=122, bins=201, rate=16000)


def noise(count: int, samples: int) -> np.ndarray:
    values: np.ndarray = np.random.default_rng(11).normal(size=(count, samples))
    return values.astype(np.float32)


def scored(blocks: list[np.ndarray], *sizes: Any) -> list[Row]:
    spoken = [(block, np.arange(len(block))) for block in blocks]
    return list(rows_of(round_trip(spoken, *sizes)))


def by_cell(rows: list[Row]) -> dict[tuple[object, object], Row]:
    return {(row["bins"], row["kept"]): row for row in rows}


def test_every_cell_equals_the_slow_way() -> None:
    waveforms = noise(3, 64)
    cells = by_cell(scored([waveforms], TINY, [9, 13]))
    assert len(cells) == 6
    for bins in (9, 13):
        points = 2 * (bins - 1)
        spectrum = oracles.stft(waveforms, window=16, hop=8, points=points)
        for way, kept in ((DROPPED, np.abs(spectrum)), (REAL, spectrum.real)):
            back = oracles.overlap_add(kept, window=16, hop=8, points=points, samples=64)
            peaks = [
                oracles.cross_correlation_peak(w.astype(float), b)
                for w, b in zip(waveforms, back, strict=True)
            ]
            assert cells[bins, way]["value"] == pytest.approx(np.mean(peaks), abs=1e-5)
        # Every sample lies in a frame, and 16 points or more hold it.
        assert cells[bins, KEPT]["value"] == pytest.approx(1, abs=1e-5)


def test_blocks_are_one_corpus_and_silent_segments_do_not_count() -> None:
    waveforms = noise(150, 64)  # more than are worked out at once
    whole = scored([waveforms], TINY, [9])
    silence = np.zeros((2, 64), dtype=np.float32)
    parts = scored([waveforms[:2], silence, waveforms[2:]], TINY, [9])
    assert [row["items"] for row in parts] == [150, 150, 150]
    for one, other in zip(whole, parts, strict=True):
        assert one["value"] == pytest.approx(other["value"], abs=1e-6)


def test_an_empty_corpus_has_no_figure() -> None:
    assert [row["value"] for row in scored([], TINY, [9])] == [None] * 3


def test_the_papers_figures_stand_beside() -> None:
    rows = scored([noise(2, 2554)], PAPER)
    cells = by_cell(rows)
    assert [row["bins"] for row in rows] == [101] * 3 + [201] * 3 + [301] * 3
    assert cells[101, KEPT]["published"] == 0.67
    assert cells[301, KEPT]["published"] is None  # N/A in the paper
    assert {cell for cell, row in cells.items() if row["published"] is not None} == {
        cell for cell in PUBLISHED if cell[0] != 401
    }


def test_more_bins_keep_more_of_the_real_part() -> None:
    cells = by_cell(scored([noise(20, 2554)], PAPER))
    kept = [float(cells[bins, REAL]["value"] or 0) for bins in (101, 201, 301)]
    assert kept[0] < kept[1] < kept[2]
    # 600 points are more than twice the window: the even part of a frame holds all of it.
    # (The segment's last 112 samples are in no frame.)
    assert kept[2] == pytest.approx(np.sqrt(2442 / 2554), abs=0.01)


GOLDEN = Path(__file__).parents[1] / "golden" / "format-5.tar.xz"


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora")
    with tarfile.open(GOLDEN) as archive:
        inside = (one for one in archive if one.name.startswith(("corpus.", "letters.zarr")))
        archive.extractall(folder, [*inside], filter="data")
    return folder


def flipped(path: Path) -> None:
    """Change a byte in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


FAULTS: dict[str, tuple[Callable[[Path], Any], int, str]] = {
    "nothing there": (shutil.rmtree, 1, "does not exist"),
    "no artifact": (lambda path: (path / "zarr.json").unlink(), 3, "zarr.json"),
    "a flipped byte": (lambda path: flipped(path / "waveform" / "c.0"), 3, "waveform"),
    "a lost chunk": (lambda path: (path / "waveform" / "c.0").unlink(), 3, "waveform"),
    "a cut chunk": (lambda path: (path / "waveform" / "c.0").write_bytes(b"x"), 3, "waveform"),
    "a lost array": (lambda path: shutil.rmtree(path / "split"), 3, "split"),
    "changed metadata": (lambda path: flipped(path / "waveform" / "zarr.json"), 3, "waveform"),
}
"""What is done to a corpus, the exit code, and what the line names."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_corpus_that_is_not_whole_is_refused(
    golden: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    path = tmp_path / "corpus.zarr"
    shutil.copytree(golden / "corpus.zarr", path)
    break_it, code, named = FAULTS[fault]
    break_it(path)
    assert run(["score", str(path)]) == code
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert str(path) in captured.err and named in captured.err


def test_whole_utterances_have_no_segments(
    golden: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["score", str(golden / "letters.zarr")]) == 2
    assert "of unit utterance; this needs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("what", "broken"),
    [
        ("_back", lambda stft, w: [(KEPT, np.roll(w, 1, axis=0))]),  # the pairing is lost
        ("_back", lambda stft, w: [(KEPT, noise(len(w) + 1, w.shape[1])[1:])]),  # nothing is
        ("max_cross_correlation", lambda a, b: np.full(len(a), 0.9)),  # chance is as good
        ("with_others", lambda score, pairs: score(np.arange(pairs.shape[1]))),  # by the item
    ],
)
def test_a_broken_round_trip_is_at_chance(
    monkeypatch: pytest.MonkeyPatch, what: str, broken: Any
) -> None:
    drawn = np.random.default_rng(1).normal(size=(40, 64)).astype(np.float32)
    whole = by_cell(scored([drawn], TINY, [9]))
    assert whole[9, KEPT]["verdict"] == ABOVE
    monkeypatch.setattr(corpus, what, broken)
    assert by_cell(scored([drawn], TINY, [9]))[9, KEPT]["verdict"] == AT
