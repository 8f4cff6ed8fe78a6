"""Single figures as PNG or PDF files fit for a paper: one sheet a figure."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Sheet

from speechscope.errors import UsageProblem
from speechscope.report import drawing
from speechscope.report import figures as fig
from speechscope.store.staging import staged
from speechscope.store.wav import marked

DPI = 300
"""Of PNG files, and of nothing else: PDF files are vectors (chosen)."""
ACROSS = 6
"""Pictures beside each other where a page would wrap them (chosen)."""
CELL = 1.3
"""Width of a small picture where no width is asked for [inch] (chosen)."""
SHAPE = 0.72
"""Height of a small picture over its width (chosen)."""
BELOW = 5.0
"""Room for what the colours of a scale stand for, in heights of a letter."""
UNITS = {"mm": 1 / 25.4, "cm": 1 / 2.54, "in": 1.0}
"""Of ``--width`` [inch]."""
NOTHING = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": "speechscope"}}


def write_figures(
    chapters: Sequence[fig.Chapter],
    path: Path,
    file_format: str,
    *,
    width: str | None = None,
    style: str | None = None,
    force: bool,
) -> list[str]:
    """Write every figure into a folder, or the only one into a file; return their names.

    Parameters
    ----------
    width
        Of each figure, such as ``84mm``; None: as its contents need.
    style
        A style of matplotlib, by name or file.

    Raises
    ------
    UsageProblem
        There are several figures for one file, none at all, the output may not be replaced, or
        there is no such width or style.
    """
    figures, inches = _by_stem(chapters), None if width is None else in_inches(width)
    if not figures:
        raise UsageProblem("none of these figures can be drawn as a file; tables are for score")
    if style is not None and style not in mpl.style.available and not Path(style).is_file():
        names = ", ".join(name for name in mpl.style.available if not name.startswith("_"))
        raise UsageProblem(f"--style {style}: no such file, and none of matplotlib's: {names}")
    with drawing.drawn_for(drawing.PAPER, style):
        if path.suffix == f".{file_format}":
            if len(figures) > 1:
                names = ", ".join(dict.fromkeys(figure.name for figure in figures.values()))
                raise UsageProblem(
                    f"{path} is one file for {len(figures)} figures ({names}); choose one with "
                    "--figure, or give -o a folder"
                )
            (figure,) = figures.values()
            with staged(path, force=force, directory=False) as partial:
                draw(figure, partial, file_format, inches)
            return [path.name]
        with marked(path, "figures of a report", force=force) as folder:
            for stem, figure in figures.items():
                draw(figure, folder / f"{stem}.{file_format}", file_format, inches)
    return [f"{stem}.{file_format}" for stem in figures]


def in_inches(width: str) -> float:
    """Return a width such as ``84mm``, ``8.4cm`` or ``3.3in`` [inch].

    Raises
    ------
    UsageProblem
        It is none.
    """
    found = re.fullmatch(r"(\d+\.?\d*)\s*(mm|cm|in)", width)
    inches = float(found[1]) * UNITS[found[2]] if found else 0.0
    if not 0.5 <= inches <= 100:
        raise UsageProblem(f"--width {width}: give a width such as 84mm, 8.4cm or 3.3in")
    return inches


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


def draw(figure: fig.Figure, output: Path, file_format: str, width: float | None = None) -> None:
    """Draw one figure into a file, of a width [inch]; the same figure gives the same bytes."""
    drawers: dict[type[fig.Figure], Callable[[Any, Any, float | None], None]] = {
        fig.Grid: _grid,
        fig.Gallery: _gallery,
        fig.Plot: _plot,
        fig.Bars: drawing.bars,
        fig.Matrix: _matrix,
        fig.Cloud: _cloud,
        fig.Plane: _plane,
        fig.Held: drawing.held,
        fig.Recording: _recording,
    }
    sheet = Sheet(layout="constrained")
    drawers[type(figure)](sheet, figure, width)
    sheet.savefig(output, format=file_format, dpi=DPI, metadata=NOTHING[file_format])


def _grid(sheet: Any, figure: fig.Grid, width: float | None) -> None:
    _cells(sheet, [row for _, row in figure.rows], width, figure.columns,
           [name for name, _ in figure.rows])  # fmt: skip


def _gallery(sheet: Any, figure: fig.Gallery, width: float | None) -> None:
    cells = figure.cells
    across = ACROSS if width is None else max(1, min(ACROSS, int(width / CELL)))
    rows = [cells[start : start + across] for start in range(0, len(cells), across)]
    _cells(sheet, [[shown for _, shown in row] for row in rows], width, titles=[
        [name for name, _ in row] for row in rows
    ])  # fmt: skip


def _cells(
    sheet: Any,
    rows: Sequence[Sequence[fig.Cell]],
    width: float | None,
    columns: Sequence[str] = (),
    names: Sequence[str] = (),
    titles: Sequence[Sequence[str]] = (),
    shape: float = SHAPE,
) -> None:
    """Draw cells in rows and columns of one size, which only the outer ones have ticks beside.

    `columns` are named above the first row and `names` beside each row, or each cell has its own of
    `titles`. Places are counted and not fitted: fitting hundreds of axes takes minutes.
    """
    em = drawing.letter()
    across = max(map(len, rows), default=1)
    every = [shown for row in rows for shown in row]
    charts = [shown for shown in every if isinstance(shown, fig.Chart)]
    scales = list(dict.fromkeys(c.scale for c in every if isinstance(c, fig.Picture)))
    ends, gap = drawing.limits(charts), 0.6 * em
    above = 1.6 * em if titles else 1.1 * em
    left, right, foot = (6.6 if names else 5.0) * em, gap + em, (3.6 + BELOW * len(scales)) * em
    whole = width or CELL * across + left + right
    wide = max(0.05, (whole - left - right) / across - gap)
    high = max(shape * wide, 5 * em)
    key = 1.6 * em if charts and len(charts[0].lines) > 1 else 0.0
    longest = max(map(len, columns), default=0)
    turned = 0.5 * em * longest > wide + gap
    head = (0.55 * longest if turned else 1.5 if columns else 0.0) * em
    tall = len(rows) * (high + above) + head + foot + key
    sheet.set_size_inches(whole, tall)
    sheet.set_layout_engine("none")
    for number, row in enumerate(rows):
        for at, shown in enumerate(row):
            below = number == len(rows) - 1 or not at < len(rows[number + 1])
            x, y = left + at * (wide + gap), foot + key + (len(rows) - 1 - number) * (high + above)
            axes = sheet.add_axes((x / whole, y / tall, wide / whole, high / tall))
            drawing.cell(axes, shown, left=at == 0, below=below, limits=ends)
            if at == 0 and names:
                place, said = (1.6 * em / whole, (y + high / 2) / tall), names[number]
                small = {"fontsize": "small", "rotation": 90, "va": "center"}
                sheet.text(*place, _cut(said, int(high / (0.42 * em))), **small)
            if columns and number == 0:
                angle = 90 if turned else 0
                axes.set_title(columns[at], fontsize="small", pad=2, rotation=angle)
            if titles:
                axes.set_title(
                    _cut(titles[number][at], int(wide / (0.5 * em))), fontsize="small", pad=2
                )
    # What is across and up is said once for all.
    along, up = _said(shown.x for shown in every if shown), _said(s.y for s in every if s)
    low = key + BELOW * em * len(scales)
    across_all, up_all = left + (whole - right - left) / 2, foot + key + (tall - head - foot) / 2
    sheet.text(across_all / whole, (low + 0.4 * em) / tall, along, ha="center", va="bottom")
    sheet.text(0.2 * em / whole, up_all / tall, up, rotation=90, ha="left", va="center")
    _scale_bars(sheet, scales, left, whole - right, key)
    if key:
        lines = sheet.axes[every.index(charts[0])].get_legend_handles_labels()
        sheet.legend(*lines, loc="lower left", ncols=len(charts[0].lines))


def _scale_bars(
    sheet: Any, scales: Sequence[fig.Scale], left: float, right: float, foot: float
) -> None:
    """Say below everything, between two places and above a third [inch], what colours stand for."""
    em, (whole, tall) = drawing.letter(), sheet.get_size_inches()
    for number, scale in enumerate(scales):
        up = foot + (BELOW * number + 3.7) * em
        box = left / whole, up / tall, min(20 * em, right - left) / whole, 0.7 * em / tall
        cax = sheet.add_axes(box)
        drawing.scale_bar(sheet, None, scale, cax=cax, orientation="horizontal")


def _cut(text: str, most: int) -> str:
    """Return a text of no more letters than there is room for."""
    return text if len(text) <= max(4, most) else f"{text[: max(4, most) - 1]}…"


def _said(sides: Iterable[fig.Axis | str]) -> str:
    """Return the names of axes, each once."""
    return ", ".join(dict.fromkeys(s.label if isinstance(s, fig.Axis) else s for s in sides))


def _panels(
    sheet: Any, count: int, width: float | None, each: float, shape: float, **more: Any
) -> list[Any]:
    """Return axes for panels side by side, as many as a width [inch] has room for."""
    across = max(1, min(2 if width is None else int(1.5 * width / each), count))
    wide = each if width is None else width / across
    rows = -(-max(1, count) // across)
    sheet.set_size_inches(wide * across, wide * shape * rows)
    panels = sheet.subplots(rows, across, squeeze=False, **more)
    for axes in panels.flat[count:]:
        axes.set_axis_off()
    return list(panels.flat)


def _plot(sheet: Any, figure: fig.Plot, width: float | None) -> None:
    panels = _panels(sheet, len(figure.charts), width, 3.3, 0.75)
    together = len({tuple(line.name for line in shown.lines) for shown in figure.charts}) == 1
    for number, (axes, shown) in enumerate(zip(panels, figure.charts, strict=False)):
        drawing.chart(axes, shown)
        axes.set(xlabel=shown.x, ylabel=shown.y)
        names = [line.name for line in shown.lines]
        if together and number == 0:
            drawing.key(sheet, axes, names, float(sheet.get_size_inches()[0]))
        elif not together and len(names) > 1:
            axes.legend()


def _matrix(sheet: Any, figure: fig.Matrix, width: float | None) -> None:
    rows, columns = figure.shares.shape
    wide = width or 0.13 * columns + 1.8
    sheet.set_size_inches(wide, (wide - 1.2) * rows / columns + 0.9)
    axes = sheet.subplots()
    drawing.matrix(axes, figure)
    share = (wide - 1.2) / columns * drawing.INCH
    axes.tick_params(labelsize=min(mpl.rcParams["font.size"], 0.9 * share))
    drawing.scale_bar(sheet, axes, fig.Scale("share of the row", 0.0, 1.0), shrink=0.6, aspect=20)


def _cloud(sheet: Any, figure: fig.Cloud, width: float | None) -> None:
    space = {"projection": "3d"}
    panels = _panels(sheet, len(figure.views), width, 3.3, 0.95, subplot_kw=space)
    for axes, (name, points) in zip(panels, figure.views.items(), strict=False):
        drawing.cloud(axes, figure, points)
        axes.set_title(name)


def _plane(sheet: Any, figure: fig.Plane, width: float | None) -> None:
    drawing.plane(sheet, figure, width)
    if figure.places:
        scale = figure.places[-1][1].scale
        drawing.scale_bar(sheet, sheet.axes[0], scale, shrink=0.6, aspect=20)


def _recording(sheet: Any, figure: fig.Recording, width: float | None) -> None:
    """Draw the strips one below the other, and the answers in the last."""
    _cells(sheet, [[shown] for _, shown in figure.strips], width or 7.0,
           names=[name for name, _ in figure.strips], shape=0.2)  # fmt: skip
    last = sheet.axes[len(figure.strips) - 1]
    for start, stop, answer, _ in figure.answers:
        middle = figure.strips[-1][1].x.place((start + stop) / 2)
        last.text(middle, 0.02, answer, ha="center", va="bottom", fontsize="xx-small")
