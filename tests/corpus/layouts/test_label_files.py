from pathlib import Path

import fuzzing
import pytest

from speechscope.corpus.layouts.label_files import LabelFiles
from speechscope.corpus.utterances import BadRecording, Segment, Utterance


def lab(folder: Path, content: str | bytes) -> Utterance:
    path = folder / "a.lab"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Utterance("", "s", "a", folder / "a.wav", path)


def test_xlabel_gives_ends(tmp_path: Path) -> None:
    text = "signal a\nseparator ;\nnfields 1\n#\n  0.25  121 h#\n 0.5 -1 a b; x\n 0.75 121\n"
    marks = LabelFiles().marks(lab(tmp_path, text))
    assert marks.per_second
    assert marks.segments == (
        Segment(0, 0.25, "h#"),
        Segment(0.25, 0.5, "a b"),
        Segment(0.5, 0.75, ""),
    )


def test_htk_counts_in_100_ns(tmp_path: Path) -> None:
    text = "0 2500000 sil\r\n2500000 5000000 aa -123.4 word\r\n"
    marks = LabelFiles().marks(lab(tmp_path, text))
    assert marks.segments == (Segment(0, 0.25, "sil"), Segment(0.25, 0.5, "aa"))


def test_a_decimal_point_means_seconds(tmp_path: Path) -> None:
    marks = LabelFiles().marks(lab(tmp_path, "0 0.25 sil\n0.25 1 aa\n"))
    assert marks.segments == (Segment(0, 0.25, "sil"), Segment(0.25, 1, "aa"))


def test_the_three_formats_agree(tmp_path: Path) -> None:
    makers = (fuzzing.lab_htk, fuzzing.lab_seconds, fuzzing.lab_xlabel)
    htk, seconds, xlabel = (LabelFiles().marks(lab(tmp_path, make())).segments for make in makers)
    for one, two, three in zip(htk, seconds, xlabel, strict=True):
        assert one.start == pytest.approx(two.start, abs=1e-6)
        assert one.stop == pytest.approx(three.stop, abs=1e-6)
        assert one.label == two.label == (three.label or "q")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "holds no labels"),
        ("the words of a sentence\n", "line 1 is not `start end label`"),
        ("#!MLF!#\n0 100000 a\n", "line 1 is not `start end label`"),
        ("0 1 sil\n1 2 aa\n", "ends before 10 ms"),
        ("0 250000 sil\n250000 200000 aa\n", "label 2 ends before it starts"),
        ("0 250000 sil\n250000 -1 aa\n", "line 2 is not"),
        ("0.0 nan sil\n", "line 1 is not"),
        ("#\n 0.5 121 a\n 0.2 121 b\n", "label 2 ends before it starts"),
        ("#\n 0.5 a\n", "line 2 is not `end colour label`"),
    ],
)
def test_malformed_labels_are_named(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(BadRecording, match=reason):
        LabelFiles().marks(lab(tmp_path, text))


def test_words_come_from_a_text(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    lab(tmp_path, fuzzing.lab_htk())
    (tmp_path / "a.txt").write_text(" some\n words ")
    (found,) = LabelFiles().scan(tmp_path).utterances
    assert LabelFiles().text(found) == "some words"
