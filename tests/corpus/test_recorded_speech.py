import json
from pathlib import Path

import numpy as np
import pytest

from speechscope.cli import run
from speechscope.corpus.store import Corpus


@pytest.mark.heavy
@pytest.mark.real
def test_every_recording_is_read_and_no_item_lost_for_a_wrong_reason(
    real_speech: Path, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["prepare", str(real_speech / "librispeech-phones"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["utterances"], facts["skipped"]) == (351, [])
    labels = (real_speech / "librispeech-phones").rglob("*.PHN")
    segments = sum(len(path.read_text().splitlines()) for path in labels)
    dropped = facts["dropped"]["longer than 2554 samples"]
    assert facts["items"] + dropped == segments


@pytest.mark.real
def test_french_in_33_classes(
    real_speech: Path, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--layout", "textgrid", "--phone-set", "sampa-fr", "--json"]
    assert run(["prepare", str(real_speech / "french-sppas"), *options]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["utterances"], facts["skipped"]) == (13, [])
    corpus = Corpus(workdir / "corpus.zarr")
    assert len(corpus.classes) == 33
    # What is left out is silence and noise, and what is longer than a phone of TIMIT.
    left_out = {"unlabelled", "label #", "label fp", "label noise", "label laugh"}
    assert set(facts["dropped"]) == left_out | {"longer than 2554 samples"}
    assert len(np.unique(corpus.labels)) >= 30
    assert len(corpus.items("train")) > 2 * len(corpus.items("test")) > 0


@pytest.mark.real
def test_french_as_frames_of_the_paper(real_speech: Path, workdir: Path) -> None:
    options = ["--recipe", "pellegrini2016", "-q"]
    assert run(["prepare", str(real_speech / "french-sppas"), *options]) == 0
    corpus = Corpus(workdir / "corpus.zarr")
    assert corpus.input_shape == (3, 40, 11) and len(corpus.classes) == 33
    inputs = corpus.centred(corpus.items("train")[:500])
    assert np.isfinite(inputs).all() and 0.5 < inputs[:, 0].std() < 10


@pytest.mark.real
def test_hand_labels_in_a_tier_of_their_own(
    real_speech: Path, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--tier", "Phonetic", "--phone-set", "as-is", "--json"]
    assert run(["prepare", str(real_speech / "emu-ae"), *options]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["utterances"], facts["skipped"], facts["items"]) == (7, [], 245)
    assert {"V", "@:"} <= set(Corpus(workdir / "corpus.zarr").classes)


@pytest.mark.heavy
@pytest.mark.real
def test_letters_of_librispeech(
    real_speech: Path, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = real_speech / "librispeech-phones"
    assert run(["prepare", str(folder), "--recipe", "krug2018", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["items"], facts["skipped"]) == (351, [])
    corpus = Corpus(workdir / "corpus.zarr")
    item = corpus.names("utterance").index("1034/1034-121119-0000")
    spelt = "".join(corpus.classes[i] for i in corpus.letters(np.array([item]))[0])
    assert spelt == "chapter|ninety|nine|the|law|we|have|seen|how|quietly"
    values = np.concatenate(corpus.utterance_inputs(np.arange(20)), axis=2)
    np.testing.assert_allclose((values.mean(), values.std()), (0, 1), atol=1e-3)
