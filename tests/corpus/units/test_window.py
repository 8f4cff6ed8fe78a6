from dataclasses import replace
from pathlib import Path

import corpora
import numpy as np
import pytest
import soundfile
from preparing import SETTINGS, run

from speechscope.corpus.store import Corpus
from speechscope.errors import SpeechscopeError, UsageProblem

WINDOWS = replace(
    SETTINGS,
    unit="window",
    length=4000,
    window=160,
    overlap=0,
    bins=2,
    features="waveform",
    max_length="none",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpora.timit(tmp_path_factory.mktemp("windows") / "timit", speakers=4, sentences=4)


@pytest.fixture(scope="module")
def corpus(root: Path) -> Corpus:
    return run(root, root.parent / "corpus.zarr", WINDOWS)[0]


def recording(root: Path, corpus: Corpus, utterance: int) -> np.ndarray:
    speaker, name = corpus.names("utterance")[utterance].split("/")
    samples: np.ndarray
    samples, _ = soundfile.read(next(root.rglob(f"{speaker}/{name}.WAV")), dtype="float32")
    return samples


def test_an_item_is_the_samples_around_its_middle_and_zeros_beyond_the_ends(
    corpus: Corpus, root: Path
) -> None:
    utterances, start = corpus.artifact.read("utterance"), corpus.artifact.read("start")
    items = np.array([0, 35, len(start) - 1, 900, 35])
    found = corpus.view.read(items)
    assert found.shape == (5, 1, 1, 4000) == (5, *corpus.input_shape)
    for row, item in enumerate(items):
        samples = recording(root, corpus, utterances[item])
        expected = [
            samples[n] if 0 <= n < len(samples) else 0.0
            for n in range(start[item], start[item] + 4000)
        ]
        np.testing.assert_array_equal(found[row, 0, 0], np.array(expected, dtype=np.float32))


def test_windows_are_10_ms_apart_and_labelled_by_their_middle(corpus: Corpus) -> None:
    # Middles at 80, 240, …; 12,800 samples in 8 phones of 1,600; q is dropped.
    phones = ("sil", "aa", "s", "cl", "t", "iy", None, "sil")
    middles = [m for m in range(80, 12800, 160) if phones[m // 1600]]
    of_first = corpus.artifact.read("utterance") == 0
    start, stop = corpus.artifact.read("start")[of_first], corpus.artifact.read("stop")[of_first]
    assert start.tolist() == [m - 2000 for m in middles]
    assert (stop - start == 4000).all()
    labels = [corpus.classes[i] for i in corpus.labels[of_first]]
    assert labels == [phones[m // 1600] for m in middles]


def test_samples_are_stored_once(corpus: Corpus) -> None:
    assert corpus.artifact.read("waveform").shape == (20 * 12800,)
    assert "input" not in corpus.artifact


def test_the_mean_is_that_of_the_training_windows(corpus: Corpus) -> None:
    training = corpus.items("train")
    expected = corpus.view.read(training).mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(corpus.mean, expected, atol=1e-6)


def test_recordings_are_normalised_whole(root: Path, tmp_path: Path) -> None:
    corpus, _ = run(root, tmp_path / "c.zarr", replace(WINDOWS, normalize="utterance"))
    waveform = corpus.artifact.read("waveform").reshape(20, 12800).astype(np.float64)
    np.testing.assert_allclose(waveform.mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(waveform.std(axis=1), 1, atol=1e-4)


def test_windows_of_speakers_cover_whole_recordings_of_every_split(
    root: Path, tmp_path: Path
) -> None:
    settings = replace(WINDOWS, labels="speaker", split="recordings:0.3", drop_sa=False)
    corpus, summary = run(root, tmp_path / "c.zarr", settings)
    assert summary.dropped["of speakers outside the training folder"] == 4
    assert corpus.classes == corpus.classes_folded == ("FAB00", "FAB10", "FAB20", "FAB30")
    assert len(corpus.labels) == 16 * 80
    speakers = corpus.artifact.read("speaker")
    np.testing.assert_array_equal(corpus.labels, speakers)
    for split in ("train", "test"):
        assert set(corpus.labels[corpus.items(split)]) == {0, 1, 2, 3}
    utterances = corpus.artifact.read("utterance")
    assert not set(utterances[corpus.items("train")]) & set(utterances[corpus.items("test")])


def test_of_speakers_recorded_once_none_is_recognized(tmp_path: Path) -> None:
    for number in range(3):
        corpora.utterance(tmp_path / f"timit/TRAIN/DR1/FAB{number}0", f"SX{number}", seed=number)
    for sentence in (3, 4):
        corpora.utterance(tmp_path / "timit/TEST/DR1/FAB30", f"SX{sentence}", seed=sentence)
    settings = replace(WINDOWS, labels="speaker", split="recordings:0.3", drop_sa=False)
    corpus, summary = run(tmp_path / "timit", tmp_path / "c.zarr", settings)
    assert summary.dropped["of speakers with one recording"] == 3
    assert corpus.classes == ("FAB30",)
    assert len(corpus.items("test")) == len(corpus.items("train")) == 80


@pytest.mark.parametrize("rule", ["folder", "share:0.2"])
def test_speakers_to_be_recognized_are_in_every_split(
    root: Path, tmp_path: Path, rule: str
) -> None:
    settings = replace(WINDOWS, labels="speaker", split=rule)
    with pytest.raises(UsageProblem, match=f"--split {rule}: speakers to be recognized have to"):
        run(root, tmp_path / "c.zarr", settings)


def test_what_needs_spectrograms_refuses_waveforms(corpus: Corpus) -> None:
    with pytest.raises(UsageProblem, match="holds waveforms; this needs spectrograms"):
        _ = corpus.invertible


@pytest.fixture(scope="module")
def whole(root: Path) -> Corpus:
    chosen = replace(WINDOWS, unit="utterance", window=267, overlap=122)
    return run(root, root.parent / "whole.zarr", chosen)[0]


def test_whole_waveforms_come_with_their_phones(whole: Corpus, root: Path) -> None:
    assert whole.whole and whole.classes == ("?",)
    assert whole.input_shape == (1, 1, 12800)
    found = whole.view.read(np.arange(20))
    assert found.shape == (20, 1, 1, 12800) == (len(whole.splits), *whole.input_shape)
    for item in (0, 13, 19):
        samples = recording(root, whole, int(whole.artifact.read("utterance")[item]))
        np.testing.assert_array_equal(found[item, 0, 0], samples)
        names = ("sil", "aa", "s", "cl", "t", "iy", "sil")  # q is dropped
        places = [slice(1600 * n, 1600 * (n + 1)) for n in (0, 1, 2, 3, 4, 5, 7)]
        assert whole.phones(item) == list(zip(names, places, strict=True))


def test_shorter_waveforms_end_in_zeros_and_longer_ones_are_left_out(tmp_path: Path) -> None:
    root = corpora.timit(tmp_path / "timit", speakers=2, sentences=2)
    path = root / "TRAIN/DR1/FAB00/SX0.WAV"
    soundfile.write(path, corpora.recording(0.5), 16000)
    path.with_suffix(".PHN").write_text("0 4000 aa\n4000 8000 s\n")
    settings = replace(WINDOWS, unit="utterance", window=267, overlap=122)
    corpus, _ = run(root, tmp_path / "all.zarr", settings)
    first = corpus.names("utterance").index("FAB00/SX0")
    item = int(np.flatnonzero(corpus.artifact.read("utterance") == first)[0])
    (values,) = corpus.view.read(np.array([item]))[:, 0, 0]
    assert len(values) == 12800 and values[:8000].any() and not values[8000:].any()
    assert corpus.artifact.read("stop")[item] == 8000
    with pytest.raises(SpeechscopeError, match="longer than 9000 samples: --max-length none"):
        run(
            corpora.timit(tmp_path / "long", 2, 2),
            tmp_path / "none.zarr",
            replace(settings, max_length="9000"),
        )


def test_letters_and_bands_go_with_no_whole_waveform(root: Path, tmp_path: Path) -> None:
    settings = replace(WINDOWS, unit="utterance", window=267, overlap=122)
    for wrong in ({"labels": "letter"}, {"normalize": "band"}, {"deltas": 1}):
        with pytest.raises(UsageProblem):
            run(root, tmp_path / "x.zarr", replace(settings, **wrong))
    windows, _ = run(root, tmp_path / "w.zarr", WINDOWS)
    with pytest.raises(UsageProblem, match="no times of phones"):
        windows.phones(0)
