"""Single figures as PNG or PDF files fit for a paper, drawn by matplotlib."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from speechscope.errors import SpeechscopeError, UsageProblem
from speechscope.report import figures
from speechscope.report import figures as fig
from speechscope.store.staging import staged

DPI = 200
"""Of PNG files (chosen: print at the size of a column)."""
ACROSS = 6
"""Pictures beside each other where a page would wrap them (chosen)."""
INCH = (1.45, 1.15)
"""Width and height of a small picture [inch]."""
Size = tuple[float, float]
MARK = ".speechscope"
"""In a folder of figures: it may be replaced."""


def write_figures(
    chapters: Sequence[fig.Chapter], path: Path, file_format: str, *, force: bool
) -> list[str]:
    """Write every figure into a folder, or the only one into a file; return their names.

    Raises
    ------
    UsageProblem
        There are several figures for one file, none at all, or the output may not be replaced.
    SpeechscopeError
        matplotlib is not installed.
    """
    figures = _by_stem(chapters)
    if not figures:
        raise UsageProblem("none of these figures can be drawn as a file; tables are for score")
    if path.suffix == f".{file_format}":
        if len(figures) > 1:
            names = ", ".join(dict.fromkeys(figure.name for figure in figures.values()))
            raise UsageProblem(
                f"{path} is one file for {len(figures)} figures ({names}); choose one with "
                "--figure, or give -o a folder"
            )
        (figure,) = figures.values()
        with staged(path, force=force, directory=False) as partial:
            draw(figure, partial, file_format)
        return [path.name]
    with staged(path, force=force, directory=True, owned=lambda f: (f / MARK).is_file()) as folder:
        (folder / MARK).write_text("figures of a report\n")
        for stem, figure in figures.items():
            draw(figure, folder / f"{stem}.{file_format}", file_format)
    return [f"{stem}.{file_format}" for stem in figures]


def _by_stem(chapters: Sequence[fig.Chapter]) -> dict[str, fig.Figure]:
    """Return the figures that can be drawn, all but tables, by the stem of each one's file."""
    figures: dict[str, fig.Figure] = {}
    for chapter in chapters:
        base = Path(chapter.title).stem or chapter.kind
        shown = [figure for figure in chapter.figures if not isinstance(figure, fig.Table)]
        number, prefix = 1, base
        while any(f"{prefix}-{figure.name}" in figures for figure in shown):
            number += 1
            prefix = f"{base}-{number}"
        figures |= {f"{prefix}-{figure.name}": figure for figure in shown}
    return figures


def draw(figure: fig.Figure, output: Path, file_format: str) -> None:
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
    drawers: dict[type[fig.Figure], Callable[[Any, Any], None]] = {
        fig.Grid: _grid,
        fig.Gallery: _gallery,
        fig.Plot: _plot,
        fig.Bars: _bars,
        fig.Matrix: _matrix,
        fig.Cloud: _cloud,
        fig.Plane: _plane,
        fig.Recording: _recording,
    }
    sheet = Sheet(layout="constrained")
    drawers[type(figure)](sheet, figure)
    nothing = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": "speechscope"}}
    sheet.savefig(output, format=file_format, dpi=DPI, metadata=nothing[file_format])


def _grid(sheet: Any, figure: fig.Grid) -> None:
    rows, columns = max(1, len(figure.rows)), max(1, len(figure.columns))
    sheet.set_size_inches(INCH[0] * columns + 1.2, INCH[1] * rows + 0.7)
    all_axes = sheet.subplots(rows, columns, squeeze=False)
    drawn: dict[fig.Scale, Any] = {}
    for number, ((name, cells), line) in enumerate(zip(figure.rows, all_axes, strict=False)):
        for at, (cell, axes) in enumerate(zip(cells, line, strict=True)):
            _cell(axes, cell, drawn, left=at == 0, below=number == len(figure.rows) - 1)
        first = cells[0] if cells else None
        label = "" if first is None else first.y
        label = label.label if isinstance(label, fig.Axis) else label
        line[0].set_ylabel(f"{name}\n{label}".strip(), fontsize=6)
        if cells and first is None:  # an axis that is off has no label
            line[0].text(0.5, 0.5, name, ha="center", va="center", fontsize=7)
    for name, axes in zip(figure.columns, all_axes[0], strict=False):
        axes.set_title(name, fontsize=7)
    _scales(sheet, all_axes, drawn)


