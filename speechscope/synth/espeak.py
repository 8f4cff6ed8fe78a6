"""From what Praat's speech synthesizer says it spoke to TIMIT phone segments.

Praat's synthesizer is eSpeak NG. It reports an IPA symbol per interval, which differs from a TIMIT
transcription in four ways, each put right here from the waveform:

- A voiceless closure is digital silence at the end of the interval *before* the stop. It is found
  as a run of zero samples and becomes the closure of the stop or affricate that follows.
- A voiced stop or affricate after a voiced sound holds its closure (a voice bar) and its release
  in one interval. The release begins where energy above 3 kHz rises most.
- A vowel and the *r* that closes its syllable are one symbol, and a vowel and the *l* that closes
  its syllable are one interval (the *l* is reported when it is over, or not at all). They are
  split at fixed shares, read off spectrograms.
- Silence that is no closure is a pause (``pau``), or an epenthetic silence (``epi``) when short.

Apart from these, eSpeak's boundaries are those of the sound, to the millisecond it rounds them to.
Zero samples mark silence only in voices without eSpeak's echo: `speechscope.synth.speakers` draws
no others.

Words are reported as stretches of the sentence's text, and some short words together ("in the").
A word starts with the closure of its first stop, and ends where the next word or silence starts,
as TIMIT's ``.WRD`` files give them.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from speechscope.corpus.utterances import Segment
from speechscope.errors import SpeechscopeError

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


# Of a vowel and the l that closes its syllable: the second formant reaches the l after 50–65 %.
_LATERAL_SHARE = 0.45

# Words whose spelling has an l that nobody says.
_SILENT_L = re.compile(r"(talk|walk|chalk|half|halves|calm|palm|folk|could|would|should)")

_ZERO_RUN = 0.003  # [s] fewer zero samples are not silence
_SHORTEST = 0.005  # [s] shorter segments are merged into a neighbour
_SHORTEST_EPI = 0.016  # [s] shorter silence belongs to the phone before it
_LONGEST_EPI = 0.080  # [s] longer silence is a pause
_LONGEST_CLOSURE = 0.100  # [s] longer silence before a stop begins with a pause
_CLOSURE_AFTER_PAUSE = 0.060  # [s]
_RELEASE_BAND = 3000.0  # [Hz]
_RELEASE_WINDOW = 0.004  # [s]
_RELEASE_LEVEL = 0.03  # of the largest energy (−15 dB)


@dataclass
class _Piece:
    """An interval on its way: its labels, its samples, and where its sound gives way to silence."""

    shares: Shares
    start: int
    sound: int
    stop: int
    word: int


def segment(
    waveform: NDArray[np.float64],
    rate: float,
    phonemes: Sequence[Segment],
    words: Sequence[Segment],
) -> list[Segment]:
    """Return the TIMIT segments of an utterance, contiguous from its first to its last sample.

    Parameters
    ----------
    waveform
        (n,) as the synthesizer gave it: silence is exactly zero.
    rate
        Sampling rate [Hz].
    phonemes, words
        The two tiers of Praat's TextGrid; empty word labels left out.

    Raises
    ------
    SpeechscopeError
        A symbol has no TIMIT label.
    """
    pieces = _pieces(waveform, rate, phonemes, words)
    _split_laterals(pieces, [interval.label for interval in words])
    high = signal.sosfilt(_high_pass(rate), waveform)
    energy = np.concatenate([[0.0], np.cumsum(np.square(high))])
    segments: list[Segment] = []
    silence = 0  # where the silence before the coming phone begins
    for piece in pieces:
        first = piece.shares[0][0]
        if first in CLOSURES:
            release = _release(energy, piece, rate, closed=piece.start - silence)
            segments += _closure(silence, release, CLOSURES[first], rate, opening=not segments)
            segments.append(Segment(release, piece.sound, first))
        elif first == "tcl":
            segments.append(Segment(silence, piece.stop, first))
            silence = piece.stop
            continue
        else:
            segments += _silence(silence, piece.start, rate, opening=not segments)
            segments += _shared(piece)
        silence = piece.sound
    segments.append(Segment(silence, len(waveform), "h#"))
    return _tidy(segments, rate)


@cache
def _high_pass(rate: float) -> NDArray[np.float64]:
    sections: NDArray[np.float64] = signal.butter(
        4, _RELEASE_BAND, "highpass", fs=rate, output="sos"
    )
    return sections


def _pieces(
    waveform: NDArray[np.float64],
    rate: float,
    phonemes: Sequence[Segment],
    words: Sequence[Segment],
) -> list[_Piece]:
    """Return the intervals that sound, with their silence found."""
    pieces: list[_Piece] = []
    starts = [interval.start for interval in words]
    for interval in phonemes:
        start, stop = (min(round(t * rate), len(waveform)) for t in (interval.start, interval.stop))
        heard = np.flatnonzero(waveform[start:stop])
        sound = start + int(heard[-1]) + 1 if len(heard) else start
        if stop - sound < _ZERO_RUN * rate:
            sound = stop
        if interval.label in GLIDES:
            # A word gap or a pause is silent; a linking glide sounds.
            if sound > start and pieces:
                pieces[-1].sound, pieces[-1].stop = sound, stop
            continue
        if interval.label not in SYMBOLS:
            raise SpeechscopeError(
                f"synthesizer: no TIMIT label for the symbol '{interval.label}'; "
                f"use one of the accents {', '.join(ACCENTS)}"
            )
        # Event times are whole milliseconds: half of one decides ties.
        word = max(int(np.searchsorted(starts, interval.start + 0.0005, side="right")) - 1, 0)
        if interval.label == "l" and pieces and words:
            # An l that closes a word is reported when it is over: in the next word.
            spelt = words[word].label.lower()
            word = word if spelt.startswith("l") else pieces[-1].word
        pieces.append(_Piece(SYMBOLS[interval.label], start, sound, stop, word))
    return pieces


def _split_laterals(pieces: list[_Piece], words: Sequence[str]) -> None:
    """Give each l that closes a syllable its share of the interval it has in common with a vowel.

    Its own interval, where there is one, is what remains after the sound: mostly silence.
    """
    index = 0
    while index < len(pieces):
        piece = pieces[index]
        following = pieces[index + 1] if index + 1 < len(pieces) else None
        if _is_vowel(piece):
            if following is not None and _is_lateral(following):
                after = pieces[index + 2] if index + 2 < len(pieces) else None
                closes = after is None or after.word != following.word or not _is_vowel(after)
                if closes:
                    piece.shares = _with_lateral(piece.shares)
                    piece.sound, piece.stop = max(piece.sound, following.sound), following.stop
                    del pieces[index + 1]
            elif words and _lost_lateral(pieces, index, words[piece.word]):
                piece.shares = _with_lateral(piece.shares)
        index += 1


def _is_vowel(piece: _Piece) -> bool:
    return piece.shares[0][0] in VOWELS


def _is_lateral(piece: _Piece) -> bool:
    return piece.shares[0][0] == "l"


def _with_lateral(shares: Shares) -> Shares:
    if shares[0][0] == "ax":
        return (("el", 1.0),)
    return (*((label, s * (1 - _LATERAL_SHARE)) for label, s in shares), ("l", _LATERAL_SHARE))


def _lost_lateral(pieces: list[_Piece], index: int, word: str) -> bool:
    """Whether the spelling has an l after this vowel that eSpeak spoke but did not report.

    It reports an l that closes a syllable at its end; where the next interval begins at that very
    millisecond, Praat's tier has no room for it.
    """
    own = [piece for piece in pieces if piece.word == pieces[index].word]
    following = pieces[index + 1 : index + 2]
    if following and following[0] in own and _is_vowel(following[0]):
        return False
    reported = sum(label in ("l", "el") for piece in own for label, _ in piece.shares)
    spelt = _spelt_laterals(word)
    vowel = sum(map(_is_vowel, own[: own.index(pieces[index]) + 1]))
    return reported < len(spelt) and vowel in spelt


def _spelt_laterals(text: str) -> list[int]:
    """Return after how many vowels of a word each of its spelt l's comes."""
    laterals: list[int] = []
    vowels = 0
    for word in re.findall(r"[a-z']+", text.lower()):
        for group in re.findall(r"[aeiouy]+|l+|[^aeiouyl]+", word):
            if group[0] in "aeiouy":
                vowels += 1
            elif group[0] == "l" and not _SILENT_L.match(word):
                laterals.append(vowels)
    return laterals


