"""Single figures as PNG or PDF files fit for a paper, drawn by matplotlib."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from speechscope.errors import SpeechscopeError
from speechscope.report import colours
from speechscope.report.axes import ticks
from speechscope.report.figures import (
    Axis,
    Bars,
    Chapter,
    Chart,
    Cloud,
    Figure,
    Gallery,
    Grid,
    Matrix,
    Picture,
    Plane,
    Plot,
    Scale,
    Table,
)

FORMATS = ("png", "pdf")
DPI = 200
"""Of PNG files (chosen: print at the size of a column)."""
ACROSS = 6
"""Pictures beside each other where a page would wrap them (chosen)."""
INCH = (1.45, 1.15)
"""Width and height of a small picture [inch]."""


def drawable(chapters: Sequence[Chapter]) -> list[tuple[str, Figure]]:
    """Return the figures of chapters that can be drawn, and the stem of each one's file.

    Tables are not: ``score --csv`` gives them.
    """
    found: list[tuple[str, Figure]] = []
    for chapter in chapters:
        base = Path(chapter.title).stem or chapter.kind
        taken = {stem for stem, _ in found}
        shown = [figure for figure in chapter.figures if not isinstance(figure, Table)]
        number, prefix = 1, base
        while any(f"{prefix}-{figure.name}" in taken for figure in shown):
            number += 1
            prefix = f"{base}-{number}"
        found += [(f"{prefix}-{figure.name}", figure) for figure in shown]
    return found


def draw(figure: Figure, output: Path, file_format: str) -> None:
    """Draw one figure into a file; the same figure gives the same bytes.

    Raises
    ------
    SpeechscopeError
        matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure as Sheet
    except ModuleNotFoundError as error:
        raise SpeechscopeError(
            "drawing needs matplotlib; pip install 'speechscope[plot]'"
        ) from error
    drawers: dict[type[Figure], Callable[[Any, Any], None]] = {
        Grid: _grid,
        Gallery: _gallery,
        Plot: _plot,
        Bars: _bars,
        Matrix: _matrix,
        Cloud: _cloud,
        Plane: _plane,
    }
    sheet = Sheet(layout="constrained")
    drawers[type(figure)](sheet, figure)
    nothing = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": "speechscope"}}
    sheet.savefig(output, format=file_format, dpi=DPI, metadata=nothing[file_format])


def _colours(scale: Scale) -> dict[str, Any]:
    from matplotlib.colors import ListedColormap

    palette = ListedColormap(colours.palette(scale.palette) / 255)
    return {"cmap": palette, "vmin": scale.low, "vmax": scale.high}


def _picture(axes: Any, shown: Picture, extent: tuple[float, float, float, float]) -> Any:
    """Draw a picture into axes that go from 0 to 1."""
    made = {"origin": "lower", "aspect": "auto", "extent": extent, "interpolation": "nearest"}
    if shown.under is None:
        return axes.imshow(shown.values, **made, **_colours(shown.scale))
    axes.imshow(1 - shown.under, cmap="gray", vmin=-0.2, vmax=1.05, **made)
    middle = (shown.scale.low + shown.scale.high) / 2
    away = np.abs(shown.values - middle) / (shown.scale.high - middle)
    weight = np.sqrt(np.clip(away, 0, 1))
    return axes.imshow(shown.values, alpha=weight, **made, **_colours(shown.scale))


def _ticks(axes: Any, x: Axis, y: Axis, *, left: bool, below: bool) -> None:
    for side, axis, shown in ((axes.xaxis, x, below), (axes.yaxis, y, left)):
        marks = ticks(axis, 4)
        side.set_ticks([axis.place(value) for value, _ in marks])
        side.set_ticklabels([text for _, text in marks] if shown else [], fontsize=6)
    axes.tick_params(length=2)


def _cell(axes: Any, cell: Any, *, left: bool, below: bool) -> Any:
    """Draw a cell; return what its colours are of, or None."""
    if cell is None:
        axes.set_axis_off()
        return None
    if isinstance(cell, Chart):
        _chart(axes, cell, small=True, left=left, below=below)
        return None
    drawn = _picture(axes, cell, (0, 1, 0, 1))
    _ticks(axes, cell.x, cell.y, left=left, below=below)
    if below:
        axes.set_xlabel(cell.x.label, fontsize=6)
    return drawn


