"""A table as text for people, as CSV or as JSON."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechscope.features.distances import max_cross_correlation

Cell = str | int | float | None
Row = Mapping[str, Cell]


def as_text(rows: Sequence[Row]) -> str:
    """Align columns under their names; numbers to the right, absent values as a dash."""
    names = list(rows[0]) if rows else []
    cells = [[_shown(row[name]) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in [names, *cells]) for i in range(len(names))]
    numeric = [all(not isinstance(row[name], str) for row in rows) for name in names]
    lines = []
    for line in [names, *cells]:
        padded = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines) + "\n"


def as_csv(rows: Sequence[Row]) -> str:
    """Write comma-separated values with a header line; numbers in full."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_json(rows: Sequence[Row]) -> str:
    """Write a JSON list of objects, one a row."""
    return json.dumps([dict(row) for row in rows]) + "\n"


def _shown(value: Cell) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


Array = NDArray[np.floating[Any]]


def threshold(average: Array, waveforms: Array) -> float:
    """Return the waveform mxcorr that says nothing about an item.

    The mean, over items, of the mxcorr between each waveform and the one average waveform: below
    it the average is a better reconstruction (Churchman 2015, sec. 7.1.1).

    Parameters
    ----------
    average : (samples,), the inverse of the average spectrogram.
    waveforms : (N, samples)
    """
    repeated = np.broadcast_to(average, waveforms.shape)
    return float(max_cross_correlation(waveforms, repeated).mean())


def bootstrap(
    values: Array, seed: int = 0, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean over items.

    Items are drawn with replacement `resamples` times; the interval holds the middle `level` of the
    means. Source: Efron & Tibshirani 1993, sec. 13.3.

    Parameters
    ----------
    values : (N,)
    """
    rng = np.random.default_rng(seed)
    means = [
        float(values[rng.integers(0, len(values), len(values))].mean()) for _ in range(resamples)
    ]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def interval(values: Array) -> tuple[float, float, float]:
    """Return the mean over items and its 95 % interval (`bootstrap`); NaN items are left out."""
    kept = values[np.isfinite(values)]
    if len(kept) == 0:
        return np.nan, np.nan, np.nan
    return float(kept.mean()), *bootstrap(kept, resamples=1000)