def _panels(sheet: Any, count: int, across: int, size: Size, room: Size, **more: Any) -> Any:
    """Return axes (rows, columns) of a size each for panels, those beyond `count` without a frame.

    `room` is that of the whole besides; sizes are (width, height) [inch].
    """
    columns = max(1, min(across, count))
    rows = -(-max(1, count) // columns)
    sheet.set_size_inches(size[0] * columns + room[0], size[1] * rows + room[1])
    panels = sheet.subplots(rows, columns, squeeze=False, **more)
    for axes in panels.flat[count:]:
        axes.set_axis_off()
    return panels


def _gallery(sheet: Any, figure: fig.Gallery) -> None:
    size, room = (INCH[0], INCH[1] + 0.2), (1.2, 0.5)
    panels = _panels(sheet, len(figure.cells), ACROSS, size, room)
    drawn: dict[fig.Scale, Any] = {}
    for axes, (name, cell) in zip(panels.flat, figure.cells, strict=False):
        _cell(axes, cell, drawn, left=True, below=True)
        axes.set_title(name, fontsize=5)
    _scales(sheet, panels, drawn)


def _recording(sheet: Any, figure: fig.Recording) -> None:
    """Draw the strips one below the other, and the answers under the last."""
    panels = _panels(sheet, len(figure.strips), 1, (7.0, 1.4), (0.6, 0.5))
    drawn: dict[fig.Scale, Any] = {}
    for number, (axes, (name, shown)) in enumerate(zip(panels.flat, figure.strips, strict=True)):
        _cell(axes, shown, drawn, left=True, below=number == len(figure.strips) - 1)
        axes.set_title(name, fontsize=6)
    time = figure.strips[-1][1].x
    for start, stop, answer, _ in figure.answers:
        middle = time.place((start + stop) / 2)
        panels.flat[-1].text(middle, 0.02, answer, ha="center", va="bottom", fontsize=4)
    _scales(sheet, panels, drawn)


def _cell(
    axes: Any, cell: fig.Cell, drawn: dict[fig.Scale, Any], *, left: bool, below: bool
) -> None:
    """Draw a cell, and enter a picture of its scale into `drawn`."""
    if cell is None:
        axes.set_axis_off()
        return
    if isinstance(cell, fig.Chart):
        _chart(axes, cell, 6, left=left, below=below)
        return
    drawn[cell.scale] = _picture(axes, cell)
    for side, axis, shown in ((axes.xaxis, cell.x, below), (axes.yaxis, cell.y, left)):
        marks = fig.ticks(axis, 4)
        side.set_ticks([axis.place(value) for value, _ in marks])
        side.set_ticklabels([text for _, text in marks] if shown else [], fontsize=6)
    axes.tick_params(length=2)
    if below:
        axes.set_xlabel(cell.x.label, fontsize=6)


def _picture(axes: Any, shown: fig.Picture) -> Any:
    """Draw a picture into axes that go from 0 to 1, its lowest row below."""
    extent = (0, 1, 0, 1)
    made = {"origin": "lower", "aspect": "auto", "extent": extent, "interpolation": "nearest"}
    if shown.under is None:
        return axes.imshow(shown.values, **made, **_colours(shown.scale))
    axes.imshow(1 - shown.under, cmap="gray", vmin=-0.2, vmax=1.05, **made)
    middle = (shown.scale.low + shown.scale.high) / 2
    away = np.abs(shown.values - middle) / (shown.scale.high - middle)
    weight = np.sqrt(np.clip(away, 0, 1))
    return axes.imshow(shown.values, alpha=weight, **made, **_colours(shown.scale))


def _colours(scale: fig.Scale) -> dict[str, Any]:
    from matplotlib.colors import ListedColormap

    palette = ListedColormap(figures.palette(scale.palette) / 255)
    return {"cmap": palette, "vmin": scale.low, "vmax": scale.high}


def _scales(sheet: Any, all_axes: Any, drawn: dict[fig.Scale, Any]) -> None:
    """Add what the colours of each scale stand for."""
    for scale, picture in drawn.items():
        shrink = min(1.0, 3 / max(1, len(all_axes)))
        _scale(sheet, all_axes, picture, scale.label, shrink=shrink, aspect=30)


def _scale(
    sheet: Any, axes: Any, drawn: Any, label: str, *, shrink: float = 0.6, aspect: int = 20
) -> None:
    bar = sheet.colorbar(drawn, ax=axes, shrink=shrink, aspect=aspect)
    bar.set_label(label, fontsize=6)
    bar.ax.tick_params(labelsize=6)


def _plot(sheet: Any, figure: fig.Plot) -> None:
    panels = _panels(sheet, len(figure.charts), 2, (3.6, 2.7), (0, 0))
    for axes, chart in zip(panels.flat, figure.charts, strict=False):
        _chart(axes, chart, 8)
        if len(chart.lines) > 1:
            axes.legend(fontsize=7, frameon=False)


def _chart(
    axes: Any, chart: fig.Chart, size: int, *, left: bool = True, below: bool = True
) -> None:
    """Draw curves, labelled in letters of a size."""
    for number, line in enumerate(chart.lines):
        colour, dashes = figures.line(number)
        style: Any = (0, tuple(map(float, dashes.split()))) if dashes else "-"
        drawn = {"color": colour, "linestyle": style, "linewidth": 1.0, "label": line.name}
        if chart.steps:
            axes.step(line.x, line.y, where="post", **drawn)
            continue
        axes.plot(line.x, line.y, marker="o" if line.points else None, markersize=3, **drawn)
        if line.low is not None and line.high is not None:
            axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.2, linewidth=0)
    end = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom", "fontsize": 6}
    for name, value in chart.rules.items():
        axes.axhline(value, color="0.4", linestyle="--", linewidth=0.8)
        axes.annotate(name, (1, value), **end)
    if chart.logarithmic:
        axes.set_yscale("symlog", linthresh=1)
    if chart.counted:
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.tick_params(labelsize=size, length=2)
    if below:
        axes.set_xlabel(chart.x, fontsize=size)
    if left:
        axes.set_ylabel(chart.y, fontsize=size)


