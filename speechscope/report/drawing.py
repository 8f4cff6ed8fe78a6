"""Figures drawn, once for page and paper, by matplotlib.

What is drawn of a figure is drawn into axes; `page` makes small sheets of them that wrap, as SVG,
`paper` one sheet a figure, as files.
"""

import base64
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast
from warnings import catch_warnings, simplefilter

import matplotlib as mpl
import numpy as np
from markupsafe import escape
from matplotlib import style as styles
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from speechscope.report import figures as fig

LEVELS = 256
PALETTES = {"sequential": "inferno", "diverging": "RdBu_r"}
"""Both keep their order for colour-blind readers and in print, which a test holds them to."""
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of curves. Source: M. Okabe and K. Ito (2008), "Color Universal Design"."""
DASHES: tuple[Any, ...] = ("-", (0, (6, 3)), (0, (2, 3)), (0, (8, 3, 2, 3)))
"""Of curves beyond the colours."""
INK, SOFT = "#010203", "#70757d"
"""Of text and axes, and of what stands behind: a page gives them the colours of its theme."""
APART = 0.16
"""Least distance of two ticks of an axis that is not even, as a share of it (chosen)."""
INCH = 72.0
"""Points, and the pixels of a page, in one inch of a sheet."""
COMMON = {
    "svg.fonttype": "none", "svg.hashsalt": "speechscope", "pdf.fonttype": 42,
    "font.family": "sans-serif", "text.parse_math": False, "text.color": INK,
    "axes.edgecolor": SOFT, "axes.labelcolor": INK, "axes.facecolor": "none",
    "axes.linewidth": 0.8, "axes.spines.top": False, "axes.spines.right": False,
    "xtick.color": SOFT, "ytick.color": SOFT, "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "xtick.major.size": 3, "ytick.major.size": 3, "xtick.labelsize": "small",
    "ytick.labelsize": "small", "axes.labelsize": "medium", "axes.titlesize": "medium",
    "legend.frameon": False, "legend.fontsize": "small", "figure.facecolor": "none",
}  # fmt: skip
PAGE = {"font.size": 12.0, "lines.linewidth": 1.8, "lines.markersize": 5.0}
PAPER = {"font.size": 7.0, "lines.linewidth": 1.0, "lines.markersize": 3.0,
         "figure.facecolor": "white", "text.color": "black", "axes.labelcolor": "black",
         "xtick.labelcolor": "black", "ytick.labelcolor": "black"}  # fmt: skip
"""A paper's letters are read at the size they are drawn at: 7 points is what journals ask for."""


@contextmanager
def drawn_for(where: Mapping[str, Any], style: str | None = None) -> Iterator[None]:
    """Draw everything inside for the page or for a paper, there in a style by name or file."""
    with styles.context([COMMON, dict(where), *([style] if style else [])]), catch_warnings():
        # A browser brings letters that the font here has not.
        simplefilter("ignore", UserWarning)
        yield


@lru_cache
def palette(name: str) -> NDArray[np.uint8]:
    """Return the colours of a scale, (`LEVELS`, 3) sRGB, of its lowest value first."""
    colours = mpl.colormaps[PALETTES[name]](np.arange(LEVELS))[:, :3]
    return cast(NDArray[np.uint8], np.rint(255 * colours).astype(np.uint8))


