"""Phones: sets of them, and what they have in common.

A phone set says which class a label belongs to, and which classes are scored as one.

Sources: TIMIT's 61 labels are those of its documentation (Garofolo et al. 1993, PHONCODE.DOC).
The foldings are table I of K.-F. Lee and H.-W. Hon, "Speaker-independent phone recognition using
hidden Markov models", IEEE Trans. ASSP 37(11), 1989: 61 labels become 48 classes to train on,
and confusions inside seven groups of those 48 are not counted, which leaves 39 classes to score.
Churchman 2015 (sec. 3) trains on the 48 and scores on the 39.

The order of ``PHONES_48`` and ``PHONES_39`` is part of the file format: class indices refer to it.

Phonological features and formants are of English and French. Labels of TIMIT and ARPABET are
lower-case; those of the French set are SAMPA, where case matters. Each language has its own table
because the same letter is another sound in the other.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus import notation
from speechscope.corpus.files import numbered_lines, word
from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.registry import PHONE_SETS

ENGLISH, FRENCH = notation.tables()["english"], notation.tables()["french"]

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
    "ux": "uw", "axr": "er", "ax-h": "ax", "em": "m", "nx": "n", "eng": "ng", "hv": "hh",
    "pcl": "cl", "tcl": "cl", "kcl": "cl", "bcl": "vcl", "dcl": "vcl", "gcl": "vcl",
    "h#": "sil", "pau": "sil", "q": None,
}  # fmt: skip

_CONFUSABLE = {
    "cl": "sil", "vcl": "sil", "epi": "sil", "el": "l", "en": "n", "zh": "sh", "ao": "aa",
    "ix": "ih", "ax": "ah",
}  # fmt: skip

TO_48: dict[str, str | None] = {label: _ALLOPHONES.get(label, label) for label in TIMIT_61}
"""TIMIT's 61 labels → the 48 classes; ``None`` for ``q``, the glottal stop, which is dropped
(Lee & Hon 1989, table I)."""

TO_39: dict[str, str] = {label: _CONFUSABLE.get(label, label) for label in PHONES_48}
"""The 48 classes → the 39 that are scored (Lee & Hon 1989, table I)."""

PHONES_39: tuple[str, ...] = tuple(label for label in PHONES_48 if TO_39[label] == label)
"""The 39 classes a network is scored on, in class-index order (Lee & Hon 1989, table I)."""


ARPABET: tuple[str, ...] = (
    "aa", "ae", "ah", "ao", "aw", "ay", "eh", "er", "ey", "ih", "iy", "ow", "oy", "uh", "uw",
    "b", "ch", "d", "dh", "f", "g", "hh", "jh", "k", "l", "m", "n", "ng", "p", "r", "s", "sh",
    "t", "th", "v", "w", "y", "z", "zh", "sil",
)  # fmt: skip
"""The 39 phonemes of the CMU Pronouncing Dictionary (0.7b, 2014), and silence."""

SAMPA_FR: tuple[str, ...] = (
    # 17 consonants
    "p", "t", "k", "b", "d", "g", "f", "s", "S", "v", "z", "Z", "m", "n", "J", "l", "R",
    # 3 semi-vowels
    "j", "w", "H",
    # 10 oral and 3 nasal vowels
    "i", "e", "E", "a", "O", "o", "u", "y", "9", "@", "a~", "o~", "U~/",
)  # fmt: skip
"""The 33 phones of Pellegrini 2016 (sec. 4.2): "17 consonants, 3 semi-vowels, 10 oral and 3 nasal
vowels".

