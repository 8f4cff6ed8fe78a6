"""Figures as SVG: pictures, charts, bars, matrices and planes."""

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
from numpy.typing import NDArray

from speechscope.report import figures
from speechscope.report import figures as fig

SMALL = (180.0, 130.0, 32.0, 26.0)
"""Width and height of a small picture, and its margins at the left and at the bottom [px]."""
LARGE = (460.0, 290.0, 56.0, 42.0)
"""The same of a chart by itself."""
RIGHT, TOP, TOP_NAMED = 8.0, 6.0, 13.0
"""Margins at the right and at the top, there also where the unit is written [px]."""
BAR, LABELS = 15.0, 96.0
"""Height of a bar, and room for the names of the bars [px]."""
SQUARE = 13.0
"""Side of one entry of a matrix [px]."""
INSET = 46.0
"""Side of a picture in a plane [px]."""


def address(content: bytes, kind: str) -> str:
    """Return content as a ``data:`` address, such as of kind ``image/png``."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def png(pixels: NDArray[np.uint8], palette: NDArray[np.uint8] | None = None) -> bytes:
    """Return a PNG file, the same bytes for the same pixels.

    Source: W3C, "Portable Network Graphics", third edition.

    Parameters
    ----------
    pixels
        (rows, columns) indices into `palette`, or (rows, columns, 3) sRGB; the top row first.
    palette : (256, 3) sRGB
    """
    kind = 3 if palette is not None else 2
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    # Each row begins with its filter: none, which suits indices and small pictures.
    data = zlib.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes(), 9)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))]
    if palette is not None:
        chunks.append((b"PLTE", np.ascontiguousarray(palette).tobytes()))
    chunks += [(b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def image(values: fig.Values, scale: fig.Scale, under: fig.Values | None = None) -> str:
    """Return values (rows, columns), the lowest row first, as the address of a PNG."""
    levels = figures.levels(values[::-1], scale.low, scale.high)
    palette = figures.palette(scale.palette)
    if under is None:
        return address(png(levels, palette), "image/png")
    # The further from the middle of the scale, the less of what lies under it is seen.
    away = np.abs(values[::-1] * 2 - scale.low - scale.high) / (scale.high - scale.low)
    weight = np.sqrt(np.clip(away, 0, 1))[..., None]
    grey = 255 * (0.95 - 0.75 * np.clip(under[::-1], 0, 1))[..., None]
    mixed = weight * palette[levels] + (1 - weight) * grey
    return address(png(np.rint(mixed).astype(np.uint8)), "image/png")


class Canvas:
    """An SVG being drawn; places are from 0 to 1 inside its axes, (0, 0) at the lower left.

    Parameters
    ----------
    width, height, left, bottom
        Its size, and the margins outside of the axes [px].
    alt
        What is seen, in words.
    top
        Another margin.
    """

    def __init__(
        self, width: float, height: float, left: float, bottom: float, alt: str, top: float = TOP
    ) -> None:
        self.width, self.height, self.left, self.top = width, height, left, top
        self.inner = width - left - RIGHT, height - bottom - top
        self.box = left, top, *self.inner
        box = {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "style": f"--w:{width:g}px"}
        self.root = Element("svg", {**box, **({"aria-label": alt} if alt else {})})

    def add(self, tag: str, text: str = "", **attributes: Any) -> None:
        """Add an element; ``class_`` is its class, ``text_anchor`` its ``text-anchor``."""
        written = {
            name.rstrip("_").replace("_", "-"): value if isinstance(value, str) else _px(value)
            for name, value in attributes.items()
        }
        SubElement(self.root, tag, written).text = text or None  # ElementTree escapes it

    def text(self) -> str:
        """Return the SVG."""
        return tostring(self.root, encoding="unicode")

    def right(self, place: float) -> float:
        """Return the x of a place [px]."""
        return self.left + place * self.inner[0]

    def up(self, place: float) -> float:
        """Return the y of a place [px]; SVG counts downwards."""
        return self.top + (1 - place) * self.inner[1]

    def image(self, href: str, x: float, y: float, width: float, height: float) -> None:
        """Fill a box with a picture [px]."""
        box: dict[str, Any] = {"x": x, "y": y, "width": width, "height": height}
        self.add("image", href=href, preserveAspectRatio="none", **box)

    def label(self, x: float, y: float, text: str, anchor: str, **more: str) -> None:
        """Write a text at (x, y) [px]."""
        self.add("text", text, x=x, y=y, text_anchor=anchor, **more)

    def turned(self, x: float, y: float, text: str, anchor: str) -> None:
        """Write a text at (x, y) [px], upwards."""
        self.label(x, y, text, anchor, transform=f"rotate(-90 {_px(x)} {_px(y)})")

    def axes(
        self,
        x: fig.Axis,
        y: fig.Axis | None,
        count: int,
        *,
        names: bool = False,
        powers: bool = False,
        counted: bool = False,
    ) -> None:
        """Draw both axes with about `count` ticks each, and their units, or names and units.

        `powers` writes the vertical ticks as powers of ten, `counted` leaves out those of the
        horizontal axis between whole numbers; without `y` the rows have names of their own.
        """
        base = self.up(0)
        for value, text in fig.ticks(x, count):
            if counted and value != int(value):
                continue
            at = self.right(x.place(value))
            self.add("path", class_="tick", d=f"M{_px(at)} {_px(base)}v4")
            self.label(at, base + 13, text, "middle")
        rows = [] if y is None else [(y.place(v), v, text) for v, text in fig.ticks(y, count)]
        for place, value, text in rows:
            at = self.up(place)
            self.add("path", class_="tick", d=f"M{_px(self.left - 4)} {_px(at)}h4")
            if not powers or value == int(value):
                self.label(self.left - 6, at + 3, f"{10**value:g}" if powers else text, "end")
        end = self.width - RIGHT
        corner = f"M{_px(self.left)} {_px(self.top)}V{_px(base)}H{_px(end)}"
        self.add("path", class_="axis", d=corner)
        if names:
            self.label(self.left + self.inner[0] / 2, self.height - 6, x.label, "middle")
            if y is not None:
                self.turned(12, self.top + self.inner[1] / 2, y.label, "middle")
        elif y is not None:
            self.label(end, self.height - 2, x.units or x.name, "end")
            self.label(2, 8, y.units or y.name, "start")

    def curve(self, x: fig.Values, y: fig.Values, number: int, *, points: bool) -> None:
        """Draw a curve through places, with gaps where there is no value."""
        colour, dashes = figures.line(number)
        steps, pen = [], "M"
        for a, b in zip(x, y, strict=True):
            if not (np.isfinite(a) and np.isfinite(b)):
                pen = "M"
                continue
            steps.append(f"{pen}{_px(self.right(a))} {_px(self.up(b))}")
            pen = "L"
            if points:
                self.add("circle", cx=self.right(a), cy=self.up(b), r=2.6, fill=colour)
        dashed = {"stroke_dasharray": dashes} if dashes else {}
        self.add("path", class_="curve", d="".join(steps), stroke=colour, **dashed)

    def band(self, x: fig.Values, low: fig.Values, high: fig.Values, number: int) -> None:
        """Fill between two curves."""
        kept = np.isfinite(low) & np.isfinite(high)
        edge = np.concatenate([np.stack([x, low], 1)[kept], np.stack([x, high], 1)[kept][::-1]])
        points = " ".join(f"{_px(self.right(a))},{_px(self.up(b))}" for a, b in edge)
        self.add("polygon", class_="band", points=points, fill=figures.line(number)[0])

    def rule(self, place: float, name: str) -> None:
        """Draw a level with its name."""
        at, end = self.up(place), self.width - RIGHT
        self.add("path", class_="rule", d=f"M{_px(self.left)} {_px(at)}H{_px(end)}")
        self.label(end - 2, at - 3, name, "end")

    def bar(self, start: float, stop: float, top: float, number: int) -> None:
        """Fill a bar between two places."""
        left, right = self.right(start), self.right(stop)
        width, fill = max(0.0, right - left), figures.line(number)[0]
        self.add("rect", x=left, y=top, height=BAR - 3, width=width, fill=fill)


def picture(shown: fig.Picture) -> str:
    """Return a picture with its axes."""
    canvas = Canvas(*SMALL, shown.alt, TOP_NAMED)
    canvas.image(image(shown.values, shown.scale, shown.under), *canvas.box)
    canvas.axes(shown.x, shown.y, 4)
    return canvas.text()


def chart(shown: fig.Chart, *, small: bool) -> str:
    """Return curves with their axes; their names are beside them in the page."""
    canvas = Canvas(*SMALL, shown.alt, TOP_NAMED) if small else Canvas(*LARGE, shown.alt)
    x = fig.Axis(shown.x, "", *_span([line.x for line in shown.lines]))
    y = _vertical(shown)
    canvas.axes(
        x, y, 4 if small else 6, names=not small, powers=shown.logarithmic, counted=shown.counted
    )
    for name, value in shown.rules.items():
        canvas.rule(y.place(_height(shown, value)), name)
    for number, line in enumerate(shown.lines):
        if line.low is not None and line.high is not None:
            low, high = (y.place(_height(shown, edge)) for edge in (line.low, line.high))
            canvas.band(x.place(np.asarray(line.x)), low, high, number)
    for number, line in enumerate(shown.lines):
        places, heights = _outline(line) if shown.steps else (np.ravel(line.x), line.y)
        canvas.curve(x.place(places), y.place(_height(shown, heights)), number, points=line.points)
    return canvas.text()


def _vertical(shown: fig.Chart) -> fig.Axis:
    parts = [edge for line in shown.lines for edge in (line.y, line.low, line.high)]
    parts.append(np.array(list(shown.rules.values()), dtype=np.float64))
    low, high = _span([part for part in parts if part is not None])
    if shown.logarithmic:
        return fig.Axis(shown.y, "", -0.31, float(_height(shown, high)) + 0.1)
    low = min(low, 0.0) if shown.steps else low
    room = 0.06 * (high - low)
    # Measures that begin at 0 are drawn from 0.
    return fig.Axis(shown.y, "", 0.0 if 0 <= low <= 0.5 * high else low - room, high + room)


def _height(shown: fig.Chart, values: Any) -> NDArray[np.float64]:
    """Return what the vertical axis of a chart counts: values, or their powers of ten."""
    heights = np.asarray(values, dtype=np.float64)
    return np.log10(np.maximum(heights, 0.5)) if shown.logarithmic else heights


def _outline(line: fig.Line) -> tuple[fig.Values, fig.Values]:
    """Return the corners of a histogram."""
    return np.repeat(line.x, 2)[1:], np.repeat(line.y, 2)[:-1]


def bars(shown: fig.Bars) -> str:
    """Return bars across, one category below the other."""
    parts = list(shown.series.values())
    rows = 1 if shown.stacked else len(parts)
    step = BAR * rows + (0 if rows == 1 else 6)
    totals = np.sum(parts, axis=0) if shown.stacked else np.max(parts, axis=0, initial=0.0)
    x = fig.Axis(shown.axis, "", 0.0, (float(np.max(totals, initial=0.0)) or 1.0) * 1.12)
    size = (560.0, step * len(shown.categories) + 34, LABELS, 30.0)
    canvas = Canvas(*size, f"{shown.title}: {shown.axis} by category")
    canvas.axes(x, None, 5, names=True)
    for index, category in enumerate(shown.categories):
        top, at = 4 + index * step, 0.0
        canvas.label(LABELS - 6, top + step / 2 + 3, category, "end")
        for number, values in enumerate(parts):
            value = float(values[index])
            below = top + (0 if shown.stacked else number * BAR)
            canvas.bar(x.place(at), x.place(at + value), below + 1.5, number)
            if shown.stacked:
                at += value
            else:
                end = canvas.right(x.place(value)) + 3
                canvas.label(end, below + BAR - 4, f"{value:.4g}", "start")
        if shown.stacked:
            canvas.label(canvas.right(x.place(at)) + 3, top + BAR - 4, f"{at:,.6g}", "start")
    return canvas.text()


def matrix(shown: fig.Matrix) -> str:
    """Return a matrix as squares between the names of its rows and columns."""
    shares = shown.shares
    longest = max(map(len, [*shown.row_names, *shown.column_names]), default=1)
    margin = 26 + 6.2 * min(longest, 14)
    rows, columns = (SQUARE * count for count in shares.shape)
    width, height = margin + columns + RIGHT, margin + rows + TOP
    alt = f"{shown.title}: {shown.row} by {shown.column}"
    canvas = Canvas(width, height, margin, margin, alt)
    canvas.image(image(shares[::-1], fig.Scale("", 0.0, 1.0)), *canvas.box)
    for index, name in enumerate(shown.row_names):
        canvas.label(margin - 4, TOP + (index + 0.75) * SQUARE, name, "end")
    for index, name in enumerate(shown.column_names):
        canvas.turned(margin + (index + 0.75) * SQUARE, height - margin + 6, name, "end")
    canvas.turned(10, (height - margin) / 2, shown.row, "middle")
    canvas.label(margin + columns / 2, height - 6, shown.column, "middle")
    canvas.root.set("data-margin", f"{margin:g}")
    canvas.root.set("data-square", f"{SQUARE:g}")
    return canvas.text()


def plane(shown: fig.Plane) -> str:
    """Return small pictures at their places between two axes."""
    canvas = Canvas(620.0, 460.0, 56.0, 42.0, shown.title)
    canvas.axes(shown.x, shown.y, 6, names=True)
    for name, small, x, y in shown.places:
        right, up = canvas.right(shown.x.place(x)), canvas.up(shown.y.place(y))
        left, top = right - INSET / 2, up - INSET / 2
        canvas.image(image(small.values, small.scale), left, top, INSET, INSET)
        canvas.label(right, top - 3, name, "middle", class_="strong")
    return canvas.text()


def swatch(number: int) -> str:
    """Return a short stroke in the colour of curve `number`, for a key."""
    colour, dashes = figures.line(number)
    root = Element("svg", {"viewBox": "0 0 28 10", "aria-hidden": "true"})
    stroke = {"d": "M0 5H28", "stroke": colour, "stroke-width": "4"}
    SubElement(root, "path", {**stroke, **({"stroke-dasharray": dashes} if dashes else {})})
    return tostring(root, encoding="unicode")


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _span(parts: Sequence[fig.Values]) -> tuple[float, float]:
    """Return the least and the largest finite value, apart."""
    values = np.concatenate([np.ravel(part) for part in parts]) if parts else np.zeros(1)
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)