def _grid(sheet: Any, figure: Grid) -> None:
    rows, columns = max(1, len(figure.rows)), max(1, len(figure.columns))
    sheet.set_size_inches(INCH[0] * columns + 1.2, INCH[1] * rows + 0.7)
    all_axes = sheet.subplots(rows, columns, squeeze=False)
    drawn: dict[Scale, Any] = {}
    for number, (row, line) in enumerate(zip(figure.rows, all_axes, strict=False)):
        for at, (cell, axes) in enumerate(zip(row.cells, line, strict=True)):
            found = _cell(axes, cell, left=at == 0, below=number == len(figure.rows) - 1)
            if isinstance(cell, Picture):
                drawn[cell.scale] = found
        label = row.cells[0].y if row.cells and row.cells[0] is not None else ""
        label = label.label if isinstance(label, Axis) else label
        line[0].set_ylabel(f"{row.name}\n{label}".strip(), fontsize=6)
        if row.cells and row.cells[0] is None:  # an axis that is off has no label
            line[0].text(0.5, 0.5, row.name, ha="center", va="center", fontsize=7)
    for name, axes in zip(figure.columns, all_axes[0], strict=False):
        axes.set_title(name, fontsize=7)
    _legends(sheet, all_axes, drawn)


def _gallery(sheet: Any, figure: Gallery) -> None:
    count = max(1, len(figure.cells))
    columns = min(ACROSS, count)
    rows = -(-count // columns)
    sheet.set_size_inches(INCH[0] * columns + 1.2, (INCH[1] + 0.2) * rows + 0.5)
    all_axes = sheet.subplots(rows, columns, squeeze=False)
    drawn: dict[Scale, Any] = {}
    for number, axes in enumerate(all_axes.flat):
        if number >= len(figure.cells):
            axes.set_axis_off()
            continue
        name, cell = figure.cells[number]
        found = _cell(axes, cell, left=True, below=True)
        if isinstance(cell, Picture):
            drawn[cell.scale] = found
        axes.set_title(name, fontsize=5)
    _legends(sheet, all_axes, drawn)


def _legends(sheet: Any, all_axes: Any, drawn: Mapping[Scale, Any]) -> None:
    """Add what the colours of each scale stand for."""
    for scale, picture in drawn.items():
        shrink = min(1.0, 3 / max(1, len(all_axes)))
        bar = sheet.colorbar(picture, ax=all_axes, shrink=shrink, aspect=30)
        bar.set_label(scale.label, fontsize=6)
        bar.ax.tick_params(labelsize=6)


def _chart(axes: Any, chart: Chart, *, small: bool, left: bool = True, below: bool = True) -> None:
    size = 6 if small else 8
    for number, line in enumerate(chart.lines):
        colour, dashes = colours.line(number)
        style: Any = "-" if not dashes else (0, tuple(float(part) for part in dashes.split()))
        drawn = {"color": colour, "linestyle": style, "linewidth": 1.0, "label": line.name}
        if chart.steps:
            axes.step(line.x, line.y, where="post", **drawn)
            continue
        axes.plot(line.x, line.y, marker="o" if line.points else None, markersize=3, **drawn)
        if line.low is not None and line.high is not None:
            axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.2, linewidth=0)
    for name, value in chart.rules.items():
        axes.axhline(value, color="0.4", linestyle="--", linewidth=0.8)
        axes.annotate(
            name,
            (1, value),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=6,
        )
    if chart.logarithmic:
        axes.set_yscale("symlog", linthresh=1)
    if chart.counted:
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelsize=size, length=2)
    if below:
        axes.set_xlabel(chart.x, fontsize=size)
    if left or not small:
        axes.set_ylabel(chart.y, fontsize=size)
    if len(chart.lines) > 1 and not small:
        axes.legend(fontsize=7, frameon=False)


