import numpy as np
import pytest

from speechscope.errors import SpeechscopeError
from speechscope.networks.alphabet import (
    BLANK,
    LETTERS,
    NAMES,
    OUTPUTS,
    THRICE,
    TWICE,
    clean,
    decode,
    encode,
)


def test_there_are_the_letters_two_repetitions_and_a_blank() -> None:
    # Collobert et al. (2016), sec. 2.3: 30 graphemes; Krug 2018 adds CTC's blank.
    assert LETTERS == "abcdefghijklmnopqrstuvwxyz' "
    assert (TWICE, THRICE, BLANK, OUTPUTS) == (28, 29, 30, 31)
    assert len(NAMES) == len(set(NAMES)) == OUTPUTS


def test_repetitions_are_characters_of_their_own() -> None:
    h, e, lower_l, o, b = (LETTERS.index(letter) for letter in "helob")
    assert encode("hello").tolist() == [h, e, lower_l, TWICE, o]
    assert encode("bbb").tolist() == [b, THRICE]
    assert encode("bbbb").tolist() == [b, THRICE, b]
    assert encode("bbbbb").tolist() == [b, THRICE, b, TWICE]
    assert encode("").tolist() == []


def test_decoding_inverts_encoding_exactly() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        # Few letters, so that runs of every length come up.
        letters = rng.choice(list(LETTERS), rng.integers(1, 4))
        text = "".join(rng.choice(letters, rng.integers(0, 30)))
        labels = encode(text)
        assert decode(labels) == text
        assert not np.any(labels[1:] == labels[:-1])
        assert labels.size == 0 or (labels.min() >= 0 and labels.max() < BLANK)


def test_whatever_a_network_answers_is_a_text() -> None:
    a, b = LETTERS.index("a"), LETTERS.index("b")
    assert decode([TWICE, a, BLANK, TWICE, THRICE, b, THRICE]) == "aaaabbb"
    assert decode([THRICE, BLANK]) == ""


def test_texts_are_cleaned_and_numbers_refused() -> None:
    assert clean("  Don’t—look,\tÉMILE!\n") == "don't look emile"
    assert decode(encode(clean("Don’t look!"))) == "don't look"
    for text, sign in (("in 1914", "'1'"), ("да", "'д'"), ("A", "'A'")):
        with pytest.raises(SpeechscopeError, match=sign):
            encode(clean(text) if sign != "'A'" else text)
