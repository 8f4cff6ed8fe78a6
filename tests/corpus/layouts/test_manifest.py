from pathlib import Path

import fuzzing
import pytest

from speechscope.corpus.layouts.manifest import Manifest
from speechscope.corpus.utterances import BadRecording, Scan, Segment
from speechscope.errors import SpeechscopeError

HEAD = "audio,start,end,label,speaker,split\n"


def scan(folder: Path, text: str, name: str = "manifest.csv") -> Scan:
    (folder / name).write_text(text)
    return Manifest().scan(folder)


def test_a_table_of_segments_is_read(tmp_path: Path) -> None:
    found = scan(
        tmp_path, HEAD + "w/b.wav,0.5,1,b,p 1,TEST\na.wav,0,.5,a,p2,\nw/b.wav,0,0.5,a,p 1,TEST\n"
    )
    first, second = found.utterances
    assert (first.split, first.speaker, first.name, first.audio) == (
        "",
        "p2",
        "a",
        tmp_path / "a.wav",
    )
    assert (second.split, second.speaker, second.audio) == ("test", "p_1", tmp_path / "w/b.wav")
    marks = Manifest().marks(second)
    assert marks.per_second
    assert marks.segments == (Segment(0, 0.5, "a"), Segment(0.5, 1, "b"))
    with pytest.raises(BadRecording, match="has no text"):
        Manifest().text(second)


def test_a_table_of_words_is_read(tmp_path: Path) -> None:
    text = "audio\ttext\tnotes\np1/a.wav\tsome  words\t!\np2/a.wav\tothers\t\n"
    found = scan(tmp_path, text, "manifest.tsv")
    assert [(u.key, Manifest().text(u)) for u in found.utterances] == [
        ("p1/a", "some words"),
        ("p2/a", "others"),
    ]
    with pytest.raises(BadRecording, match="has no start, end and label"):
        Manifest().marks(found.utterances[0])


def test_labels_and_words_go_together_and_a_file_can_be_named(tmp_path: Path) -> None:
    text = '\ufeffAudio,Start,End,Label,Text\r\na.wav,,,,"one, two"\r\na.wav,0,1,x,\r\n'
    (tmp_path / "mine.csv").write_text(text)
    (found,) = Manifest().scan(tmp_path / "mine.csv").utterances
    assert found.speaker == tmp_path.name
    assert Manifest().text(found) == "one, two"
    assert Manifest().marks(found).segments == (Segment(0, 1, "x"),)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a.wav,0,x,b,p,train", "line 4: 0, x are not two times"),
        ("a.wav,0,,b,p,train", "line 4: 0,  are not two times"),
        ("a.wav,0,inf,b,p,train", "are not two times"),
        ("a.wav,2,1,b,p,train", "2 to 1 is no stretch of time"),
        ("a.wav,-1,1,b,p,train", "-1 to 1 is no stretch of time"),
        ("a.wav,,,b,p,train", "has a label without times"),
        ("a.wav,,,,p,train", "gives neither a label nor words"),
        ("a.wav,1,2,b,q,train", "gives another speaker than line 2"),
        ("a.wav,1,2,b,p,test", "gives another split than line 2"),
        ("a.wav,1,2,b,p", "has fewer cells"),
        ("a.wav,1,2,b,p,train,x", "has more cells"),
        (",1,2,b,p,train", "names no recording"),
    ],
)
def test_a_malformed_row_leaves_out_its_recording(tmp_path: Path, row: str, reason: str) -> None:
    good = "a.wav,0,1,a,p,train\nb.wav,0,1,a,p,train\n"
    found = scan(tmp_path, HEAD + good + row + "\na.wav,1,2,c,p,train\n")
    assert [u.name for u in found.utterances][-1:] == ["b"]
    assert len(found.problems) == 1 and reason in found.problems[0]
    assert (len(found.utterances) == 1) == row.startswith("a.wav")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no column audio"),
        ("place,start,end,label\n", "has no column audio"),
        ("audio,start,end,lable\n", "has no column label, and no column text"),
        ("audio,audio,text\n", "two columns audio"),
        (HEAD, "lists no usable recording"),
        (HEAD + "a.wav,0,1,a,p,new\n", "lists no usable recording; the first of 1 problems"),
        (HEAD + 'a.wav,0,1,"a,p,train\n', "unexpected end of data"),
        (HEAD + f"a.wav,0,1,{'a' * 200_000},p,train\n", "field larger than field limit"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(SpeechscopeError, match=reason):
        scan(tmp_path, text)


@pytest.mark.parametrize(
    "header",
    [
        "audio,start,end,label,speaker", "path,tmin,tmax,phone,client_id",
        "wav,onset,offset,labels,spk", "file,begin,stop,phones,speaker_id",
        "Filename,xmin,xmax,Segment,Talker",
    ],
)  # fmt: skip
def test_columns_have_the_names_that_other_tools_give_them(tmp_path: Path, header: str) -> None:
    (utterance,) = scan(tmp_path, f"{header},wav_path\na.wav,0.1,0.2,aa,kim,b.wav\n").utterances
    assert (utterance.audio.name, utterance.speaker) == ("a.wav", "kim")
    assert utterance.marks is not None
    assert utterance.marks.segments == (Segment(0.1, 0.2, "aa"),)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpeechscopeError, match=r"holds no manifest\.csv or manifest\.tsv"):
        Manifest().scan(tmp_path)


def test_recordings_outside_of_the_folder_are_allowed(tmp_path: Path) -> None:
    inside = tmp_path / "tables"
    inside.mkdir()
    found = scan(inside, "audio,text,speaker\n../a/x.wav,w,p\n/data/b/x.wav,w,p\n")
    assert [u.audio.name for u in found.utterances] == ["x.wav", "x.wav"]
    assert len({u.identity for u in found.utterances}) == 2


def test_a_message_is_one_line(tmp_path: Path) -> None:
    found = scan(tmp_path, HEAD + 'b.wav,0,1,a,p,\n"a\nb.wav",0,"1\n2",a,p,"x\ny"\n')
    (problem,) = found.problems
    assert "\n" not in problem


def test_the_fuzzers_tables_are_whole(tmp_path: Path) -> None:
    assert scan(tmp_path, fuzzing.manifest().decode()).problems == ()
