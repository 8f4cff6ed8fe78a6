"""The sentences: as many as TIMIT's, all different, plain ASCII."""

from __future__ import annotations

import re

import pytest

from speechscope.synth.speakers import FIRST_SI, SA, SI_SENTENCES, SX, si_sentence

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
