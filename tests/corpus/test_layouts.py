import os
import pickle
import shutil
from pathlib import Path

import corpora
import fuzzing
import pytest
import soundfile

from speechscope.corpus.audio import read_audio
from speechscope.corpus.layouts import layout_of
from speechscope.corpus.utterances import BadRecording, Marks, Segment
from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.registry import LAYOUTS


def wav(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, corpora.recording(0.2, seed), corpora.RATE)
    return path


def test_layouts_are_told_apart(tmp_path: Path) -> None:
    for kind, files in {
        "timit": {"TRAIN/A/x.PHN": fuzzing.phn()},
        "textgrid": {"A/x.TextGrid": fuzzing.textgrid("short_textgrid")},
        "librispeech": {"19/198/19-198.trans.txt": fuzzing.trans()},
        "lab": {"A/x.lab": fuzzing.lab_htk()},
        "manifest": {"manifest.csv": fuzzing.manifest(), "x.PHN": fuzzing.phn()},
    }.items():
        for name, content in files.items():
            path = tmp_path / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        assert layout_of(tmp_path / kind).name == kind
    assert layout_of(tmp_path / "manifest" / "manifest.csv").name == "manifest"
    assert layout_of(tmp_path / "lab", "textgrid").name == "textgrid"


def test_what_is_no_corpus_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpeechscopeError, match="is not there"):
        layout_of(tmp_path / "nothing")
    with pytest.raises(SpeechscopeError, match="only: no file"):
        layout_of(tmp_path)
    wav(tmp_path / "a.wav")
    wav(tmp_path / "b.wav")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SpeechscopeError, match=r"only: 2 \.wav, 1 \.txt"):
        layout_of(tmp_path)
    with pytest.raises(UsageProblem, match=r"layouts praat: choose from .*textgrid"):
        layout_of(tmp_path, "praat")
    for name in LAYOUTS.names():
        with pytest.raises(SpeechscopeError):
            layout_of(tmp_path, name).scan(tmp_path)


def test_layouts_can_be_sent_to_another_process() -> None:
    for name in LAYOUTS.names():
        assert pickle.loads(pickle.dumps(LAYOUTS[name](name))).name == name


def labelled(root: Path, audio: str, labels: str) -> None:
    wav(root / audio)
    path = root / labels
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(fuzzing.lab_htk())


@pytest.mark.parametrize(
    ("audio", "labels", "speaker", "split"),
    [
        ("p1/a.wav", "p1/a.lab", "p1", ""),
        ("train/p1/ch/A.WAV", "train/p1/ch/a.lab", "p1", "train"),
        ("wav/p1/a.wav", "lab/p1/a.lab", "p1", ""),
        ("p1/wav/a.wav", "p1/lab/a.lab", "p1", ""),
        ("wav48/p1/a.wav", "p1/a.lab", "p1", ""),
        ("p1/a.wav", "alignments/p1/a.lab", "p1", ""),
        ("test-clean/p1/c/a.flac", "test-clean/p1/c/a.lab", "p1", "test"),
    ],
)
def test_labels_lie_beside_recordings_or_in_a_tree_like_theirs(
    tmp_path: Path, audio: str, labels: str, speaker: str, split: str
) -> None:
    labelled(tmp_path, audio, labels)
    # A second speaker, so that the folders that differ are those of the speakers.
    labelled(tmp_path, audio.replace("p1", "p2"), labels.replace("p1", "p2"))
    first, second = LAYOUTS["lab"]("lab").scan(tmp_path).utterances
    assert (first.speaker, first.split, first.audio) == (speaker, split, tmp_path / audio)
    assert second.speaker == "p2"
    assert first.labels == tmp_path / labels


def test_a_label_file_is_never_given_another_speakers_recording(tmp_path: Path) -> None:
    labelled(tmp_path, "wav/p1/a.wav", "lab/p1/a.lab")
    labelled(tmp_path, "wav/p2/a.wav", "lab/p2/a.lab")
    (tmp_path / "wav/p2/a.wav").unlink()
    wav(tmp_path / "wav/p3/a.wav")
    found = LAYOUTS["lab"]("lab").scan(tmp_path)
    assert [u.speaker for u in found.utterances] == ["p1"]
    assert sorted(found.problems) == [
        f"{tmp_path}/lab/p2/a.lab: has no recording that goes with it",
        f"{tmp_path}/wav/p3/a.wav: has no .lab that goes with it",
    ]


def test_beside_and_mirrored_are_not_mixed(tmp_path: Path) -> None:
    labelled(tmp_path, "p1/a.wav", "p1/a.lab")
    labelled(tmp_path, "p2/a.wav", "p3/a.lab")
    found = LAYOUTS["lab"]("lab").scan(tmp_path)
    assert [u.speaker for u in found.utterances] == ["p1"]
    assert len(found.problems) == 2


