from pathlib import Path

import corpora
import pytest

from speechscope.corpus.layouts.timit import Timit
from speechscope.corpus.utterances import BadRecording, Marks, Segment, Utterance
from speechscope.errors import SpeechscopeError


def marks(path: Path) -> Marks:
    return Timit().marks(Utterance("train", "s", path.stem, path, path))


@pytest.mark.parametrize(
    ("folder", "name", "suffix"),
    [
        ("TRAIN/DR1/FCJF0", "SX37", ".WAV"),
        ("train/dr1/fcjf0", "sx37", ".wav"),
        ("TIMIT/TRAIN/DR1/FCJF0", "SX37", ".WAV.wav"),
        ("data/TRAIN/DR1/FCJF0", "SX37", ".flac"),
        ("TRAIN/FCJF0", "SX37", ".WAV"),
        ("Train/fcjf0", "sx37", ".sph"),
    ],
)
def test_every_variant_of_the_layout_is_read(
    tmp_path: Path, folder: str, name: str, suffix: str
) -> None:
    audio = corpora.utterance(tmp_path / folder, name, suffix=suffix)
    (found,) = Timit().scan(tmp_path).utterances
    assert (found.split, found.speaker, found.name) == ("train", folder.split("/")[-1], name)
    assert found.audio == audio
    assert not found.is_sa


def test_of_two_copies_of_a_recording_one_is_read(tmp_path: Path) -> None:
    corpora.utterance(tmp_path / "TRAIN/DR1/FCJF0", "SA1", suffix=".WAV")
    converted = corpora.utterance(tmp_path / "TRAIN/DR1/FCJF0", "SA1", suffix=".WAV.wav")
    (found,) = Timit().scan(tmp_path).utterances
    assert found.audio == converted
    assert found.is_sa


def test_a_file_without_its_partner_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "TRAIN" / "FCJF0"
    corpora.utterance(folder, "SX1")
    corpora.utterance(folder, "SX2").unlink()
    corpora.utterance(folder, "SX3")
    (folder / "SX3.PHN").unlink()
    found = Timit().scan(tmp_path)
    assert [u.name for u in found.utterances] == ["SX1"]
    assert [p.split(": ")[1] for p in found.problems] == [
        "has no recording beside it",
        "has no .PHN beside it",
    ]


def test_links_are_followed_once(tmp_path: Path) -> None:
    corpora.utterance(tmp_path / "real/TRAIN/FCJF0", "SX1")
    root = tmp_path / "links"
    root.mkdir()
    (root / "TIMIT").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "TRAIN" / "loop").symlink_to(tmp_path / "real" / "TRAIN")
    assert len(Timit().scan(root).utterances) == 1


def test_an_unusable_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpeechscopeError, match="is not there"):
        Timit().scan(tmp_path / "nothing")
    with pytest.raises(SpeechscopeError, match="holds no recording with a"):
        Timit().scan(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 100 aa\n100 x iy\n", "line 2 is not `start stop label`"),
        ("0 100\n", "line 1 is not `start stop label`"),
        ("-5 100 aa\n", "line 1 is not `start stop label`"),
        ("100 200 aa\n0 100 iy\n", "label 2 starts before the one above it"),
        ("\n\n", "holds no labels"),
    ],
)
def test_malformed_labels_are_named(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "SX1.PHN"
    path.write_text(text)
    with pytest.raises(BadRecording, match=reason):
        marks(path)


def test_labels_are_read(tmp_path: Path) -> None:
    path = tmp_path / "SX1.PHN"
    path.write_bytes(b"\xef\xbb\xbf0 100 h#\r\n100 250 aa\r\n\r\n")
    assert marks(path).segments == (Segment(0, 100, "h#"), Segment(100, 250, "aa"))
    assert not marks(path).per_second


def test_folders_outside_of_the_splits_count_only_where_there_is_none(tmp_path: Path) -> None:
    corpora.utterance(tmp_path / "FCJF0", "SX1")
    assert [u.split for u in Timit().scan(tmp_path).utterances] == [""]
    corpora.utterance(tmp_path / "TEST" / "FCJF0", "SX1")
    assert [u.split for u in Timit().scan(tmp_path).utterances] == ["test"]


def test_words_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "TRAIN" / "FCJF0"
    corpora.utterance(folder, "SX1")
    (without,) = Timit().scan(tmp_path).utterances
    with pytest.raises(BadRecording, match=r"has no \.TXT"):
        Timit().text(without)
    (folder / "SX1.TXT").write_text("0 46797 She had  your dark suit.\r\n")
    (found,) = Timit().scan(tmp_path).utterances
    assert Timit().text(found) == "She had your dark suit."
    (folder / "SX1.TXT").write_text("She had\n")
    with pytest.raises(BadRecording, match="is not `start stop text`"):
        Timit().text(found)
