"""Everything that is found of one layer, from its activations."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speechscope.clustering.kmeans import Labels, Points
from speechscope.clustering.measures import (
    COMPARED,
    composition,
    feature_probes,
    inner_products,
    mutual_information,
    phonological_purity,
    precision_recall,
)
from speechscope.clustering.reduction import (
    class_means,
    class_projections,
    principal_components,
    projected,
)
from speechscope.clustering.samples import Samples, activations, classes_of
from speechscope.corpus.phones import features_of
from speechscope.corpus.store import Corpus
from speechscope.errors import UsageProblem
from speechscope.networks.subject import Subject
from speechscope.registry import CLUSTERING, REDUCTIONS
from speechscope.work.device import computing, threads

if TYPE_CHECKING:
    from speechscope.stages.cluster import Cluster


@dataclass(frozen=True)
class LayerWork:
    """Finds everything about one layer, by its name.

    It works in one thread, whatever the process has: sums depend on how many threads share them,
    and the arrays are to be the same for any number of workers.

    Parameters
    ----------
    subject
        The network and the corpus.
    samples
        See `samples.choose`.
    counts
        Numbers of clusters to choose from; one is imposed.
    """

    subject: Subject
    samples: Samples
    counts: tuple[int, ...]
    settings: "Cluster"

    def __call__(self, layer: str) -> dict[str, NDArray[Any]]:
        """Return the arrays of a layer (DESIGN sec. 2) without their dimension ``layer``.

        Beside them ``products``, the inner products of `compared`, and ``activation_map``, the
        means of classes (class, …) as the layer's shape is.
        """
        with single_thread(), computing(self.subject.device):
            return self._arrays(activations(self.subject, self.samples, layer).numpy())

    def _arrays(self, values: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        samples, corpus, seed = self.samples, self.subject.corpus, self.settings.seed
        points = values.reshape(len(values), -1)
        # Inner products and principal components in single precision, of which activations are.
        components = principal_components(points)
        cells, sizes = [], []
        for name in self.settings.reduce:
            reduced = REDUCTIONS[name](points, components, seed)
            sizes.append(reduced.shape[1])
            cells.append([self._cell(reduced, name) for name in self.settings.algorithm])
        arrays = {
            name: np.stack([np.stack([cell[name] for cell in row]) for row in cells])
            for name in cells[0][0]
        }
        means = class_means(values, samples.labels, len(classes_of(corpus)))
        arrays |= {
            "dimensions": np.array(sizes, dtype=np.int32),
            "projection": projected(points),
            "class_projection": class_projections(means.reshape(len(means), -1), seed),
            "activation_map": means,
            "products": inner_products(points[compared(samples, seed)]),
        }
        if self.settings.probes:
            speakers = speakers_of(corpus, samples.first)
            features = list(features_of(classes_of(corpus)).values())
            probes = feature_probes(components, samples.labels, speakers, features, seed)
            arrays["probe"] = probes.astype(np.float32)
        return arrays

    def _cell(self, points: Points, algorithm: str) -> dict[str, NDArray[Any]]:
        """Cluster by one algorithm and measure what comes out."""
        labels, classes = self.samples.labels, classes_of(self.subject.corpus)
        clusters, criterion = clustered(algorithm, points, self.counts, self.settings.seed)
        counts = composition(clusters, labels, (max(self.counts), len(classes)))
        scores = (*precision_recall(counts), mutual_information(clusters, labels))
        names = ("precision", "recall", "f_measure", "mutual_information")
        purity = phonological_purity(counts, features_of(classes), self.settings.seed)
        return {
            "cluster": clusters.astype(np.int16),
            **{n: np.array(v, dtype=np.float32) for n, v in zip(names, scores, strict=True)},
            "n_clusters": np.array(clusters.max() + 1, dtype=np.int32),
            "criterion": criterion.astype(np.float32),
            "composition": counts,
            "purity": purity.astype(np.float32),
        }


def clustered(
    algorithm: str, points: Points, counts: Sequence[int], seed: int
) -> tuple[Labels, NDArray[np.float64]]:
    """Cluster points into that one of several numbers of clusters which the criterion prefers.

    Parameters
    ----------
    algorithm
        A name in `CLUSTERING`.
    points : (n, d).
    counts
        Numbers of clusters to try; one is an imposed number.

    Returns
    -------
    The cluster of each point, (n,), numbered from 0 without gaps, and the criterion for each number
    that was tried.
    """
    solve = CLUSTERING[algorithm](points, max(counts), seed)
    solved = [solve(count) for count in counts]
    criterion = np.array([value for _, value in solved])
    best, lowest = solved[0]
    for labels, value in solved[1:]:
        if value < lowest:
            best, lowest = labels, value
    return np.unique(best, return_inverse=True)[1], criterion


def counts_of(labels: Labels, number: int | str, limit: int | str) -> tuple[int, ...]:
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


def compared(samples: Samples, seed: int) -> NDArray[np.int64]:
    """Return some random samples whose likeness in two layers is compared, in order, (m,)."""
    rng = np.random.default_rng([seed, len(samples)])
    return np.sort(rng.permutation(len(samples))[:COMPARED])


def speakers_of(corpus: Corpus, items: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the speaker of each item; its recording, where the corpus tells no speakers apart."""
    speakers = corpus.artifact.read("speaker")[items]
    if len(np.unique(speakers)) < 2:
        speakers = corpus.artifact.read("utterance")[items]
    return np.asarray(speakers, dtype=np.int64)


@contextmanager
def single_thread() -> Iterator[None]:
    """Let libraries use one thread while the block runs."""
    from threadpoolctl import threadpool_limits

    with threads(1), threadpool_limits(1):
        yield
