"""Δ and ΔΔ: the temporal derivatives of a representation, as further channels.

Riemens 2015, sec. 2.3 ("the frame-by-frame first-order and second-order temporal derivatives");
Pellegrini 2016, sec. 2. Neither gives a formula; this is HTK's regression.
"""

import numpy as np

from speechscope.features.stft import Float

REACH = 2
"""Frames on each side that the regression takes in: HTK's and Kaldi's value (chosen)."""


def delta(values: Float) -> Float:
    """Return the slope of the regression line through neighbouring frames.

        d[t] = Σ_θ θ (c[t + θ] - c[t - θ]) / (2 Σ_θ θ²),  θ = 1 … `REACH`

    with the first and the last frame repeated beyond the ends.

    Parameters
    ----------
    values : (…, frames)

    Returns
    -------
    As `values`, in its unit per frame.
    """
    norm = 2 * sum(theta**2 for theta in range(1, REACH + 1))
    out = np.zeros_like(values)
    for theta in range(1, REACH + 1):
        share = np.float32(theta / norm)
        out[..., :-theta] += share * values[..., theta:]
        out[..., -theta:] += share * values[..., -1:]
        out[..., theta:] -= share * values[..., :-theta]
        out[..., :theta] -= share * values[..., :1]
    return out


def fill_deltas(values: Float, statics: int) -> None:
    """Fill the channels behind the first `statics` with Δ of these, then with Δ of Δ, in place.

    Parameters
    ----------
    values : (N, (1 + order) statics, F, frames)
    """
    for start in range(statics, values.shape[1], statics):
        values[:, start : start + statics] = delta(values[:, start - statics : start])
