import pickle
from dataclasses import replace
from pathlib import Path

import corpora
import numpy as np
import oracles
import pytest
from preparing import SETTINGS, run

from speechscope.corpus.prepare import Stretches
from speechscope.corpus.reading import Survey
from speechscope.corpus.store import Corpus
from speechscope.corpus.units import Piece, Recording
from speechscope.corpus.units.segment import SegmentUnit
from speechscope.errors import SpeechscopeError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpora.timit(tmp_path_factory.mktemp("corpus") / "timit")


@pytest.fixture(scope="module")
def corpus(root: Path) -> Corpus:
    return run(root, root.parent / "corpus.zarr")[0]


def test_segments_labels_and_splits(corpus: Corpus) -> None:
    # 16 recordings of 12,800 samples in 8 phones of 1,600; one of them is q, which is dropped.
    assert len(corpus.labels) == 16 * 7
    assert [corpus.classes[i] for i in corpus.labels[:7]] == [
        *("sil", "aa", "s", "cl", "t", "iy", "sil")
    ]
    folded = [corpus.classes_folded[i] for i in corpus.artifact.read("label_folded")[:7]]
    assert folded == ["sil", "aa", "s", "sil", "t", "iy", "sil"]
    assert len(corpus.items("train")) == 3 * 4 * 7
    assert len(corpus.items("test")) == 4 * 7
    np.testing.assert_array_equal(corpus.fold[corpus.labels], corpus.artifact.read("label_folded"))
    start, stop = corpus.artifact.read("start"), corpus.artifact.read("stop")
    assert (start[1], stop[1]) == (1600, 3200)


def test_input_is_the_transform_of_the_padded_segment(corpus: Corpus, root: Path) -> None:
    import soundfile

    samples, _ = soundfile.read(root / "TRAIN/DR1/FAB00/SX1.WAV", dtype="float32")
    padded = np.zeros((1, 2554))
    padded[0, 477:2077] = samples[1600:3200]
    item = 7 + 1  # the second phone of the second utterance
    expected = oracles.stft(padded, window=267, hop=145, points=400).real
    np.testing.assert_allclose(corpus.artifact.read("input", item)[0], expected[0], atol=1e-4)
    np.testing.assert_array_equal(corpus.waveforms(np.array([item]))[0], padded[0].astype("f4"))


def test_the_mean_is_that_of_the_training_split(corpus: Corpus) -> None:
    values = corpus.artifact.read("input")
    expected = values[corpus.items("train")].mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(corpus.mean, expected, atol=1e-6)
    items = np.array([5, 100, 5])
    np.testing.assert_array_equal(corpus.centred(items), values[items] - corpus.mean)


def test_the_arrays_do_not_depend_on_the_number_of_workers(
    corpus: Corpus, root: Path, tmp_path: Path
) -> None:
    other, _ = run(root, tmp_path / "two.zarr", workers=2)
    for name in corpus.artifact:
        np.testing.assert_array_equal(other.artifact.read(name), corpus.artifact.read(name))


def test_bad_items_are_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    root = corpora.timit(tmp_path / "timit", speakers=1)
    folder = root / "TRAIN/DR1/FAB00"
    truncated = folder / "SX0.WAV"
    truncated.write_bytes(truncated.read_bytes()[:9000])
    (folder / "SX1.PHN").write_text("0 1600 aa\n1600 1600 s\n1600 3200 xyz\n")
    (folder / "SX2.PHN").write_text("0 1600 aa\n1600 99999 s\n")
    corpus, summary = run(root, tmp_path / "c.zarr")
    reasons = [line.split(": ", 1)[1] for line in summary.skipped]
    assert reasons == [
        "is truncated: 4478 of the 12800 samples in its header",
        "1600-1600 s: holds no samples",
        "1600-3200: unknown phone 'xyz'",
        "is truncated: 12800 samples, but its labels reach 99999",
    ]
    assert len(corpus.items("train")) == 1 + 7  # one phone of SX1, all of SX3


def test_a_phone_set_that_knows_the_labels_is_named(tmp_path: Path) -> None:
    root = corpora.timit(tmp_path / "timit", speakers=1)
    wrong = replace(SETTINGS, phone_set="sampa-fr")
    with pytest.raises(SpeechscopeError, match=r"48 of 64 labels are not in .*timit-48 knows 100%"):
        run(root, tmp_path / "c.zarr", wrong)
    assert not (tmp_path / "c.zarr").exists()
    _, summary = run(root, tmp_path / "c.zarr", replace(wrong, skip_bad=True))
    assert "--phone-set sampa-fr; --phone-set timit-48 knows 100% of all" in summary.notes[-1]
    assert summary.notes[-1].startswith(f"{summary.skipped_items} labels")
    (root / "TRAIN/DR1/FAB00/SX1.PHN").write_text("0 1600 aa\n1600 3200 xyz\n")
    notes = run(root, tmp_path / "d.zarr")[1].notes
    assert notes[0] == "--phone-set timit-48: it knows 98% of the labels"
    assert not any("labels are not in" in note for note in notes)


