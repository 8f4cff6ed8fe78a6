"""What is heard of a step: sounds rebuilt from activity that was moved, beside those that were not.

A step is worth its name where it changes what it is named for more than a random step does.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.phones import features_of
from speechscope.corpus.steps import LABIAL, STEPS
from speechscope.features.attributes import OCTAVES, in_octaves
from speechscope.inversion.moves import Move
from speechscope.scores.heard import PHONES, Heard, Judges
from speechscope.scores.statistics import Score

Values = NDArray[np.float64]

STILL, RANDOM = "no step", "a random step"
EXPECTED: Mapping[str, tuple[str, int]] = {
    "voicing": ("voicing", 1),
    "frication": ("centre of gravity", 1),
    "place": ("F2", -1),
    "height": ("F1", -1),
}
"""The attribute that a step ought to change, and which way; of an attribute, that one."""


@dataclass(frozen=True, eq=False)
class Steps:
    """What is scored of a method that moves the activity.

    Parameters
    ----------
    classes, labels
        Names of the phones, and that of each item, (N,).
    judges
        None: nothing is named.
    """

    classes: Sequence[str]
    labels: NDArray[np.int64]
    judges: Judges | None

    def scores(self, text: str, moved: Heard, still: Heard, random: Heard) -> Iterator[Score]:
        """Yield the change of each attribute, and how often the phone is heard as it should be.

        Of the attribute the step is named for, the change is held against that by a random step;
        of the others it is a description. F0, F1 and F2 in octaves.

        Parameters
        ----------
        text
            The move.
        moved, still, random
            What is heard of sounds after it, without it and after a random one.
        """
        move = Move.parse(text)
        way = 1 if move.amount >= 0 else -1
        name, sign = EXPECTED.get(move.name, (move.name, 1))
        for attribute, values in moved.values.items():
            before = in_octaves(attribute, still.values[attribute])
            change = in_octaves(attribute, values) - before
            other = in_octaves(attribute, random.values[attribute]) - before
            named = attribute == name
            yield Score(
                {"measure": f"change of {attribute}{' [octaves]' * (attribute in OCTAVES)}"},
                change,
                # By chance the attribute stays, or changes as by a random step.
                {STILL: np.zeros(len(change)), RANDOM: other} if named else {},
                higher=sign * way > 0,
            )
        if move.name in STEPS and self.judges is not None:
            yield from self._heard(move, way, moved, still, random)

    def _heard(
        self, move: Move, way: int, moved: Heard, still: Heard, random: Heard
    ) -> Iterator[Score]:
        """Yield how often phones at the one end of a step are heard as of the other."""
        step = STEPS[move.name]
        feature = "manner" if step.feature == "nasality" else step.feature
        ends = (step.before, step.after) if step.manners is None else step.manners[::-1]
        begin, end = ends[::way]
        known = np.array([LABIAL.get(v, v) for v in features_of(self.classes)[feature]])
        there = known[self.labels] == begin
        measure = PHONES[feature]

        def named(heard: Heard) -> Values | None:
            assert self.judges is not None
            wanted = {measure: np.array(features_of(self.classes)[feature])[self.labels]}
            found = self.judges.answers(heard.mel, wanted).get(measure)
            if found is None:
                return None
            as_wanted = np.array([LABIAL.get(value, value) == end for value in found[1]])
            return np.where(there, as_wanted, np.nan)

        after, plain, other = (named(heard) for heard in (moved, still, random))
        if after is not None and plain is not None and other is not None:
            chance = {STILL: plain, RANDOM: other}
            yield Score({"measure": f"{begin} heard as {end}"}, after, chance, 1.0)
