"""Numbers for what one sees in a pattern: formants, bursts, how sharp it is and how strong."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]

AROUND = 0.025
"""Time on each side of a pattern's strongest frame that its spectrum is taken from [s] (chosen)."""
RANGE = (200.0, 4000.0)
"""Frequencies among which formants are looked for [Hz] (chosen)."""
APART = 0.03
"""A burst stands out from what is so long before and after it [s] (chosen)."""


def energy(pattern: Array) -> NDArray[np.float64]:
    """Return the energy of every frame, Σ_f P², (T,), of a pattern (F, T)."""
    return np.asarray(np.square(pattern, dtype=np.float64).sum(0))


def spectrum(pattern: Array, step: float) -> NDArray[np.float64]:
    """Return the mean of a pattern (F, T) over the frames around its strongest, (F,).

    That is the frame with the largest positive energy Σ_f max(P, 0)²: where a pattern is less than
    the others, as in a closure, it has no formants.

    Parameters
    ----------
    step
        From one frame to the next [s].
    """
    strongest = int(energy(np.maximum(pattern, 0)).argmax())
    reach = round(AROUND / step)
    part = pattern[:, max(0, strongest - reach) : strongest + reach + 1]
    return np.asarray(part.mean(1, dtype=np.float64))


def band_energy(
    pattern: Array, frequency: Array, step: float, bands: Sequence[tuple[float, float]]
) -> float:
    """Return how much denser a pattern's positive energy is in some bands than altogether.

        (Σ_B max(S, 0)² / Σ max(S, 0)²) / (|B| / |range|)

    with S its `spectrum`, over the bins in `RANGE`; 1 is chance. 0 where nothing is positive.

    Parameters
    ----------
    frequency
        Of the bins [Hz], (F,).
    bands
        (low, high) [Hz]. A band between two bins has the nearest.
    """
    within = (frequency >= RANGE[0]) & (frequency <= RANGE[1])
    inside = np.zeros_like(within)
    for low, high in bands:
        mine = (frequency >= low) & (frequency <= high)
        if not mine.any():
            mine[np.abs(frequency - (low + high) / 2).argmin()] = True
        inside |= mine
    inside &= within
    power = np.square(np.maximum(spectrum(pattern, step), 0))
    total = power[within].sum()
    if total == 0 or not inside.any():
        return 0.0
    return float(power[inside].sum() / total / (inside.sum() / within.sum()))


def burst(pattern: Array, step: float) -> float:
    """Return how much the loudest moment stands above what is just before and after it.

        max_t b(t) − (b(t − d) + b(t + d)) / 2, in units of the pattern's root mean square

    with b the mean over frequencies and d = `APART`: Krug 2018, sec. 4.3, "a quick change from
    lower to higher signal and back". NaN where the pattern is shorter.

    Parameters
    ----------
    pattern
        (F, T).
    step
        From one frame to the next [s].
    """
    mean = pattern.mean(0, dtype=np.float64)
    apart = max(1, round(APART / step))
    size = float(np.sqrt(np.square(pattern, dtype=np.float64).mean()))
    if len(mean) <= 2 * apart or size == 0:
        return float("nan")
    rise = mean[apart:-apart] - (mean[: -2 * apart] + mean[2 * apart :]) / 2
    return float(rise.max()) / size


def width(pattern: Array, step: float) -> float:
    """Return for how long a pattern (F, T) holds half the energy of its loudest frame [ms].

    Counted in whole frames, without a break around that frame.
    """
    found = energy(pattern)
    loudest = int(found.argmax())
    below = np.flatnonzero(found < found[loudest] / 2)
    first = below[below < loudest].max(initial=-1)
    last = below[below > loudest].min(initial=len(found))
    return round(float(last - first - 1) * step * 1e3, 6)


def strength(pattern: Array, chance: Array) -> float:
    """Return the size of a pattern over that of what is left of it by chance, in rms."""
    size = float(np.sqrt(np.square(chance, dtype=np.float64).mean()))
    mine = float(np.sqrt(np.square(pattern, dtype=np.float64).mean()))
    return mine / size if size > 0 else float("nan")
