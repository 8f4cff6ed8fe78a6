"""The speakers of the synthesized corpus."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest

from speechscope.errors import SpeechscopeError
from speechscope.synth.espeak import ACCENTS
from speechscope.synth.speakers import (
    FIRST_SI,
    MEN,
    SA,
    SI_SENTENCES,
    SX,
    WOMEN,
    draw_speakers,
    si_sentence,
)


def test_speakers_are_fixed_by_seed_and_number() -> None:
    assert draw_speakers(20, "en-us", 3) == draw_speakers(20, "en-us", 3)
    pitches = [{s.pitch for s in draw_speakers(20, "en-us", seed)} for seed in (3, 4)]
    assert not pitches[0] & pitches[1]


def test_no_two_speakers_are_alike() -> None:
    cast = draw_speakers(630, "en-us", 0)
    assert len({speaker.name for speaker in cast}) == 630
    assert len({(s.voice, s.accent, s.pitch, s.rate, s.formants) for s in cast}) == 630
    assert all(s.name[0] == ("F" if s.voice in WOMEN else "M") for s in cast)
    assert {s.voice for s in cast} == {*MEN, *WOMEN}


@pytest.mark.parametrize(("count", "held_out"), [(1, 0), (2, 1), (40, 11), (630, 168)])
def test_test_speakers_are_held_out_as_in_timit(count: int, held_out: int) -> None:
    splits = Counter(speaker.split for speaker in draw_speakers(count, "en-us", 0))
    assert splits["TEST"] == held_out
    assert splits["TRAIN"] == count - held_out


@pytest.mark.parametrize("seed", range(5))
def test_every_region_is_in_both_splits(seed: int) -> None:
    cast = draw_speakers(40, "en-us", seed)
    held_out = [s.number for s in cast if s.split == "TEST"]
    assert {b - a for a, b in pairwise(held_out)} == {3, 4}
    for split in ("TRAIN", "TEST"):
        assert {s.region for s in cast if s.split == split} == set(range(1, 9))


@pytest.mark.parametrize("language", ACCENTS)
def test_most_regions_speak_the_language_asked_for(language: str) -> None:
    accents = {s.region: s.accent for s in draw_speakers(8, language, 0)}
    spoken = Counter(accents.values())
    assert spoken[ACCENTS[language]] == 5
    assert len(spoken) == 4


def test_an_accent_without_timits_phones_is_refused() -> None:
    with pytest.raises(SpeechscopeError, match=r"--language en-029.*en-us, en-gb,"):
        draw_speakers(1, "en-029", 0)


SI = [si_sentence(number) for number in range(FIRST_SI, FIRST_SI + SI_SENTENCES)]


def test_there_are_as_many_si_as_timits_speakers_read() -> None:
    assert len(SI) == len(set(SI)) == 3 * 630


def test_sentences_differ() -> None:
    everything = [*SA, *SX, *SI]
    assert len(set(everything)) == len(everything)
    assert len(SA) == 2
    assert FIRST_SI > len(SX) > 150


@pytest.mark.parametrize("sentences", [SA, SX, SI], ids=["SA", "SX", "SI"])
def test_sentences_are_plain_prose(sentences: list[str]) -> None:
    for sentence in sentences:
        assert re.fullmatch(r"[A-Z][A-Za-z ,;'-]*[.?]", sentence), sentence
        assert "  " not in sentence
        assert not re.search(r"\b[Aa] (?!ewe)[aeio]", sentence), sentence
        assert not re.search(r"\b(\w+) \1\b", sentence), sentence


def test_a_sentence_belongs_to_its_number() -> None:
    assert si_sentence(FIRST_SI) == SI[0]
    assert si_sentence(FIRST_SI + 7) == SI[7] != SI[0]
