"""What a report is made of, whatever it is drawn with: chapters of figures, figures of data.

`speechscope.report.page` draws them as HTML, `speechscope.report.paper` as files for a paper.
Chapters name these classes ``fig.Chart``, ``fig.Grid`` and so on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[Any]
APART = 0.16
"""Least distance of two ticks of an axis that is not even, as a share of it (chosen)."""


@dataclass(frozen=True)
class Axis:
    """One side of a picture: what it measures, its unit, and the values at its two edges.

    `centres` are the values at the middle of each row or column where they are not evenly spaced,
    such as those of mel bands.
    """

    name: str
    units: str = ""
    low: float = 0.0
    high: float = 1.0
    centres: tuple[float, ...] = ()

    @property
    def label(self) -> str:
        """Name and unit."""
        return f"{self.name} [{self.units}]" if self.units else self.name

    def place(self, value: Any) -> Any:
        """Return where a value lies, or several: 0 at the lower edge and 1 at the upper."""
        if self.centres:
            rows = np.arange(len(self.centres)) + 0.5
            return np.interp(value, self.centres, rows) / len(self.centres)
        return (value - self.low) / (self.high - self.low) if self.high != self.low else 0.5


def axis_of(name: str, units: str, centres: Values) -> Axis:
    """Return the axis of rows whose middles are at `centres`."""
    values = np.asarray(centres, dtype=np.float64)
    if len(values) < 2:
        middle = float(values[0]) if len(values) else 0.0
        return Axis(name, units, middle - 0.5, middle + 0.5)
    steps = np.diff(values)
    if np.allclose(steps, steps[0], rtol=1e-3):
        half = float(steps[0]) / 2
        return Axis(name, units, float(values[0]) - half, float(values[-1]) + half)
    return Axis(name, units, float(values[0]), float(values[-1]), tuple(values.tolist()))


def ticks(axis: Axis, count: int) -> list[tuple[float, str]]:
    """Return about `count` round values within an axis, and how they are written.

    Steps are 1, 2, 4 or 5 times a power of ten; on an axis that is not even, such as that of mel
    bands, ticks that would come too near their neighbours are left out.
    """
    low, high = sorted((axis.low, axis.high))
    if not high > low or count < 1:
        return []
    if axis.centres:
        return _uneven_ticks(axis, low, high, count)
    rough = (high - low) / count
    power = 10.0 ** np.floor(np.log10(rough))
    step = min((m * power for m in (1, 2, 4, 5, 10) if m * power >= rough), default=rough)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    values = [float(k * step) for k in np.arange(first, last + 1)]
    return [(value, f"{value + 0.0:.6g}") for value in values]


def _uneven_ticks(axis: Axis, low: float, high: float, count: int) -> list[tuple[float, str]]:
    tens = range(int(np.floor(np.log10(max(low, 1e-9)))), int(np.ceil(np.log10(high))) + 1)
    kept: list[tuple[float, str]] = []
    for value in (m * 10.0**ten for ten in tens for m in (1, 2, 5)):
        far = not kept or axis.place(value) - axis.place(kept[-1][0]) >= max(APART, 0.7 / count)
        if low <= value <= high and far:
            kept.append((value, f"{value:.6g}"))
    return kept


@dataclass(frozen=True)
class Scale:
    """Which value has which colour.

    Parameters
    ----------
    label
        What the values are.
    low, high
        Values at the ends of the scale.
    palette
        ``sequential`` or ``diverging``, whose middle is the middle of the two.
    """

    label: str
    low: float
    high: float
    palette: str = "sequential"


SECONDS = 4.0
"""Of a sound; the rest of a longer one is left out (chosen: a page stays a few MB)."""


@dataclass(frozen=True)
class Sound:
    """A waveform (n,) and its rate [Hz]."""

    samples: Values
    rate: int


@dataclass(frozen=True)
class Picture:
    """Values over two axes, such as a spectrogram.

    Parameters
    ----------
    values : (rows, columns), the lowest row first.
    x, y
        The axes.
    scale
        The colours of the values.
    sound
        What is seen, to be heard.
    alt
        What is seen, in words, for those who do not see it.
    under : (rows, columns), 0 to 1
        What the values lie on, in grey: values near the middle of their scale let it through.
    """

    values: Values
    x: Axis
    y: Axis
    scale: Scale
    sound: Sound | None = None
    alt: str = ""
    under: Values | None = None


@dataclass(frozen=True)
class Line:
    """A curve, with an interval around it where there is one."""

    name: str
    x: Values
    y: Values
    low: Values | None = None
    high: Values | None = None
    points: bool = False


@dataclass(frozen=True)
class Chart:
    """Curves over common axes; `rules` are levels to compare with, by name.

    `steps` draws each curve as the outline of a histogram. `logarithmic` is the vertical axis.
    """

    lines: Sequence[Line]
    x: str
    y: str
    rules: Mapping[str, float] = field(default_factory=dict)
    steps: bool = False
    logarithmic: bool = False
    sound: Sound | None = None
    alt: str = ""

    @property
    def counted(self) -> bool:
        """Whether the horizontal axis counts something, such as epochs or layers."""
        values = np.concatenate([np.ravel(line.x) for line in self.lines] or [np.zeros(1)])
        return bool(np.all(values == np.rint(values)))


def signed(
    values: Values, x: Axis, y: Axis, label: str, largest: float | None = None, **more: Any
) -> Picture:
    """Return a `Picture` of values of either sign, over their largest magnitude or `largest`."""
    most = float(np.nanmax(np.abs(values), initial=0.0)) if largest is None else largest
    return Picture(values / (most or 1.0), x, y, Scale(label, -1.0, 1.0, "diverging"), **more)


def curve(values: Values, x: Values, across: str, up: str, **more: Any) -> Chart:
    """Return a `Chart` of one curve without a name."""
    return Chart([Line("", x, values)], across, up, **more)


Cell: TypeAlias = Picture | Chart | None
Entry: TypeAlias = str | int | float | None
"""Of a table."""


@dataclass(frozen=True)
class Figure:
    """What every figure has.

    Parameters
    ----------
    name
        Of the file it is drawn to, and of ``--figure``.
    title
        Its heading.
    note
        What one has to know to read it: what it shows, of how many, and its source.
    closed
        Whether a page opens it only on demand.
    """

    name: str
    title: str
    note: str
    closed: bool = field(default=False, kw_only=True)


@dataclass(frozen=True)
class Grid(Figure):
    """Small pictures or charts in columns, and rows of a name and a cell for each column."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


