"""More is higher: curves and pictures of the page and of the paper, read as a reader would."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import image
from numpy.typing import NDArray
from reports import content

from speechscope.report import figures, svg
from speechscope.report import figures as fig
from speechscope.report.paper import draw

X = np.arange(5.0)
RISING = np.array([1.0, 2.0, 4.0, 7.0, 9.0])
BLUE = np.array([int(figures.LINES[0][at : at + 2], 16) for at in (1, 3, 5)]) / 255


def chart() -> fig.Chart:
    line = fig.Line("", X, RISING, RISING - 0.5, RISING + 0.5)
    return fig.Chart([line], "x", "y", {"level": 4.0})


def elements(text: str, tag: str, kind: str = "") -> list[ElementTree.Element]:
    return [
        found for found in ElementTree.fromstring(text).iter(tag) if found.get("class", "") == kind
    ]


def read_off(text: str, heights: NDArray[np.floating], *, left: float) -> NDArray[np.floating]:
    """Return the values that the vertical axis of an SVG gives places [px]."""
    ticks = [
        (float(str(label.text)), float(label.attrib["y"]) - 3)
        for label in elements(text, "text")
        if float(label.attrib["x"]) == left - 6
    ]
    values, places = np.array(ticks).T
    assert len(ticks) > 1 and (np.diff(places[np.argsort(values)]) < 0).all(), "more is higher"
    slope, start = np.polyfit(places, values, 1)
    return np.asarray(slope * heights + start)


@pytest.mark.parametrize("small", [True, False])
def test_a_curve_of_the_page_is_read_off_its_axis(small: bool) -> None:
    text = svg.chart(chart(), small=small)
    left = (svg.SMALL if small else svg.LARGE)[2]
    (curve,) = elements(text, "path", "curve")
    across, heights = np.array(re.findall(r"[ML]([-\d.]+) ([-\d.]+)", curve.attrib["d"])).T.astype(
        float
    )
    assert (np.diff(across) > 0).all()
    np.testing.assert_allclose(read_off(text, heights, left=left), RISING, atol=0.1)
    (level,) = elements(text, "path", "rule")
    height = float(level.attrib["d"].split()[1].split("H")[0])
    assert read_off(text, np.array([height]), left=left)[0] == pytest.approx(4, abs=0.1)
    (band,) = elements(text, "polygon", "band")
    edge = np.array([pair.split(",") for pair in band.attrib["points"].split()]).astype(float)
    wanted = [*(RISING - 0.5), *(RISING + 0.5)[::-1]]
    np.testing.assert_allclose(read_off(text, edge[:, 1], left=left), wanted, atol=0.1)


def test_the_steps_of_a_histogram_rise_with_the_counts() -> None:
    counts = np.array([1, 10, 100, 1000, 1000])
    histogram = fig.Chart([fig.Line("", X, counts)], "x", "y", steps=True, logarithmic=True)
    (curve,) = elements(svg.chart(histogram, small=True), "path", "curve")
    heights = np.array(re.findall(r" ([-\d.]+)", curve.attrib["d"])).astype(float)
    steps = np.diff(heights[::2])[:3]
    assert (steps < -5).all() and np.ptp(steps) < 0.3  # powers of ten are equally far


def test_the_highest_value_of_a_plane_is_where_its_axis_ends() -> None:
    small = fig.Picture(np.zeros((2, 2)), fig.Axis(""), fig.Axis(""), fig.Scale("", 0, 1))
    x, y = fig.Axis("F2", "Hz", 3000, 500), fig.Axis("F1", "Hz", 900, 200)  # as vowel charts
    plane = fig.Plane("p", "", "", x, y, [("iy", small, 2500, 250), ("aa", small, 1000, 800)])
    iy, aa = elements(svg.plane(plane), "image")
    assert float(iy.attrib["x"]) < float(aa.attrib["x"])
    assert float(iy.attrib["y"]) < float(aa.attrib["y"])


def drawn(figure: fig.Figure, path: Path) -> NDArray[np.floating]:
    draw(figure, path, "png")
    pixels: NDArray[np.floating] = image.imread(path)[..., :3]
    return pixels


def blue(pixels: NDArray[np.floating]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows and columns that have the colour of the first curve."""
    rows, columns = np.nonzero(np.abs(pixels - BLUE).max(axis=2) < 0.02)
    assert len(rows)
    return rows, columns


@pytest.mark.parametrize("steps", [True, False])
def test_a_curve_of_the_paper_rises(tmp_path: Path, steps: bool) -> None:
    line = fig.Line("", X, RISING)
    figure = fig.Plot("p", "", "", [fig.Chart([line], "x", "y", steps=steps)])
    rows, columns = blue(drawn(figure, tmp_path / "p.png"))
    at = np.linspace(columns.min(), columns.max(), 5).round().astype(int)
    heights = np.array([rows[columns == column].mean() for column in at])
    assert (np.diff(heights)[:-1] < 0).all(), "rows count from the top"
    if not steps:
        scale = (heights[0] - heights[-1]) / (RISING[-1] - RISING[0])
        np.testing.assert_allclose(heights[0] - heights, scale * (RISING - 1), atol=3)


def test_bars_of_the_paper_stand_on_the_axis(tmp_path: Path) -> None:
    figure = fig.Bars("b", "", "", ["a", "b"], {"n": [1.0, 3.0]}, "n")
    rows, columns = blue(drawn(figure, tmp_path / "b.png"))
    first, last = rows[columns == columns.min() + 3], rows[columns == columns.max() - 3]
    assert abs(first.max() - last.max()) < 3 and len(last) == pytest.approx(
        3 * len(first), rel=0.05
    )


def test_the_lowest_row_of_a_picture_is_below(tmp_path: Path) -> None:
    values = np.array([[1.0, 1.0], [0.0, 0.0]])  # the lowest row first, and brightest
    picture = fig.Picture(values, fig.Axis("x"), fig.Axis("y"), fig.Scale("", 0.0, 1.0))
    (shown,) = elements(svg.picture(picture), "image")
    (tmp_path / "i.png").write_bytes(content(shown.attrib["href"]))
    page = image.imread(tmp_path / "i.png")[..., :3].mean(axis=(1, 2))
    assert page[0] < 0.2 < 0.8 < page[1]
    grid = fig.Grid("g", "", "", ["c"], [("r", [picture])])
    pixels = drawn(grid, tmp_path / "g.png")
    ends = figures.palette("sequential")[[0, -1]] / 255
    dark, bright = (
        np.nonzero(np.abs(pixels[:, : pixels.shape[1] // 2] - end).max(axis=2) < 0.02)[0].mean()
        for end in ends
    )
    assert dark < bright, "rows count from the top"
