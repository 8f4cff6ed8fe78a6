"""More is higher: curves and pictures of the page and of the paper, read as a reader would."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure as Sheet
from numpy.typing import NDArray
from reports import content

from speechscope.report import drawing, page
from speechscope.report import figures as fig
from speechscope.report.paper import draw, in_inches

X = np.arange(5.0)
RISING = np.array([1.0, 2.0, 4.0, 7.0, 9.0])
BLUE = np.array([int(drawing.LINES[0][at : at + 2], 16) for at in (1, 3, 5)]) / 255


def chart() -> fig.Chart:
    line = fig.Line("", X, RISING, RISING - 0.5, RISING + 0.5)
    return fig.Chart([line], "x", "y", {"level": 4.0})


def sheet_of(axes_of: Callable[[Any], None]) -> ElementTree.Element:
    """Return the SVG of axes, as the page has it."""
    with drawing.drawn_for(drawing.PAGE):
        sheet = Sheet(figsize=(4, 3))
        axes_of(sheet.subplots())
        return ElementTree.fromstring(drawing.svg(sheet, "what is seen"))


def curves(svg: ElementTree.Element, number: int = 0) -> list[NDArray[np.floating]]:
    """Return the corners (x, y) of what is drawn in the colour of a curve."""
    drawn: list[NDArray[np.floating]] = []
    parts = {part.get("id"): part for part in svg.iter("path")}
    for found in svg.iter():
        if f"--line-{number}" not in found.get("style", "") or found.tag == "g":
            continue
        shape = parts[found.attrib["href"][1:]] if found.tag == "use" else found
        corners = re.findall(r"([-\d.]+) ([-\d.]+)", shape.attrib.get("d", ""))
        start = [float(found.get(side, 0)) for side in "xy"]
        drawn.append(np.array(corners, dtype=float) + start)
    return drawn


def read_off(svg: ElementTree.Element, heights: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the values that the vertical axis of an SVG gives heights."""
    ticks = []
    for group in svg.iter("g"):
        marks, texts = list(group.iter("use")), list(group.iter("text"))
        if len(marks) == len(texts) == 1:
            x, y = (float(marks[0].attrib[side]) for side in "xy")
            ticks.append((x, y, float(str(texts[0].text).replace("−", "-"))))
    left = min(x for x, _, _ in ticks)
    places, values = np.array([(y, value) for x, y, value in ticks if x == left]).T
    assert len(values) > 1 and (np.diff(places[np.argsort(values)]) < 0).all(), "more is higher"
    slope, start = np.polyfit(places, values, 1)
    return np.asarray(slope * heights + start)


def test_a_curve_of_the_page_is_read_off_its_axis() -> None:
    svg = sheet_of(lambda axes: drawing.chart(axes, chart()))
    assert svg.get("aria-label") == "what is seen"
    band, curve = curves(svg)
    assert (np.diff(curve[:, 0]) > 0).all()
    np.testing.assert_allclose(read_off(svg, curve[:, 1]), RISING, atol=0.05)
    found = read_off(svg, band[:, 1])
    assert found.min() == pytest.approx(0.5, abs=0.05)
    assert found.max() == pytest.approx(9.5, abs=0.05)
    (level,) = [path for path in svg.iter("path") if "stroke-dasharray" in path.get("style", "")]
    height = float(re.findall(r"[-\d.]+", level.attrib["d"])[1])
    assert read_off(svg, np.array([height]))[0] == pytest.approx(4, abs=0.05)


def test_no_curve_hides_another() -> None:
    same = [fig.Line(name, X, RISING, points=True) for name in "ab"]
    svg = sheet_of(lambda axes: drawing.chart(axes, fig.Chart(same, "x", "y")))
    first, second = (
        next(drawn for drawn in curves(svg, number) if len(drawn) == len(X)) for number in (0, 1)
    )
    # Of equal height, and beside each other by less than to the next.
    np.testing.assert_allclose(first[:, 1], second[:, 1])
    apart = second[:, 0] - first[:, 0]
    assert (apart > 1).all() and (apart < np.diff(first[:, 0]).min() / 4).all()
    plain = [fig.Line(name, X, RISING) for name in "ab"]
    svg = sheet_of(lambda axes: drawing.chart(axes, fig.Chart(plain, "x", "y")))
    over = [path for path in svg.iter("path") if "--line-1" in path.get("style", "")]
    assert all("stroke-dasharray" in path.attrib["style"] for path in over)


def test_the_steps_of_a_histogram_rise_with_the_counts() -> None:
    counts = np.array([1, 10, 100, 1000, 1000])
    histogram = fig.Chart([fig.Line("", X, counts)], "x", "y", steps=True, logarithmic=True)
    (curve,) = curves(sheet_of(lambda axes: drawing.chart(axes, histogram)))
    steps = np.diff(np.unique(curve[:, 1])[::-1])
    assert (steps < -5).all() and np.ptp(steps) < 0.3  # powers of ten are equally far


def test_a_curve_of_one_point_is_seen() -> None:
    shown = [fig.curve(np.ones(count), np.arange(count), "epoch", "loss") for count in (1, 2)]
    dots = []
    for one in shown:
        svg = sheet_of(partial(drawing.chart, shown=one))
        dots.append(sum("--line-0" in use.attrib.get("style", "") for use in svg.iter("use")))
    assert dots == [1, 0]


