"""eSpeak's accents and symbols, and what they are in TIMIT's 61 labels."""

ACCENTS: dict[str, str] = {
    "en-us": "English (America)",
    "en-gb": "English (Great Britain)",
    "en-gb-x-rp": "English (Received Pronunciation)",
    "en-gb-scotland": "English (Scotland)",
    "en-gb-x-gbclan": "English (Lancaster)",
}
"""eSpeak's code → Praat's name, for the accents whose symbols all have TIMIT labels.

West Midlands and Caribbean English are left out: they merge classes that TIMIT keeps apart.
"""

CLOSURES: dict[str, str] = {
    "p": "pcl", "t": "tcl", "k": "kcl", "b": "bcl", "d": "dcl", "g": "gcl",
    "ch": "tcl", "jh": "dcl",
}  # fmt: skip
"""Stop or affricate → the closure before it."""

_LABELS: dict[str, str] = {
    "b": "b", "d": "d", "ɡ": "g", "p": "p", "t": "t", "k": "k", "ɾ": "dx", "tʃ": "ch", "dʒ": "jh",
    "f": "f", "v": "v", "θ": "th", "ð": "dh", "s": "s", "z": "z", "ʃ": "sh", "ʒ": "zh", "h": "hh",
    "m": "m", "n": "n", "ŋ": "ng", "n̩": "en", "l": "l", "əl": "el", "ɹ": "r", "r": "r",
    "j": "y", "w": "w", "ʍ": "w",
    # Only before n̩, as in "button": TIMIT writes the closure and the syllabic nasal, "tcl en".
    "ʔ": "tcl",
    "iː": "iy", "i": "iy", "ɪ": "ih", "ᵻ": "ix", "ɛ": "eh", "æ": "ae", "a": "ae", "ɐ": "ax",
    "ə": "ax", "ʌ": "ah", "ɑː": "aa", "ɒ": "aa", "ɔː": "ao", "ɔ": "ao", "ʊ": "uh", "uː": "uw",
    "eɪ": "ey", "aɪ": "ay", "ɔɪ": "oy", "aʊ": "aw", "oʊ": "ow", "əʊ": "ow", "ɚ": "axr", "ɜː": "er",
    # Scotland
    "e": "ey", "eː": "ey", "o": "ao", "oː": "ow", "aː": "aa", "a:": "aa", "ʉ": "uh", "ʉː": "uw",
    "ʌʉ": "aw", "ɜ": "ax", "əɹ": "er", "ʌɹ": "er",
    # Lancaster
    "æʊ": "aw",
}  # fmt: skip

# The second formant is half-way to the r after half of the interval, on the average of all vowels.
_R_COLOURED = {
    "ɑːɹ": "aa", "ɔːɹ": "ao", "oːɹ": "ao", "ɛɹ": "eh", "ɪɹ": "ih", "ʊɹ": "uh", "ʉɹ": "uw",
}  # fmt: skip
_CENTRING = {
    "aɪə": ("ay", "ax"), "iə": ("iy", "ax"), "eə": ("eh", "ax"), "ʊə": ("uh", "ax"),
    "aɪɚ": ("ay", "axr"), "aʊɚ": ("aw", "axr"), "aʊə": ("aw", "ax"),
}  # fmt: skip

Shares = tuple[tuple[str, float], ...]

SYMBOLS: dict[str, Shares] = {
    **{symbol: ((label, 1.0),) for symbol, label in _LABELS.items()},
    **{symbol: ((vowel, 0.5), ("r", 0.5)) for symbol, vowel in _R_COLOURED.items()},
    **{symbol: ((vowel, 0.6), (glide, 0.4)) for symbol, (vowel, glide) in _CENTRING.items()},
}
"""eSpeak's symbol → TIMIT labels, each with its share of the interval."""

GLIDES = frozenset({"", "ʲ"})
"""Linking glides between vowels, reported as no phone or as ʲ: they stay with the vowel before."""

VOWELS = frozenset(
    (
        "iy", "ih", "eh", "ey", "ae", "aa", "aw", "ay", "ah", "ao",
        "oy", "ow", "uh", "uw", "er", "ax", "ix", "axr",
    )
)  # fmt: skip
"""TIMIT's labels of vowels that eSpeak speaks."""
