"""The scores of `corpus.zarr`: what its representation keeps (Riemens 2015, table 1)."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from speechscope.corpus.store import Corpus
from speechscope.features.distances import max_cross_correlation
from speechscope.features.stft import Float, Stft, Transform
from speechscope.registry import SCORES
from speechscope.scores.tables import Row

if TYPE_CHECKING:
    from speechscope.stages.score import Score

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
def corpus_rows(path: Path, settings: "Score") -> Iterator[Row]:
    """Yield the rows of `round_trip` for a sample of the test split.

    Raises
    ------
    ArtifactError
        The corpus is missing or damaged.
    """
    corpus = Corpus(path)
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(corpus.items("test"))[:SEGMENTS])
    blocks = (
        corpus.waveforms(chosen[start : start + READ]) for start in range(0, len(chosen), READ)
    )
    for row in round_trip(blocks, corpus.representation.transform):
        yield {"artifact": path.name, **row}


def round_trip(
    blocks: Iterable[Float], transform: Transform, bins: Iterable[int] = BINS
) -> list[Row]:
    """Return the mean cross-correlation of waveforms with what comes back of them.

    By number of frequency bins, and for the complex transform (phase kept), its magnitude put back
    with phase zero (phase dropped) and its real part; each inverted by weighted overlap-add.

    Parameters
    ----------
    blocks
        Padded segments, (N, samples) each. Silent ones are left out.
    transform
        Window, overlap and rate; its own bins do not count.
    bins
        Numbers of frequency bins.

    Returns
    -------
    One row for each number of bins and each way, with the published figure beside it.

    Notes
    -----
    Riemens 2015, sec. 2.2.2 and table 1; the measure is `max_cross_correlation`.
    """
    transforms = [replace(transform, bins=count).stft(2 * (count - 1)) for count in bins]
    values: dict[tuple[int, str], list[NDArray[np.float64]]] = {
        (stft.bins, way): [] for stft in transforms for way in (KEPT, DROPPED, REAL)
    }
    for block in blocks:
        sounding = block[block.any(axis=1)]
        for start in range(0, len(sounding), ITEMS):
            waveforms = sounding[start : start + ITEMS]
            for stft in transforms:
                for way, back in _back(stft, waveforms):
                    values[stft.bins, way].append(max_cross_correlation(waveforms, back))
    return [_row(count, way, parts) for (count, way), parts in values.items()]


def _back(stft: Stft, waveforms: Float) -> Iterator[tuple[str, Float]]:
    spectrum = stft.spectrum(waveforms)
    yield KEPT, stft.inverse(spectrum)
    yield DROPPED, stft.inverse(np.abs(spectrum))
    yield REAL, stft.inverse(spectrum.real)


def _row(bins: int, way: str, values: list[NDArray[np.float64]]) -> Row:
    items = np.concatenate(values) if values else np.empty(0)
    published, source = PUBLISHED.get((bins, way), (None, None))
    return {
        "bins": bins,
        "kept": way,
        "items": len(items),
        "mxcorr": float(items.mean()) if len(items) else None,
        "published": published,
        "source": source,
    }
