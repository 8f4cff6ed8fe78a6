"""The speakers of the synthesized corpus."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from speechscope.errors import SpeechscopeError
from speechscope.synth.espeak import ACCENTS
from speechscope.synth.speakers import MEN, WOMEN, draw_speakers


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
