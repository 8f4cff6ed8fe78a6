"""What phones have in common: phonological features and formants of English and French.

Labels of TIMIT and ARPABET are lower-case; those of the French set are SAMPA, where case matters.
Each language has its own table because the same letter is another sound in the other.
"""

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

FEATURES = ("manner", "place", "voicing", "height", "backness", "rounding", "nasality")
"""Manner and voicing are those of every phone, place that of consonants, height, backness and
rounding those of vowels, nasality again that of every phone."""

NONE = "-"
"""The value of a feature that a phone does not have, such as the height of a plosive."""

_Row = tuple[str, ...]


def _rows(text: str) -> dict[str, _Row]:
    """Read lines ``value value … : phones``; a vowel's place and a consonant's height are ``-``."""
    found: dict[str, _Row] = {}
    for line in text.strip().splitlines():
        values, _, phones = line.partition(":")
        row = tuple(values.split())
        assert len(row) == len(FEATURES), line
        for phone in phones.split():
            found[phone] = row
    return found


# Ladefoged & Johnson 2014, ch. 2 to 4 (General American). Diphthongs stand by where they begin;
# closures of TIMIT belong to their plosive; h is voiceless, its voiced allophone hv is not.
_ENGLISH = _rows("""
plosive   bilabial    voiceless - - - oral  : p pcl
plosive   bilabial    voiced    - - - oral  : b bcl
plosive   alveolar    voiceless - - - oral  : t tcl
plosive   alveolar    voiced    - - - oral  : d dcl
plosive   velar       voiceless - - - oral  : k kcl
plosive   velar       voiced    - - - oral  : g gcl
closure   -           voiceless - - - oral  : cl
closure   -           voiced    - - - oral  : vcl
flap      alveolar    voiced    - - - oral  : dx
flap      alveolar    voiced    - - - nasal : nx
affricate postalveolar voiceless - - - oral : ch
affricate postalveolar voiced   - - - oral  : jh
fricative labiodental voiceless - - - oral  : f
fricative labiodental voiced    - - - oral  : v
fricative dental      voiceless - - - oral  : th
fricative dental      voiced    - - - oral  : dh
fricative alveolar    voiceless - - - oral  : s
fricative alveolar    voiced    - - - oral  : z
fricative postalveolar voiceless - - - oral : sh
fricative postalveolar voiced   - - - oral  : zh
fricative glottal     voiceless - - - oral  : hh
fricative glottal     voiced    - - - oral  : hv
nasal     bilabial    voiced    - - - nasal : m em
nasal     alveolar    voiced    - - - nasal : n en
nasal     velar       voiced    - - - nasal : ng eng
approximant alveolar  voiced    - - - oral  : l el
approximant postalveolar voiced - - - oral  : r
approximant palatal   voiced    - - - oral  : y
approximant labial-velar voiced - - - oral  : w
vowel - voiced close front   unrounded oral : iy ih
vowel - voiced close central unrounded oral : ix
vowel - voiced close central rounded   oral : ux
vowel - voiced close back    rounded   oral : uw uh
vowel - voiced mid   front   unrounded oral : ey eh
vowel - voiced mid   central unrounded oral : ah ax er axr
vowel - voiceless mid central unrounded oral : ax-h
vowel - voiced mid   back    rounded   oral : ow ao oy
vowel - voiced open  front   unrounded oral : ae
vowel - voiced open  central unrounded oral : ay aw
vowel - voiced open  back    unrounded oral : aa
""")

