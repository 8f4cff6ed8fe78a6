"""The one model of statistics: a score is a function of items, with what they get by chance.

Whatever is scored gives one value an item, what the same item gets by chance, and what it could get
at best; from these alone come the mean, its interval and a verdict in words.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from speechscope import __version__
from speechscope.errors import SpeechscopeError
from speechscope.registry import SCORES
from speechscope.store.lineage import ancestor, digest_at, record_at
from speechscope.store.staging import staged
from speechscope.work.progress import Bar

if TYPE_CHECKING:
    from speechscope.stages.score import Score as Settings

Cell = str | int | float | None
Row = Mapping[str, Cell]
Array = NDArray[np.floating[Any]]

OTHER, UNTRAINED, GUESSED = "another item", "random weights", "answers to other items"
"""What scores are held against, where several kinds are: see `Score.chance`."""
ABOVE, AT, FEW = "above chance", "at chance", "too few items to tell"
ENOUGH = 12
"""Items below which nothing is said (chosen: a t-test of fewer skewed values is not to be
trusted)."""
SPEAKERS = 6
"""Speakers from which on intervals and tests are over speakers (chosen: of fewer, the spread
between speakers is not known)."""
RESAMPLES = 1000
LEVEL = 0.05
HALF = 0.5
"""Share of the way from chance to the ceiling: where so much may be hidden in the spread, there
were too few items (chosen)."""
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Score:
    """A score of items.

    Parameters
    ----------
    names
        What was scored, and by which measure: the first columns of its row.
    values
        One an item, (N,); NaN is left out.
    chance
        What each item gets by chance, (N,), by the name of what knows nothing of it. The score is
        held against all of them, and shown beside the one that is nearest.
    ceiling
        The mean at best: of the original itself, or of the round trip.
    higher
        Whether more is better.
    speakers
        Who speaks each item, (N,).
    weights
        Of the items in the mean, (N,).
    relative
        Whether an item is held against chance by their difference as a share of both, from −1 to
        1: of what is so large for some items that these would decide.
    beside
        Further columns.
    """

    names: Row
    values: Array
    chance: Mapping[str, Array] = field(default_factory=dict)
    ceiling: float | None = None
    higher: bool = True
    speakers: NDArray[np.integer[Any]] | None = None
    weights: Array | None = None
    relative: bool = False
    beside: Row = field(default_factory=dict)

    @property
    def mean(self) -> float | None:
        """The mean over items; None where there are none."""
        return self.sums(self.values).mean if np.isfinite(self.values).any() else None

    def sums(self, values: Array) -> "Sums":
        """Return the sums of values (N,) of the items, by speaker where there are enough."""
        weights = np.ones(len(values)) if self.weights is None else self.weights
        kept = np.isfinite(values)
        values, weights = np.asarray(values, dtype=np.float64)[kept], weights[kept]
        if self.speakers is not None:
            names, of = np.unique(self.speakers[kept], return_inverse=True)
            if SPEAKERS <= len(names) < len(values):
                both = (
                    np.bincount(of, summed, len(names)).astype(np.float64)
                    for summed in (values * weights, weights)
                )
                return Sums(*both)
        return Sums(values * weights, np.asarray(weights, dtype=np.float64))

    def test(self) -> tuple[float, float]:
        """Return the largest probability over what knows nothing, and the lowest upper limit."""
        apart = [self._apart(chance) for chance in self.chance.values()]
        tests = [self.sums(one).test() for one in apart if np.isfinite(one).sum() >= 2]
        if not tests:
            return np.nan, np.nan
        return max(p for p, _ in tests), min(limit for _, limit in tests)

    def _apart(self, chance: Array) -> NDArray[np.float64]:
        """Return by how much every item is better than chance; what is only rounding counts 0."""
        apart = np.asarray(self.values - chance, dtype=np.float64)
        finite = np.abs(self.values[np.isfinite(self.values)])
        apart[np.abs(apart) <= ROUNDING * finite.max(initial=0.0)] = 0.0
        if self.relative:
            # In artifacts of 0.2 what an item gets by chance may lie below 0.
            apart /= np.maximum(np.abs(self.values) + np.abs(chance), ROUNDING)
        return apart if self.higher else -apart

    def figures(self) -> dict[str, Any]:
        """Return what a row has of it: items, value, its interval, chance and which that is."""
        there = np.isfinite(self.values)
        means = {
            name: self.sums(np.where(there, chance, np.nan)).mean
            for name, chance in self.chance.items()
            if (there & np.isfinite(chance)).any()
        }
        best = (max if self.higher else min)(means, key=means.__getitem__) if means else None
        whole = self.sums(self.values) if there.any() else None
        ends = (None, None) if whole is None or len(whole.values) < 2 else whole.interval()
        return {
            "items": int(there.sum()),
            "value": None if whole is None else whole.mean,
            "low": ends[0],
            "high": ends[1],
            "chance": None if best is None else means[best],
            "null": best,
        }


@dataclass(frozen=True, eq=False)
class Whole:
    """A score that items have only together, as clusters have.

    Parameters
    ----------
    names, ceiling, beside
        See `Score`; more is better.
    value
        The score.
    chance
        What it is when what belongs together is drawn at random, once a draw.
    null
        What was drawn.
    halves
        What it is of random halves of the items, once a draw.
    items
        Of how many items.
    """

    names: Row
    value: float
    chance: Array
    null: str
    halves: Array
    items: int
    ceiling: float | None = 1.0
    beside: Row = field(default_factory=dict)

    def test(self) -> tuple[float, float]:
        """Return what `Sums.test` does: how far it is beyond its draws by chance, as normal."""
        spread = float(np.std(self.chance, ddof=1)) if len(self.chance) > 1 else np.nan
        if not np.isfinite(self.value) or not np.isfinite(spread):
            return np.nan, np.nan
        apart = self.value - float(np.mean(self.chance))
        if spread <= ROUNDING * abs(self.value):
            return (0.0 if apart > ROUNDING * abs(self.value) else 1.0), apart
        limit = apart + spread * float(stats.norm.ppf(1 - LEVEL))
        return float(stats.norm.sf(apart / spread)), limit

    def figures(self) -> dict[str, Any]:
        """Return what a row has of it; see `Score`.

        The interval is that of Student's distribution about the value, with the deviation of the
        score over halves, which is that of the score itself: a half drawn without replacement
        differs from the whole by as much as the whole does from the truth. Items drawn twice, as
        a bootstrap has them, are alike, and clusters would seem purer than they are.
        Source: Politis, Romano & Wolf 1999, "Subsampling", sec. 2.2, with b = n / 2.
        """
        there = self.halves[np.isfinite(self.halves)]
        known, value = np.isfinite(self.value), float(self.value)
        far = np.nan
        if known and len(there) > 1:
            far = float(stats.t(len(there) - 1).ppf(1 - LEVEL / 2) * there.std(ddof=1))
        chance = float(np.mean(self.chance)) if np.isfinite(self.chance).any() else None
        most = np.inf if self.ceiling is None else max(value, self.ceiling)
        return {
            "items": self.items,
            "value": value if known else None,
            "low": value - far if np.isfinite(far) else None,
            "high": min(value + far, most) if np.isfinite(far) else None,
            "chance": chance,
            "null": self.null,
        }


class Done(NamedTuple):
    """How many parts of a long score are done: yielded between scores, and no score itself."""

    parts: int
    of: int = 0


@dataclass(frozen=True)
class Sums:
    """A mean as sums over groups of items, which are independent of each other."""

    values: NDArray[np.float64]
    weights: NDArray[np.float64]

    @property
    def mean(self) -> float:
        """The mean."""
        return float(self.values.sum() / self.weights.sum())

    def interval(self, seed: int = 0, resamples: int = RESAMPLES) -> tuple[float, float]:
        """Return the 95 % percentile bootstrap interval of the mean.

        Groups are drawn with replacement. Source: Efron & Tibshirani 1993, sec. 13.3.
        """
        rng, count = np.random.default_rng(seed), len(self.values)
        means: list[NDArray[np.float64]] = []
        for part in np.array_split(np.arange(resamples), 1 + resamples * count // 2**21):
            drawn = rng.integers(0, count, (len(part), count))
            means.append(self.values[drawn].sum(1) / self.weights[drawn].sum(1))
        low, high = np.quantile(np.concatenate(means), (LEVEL / 2, 1 - LEVEL / 2))
        return float(low), float(high)

    def test(self) -> tuple[float, float]:
        """Return the probability, by chance, of a mean so far above 0, and its upper 95 % limit.

        One-sided t-test of a mean over groups of unequal weight, which tell as much as 1 / Σ h²
        alike, h being the share of each. Source: Cameron & Miller 2015, sec. VI.D; the number:
        Carter, Schnepel & Steigerwald 2017.
        """
        whole = self.weights.sum()
        apart = (self.values - self.mean * self.weights) / whole
        more = 1 - float(np.square(self.weights / whole).sum())  # 1 − 1 / groups
        error = float(np.sqrt((apart**2).sum() / more)) if more > ROUNDING else np.nan
        if error == 0:
            return (0.0 if self.mean > 0 else 1.0), self.mean
        t = stats.t(more / (1 - more))
        return float(t.sf(self.mean / error)), self.mean + error * float(t.ppf(1 - LEVEL))


def rows_of(found: Iterable[Score | Whole | Row | Done]) -> Iterator[Row]:
    """Yield a row a score: mean, interval, chance, ceiling and verdict; other rows as they are.

    Verdicts are corrected for the number of scores that are found together (Holm 1979).
    """
    every = [one for one in found if not isinstance(one, Done)]
    tests = [one.test() if isinstance(one, Score | Whole) else (np.nan, np.nan) for one in every]
    corrected = holm([p for p, _ in tests])
    for score, p, (_, limit) in zip(every, corrected, tests, strict=True):
        if not isinstance(score, Score | Whole):
            yield score
            continue
        of = score.figures()
        items, chance = of["items"], of["chance"]
        room = None if score.ceiling is None or chance is None else abs(score.ceiling - chance)
        said = verdict(items, p, limit, room) if len(score.chance) else None
        ends = {"ceiling": score.ceiling, "null": of.pop("null"), "p": None if np.isnan(p) else p}
        yield {**score.names, **of, **ends, "verdict": said, **score.beside}


def scored(kind: str, path: Path, settings: "Settings", progress: Bar | None = None) -> list[Row]:
    """Return the rows of all scores of an artifact of a kind, corrected together, by its name.

    They are kept beside it, see `kept`.
    """

    def found() -> Iterator[Score | Whole | Row | Done]:
        for one in (one for of in SCORES.of(kind) for one in of(path, settings)):
            if progress is not None and isinstance(one, Done):
                progress(*one)
            yield one

    rows: list[Row] = [{"artifact": path.name, **row} for row in rows_of(found())]
    file = _beside(path)
    if _alone(path, settings):
        made = {**_made(path, settings), "rows": [dict(row) for row in rows]}
        with suppress(OSError, SpeechscopeError), staged(file, force=True, directory=False) as new:
            new.write_text(json.dumps(made))
    return rows


def kept(path: Path, settings: "Settings") -> list[Row] | None:
    """Return the scores of an artifact as this program worked them out last; None: it has not.

    Those that were found without the corpus, which are fewer, do not serve where it is.
    """
    file = _beside(path)
    if not file.exists() or not _alone(path, settings):
        return None
    newest = max(module.stat().st_mtime for module in Path(__file__).parent.glob("*.py"))
    with suppress(OSError, ValueError, KeyError, TypeError):
        found, made = json.loads(file.read_text()), _made(path, settings)
        made["corpus"] = made["corpus"] or found["corpus"]
        if file.stat().st_mtime > newest and found == {**made, "rows": found["rows"]}:
            return list(found["rows"])
    return None


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.scores.json")


def _made(path: Path, settings: "Settings") -> dict[str, Any]:
    """Return what scores are of: the program, the artifact, and whether its corpus is there."""
    there = False
    with suppress(SpeechscopeError):
        there = ancestor(path, record_at(path), "corpus", settings.moved()).exists()
    return {"speechscope": __version__, "digest": digest_at(path), "corpus": there}


def _alone(path: Path, settings: "Settings") -> bool:
    """Say whether an artifact is scored by itself, with nothing beside that is asked for."""
    where = ("artifacts", "corpus", "checkpoint", "device")
    plain = type(settings)(**{name: getattr(settings, name) for name in where})
    first = (settings.artifacts or (path,))[0]  # models are held against it
    return settings == plain and (first == path or record_at(path)["kind"] != "model")


def verdict(count: int, p: float, limit: float, room: float | None) -> str:
    """Say in words what a score is worth.

    Parameters
    ----------
    count
        Its items.
    p
        The probability of the score by chance, corrected; NaN where it cannot be told.
    limit
        How far above chance it may be, for all these items say.
    room
        From chance to the ceiling.
    """
    if count < ENOUGH or np.isnan(p):
        return FEW
    if p < LEVEL:
        return ABOVE
    return FEW if room is not None and limit > HALF * room else AT


def holm(p: Sequence[float]) -> list[float]:
    """Return probabilities corrected for their number; NaN are none of them.

    The least is multiplied by their number n, the next by n − 1, and so on, and none is below the
    one before: any one false verdict among all of them has the stated probability.
    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    values = np.asarray(p, dtype=np.float64)
    order = [int(i) for i in np.argsort(values) if np.isfinite(values[i])]
    out = np.full(len(values), np.nan)
    reached = 0.0
    for rank, place in enumerate(order):
        reached = max(reached, min(1.0, float(values[place]) * (len(order) - rank)))
        out[place] = reached
    return [float(value) for value in out]


def shuffled(answers: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.float64]:
    """Return how often each label would be answered if answers were given to other items, (N,)."""
    kinds, of = np.unique(np.concatenate([labels, answers]), return_inverse=True)
    given = np.bincount(of[len(labels) :], minlength=len(kinds)) / len(answers)
    return np.asarray(given[of[: len(labels)]])


def among(values: Array, rows: NDArray[Any], count: int) -> NDArray[np.float64]:
    """Return the values of some items (their rows, or which they are) among all, NaN elsewhere."""
    out = np.full(count, np.nan)
    out[rows] = values
    return out
