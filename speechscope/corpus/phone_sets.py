"""Phone sets: which class a label belongs to, and which classes are scored as one."""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from speechscope.corpus.files import read_text, word
from speechscope.corpus.phones import PHONES_39, PHONES_48, TIMIT_61, TO_39, TO_48
from speechscope.corpus.utterances import BadRecording
from speechscope.errors import SpeechscopeError, UsageProblem

PHONE_SETS = ("timit-48", "timit-61", "timit-39", "arpabet", "sampa-fr", "ipa", "as-is")

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

_SILENCES = ("h#", "#h", "sil", "sp", "pau", "#", "<p:>", "<sil>", "_")


@dataclass(frozen=True)
class PhoneSet:
    """The classes of a phone set, and the labels they take.

    Parameters
    ----------
    name
        One of `PHONE_SETS`.
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
    """

    name: str
    classes: tuple[str, ...]
    folded: tuple[str, ...]
    fold: tuple[int, ...]
    known: Mapping[str, int | None] = field(repr=False)
    any_case: bool = False

    def index(self, label: str) -> int | None:
        """Return the class of a label; None for a label that is dropped or unknown."""
        return self.known.get(self._key(label))

    def drops(self, label: str) -> bool:
        """Whether a label is known and left out: `q` in Lee & Hon 1989, or no label at all."""
        return self.known.get(self._key(label), 0) is None

    def _key(self, label: str) -> str:
        key = _normal(label)
        if not self.any_case:
            return key
        key = key.lower()
        return key if key in self.known else key.rstrip("012")


def phone_set(name: str, mapping: Path | None = None, found: Iterable[str] = ()) -> PhoneSet:
    """Return a phone set by its name.

    Parameters
    ----------
    name
        One of `PHONE_SETS`.
    mapping
        For ``ipa``: a table of lines ``label<TAB>class`` or ``label<TAB>class<TAB>folded`` (or
        with commas); the class ``-`` drops a label.
    found
        For ``as-is``: the labels of the corpus, each of which becomes a class.

    Raises
    ------
    UsageProblem
        There is no such set, or it lacks the mapping or does not take one.
    SpeechscopeError
        The mapping is malformed, or nothing is found.
    """
    if name not in PHONE_SETS:
        raise UsageProblem(f"no phone set is called {name}; choose from {', '.join(PHONE_SETS)}")
    if (name == "ipa") != (mapping is not None):
        what = "needs a mapping file" if mapping is None else "takes no mapping file; ipa does"
        raise UsageProblem(f"the phone set {name} {what}")
    if mapping is not None:
        return _mapped(name, mapping)
    if name == "as-is":
        labels = {_normal(label): word(_normal(label)) for label in found if label.strip()}
        if not labels:
            raise SpeechscopeError("there is no label to make classes of")
        return _set(name, tuple(sorted(set(labels.values()))), labels)
    return _NAMED[name]


def better_set(unknown: Mapping[str, int]) -> tuple[str, float] | None:
    """Return the named set that knows most of some labels, and the share it knows.

    Parameters
    ----------
    unknown
        Labels and how often they occur.

    Returns
    -------
    None where no set knows half of them.
    """
    total = sum(unknown.values())
    shares = {
        name: sum(
            n
            for label, n in unknown.items()
            if phones.index(label) is not None or phones.drops(label)
        )
        / total
        for name, phones in _NAMED.items()
        if total
    }
    best = max(shares, key=shares.__getitem__, default=None)
    return None if best is None or shares[best] < 0.5 else (best, shares[best])


def _set(
    name: str,
    classes: tuple[str, ...],
    labels: Mapping[str, str | None],
    folding: Mapping[str, str] | None = None,
    folded: tuple[str, ...] = (),
    *,
    any_case: bool = False,
) -> PhoneSet:
    """Build a phone set from class names; without `folding` classes are scored as they are."""
    index = {label: number for number, label in enumerate(classes)}
    known = {label: None if to is None else index[to] for label, to in labels.items()}
    known.setdefault("", None)
    folding = folding or {label: label for label in classes}
    folded = folded or classes
    fold = tuple(folded.index(folding[label]) for label in classes)
    return PhoneSet(name, classes, folded, fold, known, any_case)


def _timit() -> Iterable[PhoneSet]:
    silent: dict[str, str | None] = dict.fromkeys(_SILENCES, "sil") | {"spn": None}
    to_48 = silent | {label: label for label in PHONES_48} | TO_48
    yield _set("timit-48", PHONES_48, to_48, TO_39, PHONES_39, any_case=True)

    # q, the glottal stop, is in no class of Lee & Hon's: 60 of the 61 labels are classes.
    without_q = tuple(label for label in TIMIT_61 if TO_48[label] is not None)
    to_39 = {label: TO_39[str(TO_48[label])] for label in without_q}
    own = dict.fromkeys(_SILENCES, "h#") | {label: label for label in without_q}
    labels = {"spn": None, "q": None, **own}
    yield _set("timit-61", without_q, labels, to_39, PHONES_39, any_case=True)

    ours = {label: None if to is None else TO_39[to] for label, to in to_48.items()}
    yield _set("timit-39", PHONES_39, ours, any_case=True)

    yield _set("arpabet", ARPABET, silent | {p: p for p in ARPABET}, any_case=True)


def _french() -> PhoneSet:
    labels: dict[str, str | None] = {label: label for label in SAMPA_FR}
    labels |= _FRENCH_SPELLINGS | dict.fromkeys(_FRENCH_DROPPED)
    return _set("sampa-fr", SAMPA_FR, labels)


def _mapped(name: str, path: Path) -> PhoneSet:
    """Read a mapping file."""
    try:
        text = read_text(path)
    except BadRecording as error:
        raise SpeechscopeError(f"{path}: {error}") from error
    # No CSV quoting: SAMPA writes stress as a quotation mark.
    separator = "\t" if "\t" in text.partition("\n")[0] else ","
    labels: dict[str, str | None] = {}
    folding: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        cells = [cell.strip() for cell in line.split(separator)]
        heading = number == 1 and [cell.lower() for cell in cells[:2]] == ["label", "class"]
        if heading or not any(cells):
            continue
        where = f"{path} line {number}"
        names = " ".join(cells[1:]).split()
        if len(cells) not in (2, 3) or len(names) != len(cells) - 1:
            raise SpeechscopeError(f"{where} is not `label class` or `label class folded`")
        label, to = _normal(cells[0]), None if cells[1] == "-" else cells[1]
        if labels.setdefault(label, to) != to:
            raise SpeechscopeError(f"{where} gives {cells[0]!r} another class than a line above")
        if to is not None:
            scored = cells[2] if len(cells) == 3 else to
            if folding.setdefault(to, scored) != scored:
                raise SpeechscopeError(f"{where} folds {to} otherwise than a line above")
    if not folding:
        raise SpeechscopeError(f"{path} names no class")
    return _set(name, tuple(folding), labels, folding, tuple(dict.fromkeys(folding.values())))


def _normal(label: str) -> str:
    """Return a label with its diacritics composed, so that two spellings of ã are one."""
    return unicodedata.normalize("NFC", label.strip())


_NAMED = {phones.name: phones for phones in (*_timit(), _french())}