@dataclass(frozen=True)
class Gallery(Figure):
    """Pictures or charts by themselves, each under its name; they wrap where there is no room."""

    cells: Sequence[tuple[str, Cell]]


@dataclass(frozen=True)
class Plot(Figure):
    """Charts side by side."""

    charts: Sequence[Chart]


@dataclass(frozen=True)
class Bars(Figure):
    """Numbers by category: `values` of each series are as many as `categories`."""

    categories: Sequence[str]
    series: Mapping[str, Sequence[float]]
    axis: str
    stacked: bool = True


@dataclass(frozen=True)
class Matrix(Figure):
    """Counts by row class and column class; colours are shares of the row.

    `counts` (rows, columns); `row`, `column` say what the two sides are.
    """

    counts: Values
    row_names: Sequence[str]
    column_names: Sequence[str]
    row: str
    column: str

    @property
    def shares(self) -> NDArray[np.float64]:
        """What is drawn: counts over those of their row."""
        counts = np.asarray(self.counts, dtype=np.float64)
        shares: NDArray[np.float64] = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
        return shares


@dataclass(frozen=True)
class Table(Figure):
    """Rows of cells under their headings."""

    headings: Sequence[str]
    rows: Sequence[Sequence[Entry]]


@dataclass(frozen=True)
class Cloud(Figure):
    """Points in space, each with a class and a sound.

    Parameters
    ----------
    views
        Name and coordinates (points, 3) of each projection, such as one a layer.
    names
        Names of the classes.
    label : (points,) class of each.
    groups
        Other ways to colour the points, by name: the group of each (points,), and the names of
        the groups, none for groups that are only numbered.
    captions
        What each point is, in words.
    sounds
        One a point; None where there is none.
    """

    views: Mapping[str, Values]
    names: Sequence[str]
    label: Values
    groups: Mapping[str, tuple[Values, Sequence[str]]]
    captions: Sequence[str]
    sounds: Sequence[Sound | None]


@dataclass(frozen=True)
class Plane(Figure):
    """Small pictures where their class lies in a plane, such as that of F1 and F2.

    `x`, `y` are the axes, with their ends; `places` is a name, a picture and its (x, y) each.
    """

    x: Axis
    y: Axis
    places: Sequence[tuple[str, Picture, float, float]]


@dataclass(frozen=True)
class Recording(Figure):
    """A recording as it runs: pictures over one time, answers under them, and its sound.

    Parameters
    ----------
    strips
        Pictures with their names, all of the same time axis [s].
    answers
        (start [s], stop [s], answer, what more is said of it).
    sound
        All of it; a page plays no more than it shows.
    """

    strips: Sequence[tuple[str, Picture]]
    answers: Sequence[tuple[float, float, str, str]]
    sound: Sound


@dataclass(frozen=True)
class Chapter:
    """What a report says of one artifact: its path, its kind, and what it is in short.

    `left_out` says which figures could not be drawn, and why.
    """

    title: str
    kind: str
    facts: Mapping[str, str]
    figures: Sequence[Figure]
    left_out: Sequence[str] = ()


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
