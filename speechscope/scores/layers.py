"""What the layers of a model know by themselves, with nothing trained but linear probes.

ABX by phone and speaker, selectivity of units, probes beside their controls, likeness to other
layers and networks, and whether a phonological step is the same everywhere.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from speechscope.clustering.geometry import (
    abx,
    analogies,
    angles,
    between,
    canonical,
    dissimilarities,
    elsewhere,
    halves,
    landing,
    representational,
    selectivity,
)
from speechscope.clustering.layer import speakers_of
from speechscope.clustering.measures import alignment, inner_products, probe_answers
from speechscope.clustering.reduction import principal_components
from speechscope.clustering.samples import (
    INPUT,
    Samples,
    activations,
    classes_of,
    layers_of,
    phones,
    some_of,
)
from speechscope.corpus.phones import NONE, features_of
from speechscope.corpus.seen import Seen
from speechscope.corpus.steps import STEPS, pairs_of
from speechscope.networks.loading import RANDOM
from speechscope.networks.subject import Subject, subject_of
from speechscope.registry import SCORES
from speechscope.scores.statistics import SPEAKERS, Score, Whole
from speechscope.store.lineage import record_at
from speechscope.work.device import choose

if TYPE_CHECKING:
    from speechscope.stages.score import Score as Settings

Values = NDArray[np.float64]

PER_CLASS = 20
"""Samples a class of the test split (chosen: 900 of TIMIT, whose distances are 6 MB)."""
DRAWS, HALVES = 100, 50
"""Draws by chance, and half-samples an interval is from (chosen)."""
PROBED = 100
"""Principal components a probe looks at, at most (chosen)."""
CONTROLS, TRIES = 3, 6
"""Random groupings of the phones a probe is held against, and how many are tried: a speaker may
lack the phones of one (chosen)."""
RARE = 10
"""Samples below which a value of a feature is not asked for (chosen)."""
UNITS = 100
"""Random units whose selectivity is worked out (chosen: a second a layer)."""
GROUPS = ("manner", "place")
"""Features that the selectivity of units may go by (Nagamine 2015)."""
COIN, SHUFFLED = "a coin", "the phones of other samples"
AT_RANDOM = "values given to the phones at random"
REGROUPED, DIFFERENCE = "phones grouped at random", "the difference of two other phones"
LOST = "pairs lost"


@SCORES.register("model:layers")
def layer_scores(path: Path, settings: "Settings") -> Iterator[Score | Whole]:
    """Yield what each layer that is asked for knows, by measure.

    Of several models, also how like each layer is to that of the same name in the first. Of letter
    networks, and others that run along whole recordings, a sample is the mean over the frames of a
    phone, where the corpus knows when phones are.

    Raises
    ------
    UsageProblem
        There is no such layer.
    ArtifactError
        The model or its corpus is missing, damaged or another.
    """
    wanted = settings.layers
    if not wanted:
        return
    subject = _subject(path, settings)
    samples = some_of(_samples(subject), PER_CLASS, 0)
    first = settings.artifacts[0]
    rival = None
    if first != path and record_at(first)["kind"] == "model":
        rival = _subject(first, settings)
    start = before = Layer(subject, samples, INPUT)
    for name in layers_of(subject, wanted, "--layers"):
        layer = start if name == INPUT else Layer(subject, samples, name)
        likeness = [] if name == INPUT or subject.corpus.whole else [(INPUT, start)]
        if before.name not in (INPUT, name):
            likeness.append((before.name, before))
        if rival is not None and name in (INPUT, *rival.network.names):
            likeness.append((f"that of {first.name}", Layer(rival, samples, name)))
        names = {"artifact": _called(path, subject), "layer": name}
        for score in (*layer.scores(), *_likeness(layer, likeness)):
            yield replace(score, names={**names, **score.names})
        before = layer


def _subject(path: Path, settings: "Settings") -> Subject:
    device, model = choose(settings.device), settings.model
    if model is not None:  # what is scored is the corpus it is looked at with
        taken = settings.axes, settings.scores
        subject = subject_of(None, model, settings.weights, path, device, *taken)
    else:
        subject = subject_of(path, None, None, settings.moved().get("corpus"), device)
    given = settings.input
    if given is None or given == subject.corpus.path:
        return subject
    return subject.looking_at(Seen(given, subject.corpus))


def _called(path: Path, subject: Subject) -> str:
    """Return the name of what is scored; of a network that is not ours also if it never learned."""
    model = subject.config.get("model")
    if model is None:
        return path.name
    return f"{model} ({RANDOM})" if subject.config["weights"] == RANDOM else str(model)


def _samples(subject: Subject) -> Samples:
    """Return the phones of the test split.

    Raises
    ------
    UsageProblem
        Of whole utterances nobody knows when a phone is.
    """
    corpus = subject.corpus
    if corpus.unit == "utterance":
        corpus.phones(0)  # refuses it
    return phones(corpus, "test", "mean" if "phone" in corpus.artifact else "middle")


@dataclass(frozen=True)
class Layer:
    """A layer with samples, and what is worked out of it once.

    Parameters
    ----------
    subject
        The network and the corpus.
    samples
        Of its test split.
    name
        The layer.
    """

    subject: Subject
    samples: Samples
    name: str

    @cached_property
    def points(self) -> NDArray[np.float32]:
        """Its activations, (n, d)."""
        held = activations(self.subject, self.samples, self.name).flatten(1)
        return np.ascontiguousarray(held.numpy())

    @cached_property
    def components(self) -> NDArray[np.float32]:
        """Principal components of its activations, (n, k)."""
        return principal_components(self.points)[:, :PROBED]

    @cached_property
    def speakers(self) -> NDArray[np.int64]:
        """Who speaks each sample, (n,)."""
        return speakers_of(self.subject.corpus, self.samples.first)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the phones."""
        return classes_of(self.subject.corpus)

    @property
    def groups(self) -> NDArray[np.int64]:
        """What is drawn together, (n,): the samples of a speaker, where there are enough."""
        few = len(np.unique(self.speakers)) < SPEAKERS
        return np.arange(len(self.samples)) if few else self.speakers

    def scores(self) -> Iterator[Score | Whole]:
        """Yield what it knows."""
        yield from self._abx()
        yield from self._selectivity()
        yield from self._probes()
        yield from self._arithmetic()

    def _abx(self) -> Iterator[Score]:
        distance, labels = angles(self.points), self.samples.labels
        for name, told, changed in (
            ("ABX of phones across speakers", labels, self.speakers),
            ("ABX of speakers across phones", self.speakers, labels),
        ):
            found = abx(distance, told, changed)
            coin = np.where(np.isfinite(found), 0.5, np.nan)
            yield Score({"measure": name}, found, {COIN: coin}, 1.0, speakers=self.speakers)

    def _selectivity(self) -> Iterator[Score | Whole]:
        rng, labels = np.random.default_rng(0), self.samples.labels
        live = np.flatnonzero(np.ptp(self.points, axis=0) > 0)
        units = self.points[:, np.sort(rng.permutation(live)[:UNITS])]
        if not units.shape[1]:
            return
        found = selectivity(units, labels)
        chance = selectivity(units, rng.permutation(labels))
        name = "phones a unit tells from one"
        yield Score({"measure": name}, found.mean(1), {SHUFFLED: chance.mean(1)}, 1.0)
        features = features_of(self.classes)
        for feature in GROUPS:
            values = np.array(features[feature])[np.unique(labels)]
            kept = values != NONE
            if len(np.unique(values[kept])) < 2:
                continue
            part, groups = found[:, kept], values[kept]
            drawn = np.array([between(part, rng.permutation(groups)) for _ in range(DRAWS)])
            some = halves(np.arange(len(part)), HALVES, 0)
            spread = np.array([between(part[rows], groups) for rows in some])
            name = f"selectivity of units by {feature}"
            value = between(part, groups)
            yield Whole({"measure": name}, value, drawn, REGROUPED, spread, len(units))

    def _probes(self) -> Iterator[Score]:
        labels = self.samples.labels
        for row, (feature, by_class) in enumerate(features_of(self.classes).items()):
            values, rng = np.array(by_class), np.random.default_rng(row)
            names, count = np.unique(values[labels], return_counts=True)
            values[np.isin(values, names[count < RARE])] = NONE
            have = np.flatnonzero((values != NONE) & np.isin(np.arange(len(values)), labels))
            rows = np.flatnonzero(np.isin(labels, have))
            own = self._told(rows, values)
            if own is None:
                continue
            controls: list[Values] = []
            for _ in range(TRIES):
                other = values.copy()
                other[have] = rng.permutation(values[have])
                told = self._told(rows, other)
                controls += [] if told is None else [told]
                if len(controls) == CONTROLS:
                    break
            chance = {AT_RANDOM: np.mean(controls, axis=0)} if controls else {}
            who = self.speakers[rows]
            yield Score({"measure": f"probe of {feature}"}, own, chance, 1.0, speakers=who)

    def _told(self, rows: NDArray[np.int64], table: NDArray[np.str_]) -> Values | None:
        """Return what a probe of the phones' values gets right; its mean is the mean recall."""
        values = table[self.samples.labels[rows]]
        found = None
        if len(rows):
            found = probe_answers(self.components[rows], values, self.speakers[rows])
        if found is None:
            return None
        true, answers = found
        count = np.bincount(true)
        return np.asarray((true == answers) * len(true) / (len(count) * count[true]), np.float64)

    def _arithmetic(self) -> Iterator[Whole]:
        there, labels = np.unique(self.samples.labels, return_inverse=True)
        classes = [self.classes[label] for label in there]

        def means(rows: NDArray[np.int64]) -> Values:
            # A phone that a half lacks is at the mean, and leads nowhere.
            every = self.points[rows].astype(np.float64) - self.points.mean(0, dtype=np.float64)
            count = np.maximum(np.bincount(labels[rows], minlength=len(there)), 1)
            total = np.zeros((len(there), every.shape[1]))
            np.add.at(total, labels[rows], every)
            return total / count[:, None]

        whole = means(np.arange(len(labels)))
        some = [means(rows) for rows in halves(self.groups, HALVES, 0)]
        for step in STEPS:
            of, rng = analogies(pairs_of(step, classes)), np.random.default_rng(0)
            if not of:
                continue
            values = landing(whole, of)
            every = range(len(there))
            chance = np.array([landing(whole, elsewhere(of, every, rng)) for _ in range(DRAWS)])
            spread = np.array([landing(part, of) for part in some])
            count = int(np.isin(labels, np.unique(of)).sum())
            for column, name in enumerate((f"{step} is one step", f"{step} lands on the phone")):
                names = {"measure": name}
                pair = chance[:, column], spread[:, column]
                yield Whole(names, values[column], pair[0], DIFFERENCE, pair[1], count)


