import pickle
from pathlib import Path

import pytest

from speechscope.corpus.layouts import layout_of
from speechscope.corpus.phones import (
    TIMIT_61,
    TO_39,
    TO_48,
    PhoneSet,
    better_set,
    features_of,
    fitting,
    phone_set,
)
from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.registry import PHONE_SETS


def name_of(phones: PhoneSet, label: str) -> str | None:
    index = phones.index(label)
    return None if index is None else phones.classes[index]


def scored_as(phones: PhoneSet, label: str) -> str | None:
    index = phones.index(label)
    return None if index is None else phones.folded[phones.fold[index]]


@pytest.mark.parametrize(
    ("name", "classes", "folded"),
    [
        ("timit-48", 48, 39),
        ("timit-61", 60, 39),
        ("timit-39", 39, 39),
        ("arpabet", 40, 40),
        ("sampa-fr", 33, 33),
    ],
)
def test_named_sets_have_their_sizes(name: str, classes: int, folded: int) -> None:
    phones = phone_set(name)
    assert (len(phones.classes), len(phones.folded)) == (classes, folded)
    assert len(set(phones.classes)) == classes == len(phones.fold)
    assert set(phones.fold) == set(range(folded))
    # Class names are listed separated by blanks.
    assert len(" ".join(phones.classes).split()) == classes
    assert [name_of(phones, label) for label in phones.classes] == list(phones.classes)
    assert pickle.loads(pickle.dumps(phones)) == phones


@pytest.mark.parametrize("name", ["timit-48", "timit-61", "timit-39"])
def test_timit_labels_are_folded_as_lee_and_hon_do(name: str) -> None:
    phones = phone_set(name)
    for label in TIMIT_61:
        to_48 = TO_48[label]
        if to_48 is None:
            assert phones.drops(label) and phones.index(label) is None
        else:
            assert scored_as(phones, label) == TO_39[to_48]
            assert not phones.drops(label)
    assert phones.index("nonsense") is None and not phones.drops("nonsense")
    assert phones.drops("") and phones.drops("spn")


def test_timit_48_takes_the_labels_of_aligners() -> None:
    phones = phone_set("timit-48")
    labels = ("AA1", "ah0", "sil", "SP", "pcl", "cl", "HH", "h#")
    assert [name_of(phones, label) for label in labels] == [
        "aa", "ah", "sil", "sil", "cl", "cl", "hh", "sil",
    ]  # fmt: skip


def test_arpabet_keeps_what_timit_folds() -> None:
    phones = phone_set("arpabet")
    assert scored_as(phones, "ZH") == "zh" and scored_as(phones, "AO2") == "ao"
    assert phones.index("ix") is None and not phones.drops("ix")


def test_french_spellings_become_the_33_classes() -> None:
    phones = phone_set("sampa-fr")
    labels = ("A/", "a", "O~", "U~/", "e~", "9~", "R", "H", "2", "9", "O/", "E")
    assert [name_of(phones, label) for label in labels] == [
        "a", "a", "o~", "U~/", "U~/", "U~/", "R", "H", "9", "9", "O", "E",
    ]  # fmt: skip
    # SAMPA tells capitals apart.
    assert name_of(phones, "s") == "s" and name_of(phones, "S") == "S"
    assert phones.drops("#") and phones.drops("") and phones.drops("fp")


def test_labels_as_they_are_become_classes() -> None:
    phones = phone_set("as-is", labels=["b", "a", " b ", "", "a b", "B"])
    assert phones.classes == ("B", "a", "a_b", "b") == phones.folded
    assert name_of(phones, "a b") == "a_b"
    assert phones.drops("") and not phones.drops("c")
    with pytest.raises(SpeechscopeError, match="there is no label"):
        phone_set("as-is", labels=["", " "])


