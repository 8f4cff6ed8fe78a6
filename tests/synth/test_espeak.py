"""From eSpeak's intervals to TIMIT's phones: every symbol, every closure, every l."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from parselmouth.praat import call

from speechscope.corpus.phones import PHONES_48, TIMIT_61, TO_48
from speechscope.corpus.utterances import Segment
from speechscope.errors import SpeechscopeError
from speechscope.synth import corpus
from speechscope.synth.espeak import ACCENTS, CLOSURES, SYMBOLS, segment
from speechscope.synth.speakers import FIRST_SI, SA, SI_SENTENCES, SX, si_sentence

RATE = 22_050
SOME_SI = [si_sentence(FIRST_SI + n) for n in range(0, SI_SENTENCES, 61)]


def speak(sentence: str, accent: str, words_per_minute: int) -> tuple[Any, dict[str, Any]]:
    praat = call("Create SpeechSynthesizer", ACCENTS[accent], "Male1")
    call(praat, "Speech output settings", RATE, 0.0, 1.0, 1.0, words_per_minute, "IPA")
    grid, sound = call(praat, "To Sound", sentence, "yes")
    return sound.values[0], corpus._tiers(call(grid, "List", "no", 6, "yes", "yes"))


def spoken(sentence: str, accent: str = "en-us") -> list[Segment]:
    waveform, tiers = speak(sentence, accent, 185)
    words = [word for word in tiers["word"] if word.label]
    lead = np.zeros(RATE // 10)
    moved = {
        name: [Segment(i.start + 0.1, i.stop + 0.1, i.label) for i in tier]
        for name, tier in (("phoneme", tiers["phoneme"]), ("word", words))
    }
    framed = np.concatenate([lead, waveform])
    return segment(framed, RATE, moved["phoneme"], moved["word"])


def labels(sentence: str, accent: str = "en-us") -> list[str]:
    return [found.label for found in spoken(sentence, accent)]


def test_symbols_map_to_timits_labels() -> None:
    for shares in SYMBOLS.values():
        assert {label for label, _ in shares} <= set(TIMIT_61)
        assert sum(share for _, share in shares) == pytest.approx(1)
    assert set(CLOSURES) | set(CLOSURES.values()) <= set(TIMIT_61)


@pytest.mark.parametrize("accent", ACCENTS)
def test_every_symbol_of_every_sentence_is_mapped(accent: str) -> None:
    # Speed changes no symbol, and fast speech is short.
    for sentence in (*SA, *SX, *SOME_SI):
        _, tiers = speak(sentence, accent, 450)
        unknown = {i.label for i in tiers["phoneme"]} - set(SYMBOLS) - {"", "ʲ"}
        assert not unknown, sentence


def test_an_unknown_symbol_is_an_error() -> None:
    with pytest.raises(SpeechscopeError, match="no TIMIT label for the symbol 'ʁ'"):
        segment(np.ones(2205), RATE, [Segment(0.0, 0.1, "ʁ")], [])


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("A cap.", "h# ax kcl k ae pcl p h#"),
        ("Judge Ed.", "h# jh ah dcl jh eh dcl d h#"),
        ("Each button.", "h# iy tcl ch bcl b ah tcl en h#"),
        ("Her city.", "h# hh er s ih dx iy h#"),
        ("My car.", "h# m ay kcl k aa r h#"),
        ("Measure fire.", "h# m eh zh axr f ay axr h#"),
        # An l that closes a syllable: reported late, or not at all.
        ("All girls feel ill.", "h# ao l gcl g er l z f iy l ih l h#"),
        ("The school.", "h# dh ax s kcl k uw l h#"),
        ("William's value.", "h# w ih l y ax m z v ae l y uw h#"),
        ("Could you talk?", "h# k uh dcl d y uw tcl t ao kcl k h#"),
        ("A real apple.", "h# ax r iy el ae pcl p el h#"),
    ],
)
def test_transcriptions_are_timits(sentence: str, expected: str) -> None:
    # Short silences come and go with eSpeak's rhythm.
    found = [label for label in labels(sentence) if label != "epi"]
    assert " ".join(found) == expected


def test_a_comma_is_a_pause_and_the_stop_after_it_has_a_closure() -> None:
    found = labels("They ran, Tom.")
    at = found.index("pau")
    assert found[at : at + 3] == ["pau", "tcl", "t"]


@pytest.fixture(scope="module")
def transcripts() -> dict[str, list[str]]:
    return {sentence: labels(sentence) for sentence in (*SX, *SOME_SI)}


def test_every_written_l_is_spoken(transcripts: dict[str, list[str]]) -> None:
    silent = re.compile(r"\b(talk|walk|chalk|half|calm|palm|folk|calf|could|would|should)")
    for sentence, found in transcripts.items():
        spelt = re.findall("l+", silent.sub("", sentence.lower()))
        assert sum(label in ("l", "el") for label in found) == len(spelt), sentence


def test_sentences_are_rich_in_all_48_classes(transcripts: dict[str, list[str]]) -> None:
    counts = Counter(TO_48[label] for sentence in SX for label in transcripts[sentence])
    assert {phone for phone in PHONES_48 if counts[phone] < 40} == set()


def made_up(*parts: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate(parts)


def test_closure_and_release_are_found_in_the_waveform() -> None:
    rng = np.random.default_rng(0)
    time = np.arange(2000) / RATE
    vowel = 0.5 * np.sin(2 * np.pi * 300 * time) + 0.1
    bar = 0.05 * np.sin(2 * np.pi * 120 * time[:800])
    burst = 0.2 * rng.standard_normal(400)
    # A vowel, silence, a voiceless stop; a vowel, a voiced stop with a voice bar, a vowel.
    waveform = made_up(
        np.zeros(500), vowel, np.zeros(900), burst, vowel, bar, burst, vowel, np.zeros(500)
    )
    edges = np.cumsum([500, 2900, 400, 2000, 1200, 2000, 500])
    names = ["ə", "k", "ə", "d", "ə", ""]
    tier = [
        Segment(start / RATE, stop / RATE, name)
        for (start, stop), name in zip(pairwise(edges), names, strict=True)
    ]
    found = segment(waveform, RATE, tier, [])
    assert [s.label for s in found] == "h# ax kcl k ax dcl d ax h#".split()
    starts = np.array([s.start for s in found])
    exact = np.array([0, 500, 2500, 3400, 3800, 5800, 6600, 7000, 9000])
    np.testing.assert_allclose(starts, exact, atol=0.003 * RATE)
    assert [a.stop for a in found[:-1]] == [b.start for b in found[1:]]
    assert found[-1].stop == len(waveform)
