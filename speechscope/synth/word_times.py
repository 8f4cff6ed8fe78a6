"""Word boundaries of a synthesized utterance, as TIMIT's ``.WRD`` files give them.

eSpeak reports words as stretches of the sentence's text, and some short words together ("in the").
A word starts with the closure of its first stop, and ends where the next word or silence starts.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence

from speechscope.corpus.utterances import Segment
from speechscope.synth.espeak import Interval
from speechscope.synth.espeak_symbols import CLOSURES, VOWELS

_CLOSURES = frozenset(CLOSURES.values())
_NUCLEI = VOWELS | {"el", "en"}
_SILENCES = frozenset({"h#", "pau", "epi"})


def word_segments(
    sentence: str, words: Sequence[Interval], segments: Sequence[Segment], rate: float
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
        found: list[int] = []
        for n in reversed(inside):
            at, token = tokens[n]
            limit = begin if at == start else _last_onset(segments, begin, limit, token)
            found.append(limit)
        first += reversed(found)
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
