"""What a report is made of, before it is drawn: chapters of figures, figures of data.

`speechscope.report.drawing` draws them, for the page and for a paper. Chapters name these classes
``fig.Chart``, ``fig.Grid`` and so on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[Any]


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
    original
        The sound it came from, to be heard beside it.
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
    original: Sound | None = None


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
    original: Sound | None = None

    @property
    def counted(self) -> bool:
        """Whether the horizontal axis counts something, such as epochs or layers."""
        values = np.concatenate([np.ravel(line.x) for line in self.lines] or [np.zeros(1)])
        return bool(np.all(values == np.rint(values)))


def signed(values: Values, x: Axis, y: Axis, label: str, **more: Any) -> Picture:
    """Return a `Picture` of values of either sign, over their largest magnitude."""
    most = float(np.nanmax(np.abs(values), initial=0.0))
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


Way: TypeAlias = tuple[float, float, float, bool, str]
"""A score, the ends of its interval, whether it is above chance, and its figures in words."""


@dataclass(frozen=True)
class Held(Figure):
    """Scores by name on the way from chance, 0, to the best there can be, 1.

    `parts` are what was scored, such as layers: a score or None for each of `rows`.
    """

    rows: Sequence[str]
    parts: Mapping[str, Sequence[Way | None]]


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
    best
        The number of the view that is seen first.
    """

    views: Mapping[str, Values]
    names: Sequence[str]
    label: Values
    groups: Mapping[str, tuple[Values, Sequence[str]]]
    captions: Sequence[str]
    sounds: Sequence[Sound | None]
    best: int = 0


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
    """What a report says of one artifact: its path, its kind, its record and its figures.

    Parameters
    ----------
    title, kind
        The path of the artifact, and its kind.
    facts
        Its record, by name: how it was made, and of what.
    figures
        In order.
    left_out
        Which figures could not be drawn, and why.
    looked
        What was looked at, in a sentence for those who have not read the papers.
    scores
        What `speechscope score` says of it: rows of `speechscope.scores.statistics`.
    main
        The row that stands for all; None: `speechscope.report.findings` chooses one.
    unscored
        Why there are no scores.
    """

    title: str
    kind: str
    facts: Mapping[str, str]
    figures: Sequence[Figure]
    left_out: Sequence[str] = ()
    looked: str = ""
    scores: Sequence[Mapping[str, Entry]] = ()
    main: Mapping[str, Entry] | None = None
    unscored: str = "Nothing here is scored: it is to be looked at and listened to."
