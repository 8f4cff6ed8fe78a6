"""Steps from phone to phone that change one thing: [t] to [d], [p] to [b]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from speechscope.corpus.phones import NONE, features_of

LABIAL = {"bilabial": "labial", "labiodental": "labial"}
"""Places counted as one: English has no bilabial fricative beside its plosives."""


@dataclass(frozen=True)
class Step:
    """What changes: the feature, its value after and before, and manners that go along."""

    feature: str
    after: str
    before: str
    manners: tuple[str, str] | None = None


STEPS: Mapping[str, Step] = {
    "voicing": Step("voicing", "voiced", "voiceless"),
    "nasality": Step("nasality", "nasal", "oral", ("nasal", "plosive")),
    "frication": Step("manner", "fricative", "plosive"),
    "place": Step("place", "labial", "alveolar"),
    "height": Step("height", "close", "mid"),
}
"""By name. Height is that of vowels; a nasal consonant is the nasal of its plosive."""


def pairs_of(name: str, classes: Sequence[str]) -> list[tuple[int, int]]:
    """Return the pairs of classes that a step leads between, (after, before).

    All other features are the same; classes that lack the feature have none.
    """
    step, table = STEPS[name], features_of(classes)
    table["place"] = tuple(LABIAL.get(place, place) for place in table["place"])
    rows = [{feature: values[n] for feature, values in table.items()} for n in range(len(classes))]

    def leads(to: Mapping[str, str], by: Mapping[str, str]) -> bool:
        along = step.manners is not None and (to["manner"], by["manner"]) == step.manners
        differ = {feature for feature in to if to[feature] != by[feature]}
        return (
            (to[step.feature], by[step.feature]) == (step.after, step.before)
            and not {NONE, "closure"} & {to["manner"], by["manner"]}
            and differ - {step.feature} <= ({"manner"} if along else set())
        )

    every = product(enumerate(rows), enumerate(rows))
    return [(after, before) for (after, to), (before, by) in every if leads(to, by)]