def test_sa_sentences_and_long_segments_are_dropped_and_counted(tmp_path: Path) -> None:
    root = corpora.timit(tmp_path / "timit", speakers=1, sentences=1)
    corpora.utterance(root / "TRAIN/DR1/FAB00", "SA1")
    (root / "TRAIN/DR1/FAB00/SX0.PHN").write_text("0 2554 aa\n2554 5109 s\n")
    _, summary = run(root, tmp_path / "c.zarr")
    assert summary.items == 1 + 7
    assert summary.dropped["SA sentences"] == 1
    assert summary.dropped["longer than 2554 samples"] == 1  # 2555; 2554 itself is kept
    assert summary.skipped == []


def test_the_longest_are_dropped_by_a_percentile_of_the_training_segments(tmp_path: Path) -> None:
    root = corpora.timit(tmp_path / "timit", speakers=1, sentences=1)
    (root / "TRAIN/DR1/FAB00/SX0.PHN").write_text(
        "0 100 aa\n100 300 s\n300 600 t\n600 1000 iy\n1000 9000 q\n9000 9500 aa\n"
    )
    settings = replace(SETTINGS, max_length="75%")
    corpus, summary = run(root, tmp_path / "c.zarr", settings)
    # Lengths 100, 200, 300, 400, 500 (q is dropped before): the 75th percentile is 400.
    assert corpus.config["max_length"] == 400
    assert corpus.config["samples"] == 2554  # padded to the recipe's length all the same
    assert summary.dropped["longer than 400 samples"] == 1 + 7  # and all the test ones


