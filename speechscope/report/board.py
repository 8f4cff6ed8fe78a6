"""A drawing board for SVG: axes, curves, bars and pictures. Text escapes itself in ElementTree."""

from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
from numpy.typing import NDArray

from speechscope.report import colours
from speechscope.report.axes import ticks
from speechscope.report.figures import Axis


class Board:
    """An SVG being drawn; places are from 0 to 1 inside its axes."""

    def __init__(
        self, sizes: tuple[float, float, float, float], alt: str, top: float = 6.0
    ) -> None:
        self.width, self.height, self.left, self.bottom = sizes
        self.top = top
        self.inner = self.width - self.left - 8, self.height - self.bottom - top
        box = f"0 0 {self.width:g} {self.height:g}"
        self.root = Element(
            "svg", {"viewBox": box, "role": "img", "style": f"--w:{self.width:g}px"}
        )
        if alt:
            self.root.set("aria-label", alt)

    def text(self) -> str:
        """Return the SVG."""
        return tostring(self.root, encoding="unicode")

    def right(self, place: float) -> float:
        """Return the x of a place."""
        return self.left + place * self.inner[0]

    def up(self, place: float) -> float:
        """Return the y of a place."""
        return self.top + (1 - place) * self.inner[1]

    def image(self, href: str) -> None:
        """Fill the axes with a picture."""
        width, height = self.inner
        box = {
            "x": f"{self.left:g}",
            "y": f"{self.top:g}",
            "width": f"{width:g}",
            "height": f"{height:g}",
        }
        SubElement(self.root, "image", {**box, "href": href, "preserveAspectRatio": "none"})

    def placed(self, href: str, x: float, y: float, side: float, name: str) -> None:
        """Put a picture around a place, its name above it."""
        left, top = self.right(x) - side / 2, self.up(y) - side / 2
        box = {"x": f"{left:.1f}", "y": f"{top:.1f}", "width": f"{side:g}", "height": f"{side:g}"}
        SubElement(self.root, "image", {**box, "href": href, "preserveAspectRatio": "none"})
        self.label(left + side / 2, top - 3, name, "middle", strong=True)

    def label(
        self,
        x: float,
        y: float,
        text: str,
        anchor: str,
        *,
        turned: bool = False,
        strong: bool = False,
    ) -> None:
        """Write a text at (x, y) [px], upwards if `turned`."""
        place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}
        if turned:
            place["transform"] = f"rotate(-90 {x:.1f} {y:.1f})"
        if strong:
            place["class"] = "strong"
        SubElement(self.root, "text", place).text = text

    def axes(
        self,
        x: Axis,
        y: Axis,
        count: int,
        *,
        names: bool = False,
        rows: bool = True,
        powers: bool = False,
        counted: bool = False,
    ) -> None:
        """Draw both axes with about `count` ticks each, and their units, or names and units.

        `powers` writes the vertical ticks as powers of ten, `counted` leaves out those of the
        horizontal axis between whole numbers.
        """
        base = self.up(0)
        for value, text in ticks(x, count):
            if counted and value != int(value):
                continue
            at = self.right(x.place(value))
            SubElement(self.root, "path", {"class": "tick", "d": f"M{at:.1f} {base:g}v4"})
            self.label(at, base + 13, text, "middle")
        for value, text in ticks(y, count) if rows else []:
            at = self.up(y.place(value))
            SubElement(self.root, "path", {"class": "tick", "d": f"M{self.left - 4:g} {at:.1f}h4"})
            if not powers or value == int(value):
                self.label(self.left - 6, at + 3, f"{10**value:g}" if powers else text, "end")
        frame = f"M{self.left:g} {self.top:g}V{base:g}H{self.width - 8:g}"
        SubElement(self.root, "path", {"class": "axis", "d": frame})
        if names:
            self.label(self.left + self.inner[0] / 2, self.height - 6, x.label, "middle")
            if rows:
                self.label(12, self.top + self.inner[1] / 2, y.label, "middle", turned=True)
        else:
            self.label(self.width - 8, self.height - 2, x.units or x.name, "end")
            self.label(2, 8, y.units or y.name, "start")

    def curve(
        self, x: NDArray[np.float64], y: NDArray[np.float64], number: int, *, points: bool
    ) -> None:
        """Draw a curve through places, with gaps where there is no value."""
        colour, dashes = colours.line(number)
        steps, pen = [], "M"
        for a, b in zip(x, y, strict=True):
            if not (np.isfinite(a) and np.isfinite(b)):
                pen = "M"
                continue
            steps.append(f"{pen}{self.right(a):.1f} {self.up(b):.1f}")
            pen = "L"
            if points:
                dot = {"cx": f"{self.right(a):.1f}", "cy": f"{self.up(b):.1f}", "r": "2.6"}
                SubElement(self.root, "circle", {**dot, "fill": colour})
        line = {"class": "curve", "d": "".join(steps), "stroke": colour}
        SubElement(self.root, "path", {**line, **({"stroke-dasharray": dashes} if dashes else {})})

    def band(
        self,
        x: NDArray[np.float64],
        low: NDArray[np.float64],
        high: NDArray[np.float64],
        number: int,
    ) -> None:
        """Fill between two curves."""
        kept = np.isfinite(low) & np.isfinite(high)
        edge = [
            *zip(x[kept], low[kept], strict=True),
            *zip(x[kept][::-1], high[kept][::-1], strict=True),
        ]
        points = " ".join(f"{self.right(a):.1f},{self.up(b):.1f}" for a, b in edge)
        fill = {"class": "band", "points": points, "fill": colours.line(number)[0]}
        SubElement(self.root, "polygon", fill)

    def rule(self, place: float, name: str) -> None:
        """Draw a level with its name."""
        at = self.up(place)
        path = f"M{self.left:g} {at:.1f}H{self.width - 8:g}"
        SubElement(self.root, "path", {"class": "rule", "d": path})
        self.label(self.width - 10, at - 3, name, "end")

    def bar(self, start: float, stop: float, top: float, height: float, number: int) -> None:
        """Fill a bar between two places."""
        left = self.right(start)
        box = {"x": f"{left:.1f}", "y": f"{top:.1f}", "height": f"{height:g}"}
        width = max(0.0, self.right(stop) - left)
        fill = colours.line(number)[0]
        SubElement(self.root, "rect", {**box, "width": f"{width:.1f}", "fill": fill})
