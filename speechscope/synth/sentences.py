"""What the speakers of the synthesized corpus read.

TIMIT's plan (Garofolo et al. 1993) with sentences of our own: two dialect sentences that everybody
reads (SA), phonetically compact sentences that several speakers read (SX), and diverse sentences
that one speaker reads (SI). SX and SI are rich in the phones that are rare in English: every
sentence was written around some of oy, zh, uh, th, ch, jh, aw, y, en, el and dx.

SA and SX sentences are listed in ``sentences.txt``. SI sentences are formed from word lists, the
number of the sentence deciding the words, so that there are as many as TIMIT has and none needs to
be stored.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

FIRST_SI = 451
"""Number of the first SI sentence; TIMIT's SX are 1–450, its SI 451–2342."""

SI_SENTENCES = 1890
"""How many SI sentences there are: three for each of TIMIT's 630 speakers."""

_SA, _SX = Path(__file__).with_suffix(".txt").read_text(encoding="ascii").split("\n\n")
SA, SX = tuple(_SA.splitlines()), tuple(_SX.splitlines())
"""The sentences that everybody reads, and those that several speakers read."""

_NAMES = (
    "Joyce", "Ruth", "George", "Roy", "Charles", "Beth", "Martin", "Betty", "Floyd", "Rachel",
    "Keith", "Angela", "Arthur", "Jane", "Michael", "Judith", "Victor", "Patty", "Troy", "Hugh",
)  # fmt: skip
_PEOPLE = (
    "boy", "woman", "judge", "youth", "child", "butcher", "author", "teacher", "cowboy", "cook",
    "lawyer", "merchant", "bookkeeper", "giant", "mother", "pupil", "employer", "captain", "nurse",
    "bachelor", "uncle", "writer", "thief", "hunter", "singer", "guard",
)  # fmt: skip
_THINGS = (
    "toy", "treasure", "button", "cushion", "church", "bottle", "cotton mitten", "coin", "bridge",
    "patent", "path", "television", "cookbook", "mitten", "cloth", "kettle", "oyster", "kitten",
    "garage", "pudding", "yacht", "watch", "letter", "hood", "mountain", "thimble", "guitar",
    "foil", "picture", "fountain", "sugar", "message", "yellow yarn", "cotton", "crown", "puzzle",
    "shell", "oil", "engine", "flower", "yogurt", "egg", "cotton button",
)  # fmt: skip
# No adjective begins with a vowel: "a" goes before all of them.
_ADJECTIVES = (
    "noisy", "beige", "good", "rotten", "thick", "rich", "royal", "little", "huge", "casual",
    "wooden", "brown", "cheap", "moist", "pretty", "forgotten", "healthy", "large", "loyal",
    "full", "loud", "hidden", "gentle", "third", "spoiled", "woolen", "proud", "young", "dirty",
    "noble", "written", "heavy", "certain", "shiny", "beaten",
)  # fmt: skip
# Base, past (which is the participle too), and present participle; the object of each may be any
# thing.
_VERBS = (
    ("measure", "measured", "measuring"), ("enjoy", "enjoyed", "enjoying"),
    ("push", "pushed", "pushing"), ("tighten", "tightened", "tightening"),
    ("watch", "watched", "watching"), ("destroy", "destroyed", "destroying"),
    ("pull", "pulled", "pulling"), ("treasure", "treasured", "treasuring"),
    ("avoid", "avoided", "avoiding"), ("change", "changed", "changing"),
    ("flatten", "flattened", "flattening"), ("touch", "touched", "touching"),
    ("describe", "described", "describing"), ("hoist", "hoisted", "hoisting"),
    ("mention", "mentioned", "mentioning"), ("shorten", "shortened", "shortening"),
    ("picture", "pictured", "picturing"), ("overlook", "overlooked", "overlooking"),
    ("imagine", "imagined", "imagining"), ("reach", "reached", "reaching"),
    ("threaten", "threatened", "threatening"), ("announce", "announced", "announcing"),
    ("surround", "surrounded", "surrounding"),
)  # fmt: skip
_PLACES = (
    "in the woods", "by the church", "around the house", "on the path", "in the usual garage",
    "near the fountain", "behind the bushes", "on the mountain", "at the theater", "by the brook",
    "in the royal village", "on the beach", "in the south", "under the cushion", "at the voyage",
    "with a choice of toys", "without a sound", "for thirty thousand dollars", "in the kitchen",
    "beyond the town", "in Manhattan", "for pleasure", "with precision",
    "from the bottom of the jar",
)  # fmt: skip
_TIMES = (
    "on Thursday", "at noon", "last July", "this month", "about an hour later", "at eight thirty",
    "at her leisure", "in the month of March", "on a cloudy day", "on every occasion",
    "without a thought", "in a little while", "with joy",
)  # fmt: skip

_TEMPLATES = (
    "The {adjective} {person} {past} the {adjective_2} {thing} {place}.",
    "{name} {past} a {adjective} {thing} and {past_2} the {thing_2} {time}.",
    "Would the {adjective} {person} {verb} the {thing} {place}?",
    "{name}'s {adjective} {thing} was {past} {time}, and the {person} {past_2} it.",
    "Neither {name} nor the {person} could {verb} the {adjective} {thing}.",
    "The {thing} and the {thing_2} {place} were {past} by {name}.",
    "If the {person} should {verb} the {thing}, you could {verb_2} it {time}.",
    "{name} was {doing} the {adjective} {thing} {place} {time}.",
    "The {person} is {doing} your {thing}, but {name} has {past_2} his {adjective} {thing_2}.",
)


def si_sentence(number: int) -> str:
    """Return one of the SI sentences.

    Parameters
    ----------
    number
        From ``FIRST_SI`` to ``FIRST_SI + SI_SENTENCES - 1``.
    """
    index, template = divmod(number - FIRST_SI, len(_TEMPLATES))

    def pick(words: Sequence[T], step: int, start: int = 0) -> T:
        # Steps that differ, and lists of different lengths, keep words from recurring together.
        return words[(index * step + template + start) % len(words)]

    verb, past, doing = pick(_VERBS, 1)
    verb_2, past_2, _ = pick(_VERBS, 1, 7)
    return _TEMPLATES[template].format(
        name=pick(_NAMES, 3),
        person=pick(_PEOPLE, 2),
        thing=pick(_THINGS, 5),
        thing_2=pick(_THINGS, 5, 11),
        adjective=pick(_ADJECTIVES, 7),
        adjective_2=pick(_ADJECTIVES, 7, 13),
        verb=verb,
        past=past,
        doing=doing,
        verb_2=verb_2,
        past_2=past_2,
        place=pick(_PLACES, 4),
        time=pick(_TIMES, 2),
    )
