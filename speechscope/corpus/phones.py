"""Phone sets: TIMIT's 61 labels and the 48 and 39 classes they are folded into.

Sources: the 61 labels are those of the TIMIT documentation (Garofolo et al. 1993, PHONCODE.DOC).
The foldings are table I of K.-F. Lee and H.-W. Hon, "Speaker-independent phone recognition using
hidden Markov models", IEEE Trans. ASSP 37(11), 1989: 61 labels become 48 classes to train on,
and confusions inside seven groups of those 48 are not counted, which leaves 39 classes to score.
Churchman 2015 (sec. 3) trains on the 48 and scores on the 39.

The order of ``PHONES_48`` and ``PHONES_39`` is part of the file format: class indices refer to it.
"""

from __future__ import annotations

__all__ = ["PHONES_39", "PHONES_48", "TIMIT_61", "TO_39", "TO_48"]

TIMIT_61: tuple[str, ...] = (
    # vowels
    "iy", "ih", "eh", "ey", "ae", "aa", "aw", "ay", "ah", "ao",
    "oy", "ow", "uh", "uw", "ux", "er", "ax", "ix", "axr", "ax-h",
    # stops, flap, glottal stop, and the closures before the stops
    "b", "d", "g", "p", "t", "k", "dx", "q",
    "bcl", "dcl", "gcl", "pcl", "tcl", "kcl",
    # affricates, fricatives
    "jh", "ch",
    "s", "sh", "z", "zh", "f", "th", "v", "dh",
    # nasals
    "m", "n", "ng", "em", "en", "eng", "nx",
    # semivowels, glides
    "l", "r", "w", "y", "hh", "hv", "el",
    # pause, epenthetic silence, utterance edge
    "pau", "epi", "h#",
)  # fmt: skip
"""The 61 labels of TIMIT's ``.PHN`` files (Garofolo et al. 1993)."""

PHONES_48: tuple[str, ...] = (
    # vowels
    "iy", "ih", "eh", "ae", "ix", "ax", "ah", "uw", "uh", "ao", "aa",
    "ey", "ay", "oy", "aw", "ow", "er",
    # semivowels, glides
    "l", "el", "r", "y", "w",
    # nasals, flap
    "m", "n", "en", "ng", "dx",
    # affricates, fricatives
    "jh", "ch",
    "z", "s", "zh", "sh", "hh", "v", "f", "dh", "th",
    # stops
    "b", "p", "d", "t", "g", "k",
    # voiceless closure, voiced closure, epenthetic silence, silence
    "cl", "vcl", "epi", "sil",
)  # fmt: skip
"""The 48 classes a network is trained on, in class-index order (Lee & Hon 1989, table I)."""

_ALLOPHONES: dict[str, str | None] = {
    "ux": "uw",
    "axr": "er",
    "ax-h": "ax",
    "em": "m",
    "nx": "n",
    "eng": "ng",
    "hv": "hh",
    "pcl": "cl",
    "tcl": "cl",
    "kcl": "cl",
    "bcl": "vcl",
    "dcl": "vcl",
    "gcl": "vcl",
    "h#": "sil",
    "pau": "sil",
    "q": None,
}

_CONFUSABLE: dict[str, str] = {
    "cl": "sil",
    "vcl": "sil",
    "epi": "sil",
    "el": "l",
    "en": "n",
    "zh": "sh",
    "ao": "aa",
    "ix": "ih",
    "ax": "ah",
}

TO_48: dict[str, str | None] = {label: _ALLOPHONES.get(label, label) for label in TIMIT_61}
"""TIMIT's 61 labels → the 48 classes; ``None`` for ``q``, the glottal stop, which is dropped
(Lee & Hon 1989, table I)."""

TO_39: dict[str, str] = {label: _CONFUSABLE.get(label, label) for label in PHONES_48}
"""The 48 classes → the 39 that are scored (Lee & Hon 1989, table I)."""

PHONES_39: tuple[str, ...] = tuple(label for label in PHONES_48 if TO_39[label] == label)
"""The 39 classes a network is scored on, in class-index order (Lee & Hon 1989, table I)."""
