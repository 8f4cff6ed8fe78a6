"""Texts as the labels of a letter network, and back."""

import unicodedata
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.utterances import BadRecording

LETTERS = (*"abcdefghijklmnopqrstuvwxyz", "'", "|")
"""The letters of a text in the order of their indices; ``|`` stands between words.

Chosen: Krug 2018 trains on a to z and names no others; LibriSpeech's texts have the apostrophe.
"""
TWICE = len(LETTERS)
"""The label for "the letter before once more"."""
THRICE = TWICE + 1
"""The label for "the letter before twice more"."""
BLANK = THRICE + 1
"""The output of a network for no new letter; it stands in no text."""
OUTPUTS = BLANK + 1
NAMES = (*LETTERS[:26], "apostrophe", "space", "twice", "thrice", "blank")
"""The name of every output of a network, in order."""
SPOKEN = NAMES[:26]
"""Those that stand for a sound (Krug 2018, sec. 3.3: "letters 'a' to 'z'")."""


def encode(letters: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Return the labels of a text, given as indices of `LETTERS`; `decode` is the inverse.

    A run of two equal letters is that letter and `TWICE`, of three that letter and `THRICE`, of
    more as many threes as there are and the rest: "hello" is h e l 2 o. Two equal labels never
    follow each other, so CTC needs no blank between any two.

    Source: Krug 2018, sec. 3.1: repetition characters as Collobert et al. (2016), sec. 2.3, have
    them; runs of more than three are not spoken of there.
    """
    labels: list[int] = []
    for letter, run in groupby(letters.tolist()):
        threes, rest = divmod(len(list(run)), 3)
        labels += [letter, THRICE] * threes + [[], [letter], [letter, TWICE]][rest]
    return np.array(labels, dtype=np.int64)


def decode(labels: Iterable[int]) -> str:
    """Return the text of labels, words parted by a space; they may be any a network answers.

    Blanks say nothing, and neither does a repetition before any letter.
    """
    text = ""
    for label in labels:
        if label < TWICE:
            text += LETTERS[label]
        elif label < BLANK:
            text += text[-1:] * (label - TWICE + 1)
    return text.replace("|", " ")


_PLAIN = str.maketrans({"\u2019": "'", "œ": "oe", "æ": "ae"})

_INDEX = {letter: index for index, letter in enumerate(LETTERS)}


def letters_of(text: str) -> NDArray[np.int16]:
    """Return the letters of a text as indices of `LETTERS`, (characters,).

    Case and accents do not count, hyphens and dashes part words, other punctuation is left out.

    Raises
    ------
    BadRecording
        The text has no letter, or a digit or a letter of another alphabet, whose sound is not
        known.
    """
    characters: list[str] = []
    # Compatibility decomposition parts an accent from its letter, and ligatures.
    for character in unicodedata.normalize("NFKD", text.casefold().translate(_PLAIN)):
        category = unicodedata.category(character)
        if character in _INDEX and character != "|":
            characters.append(character)
        elif category[0] in "ZC" or category == "Pd":
            characters.append(" ")
        elif category[0] in "LN":
            raise BadRecording(f"its text has {character!r}, which is none of a to z")
    words = "".join(characters).split()
    if not words:
        raise BadRecording("its text has no letters")
    return np.array([_INDEX[letter] for letter in "|".join(words)], dtype=np.int16)
