from dataclasses import replace
from pathlib import Path

import corpora
import numpy as np
import pytest
import soundfile
from preparing import SETTINGS, run

from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem

FRAMES = replace(
    SETTINGS,
    unit="frame",
    length=320,
    window=320,
    overlap=160,
    bins=12,
    features="log-mel",
    deltas=2,
    context=5,
    max_length="none",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # 20 recordings: more than one task.
    return corpora.timit(tmp_path_factory.mktemp("frames") / "timit", speakers=4, sentences=4)


@pytest.fixture(scope="module")
def corpus(root: Path) -> Corpus:
    return run(root, root.parent / "corpus.zarr", FRAMES)[0]


def recording(root: Path, corpus: Corpus, utterance: int) -> np.ndarray:
    speaker, name = corpus.names("utterance")[utterance].split("/")
    samples: np.ndarray
    samples, _ = soundfile.read(next(root.rglob(f"{speaker}/{name}.WAV")), dtype="float32")
    return samples


def test_an_item_is_a_frame_among_its_neighbours(corpus: Corpus, root: Path) -> None:
    utterances, start = corpus.artifact.read("utterance"), corpus.artifact.read("start")
    items = np.array([0, 1, 40, len(utterances) - 1, 40, len(utterances) // 2])
    found = corpus.view.read(items)
    assert found.shape == (6, 3, 12, 5) == (6, *corpus.input_shape)
    for row, item in enumerate(items):
        samples = recording(root, corpus, utterances[item])
        frames, times = corpus.representation.utterance(samples)
        centre = int(np.argmin(np.abs(times * 16000 - 160 - start[item])))
        for place, offset in enumerate((-2, -1, 0, 1, 2)):
            near = min(max(centre + offset, 0), len(frames) - 1)
            np.testing.assert_allclose(found[row, :, :, place], frames[near], atol=1e-5)


def test_a_frame_has_the_label_at_its_middle(corpus: Corpus) -> None:
    # 12,800 samples in 8 phones of 1,600; the middles lie at 160, 320, …, 12,640; q is dropped.
    phones = ("sil", "aa", "s", "cl", "t", "iy", None, "sil")
    middles = range(160, 12641, 160)
    expected = [phones[middle // 1600] for middle in middles]
    labels = [corpus.classes[i] for i in corpus.labels[corpus.artifact.read("utterance") == 1]]
    assert labels == [name for name in expected if name]
    start, stop = corpus.artifact.read("start"), corpus.artifact.read("stop")
    assert (start[0], stop[0], start[1], stop[1]) == (0, 320, 160, 480)


def test_frames_are_stored_once(corpus: Corpus) -> None:
    assert corpus.artifact.read("input").shape == (20 * 79, 3, 12)
    np.testing.assert_array_equal(corpus.artifact.read("frame_offset"), np.arange(21) * 79)
    assert len(corpus.labels) == 20 * 69  # of 79 frames, the ten of q are nobody's middle
    times = 0.01 * np.arange(1, 80)
    found = corpus.artifact.read("frame_time")[:80]
    np.testing.assert_allclose(found, [*times, times[0]], rtol=1e-6)
    np.testing.assert_allclose(corpus.artifact.read("time"), [-0.02, -0.01, 0, 0.01, 0.02])


def test_the_mean_is_that_of_the_training_items(corpus: Corpus) -> None:
    training = corpus.items("train")
    expected = corpus.view.read(training).mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(corpus.mean, expected, atol=1e-5)
    np.testing.assert_allclose(corpus.centred(training).mean(axis=0), 0, atol=1e-4)


def test_the_waveform_is_whole(corpus: Corpus, root: Path) -> None:
    low, high = corpus.artifact.read("waveform_offset")[[17, 18]]
    stored = corpus.artifact.read("waveform", slice(int(low), int(high)))
    np.testing.assert_array_equal(stored, recording(root, corpus, 17))


def test_recordings_that_cannot_be_read_leave_the_others_in_place(tmp_path: Path) -> None:
    root = corpora.timit(tmp_path / "timit", speakers=1, sentences=3)
    whole, _ = run(root, tmp_path / "whole.zarr", FRAMES)
    (root / "TRAIN/DR1/FAB00/SX1.WAV").write_bytes(b"RIFF")
    corpus, summary = run(root, tmp_path / "c.zarr", FRAMES)
    assert len(summary.skipped) == 1
    assert set(corpus.artifact.read("utterance")) == {0, 2, 3, 4, 5}
    kept = np.flatnonzero(whole.artifact.read("utterance") != 1)
    everything = np.arange(len(corpus.labels))
    np.testing.assert_array_equal(corpus.view.read(everything), whole.view.read(kept))


def test_what_needs_segments_refuses_frames(corpus: Corpus) -> None:
    with pytest.raises(UsageProblem, match="holds items of unit frame; this needs `speechscope pr"):
        corpus.waveforms(np.array([0]))
    with pytest.raises(UsageProblem, match=r"unit frame; this needs .*--unit utterance"):
        corpus.utterance_inputs(np.array([0]))
    with pytest.raises(UsageProblem, match="has no letters"):
        corpus.letters(np.array([0]))
    assert not corpus.invertible