def _release(energy: NDArray[np.float64], piece: _Piece, rate: float, closed: int) -> int:
    """Return the sample at which a stop is released.

    A window of 4 ms is quiet when its energy above 3 kHz is 15 dB below the largest of the
    interval. The release ends the quiet that the interval begins with; without such quiet, as
    after silence or in "nd", the interval is all release.
    """
    width = round(_RELEASE_WINDOW * rate)
    at = np.arange(piece.start, piece.sound - width)
    if len(at) == 0:
        return piece.start
    high = energy[at + width] - energy[at]
    quiet = high < _RELEASE_LEVEL * np.max(high)
    # The end of a vowel may reach into the first windows.
    begins = int(np.argmax(quiet)) if quiet.any() else len(at)
    if begins > (0 if closed > _ZERO_RUN * rate else 2 * width):
        return piece.start
    # The window that ends the quiet began before the release.
    return int(at[begins + int(np.argmin(quiet[begins:]))]) + width // 2


def _closure(start: int, release: int, label: str, rate: float, opening: bool) -> list[Segment]:
    """Return the closure before a stop, and what is left of a longer silence before that."""
    if opening:
        return [Segment(start, release, "h#")]
    if release - start <= _LONGEST_CLOSURE * rate:
        return [Segment(start, release, label)]
    closed = release - round(_CLOSURE_AFTER_PAUSE * rate)
    return [Segment(start, closed, "pau"), Segment(closed, release, label)]