The section names nine of the oral vowels and leaves "two oral and one nasal" out for being rare.
Chosen: the tenth is the frequent ``@``; ``A`` and ``2`` are left out by folding them into the
vowel that SAMPA's symbols of indeterminacy pair them with (``A/`` is a or A, ``&/`` is 2 or 9),
and ``e~`` and ``9~`` both become ``U~/``, the symbol for either, which the paper uses. ``O/``, o or
O, is counted as O; ``E/`` as E.
"""

_FRENCH_SPELLINGS = {
    "A": "a", "A/": "a", "2": "9", "&/": "9", "O/": "O", "E/": "E",
    "O~": "o~", "O~/": "o~", "A~": "a~", "e~": "U~/", "E~": "U~/", "9~": "U~/",
}  # fmt: skip
# Not speech, not one phone, or (N, in loan words) not among the paper's consonants.
_FRENCH_DROPPED = (
    "#", "sil", "sp", "_", "<p:>", "fp", "noise", "laugh", "laughter", "dummy", "spn", "N",
)  # fmt: skip

_SILENCES = (
    "h#", "#h", "sil", "sp", "pau", "#", "<p:>", "<sil>", "_", "<eps>", "silence", "pause",
)  # fmt: skip
NOISES = (
    "spn", "nsn", "noi", "noise", "lau", "laugh", "laughter", "fp", "dummy", "brth", "breath",
    "vocnoise", "unknown", "iver", "oov", "garbage", "ns", "lg", "br", "cg", "ls",
)  # fmt: skip
"""Labels of what is no phone, in the output of aligners (MFA, FAVE, SPPAS) and in Buckeye."""
# WebMAUS, Kaldi and Buckeye mark events by brackets: <usb>, <nib>, <unk>, {B_TRANS}.
_EVENT = re.compile(r"<[^<>]+>|\{\w{2,}\}|\[[^\[\]]+\]")
# Kaldi: the phone begins, is inside or ends a word, or is one.
_IN_WORD = re.compile(r"(.+)_[BIES]")
AS_IS = "as-is"
"""The phone set whose classes are the labels of the corpus."""
AUTO = "auto"
"""The phone set that knows the labels of a corpus."""


@dataclass(frozen=True)
class PhoneSet:
    """The classes of a phone set, and the labels they take.

    An entry of `PHONE_SETS`; or else the entry is a function of a mapping file and of the labels
    of the corpus (`phone_set`) that returns one.

    Parameters
    ----------
    classes
        Names of the classes to train on, in class-index order, without blanks.
    folded
        Names of the classes that are scored.
    fold
        Index into `folded` of every class.
    known
        Index into `classes` of every label; None for a label that is dropped.
    any_case
        Whether case and ARPABET's stress digits are left out of labels.
    signs
        Labels one of which has to be there, for a set that is made for one language to be chosen.
    """

    classes: tuple[str, ...]
    folded: tuple[str, ...]
    fold: tuple[int, ...]
    known: Mapping[str, int | None] = field(repr=False)
    any_case: bool = False
    signs: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        classes: tuple[str, ...],
        labels: Mapping[str, str | None],
        folding: Mapping[str, str] | None = None,
        folded: tuple[str, ...] = (),
        *,
        any_case: bool = False,
        signs: frozenset[str] = frozenset(),
    ) -> "PhoneSet":
        """Make a set of class names, and the class of every label; None: it is dropped.

        Without `folding`, the class each class is scored as, classes are scored as they are.
        """
        index = {label: number for number, label in enumerate(classes)}
        known = {label: None if to is None else index[to] for label, to in labels.items()}
        known.setdefault("", None)
        folding = folding or {label: label for label in classes}
        folded = folded or classes
        fold = tuple(folded.index(folding[label]) for label in classes)
        return cls(classes, folded, fold, known, any_case, signs)

    def index(self, label: str) -> int | None:
        """Return the class of a label; None for a label that is dropped or unknown."""
        return self.known.get(self._key(label))

    def drops(self, label: str) -> bool:
        """Whether a label is left out: `q` in Lee & Hon 1989, a noise, or no label at all."""
        key = self._key(label)
        return self.known.get(key, 0) is None or (key not in self.known and is_noise(key))

    def knows(self, label: str) -> bool:
        """Whether a label has a class, or is left out."""
        return self.index(label) is not None or self.drops(label)

    def _key(self, label: str) -> str:
        key = _normal(label)
        if not self.any_case:
            return key
        key = key.lower()
        if key in self.known:
            return key
        part = _IN_WORD.fullmatch(_normal(label))
        if part is not None:
            return self._key(part[1])
        # Stress is that of vowels: s0 and s2 are states of HTK's models.
        vowel = key[:-1]
        return vowel if key[-1:] in "012" and ENGLISH.get(vowel, "-")[0] == "vowel" else key


def is_noise(label: str) -> bool:
    """Whether a label is that of an event, not of a phone: one of `NOISES`, or in brackets."""
    return label.lower() in NOISES or _EVENT.fullmatch(label) is not None


def phone_set(name: str, mapping: Path | None = None, labels: Iterable[str] = ()) -> PhoneSet:
    """Return a phone set by its name.

    Parameters
    ----------
    name
        One of `PHONE_SETS`.
    mapping
        In place of ``ipa``'s own: a table of lines ``label<TAB>class`` or
        ``label<TAB>class<TAB>folded`` (or with commas); the class ``-`` drops a label.
    labels
        Those of the corpus, of which ``as-is``, ``ipa`` and ``x-sampa`` make classes.

    Raises
    ------
    UsageProblem
        There is no such set, or it takes no mapping.
    SpeechscopeError
        The mapping is malformed, or nothing is found.
    """
    entry = PHONE_SETS[name]
    if name != "ipa" and mapping is not None:
        raise UsageProblem(f"the phone set {name} takes no mapping file; ipa does")
    made: PhoneSet = entry if isinstance(entry, PhoneSet) else entry(mapping, labels)
    return made


NEARLY_ALL = 0.9
"""The share of labels that a set has to know to be named for them."""
MOST, ALL = 0.8, 0.99
"""That share for a set of one language to be taken, which leaves out what it does not know; and for
one of any language, which should leave out nothing."""
_IN_ORDER = ("timit-48", "sampa-fr", "ipa", "x-sampa")
"""The sets that are chosen from, those of one language first."""
_ANY_LANGUAGE = ("ipa", "x-sampa")


def better_set(unknown: Mapping[str, int]) -> tuple[str, float] | None:
    """Return the named set that knows most of some labels, and the share it knows.

    Parameters
    ----------
    unknown
        Labels and how often they occur.

    Returns
    -------
    None where no set knows nearly all of them.
    """
    shares = {
        name: share
        for name in _named_sets()
        if (share := share_known(name, unknown)) >= (ALL if name in _ANY_LANGUAGE else NEARLY_ALL)
    }
    best = max(shares, key=shares.__getitem__, default=None)
    return None if best is None else (best, shares[best])


def fitting(labels: Mapping[str, int]) -> str:
    """Return the phone set to take for labels that occur so often: that which knows them.

    One of one language has to know `MOST` of them, and of the different ones; one of any `ALL`.
    Else it is ``as-is``.
    """
    distinct = dict.fromkeys(labels, 1)
    for name in _IN_ORDER:
        made = PHONE_SETS[name]
        needed = ALL if name in _ANY_LANGUAGE else MOST
        signs = made.signs if isinstance(made, PhoneSet) else frozenset()
        if signs and not signs & labels.keys():
            continue
        if min(share_known(name, labels), share_known(name, distinct)) >= needed:
            return name
    return AS_IS


def _named_sets() -> list[str]:
    made = [name for name in PHONE_SETS.names() if isinstance(PHONE_SETS[name], PhoneSet)]
    return [*made, *_ANY_LANGUAGE]


def share_known(name: str, labels: Mapping[str, int]) -> float:
    """Return the share of labels, counted, that a set knows; 0 of none."""
    made = PHONE_SETS[name]
    phones = made if isinstance(made, PhoneSet) else made(None, labels)
    total = sum(count for label, count in labels.items() if label)
    known = sum(count for label, count in labels.items() if label and phones.knows(label))
    # A set that knows nothing but pauses and noises knows none.
    return known / total if any(phones.index(label) is not None for label in labels) else 0.0


@PHONE_SETS.register("as-is")
def as_is(_: Path | None, names: Iterable[str]) -> PhoneSet:
    """Make a class of every label of the corpus."""
    events: dict[str, str | None] = {
        label: None for label in map(_normal, names) if _is_event(label)
    }
    labels: dict[str, str | None] = {
        _normal(label): word(_normal(label)) for label in names if label.strip()
    }
    if not labels.keys() - events.keys():
        raise SpeechscopeError("there is no label to make classes of")
    classes = {word(label) for label in labels if label not in events}
    return PhoneSet.of(tuple(sorted(classes)), labels | events)


def _is_event(label: str) -> bool:
    """Whether a label is in the brackets of an event, and no pause."""
    return label.startswith("<") and label.lower() not in _SILENCES and is_noise(label)


@PHONE_SETS.register("ipa")
def ipa(path: Path | None, names: Iterable[str]) -> PhoneSet:
    """Fold labels in the IPA (`speechscope.corpus.notation`), or as a mapping file says."""
    return _folded(names, notation.ipa, ("\u0303", "ː")) if path is None else mapped(path)


@PHONE_SETS.register("x-sampa")
def xsampa(_: Path | None, names: Iterable[str]) -> PhoneSet:
    """Fold labels in X-SAMPA, or in the SAMPA of a language (`speechscope.corpus.notation`)."""
    return _folded(names, notation.xsampa, ("~", ":"))


def _folded(
    names: Iterable[str], parse: Callable[[str], notation.Phone | None], marks: tuple[str, str]
) -> PhoneSet:
    """Make classes of the phones that labels are, and of pauses; length is not scored."""
    labels: dict[str, str | None] = {}
    scored: dict[str, str] = {}
    for label in {_normal(name) for name in names} - {""}:
        if label.lower() in _SILENCES:
            labels[label] = scored["sil"] = "sil"
        elif not is_noise(label):
            part = _IN_WORD.fullmatch(label)
            phone = parse(part[1] if part is not None else label)
            if phone is not None:
                name = labels[label] = _normal(phone.name(*marks))
                scored[name] = _normal(phone.name(marks[0], ""))
    classes = tuple(sorted(scored))
    return PhoneSet.of(classes, labels, scored, tuple(sorted(set(scored.values()))))


def mapped(path: Path) -> PhoneSet:
    """Read a mapping file (`phone_set`)."""
    lines = numbered_lines(path)
    # No CSV quoting: SAMPA writes stress as a quotation mark.
    separator = "\t" if lines and "\t" in lines[0][1] else ","
    labels: dict[str, str | None] = {}
    folding: dict[str, str] = {}
    for number, line in lines:
        cells = [cell.strip() for cell in line.split(separator)]
        heading = number == 1 and [cell.lower() for cell in cells[:2]] == ["label", "class"]
        if heading or not any(cells):
            continue
        place = f"{path} line {number}"
        names = " ".join(cells[1:]).split()
        if len(cells) not in (2, 3) or len(names) != len(cells) - 1:
            raise SpeechscopeError(f"{place} is not `label class` or `label class folded`")
        label, to = _normal(cells[0]), None if cells[1] == "-" else cells[1]
        if labels.setdefault(label, to) != to:
            raise SpeechscopeError(f"{place} gives {cells[0]!r} another class than a line above")
        if to is not None:
            scored = cells[2] if len(cells) == 3 else to
            if folding.setdefault(to, scored) != scored:
                raise SpeechscopeError(f"{place} folds {to} otherwise than a line above")
    if not folding:
        raise SpeechscopeError(f"{path} names no class")
    return PhoneSet.of(tuple(folding), labels, folding, tuple(dict.fromkeys(folding.values())))


def _normal(label: str) -> str:
    """Return a label with its diacritics composed, so that two spellings of ã are one."""
    return unicodedata.normalize("NFC", label.strip())


_SILENT: dict[str, str | None] = dict.fromkeys(_SILENCES, "sil")
# Buckeye's labels (Pitt et al. 2007): nasalized vowels end in n, tq is a glottal stop.
_BUCKEYE: dict[str, str | None] = {
    f"{vowel}n": _ALLOPHONES.get(vowel, vowel)
    for vowel in TIMIT_61[:20]
    if f"{vowel}n" not in TIMIT_61
} | {"tq": None}
_TO_48 = _SILENT | {label: label for label in PHONES_48} | _BUCKEYE | TO_48
# q, the glottal stop, is in no class of Lee & Hon's: 60 of the 61 labels are classes.
_SIXTY = tuple(label for label in TIMIT_61 if TO_48[label] is not None)

PHONE_SETS.register("timit-48")(PhoneSet.of(PHONES_48, _TO_48, TO_39, PHONES_39, any_case=True))
PHONE_SETS.register("timit-61")(
    PhoneSet.of(
        _SIXTY,
        {"q": None, **dict.fromkeys(_SILENCES, "h#"), **{p: p for p in _SIXTY}},
        {label: TO_39[str(TO_48[label])] for label in _SIXTY},
        PHONES_39,
        any_case=True,
    )
)
PHONE_SETS.register("timit-39")(
    PhoneSet.of(
        PHONES_39,
        {label: None if to is None else TO_39[to] for label, to in _TO_48.items()},
        any_case=True,
    )
)
PHONE_SETS.register("arpabet")(
    PhoneSet.of(ARPABET, _SILENT | {p: p for p in ARPABET}, any_case=True)
)
PHONE_SETS.register("sampa-fr")(
    PhoneSet.of(
        SAMPA_FR,
        {**{p: p for p in SAMPA_FR}, **_FRENCH_SPELLINGS, **dict.fromkeys(_FRENCH_DROPPED)},
        signs=frozenset(label for label in (*SAMPA_FR, *_FRENCH_SPELLINGS) if "~" in label),
    )
)


FEATURES = ("manner", "place", "voicing", "height", "backness", "rounding", "nasality")
"""Manner and voicing are those of every phone, place that of consonants, height, backness and
rounding those of vowels, nasality again that of every phone."""

NONE = "-"
"""The value of a feature that a phone does not have, such as the height of a plosive."""


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


# The cardinal vowels of one speaker: J. C. Catford 1988, A practical introduction to phonetics,
# p. 161.
_CARDINAL_FORMANTS = {
    "i": (240, 2400), "y": (235, 2100), "e": (390, 2300), "ø": (370, 1900), "ɛ": (610, 1900),
    "œ": (585, 1710), "a": (850, 1610), "ɶ": (820, 1530), "ɑ": (750, 940), "ɒ": (700, 760),
    "ʌ": (600, 1170), "ɔ": (500, 700), "ɤ": (460, 1310), "o": (360, 640), "ɯ": (300, 1390),
    "u": (250, 595),
}  # fmt: skip


def language_of(classes: Sequence[str]) -> str:
    """Return whose table knows most of the class names: ``french``, ``english``, or a notation.

    Labels that are no phones, such as silence, are in none of them; French has nasal vowels.
    """
    signs = PHONE_SETS["sampa-fr"].signs
    known = {
        "french": sum(name in FRENCH for name in classes) if signs & set(classes) else 0,
        "english": sum(_english(name) in ENGLISH for name in classes),
        "x-sampa": sum(notation.xsampa(name) is not None for name in classes),
        "ipa": sum(notation.ipa(name) is not None for name in classes),
    }
    return max(known, key=known.__getitem__)


def _english(name: str) -> str:
    """Return a label of ARPABET as TIMIT has it; class names may be labels as they are."""
    return PHONE_SETS["timit-48"]._key(name) if name not in ENGLISH else name


def features_of(classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the value of every feature for every class; `NONE` where a class has none.

    Classes that are no phones, such as silence, have none of them. The language, or the notation,
    is the one more of the classes belong to.
    """
    language = language_of(classes)
    rows = [_features(name, language) for name in classes]
    return {feature: tuple(row[n] for row in rows) for n, feature in enumerate(FEATURES)}


