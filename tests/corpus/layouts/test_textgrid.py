from pathlib import Path

import fuzzing
import pytest
from praatio import textgrid as praatio_textgrid

from speechscope.corpus.layouts.textgrid import TextGrids, read
from speechscope.corpus.utterances import BadRecording, Segment, Utterance

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 1.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = ""
        intervals [2]:
            xmin = 0.5
            xmax = 1e0
            text = "ɑ̃"
        intervals [3]:
            xmin = 1.0
            xmax = 1.5
            text = "a ""b"" "
    item [2]:
        class = "TextTier"
        name = "Tone"
        xmin = 0
        xmax = 1.5
        points: size = 1
        points [1]:
            number = 0.7
            mark = "H*"
"""
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
1.5
<exists>
2
"IntervalTier"
"phones"
0
1.5
3
0
0.5
""
0.5
1
"ɑ̃"
1
1.5
"a ""b"" "
"TextTier"
"Tone"
0
1.5
1
0.7
"H*"
"""
SEGMENTS = (Segment(0, 0.5, ""), Segment(0.5, 1, "ɑ̃"), Segment(1, 1.5, 'a "b"'))


def grid(folder: Path, content: str | bytes, speaker: str = "s") -> Utterance:
    path = folder / "a.TextGrid"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Utterance("", speaker, "a", folder / "a.wav", path)


def tiers(*names: str, label: str = "a", kind: str = "IntervalTier") -> str:
    """Write a short grid of tiers with one empty and one labelled interval each."""
    rows = [f'"{kind}"\n"{name}"\n0\n1\n2\n0\n0.5\n""\n0.5\n1\n"{label}"' for name in names]
    head = f'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n1\n<exists>\n{len(names)}\n'
    return head + "\n".join(rows) + "\n"


@pytest.mark.parametrize(
    "content",
    [
        LONG,
        SHORT,
        SHORT.rstrip(),
        LONG.replace("\n", "\r\n"),
        LONG.encode("utf-16"),
        SHORT.encode("utf-16"),
        b"\xfe\xff" + LONG.encode("utf-16-be"),
        b"\xef\xbb\xbf" + LONG.encode(),
        SHORT.replace("ooTextFile", "ooTextFile short").replace("Object class = ", ""),
    ],
)
def test_every_text_format_is_read(tmp_path: Path, content: str | bytes) -> None:
    utterance = grid(tmp_path, content)
    assert TextGrids().marks(utterance).segments == SEGMENTS
    assert TextGrids().marks(utterance).per_second
    assert utterance.labels is not None
    assert [(tier.name, tier.points) for tier in read(utterance.labels)] == [
        ("phones", False),
        ("Tone", True),
    ]


def test_latin_letters_of_old_files_are_read(tmp_path: Path) -> None:
    content = tiers("phones", label="é").encode("latin-1")
    assert TextGrids().marks(grid(tmp_path, content)).segments[1].label == "é"


@pytest.mark.parametrize("form", ["long_textgrid", "short_textgrid"])
def test_what_praatio_writes_and_reads_is_read_alike(tmp_path: Path, form: str) -> None:
    utterance = grid(tmp_path, fuzzing.textgrid(form))
    theirs = praatio_textgrid.openTextgrid(str(utterance.labels), includeEmptyIntervals=True)
    entries = theirs.getTier("phones").entries
    ours = TextGrids().marks(utterance).segments
    assert [(s.start, s.stop, s.label) for s in ours] == [tuple(entry) for entry in entries]


def test_the_phone_tier_is_found(tmp_path: Path) -> None:
    for names, expected in {
        ("Word", "Phoneme", "Phonetic"): "Phonetic",
        ("ORT-MAU", "KAN-MAU", "MAU"): "MAU",
        ("words", "PHONES"): "PHONES",
        ("TokensAlign", "PhonAlign"): "PhonAlign",
    }.items():
        text = tiers(*names).replace(
            f'"{expected}"\n0\n1\n2\n0\n0.5\n""', f'"{expected}"\n0\n1\n2\n0\n0.5\n"!"'
        )
        assert TextGrids().marks(grid(tmp_path, text)).segments[0].label == "!"


def test_a_tier_is_chosen_by_name(tmp_path: Path) -> None:
    utterance = grid(tmp_path, LONG.replace("phones", "mots"))
    assert TextGrids().marks(utterance, "Mots").segments == SEGMENTS
    with pytest.raises(BadRecording, match="no tier of a usual name; its tiers are: mots, Tone"):
        TextGrids().marks(utterance)
    with pytest.raises(BadRecording, match="no tier mot; its tiers are: mots, Tone"):
        TextGrids().marks(utterance, "mot")
    with pytest.raises(BadRecording, match="tier Tone is one of points"):
        TextGrids().marks(utterance, "Tone")
    with pytest.raises(BadRecording, match="several such tiers: phones, phones"):
        TextGrids().marks(grid(tmp_path, tiers("phones", "phones")))


