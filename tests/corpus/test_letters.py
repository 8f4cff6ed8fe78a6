import pytest

from speechscope.corpus.letters import LETTERS, letters_of
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
