"""Round values along an axis."""

import numpy as np

from speechscope.report.figures import Axis

APART = 0.16
"""Least distance of two ticks of an axis that is not even, as a share of it (chosen)."""


def ticks(axis: Axis, count: int) -> list[tuple[float, str]]:
    """Return about `count` round values within an axis, and how they are written.

    Steps are 1, 2, 4 or 5 times a power of ten; on an axis that is not even, such as that of mel
    bands, ticks that would come too near their neighbours are left out.
    """
    low, high = sorted((axis.low, axis.high))
    if not high > low or count < 1:
        return []
    if axis.centres:
        return _uneven(axis, low, high, count)
    rough = (high - low) / count
    power = 10.0 ** np.floor(np.log10(rough))
    step = min((m * power for m in (1, 2, 4, 5, 10) if m * power >= rough), default=rough)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    values = [float(k * step) for k in np.arange(first, last + 1)]
    return [(value, f"{value + 0.0:.6g}") for value in values]


def _uneven(axis: Axis, low: float, high: float, count: int) -> list[tuple[float, str]]:
    apart = max(APART, 0.7 / count)
    found: list[tuple[float, str]] = []
    for value in _round_values(low, high):
        place = axis.place(value)
        if not found or place - axis.place(found[-1][0]) >= apart:
            found.append((value, f"{value:.6g}"))
    return found


def _round_values(low: float, high: float) -> list[float]:
    tens = range(int(np.floor(np.log10(max(low, 1e-9)))), int(np.ceil(np.log10(high))) + 1)
    values = [m * 10.0**ten for ten in tens for m in (1, 2, 5)]
    return [value for value in values if low <= value <= high]
