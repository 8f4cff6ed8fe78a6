from typing import Any

import numpy as np
import oracles
import pytest

from speechscope.features.stft import Transform
from speechscope.scores.corpus import DROPPED, KEPT, PUBLISHED, REAL, round_trip
from speechscope.scores.statistics import Row, rows_of

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
