"""Numbers for what one sees in a pattern: formants, bursts, how sharp it is and how strong.

Where vowels have their formants, and which sounds are plosives, stands here too.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from speechscope.relevance.voice import DEVIATIONS

Array = NDArray[np.floating]

AROUND = 0.025
"""Time on each side of a pattern's strongest frame that its spectrum is taken from [s] (chosen)."""
RANGE = (200.0, 4000.0)
"""Frequencies among which formants are looked for [Hz] (chosen)."""
APART = 0.03
"""A burst stands out from what is so long before and after it [s] (chosen)."""
MEANS: Mapping[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "aa": ((756, 1309), (921, 1524)),
    "ae": ((591, 1930), (676, 2335)),
    "ah": ((621, 1181), (760, 1416)),
    "ao": ((656, 1023), (804, 1188)),
    "eh": ((588, 1803), (727, 2063)),
    "er": ((475, 1379), (524, 1588)),
    "ey": ((476, 2090), (535, 2526)),
    "ih": ((429, 2034), (484, 2369)),
    "iy": ((343, 2323), (437, 2761)),
    "ow": ((498, 910), (555, 1036)),
    "uh": ((469, 1123), (519, 1229)),
    "uw": ((380, 992), (460, 1106)),
}
"""Mean (F1, F2) [Hz] of vowels of 45 men and of 48 women.

From the steady-state values of Hillenbrand et al. (1995), vowels under their names in TIMIT.
"""

LETTER_VOWELS: Mapping[str, str] = {"a": "ae", "e": "eh", "i": "ih", "o": "aa", "u": "ah"}
"""The vowel a letter is most often short for (chosen: spelling does not say more)."""

PLOSIVES = ("b", "d", "g", "p", "t", "k")
"""As phones and as letters."""


def bands(vowel: str) -> tuple[tuple[float, float], ...]:
    """Return where F1 and F2 of a vowel lie, (low, high) [Hz] each.

    From the men's mean less their standard deviation to the women's mean and theirs.
    """
    men, women = MEANS[vowel]
    return tuple(
        (men[n] - DEVIATIONS["M"][vowel][n + 1], women[n] + DEVIATIONS["F"][vowel][n + 1])
        for n in (0, 1)
    )


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
    energies = energy(pattern)
    loudest = int(energies.argmax())
    below = np.flatnonzero(energies < energies[loudest] / 2)
    first = below[below < loudest].max(initial=-1)
    last = below[below > loudest].min(initial=len(energies))
    return round(float(last - first - 1) * step * 1e3, 6)


def strength(pattern: Array, chance: Array) -> float:
    """Return the size of a pattern over that of what is left of it by chance, in rms."""
    size = float(np.sqrt(np.square(chance, dtype=np.float64).mean()))
    mine = float(np.sqrt(np.square(pattern, dtype=np.float64).mean()))
    return mine / size if size > 0 else float("nan")
