"""Texts as the labels of a letter network, and back."""

import unicodedata
from collections.abc import Iterable
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from speechscope.errors import SpeechscopeError

LETTERS = "abcdefghijklmnopqrstuvwxyz' "
TWICE = len(LETTERS)
"""The label for "the letter before once more"."""
THRICE = TWICE + 1
"""The label for "the letter before twice more"."""
BLANK = THRICE + 1
"""The output of a network for no new letter; it stands in no text."""
OUTPUTS = BLANK + 1
NAMES = (*LETTERS[:26], "apostrophe", "space", "twice", "thrice", "blank")
"""The name of every output of a network, in order."""

_LABELS = {letter: label for label, letter in enumerate(LETTERS)}


def clean(text: str) -> str:
    """Return a text in lower case with one space between words and nothing around them.

    Accents are dropped and typographic apostrophes become plain ones; punctuation and other signs
    count as spaces. What stands for sounds but is no letter of the alphabet, as digits do, stays,
    and `encode` refuses it.
    """
    plain = unicodedata.normalize("NFKD", text.replace("’", "'").lower())
    kept = (c for c in plain if not unicodedata.combining(c))
    return " ".join("".join(c if c == "'" or c.isalnum() else " " for c in kept).split())


def encode(text: str) -> NDArray[np.int64]:
    """Return the labels of a text; `decode` is the exact inverse.

    A run of two equal letters is that letter and `TWICE`, of three that letter and `THRICE`, of
    more as many threes as there are and the rest: "hello" is h e l 2 o. Two equal labels never
    follow each other, so CTC needs no blank between any two.

    Source: Krug 2018, sec. 3.1: repetition characters as Collobert et al. (2016), sec. 2.3, have
    them; runs of more than three are not spoken of there.

    Raises
    ------
    SpeechscopeError
        The text has a character that is none of `LETTERS`.
    """
    labels: list[int] = []
    for letter, run in groupby(text):
        label = _LABELS.get(letter)
        if label is None:
            raise SpeechscopeError(
                f"{letter!r} in {text[:60]!r} is not a letter, apostrophe or space; "
                "write the text as it is spoken"
            )
        threes, rest = divmod(len(list(run)), 3)
        labels += [label, THRICE] * threes + [[], [label], [label, TWICE]][rest]
    return np.array(labels, dtype=np.int64)


def decode(labels: Iterable[int]) -> str:
    """Return the text of labels, which may be any a network answers.

    Blanks say nothing, and neither does a repetition before any letter.
    """
    text = ""
    for label in labels:
        if label < TWICE:
            text += LETTERS[label]
        elif label < BLANK:
            text += text[-1:] * (label - TWICE + 1)
    return text
