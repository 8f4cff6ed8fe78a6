from dataclasses import replace
from pathlib import Path

import corpora
import numpy as np
import pytest
import soundfile
from preparing import SETTINGS, run

from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem

UTTERANCES = replace(
    SETTINGS,
    unit="utterance",
    labels="letter",
    length=400,
    window=400,
    overlap=240,
    bins=20,
    features="log-mel",
    max_length="none",
)
TEXTS = ("She had your dark suit", "Don't ask me", "well-known", "ÉTÉ")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = corpora.timit(tmp_path_factory.mktemp("utterances") / "timit", speakers=4, sentences=4)
    for number, path in enumerate(sorted(folder.rglob("*.WAV"))):
        samples = corpora.recording(seconds=0.5 + 0.1 * (number % 4), seed=number)
        soundfile.write(path, samples, 16000, format="WAV")
        path.with_suffix(".TXT").write_text(f"0 {len(samples)} {TEXTS[number % 4]}\n")
    return folder


@pytest.fixture(scope="module")
def corpus(root: Path) -> Corpus:
    return run(root, root.parent / "corpus.zarr", UTTERANCES)[0]


def test_utterances_follow_one_another(corpus: Corpus, root: Path) -> None:
    items = np.array([18, 0, 7])
    found = corpus.utterance_inputs(items)
    for item, values in zip(items, found, strict=True):
        name = corpus.names("utterance")[item]
        samples, _ = soundfile.read(next(root.rglob(f"{name}.WAV")), dtype="float32")
        expected, _ = corpus.representation.utterance(samples)
        assert values.shape == (1, 20, (len(samples) - 240) // 160)
        np.testing.assert_array_equal(values, expected.transpose(1, 2, 0))
        assert corpus.artifact.read("stop")[item] == len(samples)
    assert corpus.artifact.array("input").ndim == 2
    assert len(corpus.artifact.read("input")) == corpus.artifact.read("input_offset")[-1]


def test_letters_are_those_of_the_text(corpus: Corpus, root: Path) -> None:
    items = np.array([2, 13, 19, 0])
    found = ["".join(corpus.classes[i] for i in letters) for letters in corpus.letters(items)]
    expected = []
    for item in items:
        name = corpus.names("utterance")[item]
        words = next(root.rglob(f"{name}.TXT")).read_text().split()[2:]
        plain = {"well-known": "well|known", "ÉTÉ": "ete"}.get(words[0], "|".join(words).lower())
        expected.append(plain)
    assert found == expected
    assert corpus.artifact.flags("letter")[26:] == ("'", "|")


def test_channels_stand_between_frames_and_bands_where_there_are_several(
    corpus: Corpus, root: Path, tmp_path: Path
) -> None:
    other, _ = run(root, tmp_path / "c.zarr", replace(UTTERANCES, deltas=1))
    assert other.artifact.array("input").shape[1:] == (2, 20)
    np.testing.assert_array_equal(
        other.utterance_inputs(np.array([3]))[0][:1], corpus.utterance_inputs(np.array([3]))[0]
    )


def test_the_mean_is_that_of_the_training_frames(corpus: Corpus) -> None:
    frames = np.concatenate(corpus.utterance_inputs(corpus.items("train")), axis=2)
    np.testing.assert_allclose(corpus.mean, frames.mean(axis=2, dtype=np.float64), atol=1e-5)
    assert corpus.mean.shape == (1, 20)


def test_utterances_above_the_limit_are_dropped(root: Path, tmp_path: Path) -> None:
    # A quarter each of 8000, 9600, 11200 and 12800 samples.
    _, summary = run(root, tmp_path / "c.zarr", replace(UTTERANCES, max_length="11199"))
    assert (summary.items, summary.dropped["longer than 11199 samples"]) == (10, 10)
    half, _ = run(root, tmp_path / "d.zarr", replace(UTTERANCES, max_length="50%"))
    assert set(half.artifact.read("stop")) == {8000, 9600}


def test_a_text_that_cannot_be_spelt_is_named(root: Path, tmp_path: Path) -> None:
    bad = corpora.timit(tmp_path / "timit", speakers=1, sentences=2)
    for path, text in zip(sorted((bad / "TRAIN").rglob("*.WAV")), ("in 1998", "ok"), strict=True):
        path.with_suffix(".TXT").write_text(f"0 12800 {text}\n")
    _, summary = run(bad, tmp_path / "c.zarr", UTTERANCES)
    reasons = [line.split(": ", 1)[1] for line in summary.skipped]
    assert reasons[0] == "its text has '1', which is none of a to z"
    assert len(reasons) == 1 + 2  # the test ones have no text
    assert summary.items == 1


def test_utterances_of_speakers_have_one_class(root: Path, tmp_path: Path) -> None:
    settings = replace(UTTERANCES, labels="speaker")
    corpus, _ = run(root, tmp_path / "c.zarr", settings)
    assert [corpus.classes[i] for i in corpus.labels[:5]] == ["FAB00"] * 4 + ["FAB10"]
    assert "letter" not in corpus.artifact


def test_what_needs_one_class_or_one_length_refuses_utterances_with_letters(
    corpus: Corpus,
) -> None:
    with pytest.raises(UsageProblem, match="is labelled with letters; this needs one class an it"):
        _ = corpus.labels
    with pytest.raises(UsageProblem, match="holds whole utterances; this needs items of one len"):
        corpus.centred(np.array([0]))