def test_a_mapping_file_makes_a_set(tmp_path: Path) -> None:
    path = tmp_path / "map.tsv"
    path.write_text('label\tclass\tfolded\nɑ̃\tan\tvowel\n"a\ta\tvowel\n#\t-\np\tp\n')
    phones = phone_set("ipa", path)
    assert (phones.classes, phones.folded, phones.fold) == (
        ("an", "a", "p"),
        ("vowel", "p"),
        (0, 0, 1),
    )
    assert phones.index('"a') == 1 and phones.drops("#") and phones.drops("")
    # The tilde composed or combining: one label.
    path.write_text("label,class\n\u00e3,an\n")
    assert phone_set("ipa", path).index("a\u0303") == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "names no class"),
        ("a\t-\n", "names no class"),
        ("a\n", "line 1 is not `label class`"),
        ("a\tb c\n", "line 1 is not `label class`"),
        ("a\tb\tc\td\n", "line 1 is not `label class`"),
        ("a\tb\na\tc\n", "line 2 gives 'a' another class"),
        ("a\tb\tx\nc\tb\ty\n", "line 2 folds b otherwise"),
    ],
)
def test_a_malformed_mapping_is_named(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "map.tsv"
    path.write_text(text)
    with pytest.raises(SpeechscopeError, match=reason):
        phone_set("ipa", path)


def test_wrong_usage_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=r"choose from .*timit-48"):
        phone_set("timit")
    with pytest.raises(UsageProblem, match="takes no mapping file"):
        phone_set("timit-48", tmp_path)
    with pytest.raises(SpeechscopeError, match="cannot be read"):
        phone_set("ipa", tmp_path / "nothing")
    assert set(PHONE_SETS.names()) >= {"timit-48", "ipa", "as-is"}


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "name", "classes"),
    [
        # /J/ does not occur, /o/ is not told from /O/.
        ("french-sppas", "sampa-fr", 31),
        ("emu-ae", "as-is", 45),
        ("librispeech-phones", "timit-48", 40),
        ("librispeech-phones", "arpabet", 40),
    ],
)
def test_no_label_of_a_recorded_corpus_is_unknown(
    real_speech: Path, folder: str, name: str, classes: int
) -> None:
    layout = layout_of(real_speech / folder)
    utterances = layout.scan(real_speech / folder).utterances
    labels = {s.label for u in utterances for s in layout.marks(u).segments}
    phones = phone_set(name, labels=labels if name == "as-is" else ())
    known = {phones.index(label) for label in labels if not phones.drops(label)}
    assert None not in known
    assert len(known) == classes


def test_the_set_that_knows_most_of_unknown_labels_is_found() -> None:
    assert better_set({"h#": 3, "axr": 1, "R": 0}) == ("timit-48", 1.0)
    assert better_set({"a~": 3, "9": 1}) == ("sampa-fr", 1.0)
    assert better_set({"aa": 9, "nonsense": 1}) == ("timit-48", 0.9)
    assert better_set({"aa": 2, "nonsense": 1}) is None
    # A set of any language is named only where it knows them all.
    assert better_set({"ɑː": 50, "tʃ": 50}) == ("ipa", 1.0)
    assert better_set({"ɑː": 50, "tʃx": 50}) is None
    assert better_set({}) is None


@pytest.mark.parametrize(
    ("label", "name", "scored"),
    [
        ("ˈɑː", "ɑː", "ɑ"), ("pʰ", "p", "p"), ("t͡ʃ", "tʃ", "tʃ"), ("ã", "ã", "ã"),
        ("aj", "aj", "aj"), ("n̩", "n", "n"), ("i˥", "i", "i"), ("tt", "tː", "t"),
        ("<eps>", "sil", "sil"),
        ("spn", None, None),
        ("stk", None, None),
    ],
)  # fmt: skip
def test_narrow_ipa_is_folded(label: str, name: str | None, scored: str | None) -> None:
    phones = phone_set("ipa", labels=[label])
    assert name_of(phones, label) == name
    if scored is not None:
        assert scored_as(phones, label) == scored


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("t_h", "t"), ('"a:', "a:"), ("tS", "tS"), ("aI", "aI"), ("i:6", "i6:"), ("o~", "o~"),
        ("s`", "s`"), ("r\\", "r\\"), ("{", "{"), ("rr", "r:"), ("<p:>", "sil"), ("<nib>", None),
        ("zs", None),
    ],
)  # fmt: skip
def test_xsampa_is_folded_in_its_own_letters(label: str, name: str | None) -> None:
    phones = phone_set("x-sampa", labels=[label])
    assert name_of(phones, label) == name
    assert phones.knows(label) == (label != "zs")


def test_the_set_that_knows_the_labels_is_taken() -> None:
    assert fitting(dict.fromkeys(TIMIT_61, 5)) == "timit-48"
    assert fitting({"AA1_B": 3, "S_E": 2, "SIL": 1, "spn": 1}) == "timit-48"
    assert fitting({"a~": 3, "R": 9, "#": 4, "E": 5}) == "sampa-fr"
    assert fitting({"tʃ": 3, "ɑː": 2, "": 9, "spn": 1}) == "ipa"
    assert fitting({"a:": 3, "t_h": 2, "I": 1, "<p:>": 9}) == "x-sampa"
    # One in a hundred that no set knows: the labels are taken as they are.
    assert fitting({"a:": 50, "t_h": 45, "zs": 5}) == "as-is"
    assert fitting({"xyz": 1}) == "as-is"


def test_every_set_has_phonological_features() -> None:
    for labels in (("tʃ", "ɑː", "m", "sil"), ("tS", "A:", "m", "sil"), ("CH", "AA1", "M", "sil")):
        found = features_of(labels)
        assert found["manner"] == ("affricate", "vowel", "nasal", "-"), labels
        assert found["place"] == ("postalveolar", "-", "bilabial", "-")
        assert found["backness"][1] == "back" and found["nasality"][2] == "nasal"
