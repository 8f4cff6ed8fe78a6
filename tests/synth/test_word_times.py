"""Word boundaries: at phones, closures included, silences left out."""

from __future__ import annotations

from speechscope.corpus.utterances import Segment
from speechscope.synth.espeak import word_segments

RATE = 1000.0


def phones(text: str) -> list[Segment]:
    """``label:duration`` each, one after the other."""
    segments: list[Segment] = []
    for item in text.split():
        label, length = item.split(":")
        start = segments[-1].stop if segments else 0
        segments.append(Segment(start, start + int(length), label))
    return segments


def tier(*words: tuple[float, float, str]) -> list[Segment]:
    return [Segment(start / RATE, stop / RATE, label) for start, stop, label in words]


def found(sentence: str, words: list[Segment], text: str) -> list[tuple[float, float, str]]:
    return [(s.start, s.stop, s.label) for s in word_segments(sentence, words, phones(text), RATE)]


def test_a_word_starts_with_the_closure_of_its_stop() -> None:
    words = tier((100, 210, "No"), (240, 300, "tea."))
    text = "h#:100 n:50 ow:60 tcl:30 t:20 iy:40 h#:100"
    assert found("No tea.", words, text) == [(100, 210, "no"), (210, 300, "tea")]


def test_a_word_ends_before_a_pause() -> None:
    words = tier((100, 210, "No,"), (300, 360, "you"))
    text = "h#:100 n:50 ow:60 pau:90 y:20 uw:40 h#:100"
    assert found("No, you", words, text) == [(100, 210, "no"), (300, 360, "you")]


def test_words_reported_together_are_separated() -> None:
    text = "h#:100 ih:50 n:60 dh:30 ax:40 aw:50 tcl:20 t:20 ax:30 v:20 h#:100"
    words = tier((100, 280, "In the"), (280, 420, "out of"))
    assert found("In the out of", words, text) == [
        (100, 210, "in"),
        (210, 280, "the"),
        (280, 370, "out"),
        (370, 420, "of"),
    ]


def test_of_words_reported_together_the_second_keeps_its_closure() -> None:
    text = "h#:100 hh:50 ae:60 z:30 bcl:40 b:20 ih:40 n:30 h#:100"
    words = tier((100, 370, "has been"))
    assert found("has been", words, text) == [(100, 240, "has"), (240, 370, "been")]


def test_a_syllabic_l_is_a_syllable() -> None:
    text = "h#:100 r:20 ay:30 sh:60 el:30 h#:100"
    words = tier((100, 240, "I shall"))
    assert found("I shall", words, text) == [(100, 150, "i"), (150, 240, "shall")]


def test_a_word_cut_in_two_is_one() -> None:
    text = "h#:100 p:50 ih:60 l:30 ih:40 v:50 ih:20 n:20 h#:100"
    words = tier((100, 210, "Pi"), (210, 240, "l"), (240, 370, "ive in"))
    assert found("Pi live in", words, text) == [
        (100, 210, "pi"),
        (210, 330, "live"),
        (330, 370, "in"),
    ]


def test_spelling_is_timits() -> None:
    text = "h#:10 ow:10 y:10 uw:10 h#:10"
    words = tier((10, 20, "Oh-O,"), (20, 40, "Don't?"))
    assert [label for *_, label in found("Oh-O, Don't?", words, text)] == ["oho", "don't"]
