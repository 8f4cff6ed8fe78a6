"""A report as one HTML page that needs nothing but itself."""

import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from speechscope import __version__
from speechscope.report import figures, svg
from speechscope.report import figures as fig
from speechscope.store.staging import staged
from speechscope.store.wav import PEAK

FILES = "page_files"
"""The folder of the template, the style and the scripts, beside this module."""


def write_page(chapters: Sequence[fig.Chapter], path: Path, examples: int, *, force: bool) -> int:
    """Write the page and return its size [bytes].

    Raises
    ------
    UsageProblem
        The file exists and may not be replaced.
    """
    content = page(chapters, examples).encode("utf-8")
    with staged(path, force=force, directory=False) as partial:
        partial.write_bytes(content)
    return len(content)


def page(chapters: Sequence[fig.Chapter], examples: int) -> str:
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
        wav=_sound,
        whole_wav=lambda sound: svg.address(wav(sound, None), "audio/wav"),
        strip=lambda shown: svg.image(shown.values, shown.scale, shown.under),
        ticks=lambda axis: fig.ticks(axis, max(2, round(axis.high - axis.low))),
        few_ticks=lambda axis: [
            (axis.place(v), text) for v, text in fig.ticks(axis, 4) if 0.03 < axis.place(v) < 0.95
        ],
        ramp=_ramp,
        share_ramp=lambda _: _ramp(fig.Scale("", 0.0, 1.0)),
        scales=_scales,
        first_chart=lambda shown: next(
            (c for c in _cells(shown) if isinstance(c, fig.Chart)), None
        ),
        matrix_data=_matrix_data,
        cloud_data=_cloud_data,
        kind=lambda figure: type(figure).__name__,
        shown=_shown,
    )
    folder = Path(__file__).parent / FILES
    style, *scripts = (
        (folder / name).read_text("utf-8") for name in ("style.css", "report.js", "cloud.js")
    )
    footer = (
        f"At most {examples} items a figure (--examples), {fig.SECONDS:g} s of each sound; sounds "
        "are brought to one level. The page needs no network."
    )
    return environment.get_template("report.html.jinja").render(
        title="speechscope: " + ", ".join(Path(chapter.title).name for chapter in chapters),
        chapters=chapters,
        version=__version__,
        footer=footer,
        style=Markup(style),
        script=Markup("".join(scripts)),
    )


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


def _sound(sound: fig.Sound) -> str:
    return svg.address(wav(sound), "audio/wav")


def _ramp(scale: fig.Scale) -> str:
    return svg.image(np.linspace(scale.low, scale.high, figures.LEVELS)[None], scale)


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
    return list(
        dict.fromkeys(cell.scale for cell in _cells(figure) if isinstance(cell, fig.Picture))
    )


def _matrix_data(figure: fig.Matrix) -> dict[str, Any]:
    return {
        "row": figure.row,
        "column": figure.column,
        "rows": list(figure.row_names),
        "columns": list(figure.column_names),
        "counts": np.asarray(figure.counts).tolist(),
    }


def _cloud_data(figure: fig.Cloud) -> dict[str, Any]:
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
        "said": list(figure.captions),
        "sounds": [None if sound is None else _sound(sound) for sound in figure.sounds],
    }


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
