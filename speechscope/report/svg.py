"""Figures as SVG: pictures, charts, bars, matrices and planes."""

from collections.abc import Callable, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
from numpy.typing import NDArray

from speechscope.report import colours
from speechscope.report.board import Board
from speechscope.report.figures import Axis, Bars, Chart, Matrix, Picture, Plane, Scale
from speechscope.report.media import address, png

SMALL = (180.0, 130.0, 32.0, 26.0)
"""Width and height of a small picture, and its margins at the left and at the bottom [px]."""
LARGE = (460.0, 290.0, 56.0, 42.0)
"""The same of a chart by itself."""
BAR, LABELS = 15.0, 96.0
"""Height of a bar, and room for the names of the bars [px]."""
SQUARE = 13.0
"""Side of one entry of a matrix [px]."""


def image(values: NDArray[Any], scale: Scale, under: NDArray[Any] | None = None) -> str:
    """Return values (rows, columns), the lowest row first, as the address of a PNG."""
    found = colours.levels(values[::-1], scale.low, scale.high)
    palette = colours.palette(scale.palette)
    if under is None:
        return address(png(found, palette), "image/png")
    # The further from the middle of the scale, the less of what lies under it is seen.
    away = np.abs(values[::-1] * 2 - scale.low - scale.high) / (scale.high - scale.low)
    weight = np.sqrt(np.clip(away, 0, 1))[..., None]
    grey = 255 * (0.95 - 0.75 * np.clip(under[::-1], 0, 1))[..., None]
    mixed = weight * palette[found] + (1 - weight) * grey
    return address(png(np.rint(mixed).astype(np.uint8)), "image/png")


def picture(shown: Picture) -> str:
    """Return a picture with its axes."""
    plot = Board(SMALL, shown.alt, 13.0)
    plot.image(image(shown.values, shown.scale, shown.under))
    plot.axes(shown.x, shown.y, 4)
    return plot.text()


def chart(shown: Chart, *, small: bool) -> str:
    """Return curves with their axes; their names are beside them in the page."""
    plot = Board(SMALL if small else LARGE, shown.alt, 13.0 if small else 6.0)
    x = _span([line.x for line in shown.lines])
    heights = [
        part for line in shown.lines for part in (line.y, line.low, line.high) if part is not None
    ]
    low, high = _span([*heights, np.array(list(shown.rules.values()), dtype=np.float64)])
    up: Callable[[Any], Any] = (
        (lambda v: np.log10(np.maximum(v, 0.5))) if shown.logarithmic else float_
    )
    if shown.steps:
        low = min(low, 0.0)
    if shown.logarithmic:
        low, high = -0.31, float(up(high)) + 0.1
    y = (
        Axis(shown.y, "", low, high)
        if shown.logarithmic
        else Axis(shown.y, "", *_padded(low, high))
    )
    across = Axis(shown.x, "", *x)
    count = 4 if small else 6
    plot.axes(across, y, count, names=not small, powers=shown.logarithmic, counted=shown.counted)
    for name, value in shown.rules.items():
        plot.rule(y.place(float(up(value))), name)
    for number, line in enumerate(shown.lines):
        if line.low is not None and line.high is not None:
            plot.band(
                _places(across, line.x), _places(y, up(line.low)), _places(y, up(line.high)), number
            )
    for number, line in enumerate(shown.lines):
        heights_ = _places(y, up(line.y))
        places = _places(across, line.x)
        if shown.steps:
            places, heights_ = np.repeat(places, 2)[1:], np.repeat(heights_, 2)[:-1]
        plot.curve(places, heights_, number, points=line.points)
    return plot.text()


