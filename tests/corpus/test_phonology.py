"""Phonological features and formants."""

import numpy as np
import pytest

from speechscope.corpus.phones import (
    ARPABET,
    FEATURES,
    NONE,
    PHONES_48,
    SAMPA_FR,
    TIMIT_61,
    features_of,
    formants_of,
    language_of,
)


@pytest.mark.parametrize("classes", [ARPABET, PHONES_48, TIMIT_61, SAMPA_FR])
def test_every_phone_has_its_features(classes: tuple[str, ...]) -> None:
    found = features_of(classes)
    assert tuple(found) == FEATURES
    for n, name in enumerate(classes):
        row = {feature: values[n] for feature, values in found.items()}
        if name in ("sil", "epi", "h#", "pau", "q"):
            assert set(row.values()) == {NONE}, name
            continue
        assert row["manner"] != NONE and row["voicing"] != NONE, name
        vowel = row["manner"] == "vowel"
        assert (row["height"] != NONE) == (row["backness"] != NONE) == vowel, name
        assert (row["place"] == NONE) == (vowel or row["manner"] == "closure"), name


def test_the_language_decides_what_a_letter_is() -> None:
    english, french = features_of(ARPABET), features_of(SAMPA_FR)
    assert (language_of(ARPABET), language_of(SAMPA_FR)) == ("english", "french")
    assert french["place"][SAMPA_FR.index("R")] == "uvular"
    assert french["rounding"][SAMPA_FR.index("y")] == "rounded"
    assert english["manner"][ARPABET.index("y")] == "approximant"
    assert french["nasality"][SAMPA_FR.index("a~")] == "nasal"


def test_formants_are_those_of_the_measurements() -> None:
    found = formants_of(ARPABET)
    assert np.isnan(found[ARPABET.index("s")]).all()
    assert found[ARPABET.index("iy")].tolist() == [343, 2323]
    f1 = dict(zip(SAMPA_FR, formants_of(SAMPA_FR)[:, 0], strict=True))
    assert f1["i"] < f1["e"] < f1["E"] < f1["a"]


def test_other_languages_have_the_cardinal_vowels() -> None:
    assert language_of(("a", "i", "u", "k", "n")) in ("ipa", "x-sampa")
    classes = ("iː", "ã", "ai", "ɯ", "s", "sil")
    found = formants_of(classes)
    assert found[[0, 3]].tolist() == [[240, 2400], [300, 1390]]
    assert np.isnan(found[[1, 2, 4, 5]]).all()
    np.testing.assert_array_equal(formants_of(("i:", "a~", "aI", "M", "s", "sil")), found)
    # English labels as they are.
    np.testing.assert_array_equal(formants_of(("AA1", "S")), formants_of(("aa", "s")))


@pytest.mark.real
def test_english_formants_are_the_means_of_the_table(real_speech: object) -> None:
    import csv
    from pathlib import Path

    vowels = {"i": "iy", "I": "ih", "E": "eh", "{": "ae", "A": "aa", "O": "ao", "u": "uw"}
    table = Path(str(real_speech), "hillenbrand", "h95.csv").read_text()
    rows = list(csv.DictReader(table.splitlines()))
    for theirs, ours in vowels.items():
        men = [r for r in rows if r["type"] == "m" and r["vowel"] == theirs]
        means = [np.mean([float(r[f]) for r in men if float(r[f]) > 0]) for f in ("f1", "f2")]
        np.testing.assert_allclose(formants_of(ARPABET)[ARPABET.index(ours)], means, atol=3)
