"""The letters of a text, as a recognizer is to write them (Krug 2018, sec. 3.1)."""

import unicodedata

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.alphabet import LETTERS
from speechscope.corpus.utterances import BadRecording

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
    found: list[str] = []
    # Compatibility decomposition parts an accent from its letter, and ligatures.
    for character in unicodedata.normalize("NFKD", text.casefold().translate(_PLAIN)):
        category = unicodedata.category(character)
        if character in _INDEX and character != "|":
            found.append(character)
        elif category[0] in "ZC" or category == "Pd":
            found.append(" ")
        elif category[0] in "LN":
            raise BadRecording(f"its text has {character!r}, which is none of a to z")
    words = "".join(found).split()
    if not words:
        raise BadRecording("its text has no letters")
    return np.array([_INDEX[letter] for letter in "|".join(words)], dtype=np.int16)