def bars(shown: Bars) -> str:
    """Return bars across, one category below the other."""
    parts = list(shown.series.values())
    rows = 1 if shown.stacked else len(parts)
    step = BAR * rows + (0 if rows == 1 else 6)
    height = step * len(shown.categories) + 34
    totals = np.sum(parts, axis=0) if shown.stacked else np.max(parts, axis=0, initial=0.0)
    longest = float(np.max(totals, initial=0.0)) or 1.0
    plot = Board((560.0, height, LABELS, 30.0), f"{shown.title}: {shown.axis} by category")
    x = Axis(shown.axis, "", 0.0, longest * 1.12)
    plot.axes(x, Axis("", "", 0.0, 1.0), 5, names=True, rows=False)
    for index, category in enumerate(shown.categories):
        plot.label(LABELS - 6, 4 + index * step + step / 2 + 3, category, "end")
        at = 0.0
        for number, values in enumerate(parts):
            value = float(values[index])
            top = 4 + index * step + (0 if shown.stacked else number * BAR)
            plot.bar(x.place(at), x.place(at + value), top + 1.5, BAR - 3, number)
            if not shown.stacked:
                plot.label(plot.right(x.place(value)) + 3, top + BAR - 4, f"{value:.4g}", "start")
            at += value if shown.stacked else 0.0
        if shown.stacked:
            plot.label(
                plot.right(x.place(at)) + 3, 4 + index * step + BAR - 4, f"{at:,.6g}", "start"
            )
    return plot.text()


def matrix(shown: Matrix) -> str:
    """Return a matrix as squares between the names of its rows and columns."""
    counts = np.asarray(shown.counts, dtype=np.float64)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    longest = max(map(len, [*shown.row_names, *shown.column_names]), default=1)
    margin = 26 + 6.2 * min(longest, 14)
    width, height = margin + SQUARE * counts.shape[1] + 8, margin + SQUARE * counts.shape[0] + 6
    plot = Board((width, height, margin, margin), f"{shown.title}: {shown.row} by {shown.column}")
    plot.image(image(shares[::-1], Scale("", 0.0, 1.0)))
    for index, name in enumerate(shown.row_names):
        plot.label(margin - 4, 6 + (index + 0.75) * SQUARE, name, "end")
    for index, name in enumerate(shown.column_names):
        plot.label(margin + (index + 0.75) * SQUARE, height - margin + 6, name, "end", turned=True)
    plot.label(10, (height - margin) / 2, shown.row, "middle", turned=True)
    plot.label(margin + SQUARE * counts.shape[1] / 2, height - 6, shown.column, "middle")
    plot.root.set("data-margin", f"{margin:g}")
    plot.root.set("data-square", f"{SQUARE:g}")
    return plot.text()


def plane(shown: Plane) -> str:
    """Return small pictures at their places between two axes."""
    plot = Board((620.0, 460.0, 56.0, 42.0), shown.title)
    plot.axes(shown.x, shown.y, 6, names=True)
    side = 46.0
    for name, small, x, y in shown.places:
        plot.placed(
            image(small.values, small.scale), shown.x.place(x), shown.y.place(y), side, name
        )
    return plot.text()


def swatch(number: int) -> str:
    """Return a short stroke in the colour of curve `number`, for a key."""
    colour, dashes = colours.line(number)
    root = Element("svg", {"viewBox": "0 0 28 10", "aria-hidden": "true"})
    stroke = {"d": "M0 5H28", "stroke": colour, "stroke-width": "4"}
    SubElement(root, "path", {**stroke, **({"stroke-dasharray": dashes} if dashes else {})})
    return tostring(root, encoding="unicode")


def float_(values: Any) -> Any:
    """Return values as they are; the vertical axis of a chart that is not logarithmic."""
    return values


def _span(parts: Sequence[NDArray[Any]]) -> tuple[float, float]:
    """Return the least and the largest finite value, apart."""
    values = np.concatenate([np.ravel(part) for part in parts]) if parts else np.zeros(1)
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _padded(low: float, high: float) -> tuple[float, float]:
    room = 0.06 * (high - low)
    # Measures that begin at 0 are drawn from 0.
    return (0.0 if 0 <= low <= 0.5 * high else low - room), high + room


def _places(axis: Axis, values: NDArray[Any]) -> NDArray[np.float64]:
    return np.array([axis.place(float(value)) for value in np.ravel(values)], dtype=np.float64)
