"""What phones have in common: phonological features and formants of English and French.

Labels of TIMIT and ARPABET are lower-case; those of the French set are SAMPA, where case matters.
Each language has its own table because the same letter is another sound in the other.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FEATURES = ("manner", "place", "voicing", "height", "backness", "rounding", "nasality")
"""Manner and voicing are those of every phone, place that of consonants, height, backness and
rounding those of vowels, nasality again that of every phone."""

NONE = "-"
"""The value of a feature that a phone does not have, such as the height of a plosive."""


def _tables() -> dict[str, dict[str, tuple[str, ...]]]:
    """Read ``phonology.txt``, where the sources stand: the features of every phone, by language."""
    tables: dict[str, dict[str, tuple[str, ...]]] = {}
    for line in Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            table = tables.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            values, _, phones = line.partition(":")
            table |= {phone: tuple(values.split()) for phone in phones.split()}
    return tables


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

ENGLISH, FRENCH = _tables()["english"], _tables()["french"]


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
    formants = np.full((len(classes), 2), np.nan)
    for row, name in enumerate(classes):
        if name in table:
            formants[row] = table[name]
    return formants