def _bars(sheet: Any, figure: fig.Bars) -> None:
    sheet.set_size_inches(max(3.5, 0.16 * len(figure.categories) + 1.5), 2.8)
    axes = sheet.subplots()
    at, base = np.arange(len(figure.categories)), np.zeros(len(figure.categories))
    wide = 0.8 if figure.stacked else 0.8 / max(1, len(figure.series))
    for number, (name, values) in enumerate(figure.series.items()):
        place = at if figure.stacked else at + (number + 0.5) * wide - 0.4
        heights = np.asarray(values, dtype=np.float64)
        colour = figures.line(number)[0]
        axes.bar(place, heights, wide, bottom=base, color=colour, label=name)
        base = base + heights if figure.stacked else base
    axes.set_xticks(at, figure.categories, fontsize=6, rotation=90)
    axes.set_ylabel(figure.axis, fontsize=8)
    axes.tick_params(labelsize=6)
    if len(figure.series) > 1:
        axes.legend(fontsize=7, frameon=False)


def _matrix(sheet: Any, figure: fig.Matrix) -> None:
    shares = figure.shares
    rows, columns = shares.shape
    sheet.set_size_inches(0.13 * columns + 1.8, 0.13 * rows + 1.2)
    axes = sheet.subplots()
    drawn = axes.imshow(shares, **_colours(fig.Scale("", 0.0, 1.0)))
    axes.set_xticks(range(columns), figure.column_names, fontsize=5, rotation=90)
    axes.set_yticks(range(rows), figure.row_names, fontsize=5)
    axes.set_xlabel(figure.column, fontsize=8)
    axes.set_ylabel(figure.row, fontsize=8)
    _scale(sheet, axes, drawn, "share of the row")


def _cloud(sheet: Any, figure: fig.Cloud) -> None:
    space = {"projection": "3d"}
    panels = _panels(sheet, len(figure.views), 2, (3.8, 3.6), (0, 0), subplot_kw=space)
    label = np.asarray(figure.label)
    for axes, (name, points) in zip(panels.flat, figure.views.items(), strict=False):
        for index in np.unique(label):
            members = points[label == index]
            colour = figures.line(int(index))[0]
            axes.scatter(*members.T, s=3, color=colour, alpha=0.5, linewidths=0)
            axes.text(*members.mean(axis=0), figure.names[index], fontsize=7, ha="center")
        axes.set_title(name, fontsize=8)
        axes.tick_params(labelsize=5, pad=-2)


def _plane(sheet: Any, figure: fig.Plane) -> None:
    sheet.set_size_inches(5.5, 4.2)
    axes = sheet.subplots()
    axes.set(xlim=(figure.x.low, figure.x.high), ylim=(figure.y.low, figure.y.high))
    axes.set_xlabel(figure.x.label, fontsize=8)
    axes.set_ylabel(figure.y.label, fontsize=8)
    axes.tick_params(labelsize=6)
    drawn = None
    for name, shown, x, y in figure.places:
        left, up = figure.x.place(x), figure.y.place(y)
        inset = axes.inset_axes((left - 0.04, up - 0.048, 0.08, 0.096))
        drawn = _picture(inset, shown)
        inset.set(xticks=[], yticks=[])
        inset.set_title(name, fontsize=7, pad=1)
    if drawn is not None:
        _scale(sheet, axes, drawn, figure.places[-1][1].scale.label)
