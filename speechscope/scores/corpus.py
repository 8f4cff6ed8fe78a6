"""The scores of `corpus.zarr`: what its representation keeps (Riemens 2015, table 1)."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.store import Corpus
from speechscope.features.distances import max_cross_correlation, partners, with_others
from speechscope.features.stft import Float, Stft, Transform
from speechscope.registry import SCORES
from speechscope.scores.statistics import Done, Score

if TYPE_CHECKING:
    from speechscope.stages.score import Score as Settings

SEGMENTS = 2000
"""Of a corpus, at most, whose round trip is scored (chosen: the mean is then known to 0.01)."""
READ = 256  # segments read at a time

BINS = (101, 201, 301)
"""Riemens 2015, table 1."""
KEPT, DROPPED, REAL = "phase kept", "phase dropped", "real part"
PUBLISHED = {
    (101, KEPT): (0.67, "Riemens 2015, table 1"),
    (201, KEPT): (0.92, "Riemens 2015, table 1"),
    (101, DROPPED): (0.36, "Riemens 2015, table 1"),
    (201, DROPPED): (0.91, "Riemens 2015, table 1"),
    (301, DROPPED): (0.98, "Riemens 2015, table 1"),
    (201, REAL): (0.7, "Churchman 2015, sec. 3.2"),
    (401, REAL): (0.99, "Churchman 2015, sec. 3.2"),
}
"""The papers' figures, on TIMIT. What Riemens prints for discarded phase at 201 and 301 bins is
out of reach of magnitudes put back with phase zero; the real part alone comes to it."""
ITEMS = 128  # worked out at once: about 20 MB of spectra at 301 bins


@SCORES.register("corpus")
def corpus_scores(path: Path, settings: "Settings") -> Iterator[Score | Done]:
    """Yield the scores of `round_trip` for a sample of the test split.

    Raises
    ------
    ArtifactError
        The corpus is missing or damaged.
    """
    corpus = Corpus(path)
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(corpus.items("test"))[:SEGMENTS])
    speakers = corpus.artifact.read("speaker")[chosen]
    blocks = (
        (corpus.waveforms(chosen[start : start + READ]), speakers[start : start + READ])
        for start in range(0, len(chosen), READ)
    )
    for found in round_trip(blocks, corpus.representation.transform):
        yield Done(READ * found.parts, len(chosen)) if isinstance(found, Done) else found


Block = tuple[Float, NDArray[np.integer]]


def round_trip(
    blocks: Iterable[Block], transform: Transform, bins: Iterable[int] = BINS
) -> Iterator[Score | Done]:
    """Yield the cross-correlation of waveforms with what comes back of them.

    By number of frequency bins, and for the complex transform (phase kept), its magnitude put back
    with phase zero (phase dropped) and its real part; each inverted by weighted overlap-add.

    Parameters
    ----------
    blocks
        Padded segments (N, samples) and their speakers (N,). Silent ones are left out.
    transform
        Window, overlap and rate; its own bins do not count.
    bins
        Numbers of frequency bins.

    Yields
    ------
    How many blocks are done, and one score for each number of bins and each way, with the
    published figure beside it. By chance: what comes back of other segments.

    Notes
    -----
    Riemens 2015, sec. 2.2.2 and table 1; the measure is `max_cross_correlation`.
    """
    transforms = [replace(transform, bins=count).stft(2 * (count - 1)) for count in bins]
    values: dict[tuple[int, str], list[NDArray[np.float64]]] = {
        (stft.bins, way): [] for stft in transforms for way in (KEPT, DROPPED, REAL)
    }
    speakers: list[NDArray[np.integer]] = []
    for number, (block, spoken) in enumerate(blocks):
        yield Done(number)
        there = block.any(axis=1)
        for start in range(0, int(there.sum()), ITEMS):
            part = slice(start, start + ITEMS)
            waveforms = block[there][part]
            speakers.append(spoken[there][part])
            pairs = partners(len(waveforms), start)
            for stft in transforms:
                for way, back in _back(stft, waveforms):
                    values[stft.bins, way].append(_correlated(waveforms, back, pairs))
    who = np.concatenate(speakers) if speakers else None
    for (count, way), parts in values.items():
        yield _score(count, way, parts, who)


def _correlated(waveforms: Float, back: Float, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the correlation of each with what comes back of it, and of others, (2, N)."""
    own = max_cross_correlation(waveforms, back)
    others = with_others(lambda pair: max_cross_correlation(waveforms, back[pair]), pairs)
    return np.stack([own, others])


def _back(stft: Stft, waveforms: Float) -> Iterator[tuple[str, Float]]:
    spectrum = stft.spectrum(waveforms)
    yield KEPT, stft.inverse(spectrum)
    yield DROPPED, stft.inverse(np.abs(spectrum))
    yield REAL, stft.inverse(spectrum.real)


def _score(
    bins: int,
    way: str,
    parts: list[NDArray[np.float64]],
    speakers: NDArray[np.integer] | None,
) -> Score:
    own, chance = np.concatenate(parts, axis=1) if parts else np.empty((2, 0))
    published, source = PUBLISHED.get((bins, way), (None, None))
    return Score(
        {"bins": bins, "kept": way, "measure": "mxcorr"},
        own,
        {"what comes back of another segment": chance},
        1.0,
        speakers=speakers,
        beside={"published": published, "source": source},
    )
