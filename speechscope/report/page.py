"""A report as one HTML page that needs nothing but itself."""

import base64
import io
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure as Sheet

from speechscope import __version__
from speechscope.report import drawing
from speechscope.report import figures as fig
from speechscope.report.findings import Finding, findings
from speechscope.store.staging import staged
from speechscope.store.wav import PEAK

FILES = "page_files"
"""The folder of the template, the style and the scripts, beside this module."""
BOX = (134.0, 104.0)
"""Width and height of a small picture [px]."""
LEFT, NARROW, BOTTOM, ABOVE = 40.0, 6.0, 20.0, 8.0
"""Room around it: for ticks at the left or none, for ticks below, above [px]."""
CHART = (430.0, 300.0)
"""Of a chart by itself [px]: three of them are beside each other on a page of 1,400 px."""
BAR = 27.0
"""Room for the bars of one category [px]."""
SHEETS: dict[str, tuple[Any, str]] = {
    "Bars": (drawing.bars, ": {0.axis} by category"),
    "Plane": (drawing.plane, ""),
    "Held": (drawing.held, ": rows are measures, columns what was scored"),
}
"""Figures that a paper has as well: what draws them, and what is said of them besides the title."""
SQUARE = 15.0
"""Side of one entry of a matrix [px]."""


def write_page(
    chapters: Sequence[fig.Chapter], path: Path, examples: int, glossary: str, *, force: bool
) -> int:
    """Write the page and return its size [bytes]; see `page`.

    Raises
    ------
    UsageProblem
        The file exists and may not be replaced.
    """
    content = page(chapters, examples, glossary).encode("utf-8")
    with staged(path, force=force, directory=False) as partial:
        partial.write_bytes(content)
    return len(content)


def page(chapters: Sequence[fig.Chapter], examples: int, glossary: str = "") -> str:
    """Return the page; the same chapters give the same text.

    Everything an artifact brings, such as the names of classes, is escaped, and the page's own
    policy lets it load nothing but what it holds.

    Parameters
    ----------
    chapters
        In order.
    examples
        How many items a figure shows at most, for the reader to know.
    glossary
        A table of words in Markdown, of which those that the page says are explained.
    """
    folder = Path(__file__).parent / FILES
    style, *scripts = (
        (folder / name).read_text("utf-8") for name in ("style.css", "report.js", "cloud.js")
    )
    footer = (
        f"At most {examples} items a figure (--examples), {fig.SECONDS:g} s of each sound; sounds "
        "are brought to one level. The page needs no network."
    )
    colours = "".join(f"--line-{k}:{colour};" for k, colour in enumerate(drawing.LINES))
    found: list[Finding] = findings(chapters)
    told = " ".join(f"{row.sentence} {row.words} {row.part} {row.chapter.looked}" for row in found)
    with drawing.drawn_for(drawing.PAGE):
        return (
            _environment()
            .get_template("report.html.jinja")
            .render(
                title="speechscope: " + ", ".join(Path(chapter.title).name for chapter in chapters),
                chapters=chapters,
                findings=found,
                words=_words(glossary, told),
                version=__version__,
                footer=footer,
                style=Markup(f":root{{{colours}}}\n{style}"),
                script=Markup("".join(scripts)),
            )
        )


def _words(glossary: str, said: str) -> list[tuple[str, str]]:
    """Return the entries of a glossary whose words are in a text."""
    plain = re.sub(r"`|\[(.*?)\]\(.*?\)", r"\1", glossary)
    rows = re.findall(r"^\| (?!word|---)(.+?) \| (.+) \|$", plain, re.MULTILINE)
    spoken = said.lower()
    return [
        (words, meaning)
        for words, meaning in rows
        if any(re.search(rf"\b{re.escape(word)}s?\b", spoken) for word in words.lower().split(", "))
    ]


