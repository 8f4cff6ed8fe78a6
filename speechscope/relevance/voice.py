"""Fundamental frequency and formants of a waveform, and whether two waveforms share them.

Praat measures both (the `praat` extra, parselmouth).
"""

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTITIES = ("F0", "F1", "F2")
CONTEXT, STEP = 10, 0.01
"""Frames around the middle that are averaged (Muckenhirn 2019, sec. 4.2.2), and their hop [s]."""
ORDER = 16
"""Of the linear prediction (Muckenhirn 2019, sec. 4.2.2)."""
DIVIDE = 170.0
"""Voices below are compared with the deviations of men, above with those of women [Hz].

Chosen: the middle of the means of Hillenbrand et al. (1995), 131 Hz and 220 Hz, on a log scale.
"""

DEVIATIONS: dict[str, dict[str, tuple[float, float, float]]] = {
    "M": {
        "aa": (20, 62, 111),
        "ae": (20, 42, 133),
        "ah": (20, 30, 87),
        "ao": (21, 34, 66),
        "eh": (20, 41, 117),
        "er": (20, 29, 78),
        "ey": (21, 41, 140),
        "ih": (22, 31, 122),
        "iy": (26, 28, 136),
        "ow": (20, 43, 98),
        "uh": (21, 28, 97),
        "uw": (27, 33, 113),
    },
    "F": {
        "aa": (22, 97, 124),
        "ae": (21, 69, 159),
        "ah": (22, 58, 116),
        "ao": (20, 75, 128),
        "eh": (21, 74, 143),
        "er": (25, 45, 126),
        "ey": (22, 63, 154),
        "ih": (21, 34, 149),
        "iy": (24, 41, 147),
        "ow": (22, 81, 123),
        "uh": (22, 41, 145),
        "uw": (25, 39, 205),
    },
}
"""Standard deviations of F0, F1, F2 [Hz] of vowels of 45 men and 48 women.

From the steady-state values of Hillenbrand et al. (1995), vowels under their names in TIMIT.
"""


def available() -> bool:
    """Say whether Praat is installed."""
    return find_spec("parselmouth") is not None


def measured(samples: NDArray[np.floating[Any]], rate: int) -> NDArray[np.float64]:
    """Return (F0, F1, F2) [Hz] around the middle of a waveform; NaN where there is none.

    F0 by Praat's autocorrelation method, the median over the frames that are voiced; formants by
    linear prediction of order 16 up to half the rate, averaged over the same frames.

    Source: Muckenhirn 2019, sec. 4.2.2. Windows of 25 ms (sec. 4.2.1), and Praat's range of 75 to
    600 Hz, which the paper leaves open.

    Parameters
    ----------
    samples
        (n,), at least 50 ms; any scale.
    rate
        [Hz].
    """
    import parselmouth

    largest = float(np.abs(samples).max())
    if largest == 0:
        return np.full(3, np.nan)
    sound = parselmouth.Sound(np.asarray(samples, dtype=np.float64) / largest, rate)
    middle = len(samples) / rate / 2
    times = middle + STEP * (np.arange(CONTEXT) - (CONTEXT - 1) / 2)
    pitch = sound.to_pitch(time_step=STEP, pitch_floor=75.0, pitch_ceiling=600.0)
    f0 = np.array([pitch.get_value_at_time(time) for time in times])
    formants = sound.to_formant_burg(
        time_step=STEP,
        max_number_of_formants=ORDER / 2,
        maximum_formant=rate / 2,
        window_length=0.025,
    )
    values = [[formants.get_value_at_time(n, time) for time in times] for n in (1, 2)]
    return np.array([_middle(f0, np.median), *(_middle(np.array(v), np.mean) for v in values)])


def _middle(values: NDArray[np.float64], of: Any) -> float:
    kept = values[np.isfinite(values)]
    return float(of(kept)) if len(kept) else np.nan


def shared(
    original: NDArray[np.float64], found: NDArray[np.float64], vowel: str | None
) -> tuple[str, NDArray[np.float64]]:
    """Return the voice's group, M or F, and which of F0, F1, F2 lie within the deviation.

    |found − original| ≤ Δ of the vowel and group; what was not found is wrong, and what the
    original does not have is NaN.

    Source: Muckenhirn 2019, sec. 4.2.2, whose reference is a table of measured values; here it is
    the original waveform of the same item.

    Parameters
    ----------
    original, found
        (F0, F1, F2) from `measured`; the original's F0 tells the group.
    vowel
        A key of `DEVIATIONS`; None where it is not known: the mean deviation of all (chosen).
    """
    group = "F" if original[0] > DIVIDE else "M"
    known = DEVIATIONS[group]
    deviation = np.mean(list(known.values()), 0) if vowel is None else np.array(known[vowel])
    within = np.abs(found - original) <= deviation
    return group, np.where(np.isfinite(original), within.astype(np.float64), np.nan)
