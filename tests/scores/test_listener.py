"""The listener beside a corpus: trained once, used again, and held against chance."""

import importlib.util
import json
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from speechscope.cli import run
from speechscope.corpus.store import Corpus
from speechscope.scores import inversion, listener
from speechscope.scores.inversion import Inversion
from speechscope.scores.listener import (
    FIRST,
    FIVE,
    HeardCorpus,
    NamedBy,
    heard,
    misheard,
    naming,
    words,
)
from speechscope.scores.statistics import ABOVE, AT, Score, rows_of
from speechscope.stages import score
from speechscope.store.lineage import record_at

GOLDEN = Path(__file__).parents[1] / "golden" / "format-5.tar.xz"
LITTLE = {**score.LISTENER, "epochs": 1, "per_class": 3, "seed": 3}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(tmp_path, filter="data")
    (found,) = tmp_path.rglob("inversion.zarr")
    monkeypatch.chdir(found.parent)
    monkeypatch.setattr(listener, "LEAST", 1)
    monkeypatch.setattr(score, "LISTENER", LITTLE)
    return found.parent


def test_it_is_trained_once_and_kept(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", "inversion.zarr", "--json"]) == 0
    captured = capsys.readouterr()
    assert "corpus.listener.pt: a listener, trained once" in captured.err
    rows = [row for row in json.loads(captured.out) if row["measure"] in (FIRST, FIVE)]
    assert rows and all(row["chance"] is not None for row in rows)
    kept = here / "corpus.listener.pt"
    before = kept.read_bytes()
    record = record_at(kept)
    assert record["kind"] == "listener" and record["seed"] == 3
    assert [parent["path"] for parent in record["parents"]] == ["corpus.zarr"]
    # The ceiling is what it names of the originals, first and among five.
    assert {row["ceiling"] for row in rows} and all(row["ceiling"] <= 1 for row in rows)
    assert run(["score", "inversion.zarr", "--json"]) == 0
    captured = capsys.readouterr()
    assert "listener" not in captured.err and kept.read_bytes() == before
    again = [row for row in json.loads(captured.out) if row["measure"] in (FIRST, FIVE)]
    assert again == rows
    assert run(["check", "--deep", "corpus.listener.pt"]) == 0
    assert run(["info", "corpus.listener.pt"]) == 0
    capsys.readouterr()
    assert run(["score", "corpus.listener.pt", "--json"]) == 0
    told = {row["measure"]: row for row in json.loads(capsys.readouterr().out)}
    items = Corpus(here / "corpus.zarr").items("test")
    assert set(told) == {FIRST, FIVE} and told[FIRST]["items"] == len(items)
    # Of another corpus, or made otherwise, it is made anew.
    assert listener.kept(here / "corpus.zarr", {}) is None
    kept.replace(here / "corpus-1-of-2.listener.pt")
    assert listener.kept(here / "corpus-1-of-2.zarr") is None


def test_without_a_corpus_or_enough_segments_there_is_none(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "LEAST", 10**6)
    assert run(["score", "inversion.zarr", "--json"]) == 0
    captured = capsys.readouterr()
    assert not (here / "corpus.listener.pt").exists() and "listener" not in captured.err
    assert not any(FIRST in row["measure"] for row in json.loads(captured.out))
    monkeypatch.setattr(listener, "LEAST", 1)
    monkeypatch.setattr(listener, "train", refused)
    assert run(["score", "inversion.zarr", "--json"]) == 0
    assert "no listener names the phones: nowhere to write" in capsys.readouterr().err


def refused(*_: object) -> None:
    raise OSError("nowhere to write")


def test_it_hears_spectra_free_of_level(here: Path) -> None:
    corpus = HeardCorpus(here / "corpus.zarr")
    items = corpus.items("test")[:5]
    waves = corpus.waveforms(items)
    values = corpus.centred(items)
    assert values.shape[1:] == corpus.input_shape and values.min() > -1e-6 and values.max() == 1
    np.testing.assert_allclose(heard(0.01 * waves, 16000), values, atol=1e-4)
    assert run(["score", "inversion.zarr", "--json"]) == 0
    sizes = int(corpus.config["samples"]), 16000
    named = NamedBy(here / "corpus.listener.pt", {}, *sizes, torch.device("cpu")).named(waves)
    assert named.shape == (5, 5) and all(len(set(row)) == len(row) for row in named.tolist())
    assert torch.is_grad_enabled()


def test_who_names_the_phones_is_above_chance_and_who_names_others_is_not() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 20, 120)
    others = np.array([rng.permutation(np.setdiff1d(np.arange(20), [t]))[:4] for t in truth])
    right = np.column_stack([truth, others])
    for named, verdict in ((right, ABOVE), (right[rng.permutation(120)], AT)):
        scores: list[Score] = list(naming(truth, named))
        rows = {row["measure"]: row for row in rows_of(scores)}
        assert {row["verdict"] for row in rows.values()} == {verdict}
        # By chance: every answer given to every item.
        given = truth[:, None] == named[None, :, 0]
        assert rows[FIRST]["chance"] == pytest.approx(given.mean())
        among = (truth[:, None, None] == named[None]).any(2)
        assert rows[FIVE]["chance"] == pytest.approx(among.mean(), abs=0.08)
        assert rows[FIRST]["ceiling"] == 1.0
    truth[:60] = -1  # of these it knows no name
    assert {row["items"] for row in rows_of(naming(truth, right))} == {60}