def _environment() -> Environment:
    """Return the template's language: what draws figures, and what tells of them."""
    environment = Environment(
        loader=PackageLoader("speechscope.report", FILES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    pen = _Pen()
    draw = (pen.cells, pen.chart, pen.sheet, pen.matrix, _scales, _axes, _span, _matrix_data,
            _cloud_data, _shown, _names)  # fmt: skip
    environment.filters.update(
        {function.__name__.removeprefix("_"): function for function in draw},
        whole_wav=lambda sound: drawing.address(wav(sound, None), "audio/wav"),
        strip=lambda shown: drawing.png(shown.values[::-1], shown.scale),
        ticks=lambda axis: drawing.ticks(axis, max(2, round(axis.high - axis.low))),
        few_ticks=lambda axis: [
            (axis.place(v), text)
            for v, text in drawing.ticks(axis, 4)
            if 0.03 < axis.place(v) < 0.95
        ],
        ramp=lambda scale: drawing.png(
            np.linspace(scale.low, scale.high, drawing.LEVELS)[None], scale
        ),
        kind=lambda figure: type(figure).__name__,
    )
    return environment


class _Pen:
    """Draws the sheets of one page, whose names and sounds are each there once."""

    def __init__(self) -> None:
        self.drawn = 0
        self.heard: dict[str, str] = {}

    def cells(self, figure: fig.Grid | fig.Gallery) -> Iterator[tuple[str, Markup]]:
        """Yield the rows of a grid or gallery, each a name and its cells."""
        rows = figure.rows if isinstance(figure, fig.Grid) else [(n, [c]) for n, c in figure.cells]
        titles = figure.columns if isinstance(figure, fig.Grid) else [""]
        ends = drawing.limits(cell for cell in _cells(figure) if isinstance(cell, fig.Chart))
        for name, row in rows:
            parts = []
            for at, shown in enumerate(row):
                title = escape(titles[at] if at < len(titles) else "")
                parts.append(Markup('<div class="cell">') + Markup("<p>{}</p>").format(title))
                if shown is not None:
                    parts.append(self._player(shown) + Markup(self._cell(shown, at == 0, ends)))
                parts.append(Markup("</div>"))
            yield name, Markup("").join(parts)

    def _cell(self, shown: fig.Picture | fig.Chart, first: bool, ends: drawing.Limits) -> str:
        if isinstance(shown, fig.Chart):
            text = _cell_sheet(shown, first, ends)
        else:
            frame = _frame(shown.x, shown.y, shown.values.shape, first)
            image = drawing.png(shown.values, shown.scale, shown.under)
            text = re.sub(r"data:image/png;base64,[^\"]*", lambda _: image, frame)
        label = Markup('role="img" aria-label="{}"').format(shown.alt)
        return self._own(text.replace('role="img"', label, 1))

    def _player(self, shown: fig.Picture | fig.Chart) -> Markup:
        """Return what plays a cell: its sound, if it is not in the page yet, and its original."""
        if shown.sound is None:
            return Markup("")
        audio, names = Markup(""), []
        for sound in (shown.sound, shown.original):
            if sound is None:
                continue
            content = drawing.address(wav(sound), "audio/wav")
            if content not in self.heard:
                self.heard[content] = f"s{len(self.heard)}"
                audio += Markup(
                    '<audio controls preload="none" id="{}" aria-label="{}" src="{}"></audio>'
                ).format(self.heard[content], shown.alt, Markup(content))
            names.append(self.heard[content])
        return audio + Markup(
            '<span class="players" data-sounds="{}" data-alt="{}"></span>'
        ).format(" ".join(names), shown.alt)

    def chart(self, shown: fig.Chart) -> Markup:
        """Return a chart by itself."""
        sheet = _sheet(*CHART)
        drawing.plot(sheet, sheet.subplots(), shown, CHART[0] / drawing.INCH)
        return self._done(sheet, shown.alt or shown.y)

    def sheet(self, figure: fig.Bars | fig.Plane | fig.Held) -> Markup:
        """Return a figure that takes the room it needs."""
        draw, more = SHEETS[type(figure).__name__]
        sheet = Sheet(layout="constrained")
        draw(sheet, figure)
        return self._done(sheet, figure.title + more.format(figure))

    def matrix(self, figure: fig.Matrix) -> Markup:
        """Return a matrix whose place in its picture is written beside it."""
        rows, columns = figure.shares.shape
        longest = max(map(len, [*figure.row_names, *figure.column_names]), default=1)
        margin = 34 + 7.5 * min(longest, 14)
        width, height = margin + SQUARE * columns + 8, margin + SQUARE * rows + 8
        sheet = _sheet(width, height, fitted=False)
        box = (margin / width, margin / height, SQUARE * columns / width, SQUARE * rows / height)
        axes = sheet.add_axes(box)
        drawing.matrix(axes, figure)
        text = self._done(sheet, f"{figure.title}: {figure.row} by {figure.column}")
        place = f'<svg data-margin="{margin:g}" data-top="8"'
        return Markup(str(text).replace("<svg", place, 1))

    def _done(self, sheet: Any, alt: str) -> Markup:
        return Markup(self._own(drawing.svg(sheet, alt)))

    def _own(self, text: str) -> str:
        """Return an SVG whose parts have names that no other of the page has."""
        self.drawn += 1
        return re.sub(r"(id=\"|#)([mpC]\w{6,})", rf"\g<1>{self.drawn}-\2", text)


def _sheet(width: float, height: float, *, fitted: bool = True) -> Any:
    size = (width / drawing.INCH, height / drawing.INCH)
    return Sheet(figsize=size, layout="constrained" if fitted else None)


def _cell_sheet(shown: fig.Cell, first: bool, ends: drawing.Limits | None) -> str:
    left = LEFT if first else NARROW
    width, height = left + BOX[0] + NARROW, ABOVE + BOX[1] + BOTTOM
    sheet = _sheet(width, height, fitted=False)
    box = (left / width, BOTTOM / height, BOX[0] / width, BOX[1] / height)
    drawing.cell(sheet.add_axes(box), shown, left=first, below=True, limits=ends)
    return drawing.svg(sheet, "")


@lru_cache(maxsize=64)
def _frame(x: fig.Axis, y: fig.Axis, shape: tuple[int, int], first: bool) -> str:
    """Return the picture of nothing: pictures of the same axes differ in what is inside alone."""
    return _cell_sheet(fig.Picture(np.zeros(shape), x, y, fig.Scale("", 0, 1)), first, None)


def wav(sound: fig.Sound, seconds: float | None = fig.SECONDS) -> bytes:
    """Return a WAV file of 16 bits and one channel, no longer than so many seconds.

    The largest sample is `speechscope.store.wav.PEAK`: what is reconstructed from deep layers, and
    relevance, would otherwise be too soft to hear.
    """
    import soundfile

    samples = np.asarray(sound.samples, dtype=np.float64)
    samples = samples if seconds is None else samples[: int(seconds * sound.rate)]
    heard = np.nan_to_num(samples)
    loudest = float(np.abs(heard).max(initial=0.0))
    scaled = heard * (PEAK / loudest) if loudest > 0 else heard
    file = io.BytesIO()
    soundfile.write(file, scaled, sound.rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _cells(figure: fig.Figure) -> Iterator[Any]:
    if isinstance(figure, fig.Grid):
        yield from (cell for _, cells in figure.rows for cell in cells)
    elif isinstance(figure, fig.Gallery):
        yield from (cell for _, cell in figure.cells)
    elif isinstance(figure, fig.Plane):
        yield from (cell for _, cell, _, _ in figure.places)
    elif isinstance(figure, fig.Recording):
        yield from (strip for _, strip in figure.strips)


def _scales(figure: fig.Figure) -> list[fig.Scale]:
    """Return the scales of a figure's pictures, each once."""
    if isinstance(figure, fig.Matrix):
        return [fig.Scale("share of the row", 0.0, 1.0)]
    return list(
        dict.fromkeys(cell.scale for cell in _cells(figure) if isinstance(cell, fig.Picture))
    )


def _axes(figure: fig.Figure) -> list[tuple[str, str]]:
    """Return what the cells of a figure show across and up, each once."""
    sides = ((cell.x, cell.y) for cell in _cells(figure) if cell is not None)
    named = (tuple(s.label if isinstance(s, fig.Axis) else s for s in pair) for pair in sides)
    return list(dict.fromkeys((x, y) for x, y in named))


def _names(figure: fig.Figure) -> list[str]:
    """Return the names of the curves in the cells of a figure, where there are several."""
    charts = (cell for cell in _cells(figure) if isinstance(cell, fig.Chart))
    names = next(([line.name for line in chart.lines] for chart in charts), [])
    return names if len(names) > 1 else []


def _span(figure: fig.Figure) -> str:
    """Return the width a figure asks for: others stand beside it where there is room."""
    width = CHART[0]
    if isinstance(figure, fig.Plot):
        width *= len(figure.charts)
    elif isinstance(figure, fig.Bars):
        width = max(width, BAR * len(figure.categories))
    elif isinstance(figure, fig.Held):
        width = 600 if len(figure.parts) == 1 else 9e3
    elif isinstance(figure, fig.Matrix | fig.Plane | fig.Cloud):
        width = 600
    elif isinstance(figure, fig.Grid):
        width = len(figure.rows) * (60.0 + len(figure.columns) * (BOX[0] + 20))
    elif not isinstance(figure, fig.Table):
        width = 9e3
    return f"{width:.0f}px"


def _matrix_data(figure: fig.Matrix) -> dict[str, Any]:
    return {
        "row": figure.row,
        "column": figure.column,
        "rows": list(figure.row_names),
        "columns": list(figure.column_names),
        "counts": np.asarray(figure.counts).tolist(),
        "square": SQUARE,
    }


def _cloud_data(figure: fig.Cloud) -> dict[str, Any]:
    """Return the points as the script reads them: coordinates as little-endian float32."""
    views = [
        base64.b64encode(np.ascontiguousarray(view, dtype="<f4").tobytes()).decode("ascii")
        for view in figure.views.values()
    ]
    return {
        "views": views,
        "best": figure.best,
        "names": list(figure.names),
        "label": np.asarray(figure.label).tolist(),
        "groups": {
            name: {"of": np.asarray(group).tolist(), "names": list(names)}
            for name, (group, names) in figure.groups.items()
        },
        "said": list(figure.captions),
        "sounds": [
            None if sound is None else drawing.address(wav(sound), "audio/wav")
            for sound in figure.sounds
        ],
    }


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
