"""Where relevance lies, on maps whose answers are known, and what takes the place of values."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import corpora
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from speechscope.cli import run
from speechscope.corpus.store import Corpus
from speechscope.scores.localisation import HISSES, Regions, localised, moved, spans_of
from speechscope.scores.navai import bands
from speechscope.scores.relevance import agreeing, fillings, ranked, removal_curves
from speechscope.scores.statistics import Score, rows_of

RATE, SAMPLES = 16000, 1600
HERTZ = np.linspace(0, 8000, 81)
CLASSES = ("iy", "s", "t", "sil")


class Held:
    """Segments of given lengths [samples] in frames of 10 ms, as a corpus holds them."""

    unit, classes, input_shape, whole = "segment", CLASSES, (1, 81, 10), False

    def __init__(self, labels: list[int], lengths: list[int]) -> None:
        self.config = {"rate": RATE, "samples": SAMPLES, "window": 320, "overlap": 160}
        self.labels, self.artifact = np.array(labels), self
        begin = np.cumsum([0, *lengths[:-1]])
        self._arrays = {
            "start": begin,
            "stop": begin + lengths,
            "time": (np.arange(10) + 0.5) / 100,
            "frequency": HERTZ,
        }

    def read(self, name: str) -> Any:
        return self._arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def attributes(self, name: str) -> dict[str, str]:
        return {"units": "Hz"}


def regions(labels: list[int], lengths: list[int], explained: list[str] | None = None) -> Regions:
    held: Any = Held(labels, lengths)
    names = explained or [CLASSES[label] for label in labels]
    return Regions(held, np.arange(len(labels)), names)


def scored(found: Regions, maps: np.ndarray, random: np.ndarray) -> dict[str, Any]:
    return {name: (values, nulls) for name, values, nulls in found.scores(maps, random)}


def test_measures_are_those_of_their_formulas() -> None:
    rng = np.random.default_rng(0)
    profile, masks = rng.exponential(size=12), rng.random((5, 12)) < 0.4
    profile[3] = profile[7]  # ties share a rank
    masks[3], masks[4] = False, True
    found = localised(profile, masks)
    for column, mask in enumerate(masks[:3]):
        inside = sum(value for value, there in zip(profile, mask, strict=True) if there)
        assert found[0, column] == pytest.approx(inside / profile.sum())
        assert found[1, column] == pytest.approx(roc_auc_score(mask, profile))
        assert found[2, column] == mask[profile.argmax()]
    assert np.isnan(found[:, 3:]).all()
    shifts = [localised(profile, np.roll(masks[0], n)[None])[:, 0] for n in range(12)]
    np.testing.assert_allclose(moved(profile, masks[0]), np.mean(shifts, 0))
    # Moved over all places, a region holds its share.
    np.testing.assert_allclose(moved(profile, masks[0])[[0, 2]], masks[0].mean())
    assert np.isnan(localised(np.zeros(12), masks)).all()


def test_relevance_in_the_phone_is_found_there_and_elsewhere_is_not() -> None:
    lengths = [480, 640, 800, 960] * 6
    found = regions([3] * 24, lengths)
    maps = np.zeros((24, 1, 81, 10))
    for row, length in enumerate(lengths):
        frames = length // 160
        first = (10 - frames) // 2 if frames % 2 == 0 else (10 - frames + 1) // 2
        maps[row, 0, 40, first : first + frames] = -1.0  # of either sign
    rng = np.random.default_rng(1)
    own = scored(found, maps, rng.normal(size=maps.shape))
    for name in ("energy inside", "AUC", "pointing"):
        values, nulls = own[f"{name}, in the phone"]
        assert set(nulls) == {"the region moved", "random weights", "another item's region"}
        (told,) = rows_of([Score({}, values, nulls, 1.0)])
        assert told["value"] == pytest.approx(1, abs=0.15)
        if name == "energy inside":
            assert told["verdict"] == "above chance"
    # Relevance of another item's phone is not of this one: pairs are lost.
    values, nulls = scored(found, maps[:, :, :, ::-1] * 0 + 1.0, maps)["AUC, in the phone"]
    np.testing.assert_allclose(values, 0.5)
    np.testing.assert_allclose(nulls["the region moved"], 0.5)


def test_bands_and_bursts_are_those_of_the_class_that_is_spoken_and_explained() -> None:
    found = regions([0, 1, 2, 0], [960] * 4, ["iy", "s", "t", "s"])
    maps = np.zeros((4, 1, 81, 10))
    (low, high), _ = bands("iy")
    maps[0, 0, (low <= HERTZ) & (high >= HERTZ)] = 1
    maps[1, 0, (HISSES["s"][0] <= HERTZ) & (HISSES["s"][1] >= HERTZ)] = 1
    maps[2, 0, :, 2:4] = 1  # the phone is from frame 2 to 7, its first 20 ms two frames
    maps[3] = maps[0]
    own = scored(found, maps, maps)
    for row, kind in enumerate(("at the formants", "where it hisses", "at the burst")):
        values = own[f"energy inside, {kind}"][0]
        assert values[row] == pytest.approx(1)
        # Of the others it is not asked, nor of a vowel that is taken for another class.
        assert np.isfinite(values).sum() == 1
    other = scored(found, np.roll(maps, 5, axis=3), maps)["energy inside, at the burst"][0]
    assert other[2] == 0


def test_phones_of_windows_and_frames_are_runs_of_items(tmp_path: Path) -> None:
    corpora.timit(tmp_path / "timit", speakers=2, sentences=1)
    for recipe, half in (("muckenhirn2019", 2000), ("pellegrini2016", None)):
        path = tmp_path / f"{recipe}.zarr"
        told = ["--recipe", recipe, "-o", str(path), "--phone-set", "timit-48", "-q"]
        assert run(["prepare", str(tmp_path / "timit"), *told]) == 0
        corpus = Corpus(path)
        items = corpus.items("test")
        spans, hop = spans_of(corpus, items), 160
        start, stop = (corpus.artifact.read(name) for name in ("start", "stop"))
        middle = start + half if half else np.where(start > 0, start + 160, stop - 160)
        labels, utterance = corpus.labels, corpus.artifact.read("utterance")
        follows = [
            bool(same and one and away == hop)
            for same, one, away in zip(
                np.diff(labels, prepend=-1) == 0,
                np.diff(utterance, prepend=-1) == 0,
                np.diff(middle, prepend=-1),
                strict=True,
            )
        ].__getitem__
        for span, item in zip(spans, items, strict=True):
            first = last = item
            while first > 0 and follows(first):
                first -= 1
            while last + 1 < len(labels) and follows(last + 1):
                last += 1
            wanted = np.array([middle[first] - hop / 2, middle[last] + hop / 2]) - middle[item]
            np.testing.assert_array_equal(span, wanted)


def test_fillings_take_the_place_of_what_is_deleted() -> None:
    weight = torch.tensor([1.0, -2.0, 3.0, 0.5]).double()

    def linear(x: Tensor) -> Tensor:
        total = x.flatten(1) @ weight
        return torch.stack([total, torch.zeros_like(total)], 1)

    x, fill, relevance = torch.randn(3, 2, 1, 2, 2).double()
    target = torch.zeros(2, dtype=torch.long)
    for curve in removal_curves(linear, x, target, relevance, steps=4, fill=fill):
        assert curve.shape == (2, 5)
    deletion, insertion = removal_curves(linear, x, target, relevance, steps=4, fill=fill)
    for item in range(2):
        order = np.argsort(-relevance[item].flatten().numpy())
        for step in range(5):
            gone, given = x[item].flatten().clone(), fill[item].flatten().clone()
            gone[order[:step]] = fill[item].flatten()[order[:step]]
            given[order[:step]] = x[item].flatten()[order[:step]]
            for values, curve in ((gone, deletion), (given, insertion)):
                wanted = 1 / (1 + np.exp(-float(values @ weight)))
                assert float(curve[item, step]) == pytest.approx(wanted)


def test_what_fills_is_silence_the_mean_noise_and_another_item() -> None:
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(1, 3, 200)).astype(np.float32)
    whole = rng.normal(size=(40, 1, 3, 200)) * np.array([1.0, 5, 0.1])[:, None] + mean
    for centred in (True, False):
        corpus = SimpleNamespace(mean=mean, unit="segment")
        subject: Any = SimpleNamespace(corpus=corpus, centred=centred)
        given = torch.from_numpy(whole - mean * centred).float()
        made = fillings(subject, given, 3)
        assert set(made) == {"", "silence" if centred else "mean", "noise", "another item"}
        added = torch.from_numpy(mean * centred)
        if centred:
            torch.testing.assert_close(made["silence"] + added, torch.zeros_like(given))
        else:
            torch.testing.assert_close(made["mean"][0], torch.from_numpy(mean))
        spread = [made["noise"].std((0, 1, 3)), given.std((0, 1, 3))]
        torch.testing.assert_close(*spread, rtol=0.05, atol=0)
        near = torch.cdist(made["another item"].flatten(1), given.flatten(1)).argmin(1)
        assert sorted(near.tolist()) == list(range(40)) and (near != torch.arange(40)).all()


def test_agreement_is_held_against_other_items() -> None:
    common = torch.randn(1, 1, 4, 50).double()
    first = common + torch.randn(20, 1, 4, 50).double()
    second = common + torch.randn(20, 1, 4, 50).double()
    other, same = (agreeing(ranked(first), ranked(one)) for one in (second, first))
    assert float(same[""].min()) == pytest.approx(1)
    # What all items share is chance.
    for found in (same, other):
        assert found["another item"].shape[1] == 20
        assert 0.3 < found["another item"].mean() < 0.7


def test_networks_of_other_seeds_are_held_against_the_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    corpora.timit(tmp_path / "timit", speakers=2, sentences=2)
    assert run(["prepare", "timit", "-q"]) == 0
    little = ["--epochs", "1", "--per-class", "3", "-q"]
    assert run(["train", *little]) == 0
    assert run(["train", *little, "--seed", "1", "-o", "one.pt"]) == 0
    assert run(["relevance", "--method", "gradient-x-input", "--per-class", "3", "-q"]) == 0
    capsys.readouterr()
    assert run(["score", "relevance.zarr", "--seeds", "model.pt,one.pt", "--json"]) == 0
    rows = {row["measure"]: row for row in json.loads(capsys.readouterr().out)}
    # A network agrees with itself, with one of another seed less.
    own, other = (rows[f"seed {name}.pt: agreement"] for name in ("model", "one"))
    assert own["value"] == pytest.approx(1, abs=1e-6)
    assert other["value"] < 0.9 and other["null"] in ("another item", "random weights")
    assert {"deletion by silence", "insertion by noise", "AUC, in the phone"} <= set(rows)
    assert rows["deletion by silence"]["ceiling"] == 0
    assert rows["AUC, in the phone"]["ceiling"] == 1
    assert run(["prepare", "timit", "-q", "-o", "six.zarr", "--phone-set", "timit-39"]) == 0
    assert run(["train", "six.zarr", *little, "-o", "six.pt"]) == 0
    assert run(["score", "relevance.zarr", "--seeds", "six.pt"]) == 3
    assert "six.pt was made from" in capsys.readouterr().err
    assert run(["score", "model.pt", "--seeds", "one.pt"]) == 2


class Windows(Corpus):
    """Windows of utterances, as a letter network is explained on."""

    input_shape = (1, 128, 206)


def test_the_phone_of_a_window_or_a_time_is_that_which_sounds_there(tmp_path: Path) -> None:
    corpora.spoken(tmp_path / "timit")
    for path, told in (
        ("said.zarr", ["--recipe", "krug2018"]),
        ("whole.zarr", ["--unit", "utterance", "--features", "waveform", "--max-length", "none"]),
    ):
        assert (
            run(["prepare", str(tmp_path / "timit"), *told, "-o", str(tmp_path / path), "-q"]) == 0
        )
    said, whole = Windows(tmp_path / "said.zarr"), Corpus(tmp_path / "whole.zarr")
    edges = said.artifact.read("input_offset")
    for first in (int(edges[1]), int(edges[1]) + 17, int(edges[2]) - 206):
        middle = (first - edges[1] + 103) * 160
        (span,) = spans_of(said, np.array([first]))
        wanted = [s for _, s in said.phones(1) if s.start <= middle < s.stop]
        if not wanted:  # a pause that is no phone
            assert np.isnan(span).all()
            continue
        # Frames of 25 ms stand in the middle of their samples: half of one is the precision.
        assert np.abs(span - [wanted[0].start - middle, wanted[0].stop - middle]).max() <= 200
    half = whole.input_shape[2] / 2
    for name, stretch in whole.phones(1):
        at = (stretch.start + stretch.stop) / 2 / RATE
        (span,) = spans_of(whole, np.array([1]), at)
        np.testing.assert_allclose(span, [stretch.start - half, stretch.stop - half])
        assert name in whole.names("phone")
    assert np.isnan(spans_of(whole, np.array([1]))).all()
    own = Regions(said, np.array([edges[1], edges[1] + 17]), [None, None])
    found = own.sizes(np.ones((2, 1, 128, 206)))
    assert found.shape == (2, 128, 206) and set(own.of) == {"in the phone"}
