from pathlib import Path

import fuzzing
import pytest

from speechscope.corpus.layouts.librispeech import LibriSpeech
from speechscope.corpus.utterances import BadRecording
from speechscope.errors import SpeechscopeError


def chapter(root: Path, split: str = "train-clean-100", speaker: str = "19") -> Path:
    folder = root / "LibriSpeech" / split / speaker / "198"
    folder.mkdir(parents=True)
    text = fuzzing.trans().decode().replace("19-198", f"{speaker}-198")
    (folder / f"{speaker}-198.trans.txt").write_text(text)
    for number in range(3):
        (folder / f"{speaker}-198-000{number}.flac").touch()
    return folder


def test_the_layout_is_read(tmp_path: Path) -> None:
    chapter(tmp_path)
    chapter(tmp_path, "test-other", "20")
    found = LibriSpeech().scan(tmp_path)
    assert found.problems == ()
    assert [u.identity for u in found.utterances] == [
        "train/19/19-198-0000",
        "train/19/19-198-0001",
        "train/19/19-198-0002",
        "test/20/20-198-0000",
        "test/20/20-198-0001",
        "test/20/20-198-0002",
    ]
    assert LibriSpeech().text(found.utterances[1]) == "THIS LITTLE WORK"
    with pytest.raises(BadRecording, match="has no time marks"):
        LibriSpeech().marks(found.utterances[0])


def test_what_has_no_partner_is_named(tmp_path: Path) -> None:
    folder = chapter(tmp_path)
    (folder / "19-198-0001.flac").unlink()
    (folder / "19-198-0009.flac").touch()
    (folder / "19-198.trans.txt").write_text(fuzzing.trans().decode() + "19-198-0003\n")
    (folder / "19-198-0003.flac").touch()
    found = LibriSpeech().scan(tmp_path)
    assert [u.name for u in found.utterances] == ["19-198-0000", "19-198-0002"]
    assert [problem.partition(": ")[2] for problem in found.problems] == [
        "has words for 19-198-0001, but no recording is beside it",
        "has no words for 19-198-0003.flac",
        "has no words in a .trans.txt",
    ]


def test_two_lines_for_a_recording_are_refused(tmp_path: Path) -> None:
    folder = chapter(tmp_path)
    (folder / "19-198.trans.txt").write_text(fuzzing.trans().decode() + "19-198-0000 OTHER\n")
    with pytest.raises(SpeechscopeError, match="holds no recording with words"):
        LibriSpeech().scan(tmp_path)