def _plot(sheet: Any, figure: Plot) -> None:
    columns = min(2, max(1, len(figure.charts)))
    rows = -(-max(1, len(figure.charts)) // columns)
    sheet.set_size_inches(3.6 * columns, 2.7 * rows)
    all_axes = sheet.subplots(rows, columns, squeeze=False)
    for number, axes in enumerate(all_axes.flat):
        if number < len(figure.charts):
            _chart(axes, figure.charts[number], small=False)
        else:
            axes.set_axis_off()


def _bars(sheet: Any, figure: Bars) -> None:
    sheet.set_size_inches(max(3.5, 0.16 * len(figure.categories) + 1.5), 2.8)
    axes = sheet.subplots()
    at, base = np.arange(len(figure.categories)), np.zeros(len(figure.categories))
    wide = 0.8 if figure.stacked else 0.8 / max(1, len(figure.series))
    for number, (name, values) in enumerate(figure.series.items()):
        place = at if figure.stacked else at + (number + 0.5) * wide - 0.4
        heights = np.asarray(values, dtype=np.float64)
        colour = colours.line(number)[0]
        axes.bar(
            place, heights, wide, bottom=base if figure.stacked else 0, color=colour, label=name
        )
        base = base + heights
    axes.set_xticks(at, figure.categories, fontsize=6, rotation=90)
    axes.set_ylabel(figure.axis, fontsize=8)
    axes.tick_params(labelsize=6)
    if len(figure.series) > 1:
        axes.legend(fontsize=7, frameon=False)


def _matrix(sheet: Any, figure: Matrix) -> None:
    counts = np.asarray(figure.counts, dtype=np.float64)
    sheet.set_size_inches(0.13 * counts.shape[1] + 1.8, 0.13 * counts.shape[0] + 1.2)
    axes = sheet.subplots()
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    drawn = axes.imshow(shares, **_colours(Scale("", 0.0, 1.0)))
    axes.set_xticks(range(counts.shape[1]), figure.column_names, fontsize=5, rotation=90)
    axes.set_yticks(range(counts.shape[0]), figure.row_names, fontsize=5)
    axes.set_xlabel(figure.column, fontsize=8)
    axes.set_ylabel(figure.row, fontsize=8)
    bar = sheet.colorbar(drawn, ax=axes, shrink=0.6)
    bar.set_label("share of the row", fontsize=7)
    bar.ax.tick_params(labelsize=6)


def _cloud(sheet: Any, figure: Cloud) -> None:
    count = max(1, len(figure.views))
    columns = min(2, count)
    rows = -(-count // columns)
    sheet.set_size_inches(3.8 * columns, 3.6 * rows)
    label = np.asarray(figure.label)
    for number, (name, points) in enumerate(figure.views.items(), start=1):
        axes = sheet.add_subplot(rows, columns, number, projection="3d")
        for index in np.unique(label):
            mine = points[label == index]
            colour = colours.line(int(index))[0]
            axes.scatter(*mine.T, s=3, color=colour, alpha=0.5, linewidths=0)
            axes.text(*mine.mean(axis=0), figure.names[index], fontsize=7, ha="center")
        axes.set_title(name, fontsize=8)
        axes.tick_params(labelsize=5, pad=-2)


def _plane(sheet: Any, figure: Plane) -> None:
    sheet.set_size_inches(5.5, 4.2)
    axes = sheet.subplots()
    axes.set_xlim(figure.x.low, figure.x.high)
    axes.set_ylim(figure.y.low, figure.y.high)
    axes.set_xlabel(figure.x.label, fontsize=8)
    axes.set_ylabel(figure.y.label, fontsize=8)
    axes.tick_params(labelsize=6)
    drawn = None
    for name, shown, x, y in figure.places:
        left, up = figure.x.place(x), figure.y.place(y)
        inset = axes.inset_axes((left - 0.04, up - 0.048, 0.08, 0.096))
        drawn = _picture(inset, shown, (0, 1, 0, 1))
        inset.set_xticks([])
        inset.set_yticks([])
        inset.set_title(name, fontsize=7, pad=1)
    if drawn is not None:
        bar = sheet.colorbar(drawn, ax=axes, shrink=0.6)
        bar.set_label(figure.places[-1][1].scale.label, fontsize=6)
        bar.ax.tick_params(labelsize=6)
