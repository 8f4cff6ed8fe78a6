"""Colours of pictures and lines, told apart by readers of every kind of colour vision.

Scales are drawn through OKLab, whose L is perceived lightness: equal steps of a value are equal
steps of lightness, so the order of values survives a colour-blind reader and a grey print.
Source: B. Ottosson (2020), "A perceptual color space for image processing".
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LEVELS = 256

SEQUENTIAL = (
    (0.10, 0.030, 285.0),
    (0.32, 0.130, 295.0),
    (0.54, 0.170, 355.0),
    (0.76, 0.150, 50.0),
    (0.98, 0.060, 105.0),
)
"""Lightness, chroma and hue [degrees] at equal distances: night blue, violet, red, orange, cream
(chosen)."""
COLD, WARM, MIDDLE = (0.42, 0.140, 255.0), (0.42, 0.150, 35.0), (0.97, 0.0, 0.0)
"""Ends of the diverging scale, of one lightness, and its middle: blue and red are the pair that
colour-blind readers keep apart (chosen; Krug 2018, fig. 3, has blue and red)."""

LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of curves. Source: M. Okabe and K. Ito (2008), "Color Universal Design"."""
DASHES = ("", "6 3", "2 3", "8 3 2 3")
"""Of curves beyond the colours, in SVG's ``stroke-dasharray``."""

_TO_LMS = np.array(
    [
        [1, 0.3963377774, 0.2158037573],
        [1, -0.1055613458, -0.0638541728],
        [1, -0.0894841775, -1.2914855480],
    ]
)
_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)  # fmt: skip


@lru_cache
def palette(name: str) -> NDArray[np.uint8]:
    """Return the colours of a scale, (`LEVELS`, 3) sRGB, of its lowest value first.

    Parameters
    ----------
    name
        ``sequential`` or ``diverging``.
    """
    if name == "sequential":
        return _through([_lab(*stop) for stop in SEQUENTIAL])
    return _through([_lab(*COLD), _lab(*MIDDLE), _lab(*WARM)])


def levels(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    """Return the place of each value on a scale of `LEVELS` colours; beyond its ends, the end."""
    span = high - low if high > low else 1.0
    places = np.nan_to_num((np.asarray(values, dtype=np.float64) - low) / span * (LEVELS - 1))
    rounded: NDArray[np.uint8] = np.clip(np.rint(places), 0, LEVELS - 1).astype(np.uint8)
    return rounded


def line(number: int) -> tuple[str, str]:
    """Return the colour and the dashes of curve `number`."""
    return LINES[number % len(LINES)], DASHES[number // len(LINES) % len(DASHES)]


def _lab(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    angle = np.deg2rad(hue)
    return lightness, chroma * float(np.cos(angle)), chroma * float(np.sin(angle))


def _through(stops: list[tuple[float, float, float]]) -> NDArray[np.uint8]:
    """Return colours at equal distances along straight lines of OKLab."""
    places = np.linspace(0, len(stops) - 1, LEVELS)
    lab = np.stack(
        [np.interp(places, range(len(stops)), axis) for axis in zip(*stops, strict=True)]
    )
    linear = np.clip(_TO_RGB @ (_TO_LMS @ lab) ** 3, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    colours: NDArray[np.uint8] = np.rint(encoded.T * 255).astype(np.uint8)
    return colours