def levels(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    """Return the place of each value on a scale of `LEVELS` colours; beyond its ends, the end."""
    span = high - low if high > low else 1.0
    places = np.nan_to_num((np.asarray(values, dtype=np.float64) - low) / span * (LEVELS - 1))
    rounded: NDArray[np.uint8] = np.clip(np.rint(places), 0, LEVELS - 1).astype(np.uint8)
    return rounded


def line(number: int) -> tuple[str, Any]:
    """Return the colour and the dashes of curve `number`."""
    return LINES[number % len(LINES)], DASHES[number // len(LINES) % len(DASHES)]


def pixels(
    values: fig.Values, scale: fig.Scale, under: fig.Values | None = None
) -> NDArray[np.uint8]:
    """Return values (rows, columns) as places on their scale, or as sRGB where they lie on others.

    The further from the middle of the scale, the less of what lies under it is seen. Where some
    values are not there, nothing is: a fourth channel says so.
    """
    places = levels(values, scale.low, scale.high)
    there = np.isfinite(values)
    if not there.all():
        whole = pixels(np.nan_to_num(values), scale, under)
        colours = palette(scale.palette)[whole] if whole.ndim == 2 else whole
        return np.dstack([colours, 255 * there]).astype(np.uint8)
    if under is None:
        return places
    away = np.abs(values * 2 - scale.low - scale.high) / (scale.high - scale.low)
    weight = np.sqrt(np.clip(np.nan_to_num(away), 0, 1))[..., None]
    grey = 255 * (0.95 - 0.75 * np.clip(under, 0, 1))[..., None]
    mixed = weight * palette(scale.palette)[places] + (1 - weight) * grey
    return cast(NDArray[np.uint8], np.rint(mixed).astype(np.uint8))


def png(values: fig.Values, scale: fig.Scale, under: fig.Values | None = None) -> str:
    """Return values (rows, columns), the first row on top, as the address of a PNG."""
    found = pixels(values, scale, under)
    image = Image.fromarray(found)
    if found.ndim == 2:
        image = image.convert("P")
        image.putpalette(palette(scale.palette).tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return address(file.getvalue(), "image/png")


def address(content: bytes, kind: str) -> str:
    """Return content as a ``data:`` address, such as of kind ``image/png``."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def ticks(axis: fig.Axis, count: int) -> list[tuple[float, str]]:
    """Return about `count` round values within an axis, and how they are written.

    On an axis that is not even, such as that of mel bands, ticks that would come too near their
    neighbours are left out.
    """
    low, high = sorted((axis.low, axis.high))
    if not high > low or count < 1:
        return []
    if axis.centres:
        tens = range(int(np.floor(np.log10(max(low, 1e-9)))), int(np.ceil(np.log10(high))) + 1)
        round_values = [m * 10.0**ten for ten in tens for m in (1, 2, 5)]
    else:
        found = MaxNLocator(count, steps=[1, 2, 4, 5, 10], min_n_ticks=2)
        round_values = [float(value) for value in found.tick_values(low, high)]
    kept: list[tuple[float, str]] = []
    rounding = 1e-9 * (high - low)
    for value in round_values:
        if not low - rounding <= value <= high + rounding:
            continue
        far = not kept or axis.place(value) - axis.place(kept[-1][0]) >= max(APART, 0.7 / count)
        if far or not axis.centres:
            kept.append((value, f"{value + 0.0:.6g}"))
    return kept


def image(axes: Any, shown: fig.Picture) -> None:
    """Draw a picture into axes that go from 0 to 1, its lowest row below."""
    found = pixels(shown.values, shown.scale, shown.under)
    colours = {} if found.ndim == 3 else {"cmap": colours_of(shown.scale)}
    made = {"origin": "lower", "aspect": "auto", "extent": (0, 1, 0, 1), "vmin": 0}
    axes.imshow(found, **made, vmax=LEVELS - 1, interpolation="none", **colours)


def colours_of(scale: fig.Scale) -> ListedColormap:
    """Return the colours of a scale as matplotlib takes them."""
    return ListedColormap(palette(scale.palette) / 255)


def scale_bar(sheet: Any, axes: Any, scale: fig.Scale, **where: Any) -> None:
    """Add what the colours of a scale stand for, beside `axes` or into ``cax``."""
    mapped = ScalarMappable(Normalize(scale.low, scale.high), colours_of(scale))
    bar = sheet.colorbar(mapped, ax=axes, ticks=MaxNLocator(5), **where)
    bar.set_label(scale.label)
    bar.outline.set_visible(False)


def cell(
    axes: Any, shown: fig.Cell, *, left: bool, below: bool, limits: "Limits | None" = None
) -> None:
    """Draw a small picture or chart, its ticks written at the left and below where asked."""
    if shown is None:
        axes.set_axis_off()
        return
    if isinstance(shown, fig.Chart):
        chart(axes, shown, limits)
        axes.locator_params(axis="x", nbins=3)
        low, high = axes.get_xlim()
        axes.set_xticks([mark for mark in axes.get_xticks() if low <= mark <= high])
        if not shown.logarithmic:
            axes.locator_params(axis="y", nbins=4)
    else:
        image(axes, shown)
        sheet, place = axes.figure.get_size_inches(), axes.get_position()
        room = place.width * sheet[0], 3 * place.height * sheet[1]
        for side, axis, most in zip(
            (axes.xaxis, axes.yaxis), (shown.x, shown.y), room, strict=True
        ):
            marks = ticks(
                axis, max(1, min(4, int(most * INCH / (3.5 * mpl.rcParams["font.size"]))))
            )
            side.set_ticks([axis.place(value) for value, _ in marks], [text for _, text in marks])
    low, high = axes.get_xlim()
    for mark, text in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True):
        share = (mark - low) / (high - low)  # a neighbour begins where this one ends
        text.set_horizontalalignment(
            "left" if share < 0.1 else "right" if share > 0.9 else "center"
        )
    axes.tick_params(labelleft=left, labelbottom=below)


Limits = tuple[float, float]


def limits(charts: Iterable[fig.Chart]) -> Limits:
    """Return the ends of the vertical axis of charts that are to be compared.

    Measures that begin at 0, and counts, are drawn from 0.
    """
    parts: list[fig.Values] = [np.zeros(0)]
    from_zero = logarithmic = False
    for shown in charts:
        edges = (edge for line in shown.lines for edge in (line.y, line.low, line.high))
        parts += [np.ravel(edge) for edge in edges if edge is not None]
        parts.append(np.array(list(shown.rules.values()), dtype=np.float64))
        from_zero, logarithmic = from_zero or shown.steps, logarithmic or shown.logarithmic
    values = np.concatenate(parts)
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    low = min(low, 0.0) if from_zero else low
    room = 0.06 * (high - low)
    top = high * 1.5 if logarithmic else high + room
    return (0.0 if 0 <= low <= 0.5 * high else low - room), top


def chart(axes: Any, shown: fig.Chart, ends: Limits | None = None) -> None:
    """Draw curves; points of several curves stand beside each other, so that none hides another."""
    many = len(shown.lines)
    for number, drawn in enumerate(shown.lines):
        colour, dashes = line(number)
        look = {"color": colour, "linestyle": dashes, "label": drawn.name}
        if shown.steps:
            axes.step(drawn.x, drawn.y, where="post", **look)
            continue
        across = np.asarray(drawn.x, dtype=np.float64)
        if drawn.points:
            steps = np.diff(np.unique(across))
            step = float(steps.min()) if len(steps) else 1.0
            across = across + (number - (many - 1) / 2) * min(0.03, 0.2 / many) * step
            look["marker"] = "o"
        elif len(across) == 1:  # such as after one epoch
            look["marker"] = "o"
        elif number:  # one curve on another is seen through its gaps
            look["linestyle"] = line(number + len(LINES) * number)[1]
        axes.plot(across, drawn.y, **look)
        if drawn.low is None or drawn.high is None:
            continue
        if drawn.points:
            axes.vlines(across, drawn.low, drawn.high, color=colour, linewidth=1.2, alpha=0.8)
        else:
            axes.fill_between(across, drawn.low, drawn.high, color=colour, alpha=0.2, linewidth=0)
    above = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    for name, value in shown.rules.items():
        axes.axhline(value, color=SOFT, linestyle=(0, (4, 3)), linewidth=1)
        axes.annotate(name, (1, value), (0, 2), ha="right", va="bottom", fontsize="small", **above)
    if shown.logarithmic:
        axes.set_yscale("symlog", linthresh=1)
        axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(ends or limits([shown]))
    if shown.counted:
        axes.xaxis.get_major_locator().set_params(integer=True)
        if axes.dataLim.width == 0 and many:  # such as after one epoch
            axes.set_xlim(axes.dataLim.x0 - 1, axes.dataLim.x1 + 1)
    axes.margins(x=0.02)


def plot(sheet: Any, axes: Any, shown: fig.Chart, width: float) -> None:
    """Draw a chart with the names of its axes, and the names of its curves below it."""
    chart(axes, shown)
    axes.set_xlabel(shown.x)
    axes.set_ylabel(shown.y)
    key(sheet, axes, [drawn.name for drawn in shown.lines], width)


def key(sheet: Any, axes: Any, names: Sequence[str], width: float) -> None:
    """Name curves or bars below their axes, as many side by side as a width [inch] has room for."""
    if len(names) < 2:
        return
    letters = max(map(len, names)) + 6
    across = max(
        1, min(len(names), int(width * INCH / (0.48 * mpl.rcParams["font.size"] * letters)))
    )
    handles = axes.get_legend_handles_labels()
    sheet.legend(*handles, loc="outside lower left", ncols=across)


def letter() -> float:
    """Return the size of a letter [inch], which others are counted in."""
    return float(mpl.rcParams["font.size"]) / INCH


def bars(sheet: Any, figure: fig.Bars, width: float | None = None) -> None:
    """Draw numbers by category, one beside the other, as wide [inch] as asked or as they need."""
    many = len(figure.categories) * (1 if figure.stacked else len(figure.series) / 1.5)
    whole = width or max(36.0, 2.2 * many + 8) * letter()
    sheet.set_size_inches(whole, min(22 * letter(), 0.75 * whole))
    axes = sheet.subplots()
    at, base = np.arange(len(figure.categories)), np.zeros(len(figure.categories))
    wide = 0.8 if figure.stacked else 0.8 / max(1, len(figure.series))
    for number, (name, values) in enumerate(figure.series.items()):
        place = at if figure.stacked else at + (number + 0.5) * wide - 0.4
        heights = np.asarray(values, dtype=np.float64)
        axes.bar(place, heights, wide, bottom=base, color=line(number)[0], label=name)
        base = base + heights if figure.stacked else base
    letters = 0.6 * letter() * (max(map(len, figure.categories), default=0) + 0.5)
    turned = letters * len(at) > whole - 0.6
    axes.set_xticks(at, figure.categories, rotation=90 if turned else 0)
    axes.tick_params(axis="x", length=0)
    axes.margins(x=0.01)
    axes.set_ylabel(figure.axis)
    key(sheet, axes, list(figure.series), whole)


def matrix(axes: Any, figure: fig.Matrix) -> None:
    """Draw a matrix as squares between the names of its rows and columns."""
    rows, columns = figure.shares.shape
    axes.imshow(figure.shares, cmap=PALETTES["sequential"], vmin=0, vmax=1, interpolation="none")
    axes.set_xticks(range(columns), figure.column_names, rotation=90)
    axes.set_yticks(range(rows), figure.row_names)
    axes.tick_params(length=0)
    axes.set_xlabel(figure.column)
    axes.set_ylabel(figure.row)


def held(sheet: Any, figure: fig.Held, width: float | None = None) -> None:
    """Draw scores between chance and best, a panel for each part, as wide [inch] as asked."""
    count, parts = len(figure.rows), list(figure.parts.items())
    em = letter()
    left = (0.48 * max(map(len, figure.rows), default=1) + 1) * em
    right, row = (14 * em if len(parts) == 1 else em), 1.6 * em
    panel = min(28.0, 93 / len(parts)) * em
    panel = panel if width is None else max(0.3, (width - left - right) / len(parts))
    width = left + panel * len(parts) + right
    narrow = panel < 11 * em
    height = row * (count + 3 + 2 * narrow)
    sheet.set_size_inches(width, height)
    sheet.set_layout_engine("none")  # placed by hand: fitting takes as long as drawing
    for number, (name, rows) in enumerate(parts):
        place = left + panel * number, (1.5 + narrow) * row, 0.95 * panel, count * row
        sizes = (width, height, width, height)
        axes = sheet.add_axes([part / size for part, size in zip(place, sizes, strict=True)])
        axes.vlines((0, 1), -0.5, count - 0.5, color=SOFT, linestyle=(0, (4, 3)), linewidth=1)
        axes.hlines(range(count), -0.8, 1.2, color=SOFT, alpha=0.2, linewidth=0.6)
        for above, colour in ((True, LINES[2]), (False, SOFT)):
            ways = [(at, *way[:3]) for at, way in enumerate(rows) if way and way[3] == above]
            at, value, low, high = np.array(ways, dtype=np.float64).reshape(-1, 4).T
            axes.hlines(at, *np.clip((low, high), -0.75, 1.15), color=colour, linewidth=1.2)
            inside = colour if above else "none"
            axes.plot(np.clip(value, -0.75, 1.15), at, "o", color=colour, markerfacecolor=inside)
        for y, way in enumerate(rows if len(parts) == 1 else ()):
            if way:
                said = {"va": "center", "fontsize": "small", "annotation_clip": False}
                axes.annotate(way[4], (1.2, y), **said)
        axes.set(xlim=(-0.8, 1.2), ylim=(count - 0.5, -0.5))
        axes.set_xticks((0, 1), ("chance", "best"), rotation=90 if narrow else 0)
        axes.set_yticks(*((range(count), figure.rows) if number == 0 else ((),)))
        axes.tick_params(length=0)
        axes.set_title(name.replace(", ", "\n") if narrow else name, fontsize="small")
        axes.spines[:].set_visible(False)


def plane(sheet: Any, figure: fig.Plane, width: float | None = None) -> None:
    """Draw small pictures at their places between two axes, as wide [inch] as asked."""
    whole = width or 54 * letter()
    sheet.set_size_inches(whole, 0.75 * whole)
    axes = sheet.subplots()
    axes.set(xlim=(figure.x.low, figure.x.high), ylim=(figure.y.low, figure.y.high))
    axes.set_xlabel(figure.x.label)
    axes.set_ylabel(figure.y.label)
    middles = [(figure.x.place(x), figure.y.place(y)) for _, _, x, y in figure.places]
    for (name, shown, _, _), (left, up) in zip(figure.places, middles, strict=True):
        inset = axes.inset_axes((left - 0.035, up - 0.042, 0.07, 0.084))
        image(inset, shown)
        inset.set(xticks=[], yticks=[])
        # Above its picture, or below where another's would hide it.
        hidden = any(abs(x - left) < 0.06 and 0.02 < y - up < 0.13 for x, y in middles)
        at, align = (up - 0.046, "top") if hidden else (up + 0.044, "bottom")
        said = {"xycoords": "axes fraction", "ha": "center", "va": align, "zorder": 10}
        axes.annotate(name, (left, at), fontweight="bold", **said)


def cloud(axes: Any, figure: fig.Cloud, points: fig.Values) -> None:
    """Draw points in space, each class in its colour and under its name."""
    label = np.asarray(figure.label)
    for index in np.unique(label):
        members = points[label == index]
        colour = line(int(index))[0]
        axes.scatter(*members.T, s=3, color=colour, alpha=0.5, linewidths=0)
        axes.text(*members.mean(axis=0), figure.names[index], color=colour, ha="center")
    axes.tick_params(pad=-2)


def svg(sheet: Any, alt: str) -> str:
    """Return a sheet as an SVG to stand in a page: the same sheet as the same text.

    Its colours are names that the page's style gives a value, for light and for dark.
    """
    file = io.StringIO()
    sheet.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>", "", text, flags=re.S)
    text = re.sub(r"<g id=\"[^\"]*\">", "<g>", text)
    text = re.sub(r" id=\"image\w*\"", "", text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    text = re.sub(r"(base64,)\s+|\n\s*(?=<)", r"\1", text)
    text = re.sub(r"\s*\n\s*", " ", text).replace("xlink:href", "href")
    names = {INK: "var(--ink)", SOFT: "var(--soft)"}
    names |= {colour: f"var(--line-{number})" for number, colour in enumerate(LINES)}
    for colour, name in names.items():
        text = text.replace(colour, name)
    width, height = (float(size) * INCH for size in sheet.get_size_inches())
    head = f'<svg viewBox="0 0 {width:g} {height:g}" style="--w:{width:g}px" role="img"'
    label = f' aria-label="{escape(alt)}"' if alt else ""
    return head + label + text[text.index(">") :]
