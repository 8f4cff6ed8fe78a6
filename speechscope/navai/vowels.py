"""Where vowels have their formants, and which sounds are plosives."""

from collections.abc import Mapping

from speechscope.relevance.voice import DEVIATIONS

MEANS: Mapping[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "aa": ((756, 1309), (921, 1524)),
    "ae": ((591, 1930), (676, 2335)),
    "ah": ((621, 1181), (760, 1416)),
    "ao": ((656, 1023), (804, 1188)),
    "eh": ((588, 1803), (727, 2063)),
    "er": ((475, 1379), (524, 1588)),
    "ey": ((476, 2090), (535, 2526)),
    "ih": ((429, 2034), (484, 2369)),
    "iy": ((343, 2323), (437, 2761)),
    "ow": ((498, 910), (555, 1036)),
    "uh": ((469, 1123), (519, 1229)),
    "uw": ((380, 992), (460, 1106)),
}
"""Mean (F1, F2) [Hz] of vowels of 45 men and of 48 women.

From the steady-state values of Hillenbrand et al. (1995), vowels under their names in TIMIT.
"""

LETTER_VOWELS: Mapping[str, str] = {"a": "ae", "e": "eh", "i": "ih", "o": "aa", "u": "ah"}
"""The vowel a letter is most often short for (chosen: spelling does not say more)."""

PLOSIVES = ("b", "d", "g", "p", "t", "k")
"""As phones and as letters."""


def bands(vowel: str) -> tuple[tuple[float, float], ...]:
    """Return where F1 and F2 of a vowel lie, (low, high) [Hz] each.

    From the men's mean less their standard deviation to the women's mean and theirs.
    """
    men, women = MEANS[vowel]
    return tuple(
        (men[n] - DEVIATIONS["M"][vowel][n + 1], women[n] + DEVIATIONS["F"][vowel][n + 1])
        for n in (0, 1)
    )
