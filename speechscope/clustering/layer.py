"""Everything that is found of one layer, from its activations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.clustering.algorithms import clustered
from speechscope.clustering.maps import class_means, class_projections, projected
from speechscope.clustering.measures import agreement, composition, phonological_purity
from speechscope.clustering.probes import feature_probes
from speechscope.clustering.reduction import principal_components
from speechscope.clustering.samples import Samples
from speechscope.clustering.similarity import ITEMS, inner_products
from speechscope.corpus.phonology import features_of
from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.registry import REDUCTIONS

Array = NDArray[Any]


@dataclass(frozen=True)
class Question:
    """What is asked of every layer.

    Parameters
    ----------
    reductions, algorithms
        Names, of ``none``, ``pca`` and ``tsne``, and of `registry.CLUSTERING`.
    counts
        Numbers of clusters to choose from; one is imposed.
    labels, speakers
        Of the samples, (n,); recordings where the corpus tells no speakers apart.
    classes
        Number of classes, with or without samples.
    features
        Phonological features: the value of each class.
    probes
        Whether linear probes are trained.
    compared
        Samples whose inner products are kept for `similarity`, (m,).
    seed
        Of everything drawn.
    """

    reductions: tuple[str, ...]
    algorithms: tuple[str, ...]
    counts: tuple[int, ...]
    labels: NDArray[np.int64]
    speakers: NDArray[np.int64]
    classes: int
    features: dict[str, tuple[str, ...]]
    probes: bool
    compared: NDArray[np.int64]
    seed: int

    @property
    def most(self) -> int:
        """The largest number of clusters."""
        return max(self.counts)

    def short(self, names: Sequence[str], wanted: int) -> str:
        """Return the classes with fewer samples than wanted, and how many they have."""
        counts = np.bincount(self.labels, minlength=len(names))
        few = zip(names, counts, strict=True)
        return ", ".join(f"{name} {count}" for name, count in few if count < wanted)


@dataclass(frozen=True)
class Answer:
    """What was found of one layer: arrays of DESIGN sec. 2 without their dimension ``layer``.

    Parameters
    ----------
    by_algorithm
        Those that begin with (reduction, algorithm).
    by_reduction
        ``dimensions (reduction,)``.
    layer
        Those of the layer itself; ``activation_map`` is (class, …) as the layer's shape is.
    products
        Inner products of `Question.compared`.
    """

    by_algorithm: dict[str, Array]
    by_reduction: dict[str, Array]
    layer: dict[str, Array]
    products: Array


def answered(values: NDArray[np.float32], question: Question) -> Answer:
    """Return what is found of a layer.

    Parameters
    ----------
    values : (n, …) activations of the samples.
    """
    q = question
    points = values.reshape(len(values), -1)
    # Inner products and principal components in single precision, of which activations are.
    components = principal_components(points)
    reduced = {name: REDUCTIONS[name](points, components, q.seed) for name in q.reductions}
    cells = [
        [_cell(reduced[name], algorithm, q) for algorithm in q.algorithms] for name in q.reductions
    ]
    by_algorithm = {
        name: np.stack([np.stack([cell[name] for cell in row]) for row in cells])
        for name in cells[0][0]
    }
    means = class_means(values, q.labels, q.classes)
    flat = means.reshape(len(means), -1)
    layer = {
        "projection": projected(points),
        "class_projection": class_projections(flat, q.seed),
        "activation_map": means,
    }
    if q.probes:
        features = list(q.features.values())
        layer["probe"] = feature_probes(
            components.scores, q.labels, q.speakers, features, q.seed
        ).astype(np.float32)
    sizes = np.array([reduced[name].shape[1] for name in q.reductions], dtype=np.int32)
    products = inner_products(points[q.compared])
    return Answer(by_algorithm, {"dimensions": sizes}, layer, products)


def _cell(points: NDArray[np.float32], algorithm: str, q: Question) -> dict[str, Array]:
    """Cluster by one algorithm and measure what comes out."""
    found = clustered(algorithm, points, q.counts, q.seed)
    counts = composition(found.labels, q.labels, (q.most, q.classes))
    how = agreement(found.labels, q.labels, counts)
    return {
        "cluster": found.labels.astype(np.int16),
        "precision": np.array(how.precision, dtype=np.float32),
        "recall": np.array(how.recall, dtype=np.float32),
        "f_measure": np.array(how.f_measure, dtype=np.float32),
        "mutual_information": np.array(how.mutual_information, dtype=np.float32),
        "n_clusters": np.array(found.labels.max() + 1, dtype=np.int32),
        "criterion": found.criterion[list(q.counts)].astype(np.float32),
        "composition": counts,
        "purity": phonological_purity(counts, q.features, q.seed).astype(np.float32),
    }


def question_of(
    samples: Samples,
    corpus: Corpus,
    *,
    reductions: tuple[str, ...],
    algorithms: tuple[str, ...],
    counts: tuple[int, ...],
    probes: bool,
    seed: int,
) -> Question:
    """Return a question about samples of a corpus; see `Question`."""
    return Question(
        reductions=reductions,
        algorithms=algorithms,
        counts=counts,
        labels=samples.labels,
        speakers=_voices(corpus, samples.first),
        classes=len(corpus.classes),
        features=features_of(corpus.classes),
        probes=probes,
        compared=compared_samples(samples.labels, seed),
        seed=seed,
    )


def _voices(corpus: Corpus, items: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the speaker of each item; its recording, where the corpus tells no speakers apart."""
    speakers = corpus.artifact.read("speaker")[items]
    if len(np.unique(speakers)) < 2:
        speakers = corpus.artifact.read("utterance")[items]
    return np.asarray(speakers, dtype=np.int64)


def counts_of(labels: NDArray[np.int64], number: int | str, limit: int | str) -> tuple[int, ...]:
    """Return the numbers of clusters to choose from.

    Parameters
    ----------
    labels : (n,) of the samples.
    number
        That number, ``classes`` (as many as have samples), or ``auto``: 2 to `limit`.
    limit
        A number or ``classes`` ("up to 33 clusters", sec. 3.2).

    Raises
    ------
    UsageProblem
        It is below 2, or there are not that many samples.
    """
    classes = len(np.unique(labels))
    last = classes if limit == "classes" else int(limit)
    if number == "auto":
        counts = tuple(range(2, last + 1))
    else:
        counts = (classes if number == "classes" else int(number),)
    if not counts or min(counts) < 2 or max(counts) >= len(labels):
        raise UsageProblem(
            f"--clusters {number}: expected from 2 to {len(labels) - 1}, one less than there are "
            "samples"
        )
    return counts


def compared_samples(labels: NDArray[np.int64], seed: int, most: int = ITEMS) -> NDArray[np.int64]:
    """Return at most `most` random samples for `similarity`, in order, (m,)."""
    rng = np.random.default_rng([seed, len(labels)])
    return np.sort(rng.permutation(len(labels))[:most])
