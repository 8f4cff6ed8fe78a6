"""Draws that are calibrated are told from draws that are not, and bits are those of information."""

import json
from pathlib import Path

import corpora
import numpy as np
import pytest
import xarray
from scipy import stats

from speechscope.cli import run
from speechscope.scores.draws import of_names, of_values
from speechscope.scores.statistics import rows_of

N, K = 2000, 32


def rows(true: np.ndarray, draws: np.ndarray) -> dict[str, float]:
    return {str(row["measure"]): row for row in rows_of(of_values("F1", true, draws))}  # type: ignore[misc]


def drawn(size: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Values known up to a half, and draws whose width is `size` of what is open."""
    rng = np.random.default_rng(seed)
    known, left = rng.normal(size=N), 0.5 * rng.normal(size=N)
    return known + left, known + size * 0.5 * rng.normal(size=(K, N))


def test_calibrated_draws_hold_the_truth_and_tell_the_information() -> None:
    found = rows(*drawn(1.0))
    assert 0.85 < found["F1 in the 90 % interval"]["value"] < 0.95  # type: ignore[index]
    bits = found["bits on F1"]
    # ½ log₂ (1 + 1 / 0.25), less what 32 draws do not know of their own spread.
    assert bits["value"] == pytest.approx(0.5 * np.log2(5), abs=0.1)  # type: ignore[index]
    assert bits["verdict"] == "above chance" and bits["chance"] < 0  # type: ignore[index]
    assert found["width of F1"]["value"] == pytest.approx(0.5 / np.sqrt(1.25), rel=0.05)  # type: ignore[index]
    sure, unsure = rows(*drawn(0.2)), rows(*drawn(5.0))
    assert sure["F1 in the 90 % interval"]["value"] < 0.4  # type: ignore[index]
    assert unsure["F1 in the 90 % interval"]["value"] > 0.98  # type: ignore[index]
    for other in (sure, unsure):
        assert other["bits on F1"]["value"] < bits["value"]  # type: ignore[index]


def test_draws_that_know_nothing_get_no_bits() -> None:
    rng = np.random.default_rng(1)
    found = rows(rng.normal(size=60), rng.normal(size=(12, 60)))
    assert found["bits on F1"]["verdict"] != "above chance"  # type: ignore[index]
    assert found["bits on F1"]["value"] < 0.1  # type: ignore[index]


def test_bits_are_those_of_the_formula() -> None:
    rng = np.random.default_rng(2)
    true, draws = rng.normal(size=6), rng.normal(size=(5, 6))
    draws[3, 2], true[4], draws[:4, 5] = np.nan, np.nan, np.nan  # of the last too few are left
    score = next(iter(of_values("F1", true, draws)))
    kept = true[[0, 1, 2, 3]]
    for item in range(6):
        some = draws[:, item][np.isfinite(draws[:, item])]
        if item > 3:
            assert np.isnan(score.values[item])
            continue
        spread = some.std(ddof=1) * np.sqrt(1 + 1 / len(some))
        z = (true[item] - some.mean()) / spread
        given = stats.t.pdf(z, len(some) - 1) / spread
        plain = stats.norm.pdf(true[item], kept.mean(), kept.std())
        assert score.values[item] == pytest.approx(np.log2(given / plain))


def test_bits_on_names() -> None:
    true = np.array(["a", "b", "a", "-", "b", "a"])
    named = np.array([["a", "b", "b", "-", "b", "a"], ["a", "a", "b", "-", "b", "a"]])
    score = of_names("manner", true, named)
    right = [2, 1, 0, np.nan, 2, 2]
    for item, (name, count) in enumerate(zip(true, right, strict=True)):
        if name == "-":
            assert np.isnan(score.values[item])
            continue
        base = 3 / 5 if name == "a" else 2 / 5
        assert score.values[item] == pytest.approx(np.log2((count + 0.5) / 3 / base))


def test_draws_are_written_and_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    corpora.timit(tmp_path / "timit", speakers=4, sentences=3)
    assert run(["prepare", "timit", "-q"]) == 0
    assert run(["train", "--epochs", "1", "--per-class", "3", "-q"]) == 0
    few = ["--layer", "9", "--items", "0:16", "-q", "--regress-epochs", "1", "--regress-steps", "1"]
    assert run(["invert", "model.pt", "--method", "regress", "--samples", "3", *few]) == 0
    opened = xarray.open_zarr("inversion.zarr")
    names = ["regress", "regress#1", "regress#2", "regress#3"]
    assert opened.technique.values.tolist() == names
    sounds = opened.waveform.values[:, 0]
    for first in range(4):
        for second in range(first):
            assert not np.allclose(sounds[first], sounds[second])
    # A draw of an item does not depend on the items around it, nor on the other draws.
    assert run(["invert", "model.pt", "--method", "regress#2", *few, "-o", "two.zarr"]) == 0
    np.testing.assert_array_equal(xarray.open_zarr("two.zarr").waveform[0, 0], sounds[2])
    capsys.readouterr()
    assert run(["score", "inversion.zarr", "--json"]) == 0
    rows = {row["measure"]: row for row in json.loads(capsys.readouterr().out)}
    assert {row["method"] for row in rows.values()} == {"regress"}
    assert rows["bits on intensity"]["null"] == "another item's draws"
    assert rows["intensity in the 90 % interval"]["verdict"] is None
    plain = ["--method", "bp", "--steps", "1", "--samples", "3", "-o", "plain.zarr"]
    assert run(["invert", "model.pt", *few[:4], *plain]) == 0
    assert "without --method regress, nothing" in capsys.readouterr().err
    assert run(["invert", "model.pt", "--method", "regress#x", *few, "-f"]) == 2