def test_words_that_are_misheard_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = "the cat sat on the mat".split()
    assert not misheard(wanted, wanted).any() and misheard(wanted, []).tolist() == [1.0] * 6
    found = misheard(wanted, "oh the cat sad the mat now then".split())
    assert found.tolist() == [1, 0, 1, 1, 0, 2] and misheard([], ["oh"]).tolist() == []
    heard_of: list[bytes] = []

    class Decoder:
        def __init__(self, **told: object) -> None:
            assert told["samprate"] == 16000

        def start_utt(self) -> None: ...

        def end_utt(self) -> None: ...

        def process_raw(self, pcm: bytes, full_utt: bool) -> None:
            assert full_utt
            heard_of.append(pcm)

        def hyp(self) -> SimpleNamespace:
            return SimpleNamespace(hypstr="see the moon")

    monkeypatch.setitem(sys.modules, "pocketsphinx", SimpleNamespace(Decoder=Decoder))
    assert words(np.array([0.0, 0.001, -0.002])) == ["see", "the", "moon"]
    assert np.frombuffer(heard_of[0], "<i2").tolist() == [0, 10000, -20000]


def test_words_are_held_against_noise_without_the_moments_of_the_recording(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    spoken = rng.normal(size=(12, 2554)) * (np.arange(12) % 2)[:, None]  # half of it is silent
    held = Inversion.__new__(Inversion)
    held._rate = 16000
    held.artifact = SimpleNamespace(read=lambda name, *_: spoken)  # type: ignore[assignment]
    sounds: list[np.ndarray] = []

    def said(sound: np.ndarray) -> list[str]:
        sounds.append(sound)
        return list("abcdefghijklm") if len(sounds) != 2 else ["x"]

    monkeypatch.setattr(inversion, "words", said)
    there = {"pocketsphinx": object()}
    monkeypatch.setattr(importlib.util, "find_spec", there.get)
    (found,) = rows_of(held._of_recording("waveform", (0, 0)))
    assert found["verdict"] == ABOVE and found["items"] == 13
    assert (found["value"], found["chance"]) == (0.0, 1.0)
    moments = np.square(sounds[1].reshape(12, -1)).mean(1)
    assert moments.min() > 0.7 * moments.max()
    _ = list(held._of_recording("waveform", (0, 1)))
    assert len(sounds) == 4  # the recording and the noise are listened to once