def _likeness(layer: Layer, others: Sequence[tuple[str, Layer]]) -> Iterator[Whole]:
    """Yield how like a layer is to others, by CKA, RSA and CCA."""
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(layer.samples)) for _ in range(HALVES)]
    parts = list(halves(layer.groups, HALVES, 0))

    def kernels(of: Layer) -> dict[str, Values]:
        return {
            "CKA": inner_products(of.points),
            "RSA": dissimilarities(of.points),
            "CCA": of.components.astype(np.float64),
        }

    measures: dict[str, Callable[[Values, Values], float]] = {
        "CKA": alignment,  # of some items too: the unbiased estimate does not depend on the mean
        "RSA": representational,
        "CCA": canonical,
    }
    own = kernels(layer)
    for name, other in others:
        theirs = kernels(other)
        for measure, of in measures.items():
            square = measure != "CCA"
            first, second = own[measure], theirs[measure]
            drawn = [of(first, _taken(second, order, square)) for order in orders]
            some = [of(*(_taken(held, rows, square) for held in (first, second))) for rows in parts]
            names = {"measure": f"{measure} with {name}"}
            value, count = of(first, second), len(layer.samples)
            yield Whole(names, value, np.array(drawn), LOST, np.array(some), count)


def _taken(values: Values, rows: NDArray[np.int64], square: bool) -> Values:
    return np.asarray(values[np.ix_(rows, rows)] if square else values[rows])