def test_segments_are_padded_to_the_longest_where_that_is_longer(tmp_path: Path) -> None:
    root = corpora.timit(tmp_path / "timit", speakers=1, sentences=1)
    (root / "TRAIN/DR1/FAB00/SX0.PHN").write_text("0 6000 aa\n6000 12800 s\n")
    corpus, summary = run(root, tmp_path / "c.zarr", replace(SETTINGS, max_length="100%"))
    assert (corpus.config["samples"], summary.items) == (6800, 2 + 7)
    assert corpus.input_shape == (1, 201, (6800 - 122) // 145)
    without, _ = run(root, tmp_path / "d.zarr", replace(SETTINGS, max_length="none"))
    assert without.input_shape == corpus.input_shape


def test_a_percentile_needs_training_segments() -> None:
    with pytest.raises(SpeechscopeError, match="no training item to take the percentile of"):
        Survey().longest_kept(None, "95%")


def test_dev_speakers_are_drawn_from_the_training_ones(root: Path, tmp_path: Path) -> None:
    corpus, _ = run(root, tmp_path / "dev.zarr", replace(SETTINGS, dev=0.34))
    speakers = corpus.artifact.read("speaker")
    by_split = [set(speakers[corpus.items(s)].tolist()) for s in ("train", "dev", "test")]
    assert [len(s) for s in by_split] == [2, 1, 1]
    assert not by_split[0] & by_split[1]


def test_gain_normalisation_makes_loud_and_soft_recordings_alike(tmp_path: Path) -> None:
    import soundfile

    root = corpora.timit(tmp_path / "timit", speakers=1, sentences=1)
    soft = root / "TRAIN/DR1/FAB00/SX0.WAV"
    samples, rate = soundfile.read(soft)
    loud = root / "TRAIN/DR1/FAB00/SX1.WAV"
    soundfile.write(loud, 4 * samples, rate, subtype="PCM_16")
    (loud.with_suffix(".PHN")).write_text(soft.with_suffix(".PHN").read_text())
    settings = replace(SETTINGS, features="sqrt-magnitude", normalize="gain")
    corpus, _ = run(root, tmp_path / "c.zarr", settings)
    values = corpus.artifact.read("input")
    # What is left is the rounding of the file's 16 bits.
    np.testing.assert_allclose(values[:7], values[7:14], atol=0.02)
    stored = corpus.artifact.read("waveform")[: 7 * 1600]
    assert 0.5 < 10 * np.sqrt(np.mean(stored**2)) < 1.5


def test_z_normalisation_is_measured_on_the_whole_recording(root: Path, tmp_path: Path) -> None:
    import soundfile

    settings = replace(SETTINGS, features="log-magnitude", normalize="utterance", deltas=1)
    corpus, _ = run(root, tmp_path / "z.zarr", settings)
    plain, _ = run(root, tmp_path / "p.zarr", replace(settings, normalize="none"))
    samples, _ = soundfile.read(root / "TRAIN/DR1/FAB00/SX1.WAV", dtype="float32")
    whole, _ = plain.representation.utterance(samples)
    item = 7 + 1
    found, raw = corpus.artifact.read("input", item), plain.artifact.read("input", item)
    for channel in range(2):
        mean, deviation = whole[:, channel].mean(), whole[:, channel].std()
        np.testing.assert_allclose(found[channel], (raw[channel] - mean) / deviation, atol=1e-3)


def test_what_is_left_out_is_listed_whole_in_the_artifact(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speechscope.corpus.arrays.LISTED", 2)
    folder = root.parent / "bad"
    corpora.timit(folder, speakers=1, sentences=4)
    for path in (folder / "TRAIN/DR1/FAB00").glob("*.PHN"):
        path.write_text(f"0 1600 aa\n1600 3200 z{path.stem}\n")
    corpus, summary = run(folder, tmp_path / "c.zarr", replace(SETTINGS, phone_set="timit-48"))
    assert len(summary.skipped) == 4 and len(corpus.config["skipped"]) == 2
    text = corpus.artifact.read("skipped").tobytes().decode()
    assert text.split("\n") == summary.skipped


def test_a_corpus_without_training_items_says_what_was_wrong(tmp_path: Path) -> None:
    root = corpora.timit(tmp_path / "timit", speakers=1, sentences=1)
    (root / "TRAIN/DR1/FAB00/SX0.PHN").write_text("0 1600 zz\n")
    with pytest.raises(SpeechscopeError, match="no usable training segment; the first of 1 prob"):
        run(root, tmp_path / "c.zarr")
    assert not (tmp_path / "c.zarr").exists()


def test_the_room_around_a_segment_may_hold_the_speech_there(root: Path, tmp_path: Path) -> None:
    import soundfile

    settings = replace(SETTINGS, padding="speech")
    corpus, _ = run(root, tmp_path / "speech.zarr", settings)
    samples, _ = soundfile.read(root / "TRAIN/DR1/FAB00/SX1.WAV", dtype="float32")
    items = np.array([7, 7 + 1, 7 + 6])  # the first, the second and the last of a recording
    found = corpus.waveforms(items)
    # 1,600 samples lie 477 after the beginning of 2,554.
    np.testing.assert_array_equal(found[0, 477:], samples[: 2554 - 477])
    assert not found[0, :477].any()
    np.testing.assert_array_equal(found[1], samples[1600 - 477 : 1600 - 477 + 2554])
    last = int(corpus.artifact.read("start")[items[2]])
    np.testing.assert_array_equal(found[2, : len(samples) - last + 477], samples[last - 477 :])
    expected = oracles.stft(found[1:2], window=267, hop=145, points=400).real
    np.testing.assert_allclose(
        corpus.artifact.read("input", int(items[1]))[0], expected[0], atol=1e-4
    )


def test_a_channel_may_hold_the_length(root: Path, tmp_path: Path) -> None:
    plain, _ = run(root, tmp_path / "plain.zarr")
    corpus, _ = run(root, tmp_path / "length.zarr", replace(SETTINGS, duration=True))
    assert corpus.input_shape == (2, 201, 16)
    assert corpus.artifact.flags("channel") == ("real", "duration")
    values = corpus.artifact.read("input")
    np.testing.assert_array_equal(values[:, :1], plain.artifact.read("input"))
    # 1,600 samples are 100 ms, which count as 0.
    lasted = (corpus.artifact.read("stop") - corpus.artifact.read("start")) / 16000
    expected = np.broadcast_to(np.log(lasted / 0.1)[:, None, None], values[:, 1].shape)
    np.testing.assert_allclose(values[:, 1], expected, atol=1e-6)
    assert corpus.mean.shape == (2, 201, 16) and corpus.invertible
    sound = corpus.sound_of(values[:4])
    np.testing.assert_array_equal(sound, plain.sound_of(plain.artifact.read("input")[:4]))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_long_recording_is_cut_a_stretch_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    corpora.timit(tmp_path / "timit", speakers=1, sentences=1)
    whole, _ = run(tmp_path / "timit", tmp_path / "whole.zarr")
    monkeypatch.setattr("speechscope.corpus.prepare.BATCH", 1)
    monkeypatch.setattr("speechscope.corpus.prepare.LONG", 2)
    parts, summary = run(tmp_path / "timit", tmp_path / "parts.zarr", workers=workers)
    assert sorted(parts.artifact) == sorted(whole.artifact) and summary.items == len(whole.splits)
    for name in whole.artifact:
        one, two = parts.artifact.read(name), whole.artifact.read(name)
        if one.dtype.kind == "O":
            assert one.tolist() == two.tolist()
        else:
            np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-7)
    sent = pickle.loads(pickle.dumps(Stretches(_long(), SegmentUnit(SETTINGS.resolved()))))
    assert isinstance(sent, list) and [cut.counts for cut in sent] == [[2], [1]]


def _long() -> Recording:
    pieces = tuple(Piece(0, start, start + 800) for start in (0, 800, 1600))
    return Recording(corpora.recording(), pieces, None, True)