def test_labels_that_fit_two_recordings_fit_none(tmp_path: Path) -> None:
    labelled(tmp_path, "one/a.wav", "lab/a.lab")
    wav(tmp_path / "two/a.wav")
    wav(tmp_path / "one/b.wav")
    shutil.copy(tmp_path / "lab/a.lab", tmp_path / "lab/b.lab")
    found = LAYOUTS["lab"]("lab").scan(tmp_path)
    assert [u.name for u in found.utterances] == ["b"]
    assert any("could belong to any of" in problem for problem in found.problems)


def test_a_recording_is_labelled_once(tmp_path: Path) -> None:
    labelled(tmp_path, "wav/a.wav", "lab/a.lab")
    labelled(tmp_path, "wav/a.wav", "other/a.lab")
    found = LAYOUTS["lab"]("lab").scan(tmp_path)
    assert [u.labels for u in found.utterances] == [tmp_path / "lab/a.lab"]
    assert any("has labels in" in problem for problem in found.problems)


def test_recordings_in_one_folder_are_one_speakers(tmp_path: Path) -> None:
    root = tmp_path / "my corpus"
    for name in "abc":
        labelled(root, f"{name}.wav", f"{name}.lab")
    found = LAYOUTS["lab"]("lab").scan(root)
    assert {u.speaker for u in found.utterances} == {"my_corpus"}


def test_recordings_of_one_name_keep_an_identity_of_their_own(tmp_path: Path) -> None:
    for chapter in ("c1", "c2"):
        for speaker in ("p1", "p2"):
            labelled(tmp_path, f"{speaker}/{chapter}/a.wav", f"{speaker}/{chapter}/a.lab")
    labelled(tmp_path, "p1/c1/b.wav", "p1/c1/b.lab")
    found = LAYOUTS["lab"]("lab").scan(tmp_path)
    names = [u.key for u in found.utterances]
    assert names == ["p1/b", "p1/p1_c1_a", "p1/p1_c2_a", "p2/p2_c1_a", "p2/p2_c2_a"]


def test_what_is_not_a_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    labelled(tmp_path, "p1/a.wav", "p1/a.lab")
    os.mkfifo(tmp_path / "p1" / "b.wav")
    (tmp_path / "p1" / "c.lab").symlink_to(tmp_path / "gone")
    (tmp_path / "p1" / "round").symlink_to(tmp_path)
    with fuzzing.time_limit(5):
        found = LAYOUTS["lab"]("lab").scan(tmp_path)
    assert [u.name for u in found.utterances] == ["a"]
    assert sorted(found.problems) == [
        f"{tmp_path}/p1/b.wav: is not a file",
        f"{tmp_path}/p1/c.lab: is not a file",
    ]


def test_marks_are_converted_to_samples_and_end_with_the_recording() -> None:
    marks = Marks((Segment(0.1, 0.25, "a"), Segment(0.25, 1.01, "b")), per_second=True)
    assert marks.fit(16000, 0.5, 16000) == (Segment(1600, 4000, "a"), Segment(4000, 16000, "b"))
    samples = Marks((Segment(10, 201, "a"),), per_second=False)
    assert samples.fit(100, 0.5, 16000) == (Segment(5, 100, "a"),)
    # 20 ms are 320 samples.
    assert Marks((Segment(0, 420, "a"),), per_second=False).fit(100, 1.0, 16000)[0].stop == 100
    with pytest.raises(BadRecording, match="is truncated: 100 samples, but its labels reach 421"):
        Marks((Segment(0, 421, "a"),), per_second=False).fit(100, 1.0, 16000)


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "layout", "utterances", "speakers", "every"),
    [
        ("french-sppas", "textgrid", 13, 1, 1),
        ("emu-ae", "textgrid", 7, 1, 1),
        ("librispeech-phones", "timit", 351, 261, 20),
    ],
)
def test_recorded_corpora_are_read(
    real_speech: Path, folder: str, layout: str, utterances: int, speakers: int, every: int
) -> None:
    found = layout_of(real_speech / folder)
    scan = found.scan(real_speech / folder)
    assert (found.name, scan.problems) == (layout, ())
    assert len(scan.utterances) == utterances
    assert len({u.speaker for u in scan.utterances}) == speakers
    for utterance in scan.utterances:
        assert utterance.labels is not None
        text = utterance.labels.read_text()
        tier = "Phonetic" if folder == "emu-ae" else "phones"
        text = text.split(f'name = "{tier}"')[-1].split("item [")[0]
        labels = text.count("intervals [") or len(text.splitlines())
        assert len(found.marks(utterance).segments) == labels
    for utterance in scan.utterances[::every]:
        samples, scale = read_audio(utterance.audio, 16000)
        segments = found.marks(utterance).fit(len(samples), scale, 16000)
        assert segments[0].start == 0
        assert segments[-1].stop == pytest.approx(len(samples), abs=800)  # 50 ms
    if layout == "timit":
        assert found.text(scan.utterances[0])
