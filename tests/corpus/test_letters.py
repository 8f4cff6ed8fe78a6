import numpy as np
import pytest

from speechscope.corpus.letters import (
    BLANK,
    LETTERS,
    NAMES,
    OUTPUTS,
    THRICE,
    TWICE,
    decode,
    encode,
    letters_of,
)
from speechscope.corpus.utterances import BadRecording


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Mister Quilter's  ", "mister|quilter's"),
        ("It is, I'm sure; well-known – no!", "it|is|i'm|sure|well|known|no"),
        ("l\u2019Été, un cœur ﬁn", "l'ete|un|coeur|fin"),
        ("tab\tnew\nline", "tab|new|line"),
    ],
)
def test_a_text_is_spelt(text: str, expected: str) -> None:
    assert "".join(LETTERS[i] for i in letters_of(text)) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("room 7", "its text has '7', which is none of a to z"),
        ("привет", "its text has 'п', which is none of a to z"),
        (" … ", "its text has no letters"),
    ],
)
def test_a_text_that_cannot_be_spelt(text: str, reason: str) -> None:
    with pytest.raises(BadRecording, match=reason):
        letters_of(text)


def spelt(text: str) -> list[int]:
    """Return the labels of a text with spaces."""
    letters = [LETTERS.index("|" if letter == " " else letter) for letter in text]
    labels: list[int] = encode(np.array(letters, dtype=np.int16)).tolist()
    return labels


def test_there_are_the_letters_two_repetitions_and_a_blank() -> None:
    # Collobert et al. (2016), sec. 2.3: 30 graphemes; Krug 2018 adds CTC's blank.
    assert "".join(LETTERS) == "abcdefghijklmnopqrstuvwxyz'|"
    assert (TWICE, THRICE, BLANK, OUTPUTS) == (28, 29, 30, 31)
    assert len(NAMES) == len(set(NAMES)) == OUTPUTS


def test_repetitions_are_characters_of_their_own() -> None:
    h, e, lower_l, o, b = (LETTERS.index(letter) for letter in "helob")
    assert spelt("hello") == [h, e, lower_l, TWICE, o]
    assert spelt("bbb") == [b, THRICE]
    assert spelt("bbbb") == [b, THRICE, b]
    assert spelt("bbbbb") == [b, THRICE, b, TWICE]
    assert spelt("") == []


def test_decoding_inverts_encoding_exactly() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        # Few letters, so that runs of every length come up.
        letters = rng.integers(0, len(LETTERS), rng.integers(1, 4))
        text = rng.choice(letters, rng.integers(0, 30)).astype(np.int16)
        labels = encode(text)
        assert decode(labels) == "".join(LETTERS[letter] for letter in text).replace("|", " ")
        assert not np.any(labels[1:] == labels[:-1])
        assert labels.size == 0 or (labels.min() >= 0 and labels.max() < BLANK)


def test_whatever_a_network_answers_is_a_text() -> None:
    a, b = LETTERS.index("a"), LETTERS.index("b")
    assert decode([TWICE, a, BLANK, TWICE, THRICE, b, THRICE]) == "aaaabbb"
    assert decode([THRICE, BLANK]) == ""