def _features(name: str, language: str) -> tuple[str, ...]:
    nothing = (NONE,) * len(FEATURES)
    if language == "french":
        return FRENCH.get(name, nothing)
    if language == "english":
        return ENGLISH.get(_english(name), nothing)
    phone = _phone_of(name, language)
    return nothing if phone is None else phone.features(notation.tables()["ipa"])


def _phone_of(name: str, language: str) -> notation.Phone | None:
    if name.lower() in _SILENCES:
        return None
    return notation.xsampa(name) if language == "x-sampa" else notation.ipa(name)


def formants_of(classes: Sequence[str]) -> NDArray[np.float64]:
    """Return (F1, F2) [Hz] of every class, (class, 2); NaN for what is not a vowel of the tables.

    Source: Hillenbrand et al. 1995 for English, Calliope 1989 for French (men); for other languages
    those of the cardinal vowels (Catford 1988), whatever their length; nasal ones have none.
    """
    language = language_of(classes)
    formants = np.full((len(classes), 2), np.nan)
    for row, name in enumerate(classes):
        if language == "english":
            found = _ENGLISH_FORMANTS.get(_english(name))
        elif language == "french":
            found = _FRENCH_FORMANTS.get(name)
        else:
            phone = _phone_of(name, language)
            oral = phone is not None and len(phone.symbols) == 1 and not phone.nasal
            found = _CARDINAL_FORMANTS.get(phone.symbols[0]) if phone and oral else None
        if found is not None:
            formants[row] = found
    return formants