def test_pauses_of_the_forced_aligner_get_a_label_and_others_none(tmp_path: Path) -> None:
    aligned = TextGrids().marks(grid(tmp_path, tiers("words", "phones"))).segments
    assert [s.label for s in aligned] == ["sil", "a"]
    by_hand = TextGrids().marks(grid(tmp_path, tiers("phones"))).segments
    assert [s.label for s in by_hand] == ["", "a"]


def test_of_several_speakers_tiers_the_utterances_own_is_read(tmp_path: Path) -> None:
    one = tiers("bo - words", "bo - phones")
    assert [s.label for s in TextGrids().marks(grid(tmp_path, one)).segments] == [
        "sil",
        "a",
    ]
    names = ("al - words", "al - phones", "bo - words", "bo - phones")
    text = tiers(*names).replace(
        '"bo - phones"\n0\n1\n2\n0\n0.5\n""', '"bo - phones"\n0\n1\n2\n0\n0.5\n"!"'
    )
    assert TextGrids().marks(grid(tmp_path, text, "bo")).segments[0].label == "!"
    assert TextGrids().marks(grid(tmp_path, text, "x"), "bo - phones").segments[0].label == "!"
    with pytest.raises(BadRecording, match="several such tiers: al - phones, bo - phones"):
        TextGrids().marks(grid(tmp_path, text, "x"))


def test_words_come_from_a_text_or_the_tier_of_words(tmp_path: Path) -> None:
    utterance = grid(tmp_path, tiers("words", "phones", label="two words"))
    assert TextGrids().text(utterance) == "two words"
    (tmp_path / "t.trans.txt").write_text("a THE WORDS\n")
    assert TextGrids().text(utterance) == "THE WORDS"
    (tmp_path / "a.lab").write_text("other\nwords")
    (tmp_path / "a.wav").touch()
    (found,) = TextGrids().scan(tmp_path).utterances
    assert TextGrids().text(found) == "other words"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no TextGrid's header"),
        ('{"start": 0, "end": 1, "tiers": {}}', "no TextGrid's header"),
        ("ooBinaryFile\x08TextGrid", "is a binary TextGrid"),
        (LONG[: LONG.index("item [2]")], "is cut short: it holds 1 of 2 tiers"),
        (SHORT[: SHORT.index('1\n"ɑ̃"')], "is cut short: tier 1 holds 1 of 3 intervals"),
        (tiers("phones")[:-8], "is cut short: tier 1 holds 1 of 2 intervals"),
        (LONG.replace("size = 2", "size = 1"), "malformed: it goes on after its 1 tiers"),
        (LONG.replace("xmax = 0.5", "xmax = 0.6"), "interval 2 of tier phones overlaps"),
        (LONG.replace("xmax = 0.5", "xmax = 0.5.1"), "is malformed"),
        (LONG.replace("xmin = 0.5", "xmin = -0.5"), "has a negative time"),
        (SHORT.replace("\n0\n0.5\n", "\n-0.5\n0.5\n"), "has a negative time"),
        (SHORT.replace("\n0.5\n1\n", "\nnan\n1\n"), "is malformed"),
        (LONG.replace("            xmax = 1.5", "            xmax = 2.5"), "after its end"),
        (
            LONG.replace('text = ""', 'text = "" text = ""'),
            "malformed: something is missing before ''",
        ),
        (LONG.replace("            xmax = 0.5\n", ""), "is malformed"),
    ],
)
def test_a_malformed_grid_is_named(tmp_path: Path, content: str, reason: str) -> None:
    with pytest.raises(BadRecording, match=reason):
        TextGrids().marks(grid(tmp_path, content))


@pytest.mark.parametrize("at", ["start", "middle"])
def test_a_hostile_grid_takes_no_more_time_than_a_long_one(tmp_path: Path, at: str) -> None:
    many = 200_000
    hostile = {
        "start": LONG.replace('name = "phones"', 'name = "' * many),
        "middle": LONG.replace('text = ""', 'text = "x ' * many),
    }[at]
    with fuzzing.time_limit(5), pytest.raises(BadRecording):
        read(grid(tmp_path, hostile).labels or tmp_path)


def test_a_file_larger_than_any_label_file_is_not_read(tmp_path: Path) -> None:
    utterance = grid(tmp_path, LONG)
    assert utterance.labels is not None
    with utterance.labels.open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(BadRecording, match="it cannot be a label file"):
        TextGrids().marks(utterance)