# Fougeron & Smith 1993, "Illustrations of the IPA: French"; R is its uvular fricative, and the
# semi-vowels are grouped with l as approximants.
_FRENCH = _rows("""
plosive   bilabial    voiceless - - - oral  : p
plosive   bilabial    voiced    - - - oral  : b
plosive   alveolar    voiceless - - - oral  : t
plosive   alveolar    voiced    - - - oral  : d
plosive   velar       voiceless - - - oral  : k
plosive   velar       voiced    - - - oral  : g
fricative labiodental voiceless - - - oral  : f
fricative labiodental voiced    - - - oral  : v
fricative alveolar    voiceless - - - oral  : s
fricative alveolar    voiced    - - - oral  : z
fricative postalveolar voiceless - - - oral : S
fricative postalveolar voiced   - - - oral  : Z
fricative uvular      voiced    - - - oral  : R
nasal     bilabial    voiced    - - - nasal : m
nasal     alveolar    voiced    - - - nasal : n
nasal     palatal     voiced    - - - nasal : J
nasal     velar       voiced    - - - nasal : N
approximant alveolar  voiced    - - - oral  : l
approximant palatal   voiced    - - - oral  : j
approximant labial-velar voiced - - - oral  : w
approximant labial-palatal voiced - - - oral : H
vowel - voiced close front   unrounded oral : i
vowel - voiced close front   rounded   oral : y
vowel - voiced close back    rounded   oral : u
vowel - voiced close-mid front unrounded oral : e
vowel - voiced close-mid front rounded oral : 2
vowel - voiced close-mid back rounded  oral : o
vowel - voiced open-mid front unrounded oral : E
vowel - voiced open-mid front rounded  oral : 9
vowel - voiced open-mid central rounded oral : @
vowel - voiced open-mid back rounded   oral : O
vowel - voiced open  central unrounded oral : a
vowel - voiced open  back    unrounded oral : A
vowel - voiced open-mid front unrounded nasal : U~/ e~
vowel - voiced open-mid front rounded  nasal : 9~
vowel - voiced open-mid back rounded   nasal : o~
vowel - voiced open  back    unrounded nasal : a~
""")

# Means [Hz] of 45 men, computed from the published measurements of Hillenbrand et al. 1995 (their
# table V); zero entries (not measurable) left out.
_ENGLISH_FORMANTS = {
    "iy": (343, 2323), "ih": (429, 2034), "ey": (476, 2090), "eh": (588, 1803),
    "ae": (591, 1930), "aa": (756, 1309), "ao": (656, 1023), "ow": (498, 910),
    "uh": (469, 1123), "uw": (380, 992), "ah": (621, 1181), "er": (475, 1379),
}  # fmt: skip

# Men's means [Hz] of the French oral vowels: Calliope 1989, La parole et son traitement
# automatique, p. 84. Nasal vowels and @ have no agreed values and are left out.
_FRENCH_FORMANTS = {
    "i": (308, 2064), "e": (365, 1961), "E": (530, 1718), "a": (684, 1256), "O": (531, 998),
    "o": (383, 793), "u": (315, 764), "y": (300, 1750), "2": (381, 1417), "9": (517, 1391),
}  # fmt: skip

ENGLISH, FRENCH = MappingProxyType(_ENGLISH), MappingProxyType(_FRENCH)


def is_french(classes: Sequence[str]) -> bool:
    """Say whether class names are those of the French set: more of them are, or it is a tie."""
    return sum(name in FRENCH for name in classes) >= sum(name in ENGLISH for name in classes)


def features_of(classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the value of every feature for every class; `NONE` where a class has none.

    Classes that are no phones of the two sets, such as silence, have none of them. The language
    is the one more of the classes belong to.
    """
    table = FRENCH if is_french(classes) else ENGLISH
    nothing = (NONE,) * len(FEATURES)
    rows = [table.get(name, nothing) for name in classes]
    return {feature: tuple(row[n] for row in rows) for n, feature in enumerate(FEATURES)}


def formants_of(classes: Sequence[str]) -> NDArray[np.float64]:
    """Return (F1, F2) [Hz] of every class, (class, 2); NaN for what is not a vowel of the tables.

    Source: Hillenbrand et al. 1995 for English, Calliope 1989 for French (men).
    """
    table = _FRENCH_FORMANTS if is_french(classes) else _ENGLISH_FORMANTS
    found = np.full((len(classes), 2), np.nan)
    for row, name in enumerate(classes):
        if name in table:
            found[row] = table[name]
    return found
