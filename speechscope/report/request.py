"""What is asked of a report, and the parents it may or may not find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.store import Corpus
from speechscope.errors import ArtifactError, UsageProblem
from speechscope.store.lineage import ancestor
from speechscope.store.record import Record

EXAMPLES = 12
"""Items shown, and heard, of every figure that shows items."""


@dataclass(frozen=True)
class Request:
    """What a report is to show.

    Parameters
    ----------
    examples
        Items a figure shows at most; the other bounds follow from it.
    items
        Positions in the artifact to show instead of the first ones.
    device
        Where networks run.
    moved
        Parents that moved, by kind.
    """

    examples: int = EXAMPLES
    items: tuple[int, ...] | None = None
    device: str = "cpu"
    moved: Mapping[str, Path] = field(default_factory=dict)

    def chosen(self, path: Path, count: int, most: int | None = None) -> list[int]:
        """Return which of `count` items to show: those asked for, else the first, up to `most`.

        Raises
        ------
        UsageProblem
            One that is asked for is not there.
        """
        if self.items is None:
            return list(range(min(count, self.examples if most is None else most)))
        for item in self.items:
            if not 0 <= item < count:
                raise UsageProblem(f"{path} has items 0 to {count - 1}, not {item}")
        return list(self.items)

    def corpus(self, path: Path, record: Record, left_out: list[str], what: str) -> Corpus | None:
        """Open the corpus an artifact was made from; without it, note `what` is left out."""
        try:
            return Corpus(ancestor(path, record, "corpus", self.moved))
        except ArtifactError as error:
            left_out.append(f"{what}: {error}")
            return None


def spread(values: Sequence[int] | NDArray[np.integer], most: int) -> list[int]:
    """Return up to `most` of some values, evenly spread over them, in order."""
    if len(values) <= most:
        return [int(value) for value in values]
    places = np.linspace(0, len(values) - 1, most).round().astype(int)
    return [int(values[place]) for place in places]


def percent(share: float) -> str:
    """Return a share as per cent with one decimal."""
    return f"{100 * share:.1f} %"


def number(value: object) -> str:
    """Return a number of a record as text: counts with thousands apart, others short."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
