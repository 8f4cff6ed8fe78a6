"""Labels in the IPA, in X-SAMPA and in the SAMPA of many languages: which phone each is.

A label is one phone: a symbol, a diphthong (vowels, a glide behind them), an affricate, or a long
consonant written twice. Its class keeps length and nasality; stress, tone, aspiration and the other
diacritics of a narrow transcription are folded. Length is not scored.

A table, and not panphon: that has binary features and no X-SAMPA, and brings pandas with it.

Sources: International Phonetic Association 2015, chart; J. C. Wells, "Computer-coding the IPA: a
proposed extension of SAMPA", 1995 (X-SAMPA, of which the SAMPA of most languages is a part).
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_XSAMPA = {
    "p": "p", "b": "b", "t": "t", "d": "d", "t`": "ʈ", "d`": "ɖ", "c": "c", "J\\": "ɟ", "k": "k",
    "g": "ɡ", "q": "q", "G\\": "ɢ", ">\\": "ʡ", "?": "ʔ", "B\\": "ʙ", "r": "r", "R\\": "ʀ",
    "4": "ɾ", "l\\": "ɺ", "r`": "ɽ", "p\\": "ɸ", "B": "β", "f": "f", "v": "v", "T": "θ", "D": "ð",
    "s": "s", "K": "ɬ", "z": "z", "K\\": "ɮ", "S": "ʃ", "x\\": "ɧ", "Z": "ʒ", "s`": "ʂ",
    "z`": "ʐ", "s\\": "ɕ", "z\\": "ʑ", "C": "ç", "j\\": "ʝ", "x": "x", "G": "ɣ", "X": "χ",
    "R": "ʁ", "X\\": "ħ", "H\\": "ʜ", "?\\": "ʕ", "<\\": "ʢ", "h": "h", "h\\": "ɦ", "W": "ʍ",
    "m": "m", "F": "ɱ", "n": "n", "n`": "ɳ", "J": "ɲ", "N": "ŋ", "N\\": "ɴ", "P": "ʋ",
    "v\\": "ʋ", "l": "l", "5": "ɫ", "r\\": "ɹ", "r\\`": "ɻ", "l`": "ɭ", "j": "j", "L": "ʎ",
    "M\\": "ɰ", "L\\": "ʟ", "w": "w", "H": "ɥ", "O\\": "ʘ", "|\\": "ǀ", "!\\": "ǃ", "|\\|\\": "ǁ",
    "=\\": "ǂ", "i": "i", "y": "y", "1": "ɨ", "}": "ʉ", "M": "ɯ", "u": "u", "I": "ɪ", "Y": "ʏ",
    "I\\": "ᵻ", "U\\": "ᵿ", "U": "ʊ", "e": "e", "2": "ø", "@\\": "ɘ", "8": "ɵ", "7": "ɤ",
    "o": "o", "@": "ə", "E": "ɛ", "9": "œ", "3": "ɜ", "3\\": "ɞ", "V": "ʌ", "O": "ɔ", "{": "æ",
    "6": "ɐ", "a": "a", "&": "ɶ", "A": "ɑ", "Q": "ɒ",
}  # fmt: skip
_X_SYMBOL = re.compile("|".join(re.escape(s) for s in sorted(_XSAMPA, key=len, reverse=True)))
# Stress, syllables, and everything behind an underscore but nasality; ``/``: one of two vowels.
_X_MARK = re.compile(r"_(?!~)(?:\?\\|\\?.)|[\"%.'`=/^!-]|<[FR]>|:\\")
_IPA_LENGTH, _IPA_NASAL = "ː", "\u0303"
_IPA_SAME = str.maketrans({":": _IPA_LENGTH, "ˑ": None, "'": None, "’": None, ".": None, "ʧ": "tʃ",
                           "ʤ": "dʒ", "ʦ": "ts", "ʣ": "dz", "ʨ": "tɕ", "ʥ": "dʑ"})  # fmt: skip
_GLIDES = ("j", "w", "ɥ")
_DOUBLE = ("kp", "ɡb", "gb", "ŋm")
VOWEL, MANNER, PLACE, NASALITY = "vowel", 0, 1, 6

Features = tuple[str, ...]


@dataclass(frozen=True)
class Phone:
    """What a label says.

    Parameters
    ----------
    symbols
        Of the IPA, in order.
    written
        The same as the notation has them.
    nasal, long
        Whether it is.
    """

    symbols: tuple[str, ...]
    written: str
    nasal: bool = False
    long: bool = False

    def name(self, nasal: str, length: str) -> str:
        """Return the class: the symbols, and what the notation writes for nasality and length."""
        return self.written + nasal * self.nasal + length * self.long

    def features(self, table: Mapping[str, Features]) -> Features:
        """Return the features, of an affricate or a diphthong those it begins with."""
        values = list(table[self.symbols[0]])
        if _affricate(self.symbols, table):
            values[MANNER], values[PLACE] = "affricate", table[self.symbols[-1]][PLACE]
        if self.nasal:
            values[NASALITY] = "nasal"
        return tuple(values)


@cache
def tables() -> dict[str, dict[str, Features]]:
    """Read ``phones.txt``, where the sources stand: the features of every phone, by language."""
    found: dict[str, dict[str, Features]] = {}
    text = Path(__file__).with_name("phones.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("["):
            table = found.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            values, _, phones = line.partition(":")
            table |= {phone: tuple(values.split()) for phone in phones.split()}
    return found


def ipa(label: str) -> Phone | None:
    """Return the phone of a label in the IPA; None: it is none."""
    table = tables()["ipa"]
    text = unicodedata.normalize("NFD", label.translate(_IPA_SAME)).replace("c\u0327", "ç")
    symbols, nasal, length = [], False, False
    for character in text:
        if character in table:
            symbols.append(character)
        elif character == _IPA_NASAL and symbols:
            nasal = True
        elif character == _IPA_LENGTH and symbols:
            length = True
        elif unicodedata.category(character) not in ("Mn", "Lm", "Sk", "No"):
            return None
    return _phone(symbols, list(symbols), nasal=nasal, length=length)


def xsampa(label: str) -> Phone | None:
    """Return the phone of a label in X-SAMPA, or in the SAMPA of a language; None: it is none."""
    symbols: list[str] = []
    written: list[str] = []
    nasal = length = False
    place = 0
    if len(label) > 1 and label.isdecimal():  # a number of something
        return None
    while place < len(label):
        mark = _X_MARK.match(label, place)
        symbol = _X_SYMBOL.match(label, place)
        if label.startswith(("~", "_~"), place) and symbols:
            nasal, place = True, place + 1 + label.startswith("_", place)
        elif symbol is not None and not (mark is not None and symbol.end() <= mark.end()):
            symbols.append(_XSAMPA[symbol[0]])
            written.append(symbol[0])
            place = symbol.end()
        elif mark is not None:
            place = mark.end()
        elif label[place] == ":" and symbols:
            length, place = True, place + 1
        else:
            return None
    return _phone(symbols, written, nasal=nasal, length=length)


def _phone(symbols: list[str], written: list[str], *, nasal: bool, length: bool) -> Phone | None:
    """Return the phone of some symbols; None where they are several phones, or none."""
    table = tables()["ipa"]
    if len(symbols) > 1 and symbols[0] == symbols[1]:  # written twice: long
        symbols, written, length = symbols[1:], written[1:], True
    kinds = [table[symbol][MANNER] == VOWEL for symbol in symbols]
    diphthong = (
        1 < len(symbols) <= 3
        and kinds[0]
        and all(k or s in _GLIDES for k, s in zip(kinds, symbols, strict=True))
    )
    double = "".join(symbols) in _DOUBLE
    if len(symbols) == 1 or diphthong or double or _affricate(symbols, table):
        return Phone(tuple(symbols), "".join(written), nasal, length)
    return None


def _affricate(symbols: Iterable[str], table: Mapping[str, Features]) -> bool:
    manners = [table[symbol][MANNER] for symbol in symbols]
    return manners == ["plosive", "fricative"]
