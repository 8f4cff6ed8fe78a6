"""A report as one HTML page that needs nothing but itself."""

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from speechscope import __version__
from speechscope.report import colours, svg
from speechscope.report.figures import (
    Chapter,
    Chart,
    Cloud,
    Figure,
    Gallery,
    Grid,
    Matrix,
    Picture,
    Plane,
    Scale,
    Sound,
)
from speechscope.report.media import SECONDS, address, wav

FILES = "page_files"
"""The folder of the template, the style and the scripts, beside this module."""


def page(chapters: Sequence[Chapter], examples: int) -> str:
    """Return the page; the same chapters give the same text.

    Everything an artifact brings, such as the names of classes, is escaped, and the page's own
    policy lets it load nothing but what it holds.

    Parameters
    ----------
    chapters
        In order.
    examples
        How many items a figure shows at most, for the reader to know.
    """
    environment = Environment(
        loader=PackageLoader("speechscope.report", FILES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters.update(
        picture=lambda shown: Markup(svg.picture(shown)),
        small_chart=lambda shown: Markup(svg.chart(shown, small=True)),
        large_chart=lambda shown: Markup(svg.chart(shown, small=False)),
        bars=lambda shown: Markup(svg.bars(shown)),
        matrix=lambda shown: Markup(svg.matrix(shown)),
        plane=lambda shown: Markup(svg.plane(shown)),
        swatch=lambda number: Markup(svg.swatch(number)),
        wav=_wav,
        ramp=_ramp,
        share_ramp=lambda _: _ramp(Scale("", 0.0, 1.0)),
        scales=_scales,
        first_chart=_first_chart,
        matrix_data=_matrix_data,
        cloud_data=_cloud_data,
        kind=lambda figure: type(figure).__name__,
        shown=_shown,
    )
    folder = Path(__file__).parent / FILES
    said = (
        f"At most {examples} items a figure (--examples), {SECONDS:g} s of each sound; sounds are "
        "brought to one level. The page needs no network."
    )
    return environment.get_template("report.html.jinja").render(
        title="speechscope: " + ", ".join(Path(chapter.title).name for chapter in chapters),
        chapters=chapters,
        version=__version__,
        said=said,
        style=Markup((folder / "style.css").read_text("utf-8")),
        script=Markup(
            (folder / "report.js").read_text("utf-8") + (folder / "cloud.js").read_text("utf-8")
        ),
    )


def _wav(sound: Sound) -> str:
    return address(wav(sound.samples, sound.rate), "audio/wav")


def _ramp(scale: Scale) -> str:
    across = np.linspace(scale.low, scale.high, colours.LEVELS)[None]
    return svg.image(across, scale)


def _cells(figure: Figure) -> Iterator[Any]:
    if isinstance(figure, Grid):
        yield from (cell for row in figure.rows for cell in row.cells)
    elif isinstance(figure, Gallery):
        yield from (cell for _, cell in figure.cells)
    elif isinstance(figure, Plane):
        yield from (cell for _, cell, _, _ in figure.places)


def _scales(figure: Figure) -> list[Scale]:
    """Return the scales of a figure's pictures, each once."""
    return list(dict.fromkeys(cell.scale for cell in _cells(figure) if isinstance(cell, Picture)))


def _first_chart(figure: Figure) -> Chart | None:
    return next((cell for cell in _cells(figure) if isinstance(cell, Chart)), None)


def _matrix_data(figure: Matrix) -> dict[str, Any]:
    return {
        "row": figure.row,
        "column": figure.column,
        "rows": list(figure.row_names),
        "columns": list(figure.column_names),
        "counts": np.asarray(figure.counts).tolist(),
    }


def _cloud_data(figure: Cloud) -> dict[str, Any]:
    """Return the points as the script reads them: coordinates as little-endian float32."""
    views = [
        base64.b64encode(np.ascontiguousarray(view, dtype="<f4").tobytes()).decode("ascii")
        for view in figure.views.values()
    ]
    return {
        "views": views,
        "names": list(figure.names),
        "label": np.asarray(figure.label).tolist(),
        "groups": {
            name: {"of": np.asarray(group).tolist(), "names": list(names)}
            for name, (group, names) in figure.groups.items()
        },
        "said": list(figure.said),
        "sounds": [None if sound is None else _wav(sound) for sound in figure.sounds],
    }


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