def test_labels_at_the_ends_of_a_picture_do_not_reach_its_neighbours() -> None:
    axis = fig.Axis("time", "ms", -1000, 1000)
    shown = fig.Picture(np.zeros((2, 2)), axis, axis, fig.Scale("", 0, 1))
    with drawing.drawn_for(drawing.PAGE):
        axes = Sheet(figsize=(3, 2)).subplots()
        drawing.cell(axes, shown, left=True, below=True)
        first, *_, last = axes.get_xticklabels()
    assert (first.get_horizontalalignment(), last.get_horizontalalignment()) == ("left", "right")


def test_the_highest_value_of_a_plane_is_where_its_axis_ends() -> None:
    small = fig.Picture(np.zeros((2, 2)), fig.Axis(""), fig.Axis(""), fig.Scale("", 0, 1))
    x, y = fig.Axis("F2", "Hz", 3000, 500), fig.Axis("F1", "Hz", 900, 200)  # as vowel charts
    plane = fig.Plane("p", "", "", x, y, [("iy", small, 2500, 250), ("aa", small, 1000, 800)])
    with drawing.drawn_for(drawing.PAGE):
        sheet = Sheet()
        drawing.plane(sheet, plane)
        svg = ElementTree.fromstring(drawing.svg(sheet, ""))
    iy, aa = (
        [float(v) for v in re.findall(r"[-\d.]+", found.attrib["transform"])]
        for found in svg.iter("image")
    )
    assert iy[4] < aa[4] and iy[5] < aa[5]


def test_scores_stand_between_chance_and_best() -> None:
    ways = [(0.0, -0.1, 0.1, False, "a"), (0.5, 0.4, 0.6, True, "b"), (1.0, 0.9, 1.0, True, "c")]
    held = fig.Held("h", "", "", ["none", "half", "all"], {"layer 1": ways})
    with drawing.drawn_for(drawing.PAGE):
        sheet = Sheet()
        drawing.held(sheet, held)
        svg = ElementTree.fromstring(drawing.svg(sheet, ""))
    dots = [
        (float(use.attrib["x"]), float(use.attrib["y"]), use.attrib["style"])
        for use in svg.iter("use")
    ]
    places = [dot for dot in dots if "--line-2" in dot[2] or "fill-opacity: 0" in dot[2]]
    (none, half, best) = sorted(places, key=lambda dot: dot[1])
    assert half[0] - none[0] == pytest.approx(best[0] - half[0], abs=0.1)
    assert best[0] > none[0]
    assert [("--line-2" in dot[2]) for dot in (none, half, best)] == [False, True, True]


def drawn(figure: fig.Figure, path: Path) -> NDArray[np.floating]:
    with drawing.drawn_for(drawing.PAPER):
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
    grid = fig.Grid("g", "", "", ["c"], [("r", [picture])])
    with drawing.drawn_for(drawing.PAGE):
        ((_, row),) = page._Pen().cells(grid)
    (shown,) = ElementTree.fromstring(f"<div>{row}</div>").iter("image")
    (tmp_path / "i.png").write_bytes(content(shown.attrib["href"]))
    stored = image.imread(tmp_path / "i.png")[..., :3].mean(axis=(1, 2))
    down = float(re.findall(r"[-\d.]+", shown.attrib["transform"])[3])
    top, below = stored if down > 0 else stored[::-1]
    assert top < 0.2 < 0.8 < below
    pixels = drawn(grid, tmp_path / "g.png")
    ends = drawing.palette("sequential")[[0, -1]] / 255
    dark, bright = (
        np.nonzero(np.abs(pixels[:, : pixels.shape[1] // 2] - end).max(axis=2) < 0.02)[0].mean()
        for end in ends
    )
    assert dark < bright, "rows count from the top"


def test_a_file_is_as_wide_as_asked_and_its_letters_are_outlines_of_fonts(tmp_path: Path) -> None:
    picture = fig.Picture(np.eye(3), fig.Axis("x"), fig.Axis("y"), fig.Scale("s", 0.0, 1.0))
    figures = [
        fig.Plot("p", "", "", [chart(), chart()]),
        fig.Grid("g", "", "", ["c", "d"], [("r", [picture, picture])]),
        fig.Bars("b", "", "", ["a", "b"], {"n": [1.0, 3.0]}, "n"),
    ]
    for figure in figures:
        path = tmp_path / f"{figure.name}.pdf"
        with drawing.drawn_for(drawing.PAPER):
            draw(figure, path, "pdf", in_inches("84mm"))
        pdf = path.read_bytes()
        (box,) = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", pdf)
        assert float(box[0]) == pytest.approx(84 / 25.4 * 72, abs=0.1)
        assert b"/FontFile2" in pdf and b"/Type3" not in pdf  # embedded as TrueType


def test_epochs_are_counted_even_after_one() -> None:
    sheet = Sheet()
    axes = sheet.subplots()
    drawing.chart(axes, fig.curve(np.array([2.0]), np.array([1.0]), "epoch", "loss"))
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert 1.0 in ticks and all(tick == round(tick) for tick in ticks)