def _silence(start: int, stop: int, rate: float, opening: bool) -> list[Segment]:
    """Return the label of silence that is not a closure; none where it is too short for one."""
    if opening:
        return [Segment(start, stop, "h#")]
    if stop - start < _SHORTEST_EPI * rate:
        return []
    return [Segment(start, stop, "epi" if stop - start <= _LONGEST_EPI * rate else "pau")]


def _shared(piece: _Piece) -> list[Segment]:
    """Divide an interval between its phones."""
    shares = np.cumsum([0.0, *(share for _, share in piece.shares)])
    edges = piece.start + np.rint(shares * (piece.sound - piece.start)).astype(int)
    return [
        Segment(int(start), int(stop), label)
        for (start, stop), (label, _) in zip(pairwise(edges), piece.shares, strict=True)
    ]


def _tidy(segments: list[Segment], rate: float) -> list[Segment]:
    """Close the gaps left by short silence, and merge what is too short to be a segment."""
    tidy: list[Segment] = []
    for segment in segments:
        if segment.stop - segment.start < _SHORTEST * rate and tidy:
            continue
        if tidy and tidy[-1].label == segment.label:
            tidy[-1] = Segment(tidy[-1].start, segment.stop, segment.label)
            continue
        if tidy:
            tidy[-1] = Segment(tidy[-1].start, segment.start, tidy[-1].label)
        tidy.append(segment)
    tidy[-1] = Segment(tidy[-1].start, segments[-1].stop, tidy[-1].label)
    return tidy


_CLOSURES = frozenset(CLOSURES.values())
_NUCLEI = VOWELS | {"el", "en"}
_SILENCES = frozenset({"h#", "pau", "epi"})


def word_segments(
    sentence: str, words: Sequence[Segment], segments: Sequence[Segment], rate: float
) -> list[Segment]:
    """Return start, stop and spelling of each word of a sentence, in the samples of `segments`.

    Parameters
    ----------
    sentence
        What was read.
    words
        Praat's word tier [s], empty labels left out; each label is a stretch of the sentence.
    segments
        The phones, contiguous.
    rate
        Sampling rate of `segments` [Hz].
    """
    tokens = [(match.start(), match.group()) for match in re.finditer(r"\S+", sentence)]
    first: list[int] = []  # index of the first phone of each word
    text = 0
    stretches = []
    for interval in words:
        text = max(sentence.find(interval.label, text), text)
        stretches.append((text, text + len(interval.label), interval))
        text += len(interval.label)
    for start, stop, interval in stretches:
        inside = [n for n, (at, _) in enumerate(tokens) if start <= at < stop]
        limit = _first_phone(segments, interval.stop * rate)
        begin = _first_phone(segments, interval.start * rate)
        starts: list[int] = []
        for n in reversed(inside):
            at, token = tokens[n]
            limit = begin if at == start else _last_onset(segments, begin, limit, token)
            starts.append(limit)
        first += reversed(starts)
    ends = [*first[1:], len(segments)]
    return [
        Segment(segments[a].start, _end(segments, a, b), re.sub(r"[^\w']", "", token).lower())
        for a, b, (_, token) in zip(first, ends, tokens, strict=True)
    ]


def _first_phone(segments: Sequence[Segment], time: float) -> int:
    """Return the phone that starts nearest to a time, or the closure before it."""
    starts = [segment.start for segment in segments]
    index = bisect_left(starts, time)
    if index == len(starts) or (index > 0 and time - starts[index - 1] < starts[index] - time):
        index -= 1
    if index > 0 and segments[index - 1].label in _CLOSURES:
        index -= 1
    return index


def _last_onset(segments: Sequence[Segment], begin: int, limit: int, word: str) -> int:
    """Return the phone that a one-syllable word starts with: its vowel or the consonant before."""
    index = limit - 1
    while index > begin + 1 and segments[index].label not in _NUCLEI:
        index -= 1
    if word[0].lower() in "aeiou" or index <= begin + 1:
        return max(index, begin)
    index -= 1
    return index - 1 if segments[index - 1].label in _CLOSURES else index


def _end(segments: Sequence[Segment], first: int, following: int) -> float:
    last = following - 1
    while last > first and segments[last].label in _SILENCES:
        last -= 1
    return segments[last].stop
