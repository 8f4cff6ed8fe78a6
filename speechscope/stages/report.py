"""``speechscope report``: what artifacts hold, as one page or as figures for a paper."""

from pathlib import Path
from typing import Annotated

import typer

from speechscope.errors import ItemsSkipped, UsageProblem
from speechscope.stages import options, output

FORMATS = ("html", "png", "pdf")
EXAMPLES = 12
USUAL = (
    "corpus.zarr",
    "model.pt",
    "decoder.pt",
    "inversion.zarr",
    "relevance.zarr",
    "maximum.zarr",
    "navai.zarr",
    "clusters.zarr",
)
"""What is reported without an argument, where it is there."""


def command(
    artifacts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ARTIFACT…]",
            help="Any artifacts; - reads one path. By default those here by their usual names.",
            show_default=False,
        ),
    ] = None,
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="html, png or pdf; by default the suffix of -o, or html.",
            show_default=False,
        ),
    ] = None,
    figure: Annotated[
        list[str] | None,
        typer.Option("--figure", help="Only figures of these names.", show_default=False),
    ] = None,
    examples: Annotated[
        int,
        typer.Option("--examples", help="Items a figure shows, and sounds, at most.", min=1),
    ] = EXAMPLES,
    items: Annotated[
        list[str] | None,
        typer.Option(
            "--items",
            help="Positions in the artifact, such as 0,5,7; the first ones.",
            show_default=False,
        ),
    ] = None,
    corpus: options.CorpusPath = None,
    checkpoint: options.CheckpointPath = None,
    device: options.Device = "auto",
    destination: options.Output = None,
    force: options.Force = False,
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    r"""Show what artifacts hold in one self-contained HTML page, a player beside every picture.

    A corpus: class counts, examples, its round trip. A model: training curves, confusions,
    first-layer filters and responses. A decoder: curves and the leak test. Inversions: grids by
    method and layer, scores by layer, intensities. Relevance: overlays and spectra. Maxima, NAvAI
    patterns by class and alignment, and clusters: F by layer, a projection in space whose points
    sound, compositions, F1-F2 maps.

    --format png or pdf writes each figure as a file of its own into the folder -o names, or the one
    figure that --figure leaves into the file it names (this needs matplotlib: pip install
    'speechscope\[plot]').

    Example: speechscope report inversion.zarr relevance.zarr -o report.html
    """
    wanted = file_format or (destination.suffix.removeprefix(".") if destination else "html")
    if wanted not in FORMATS:
        raise UsageProblem(f"--format {wanted or destination}: choose from {', '.join(FORMATS)}")
    positions = options.split_list(items)
    if not all(position.isdecimal() for position in positions):
        raise UsageProblem(f"--items {','.join(positions)}: give positions such as 0,5,7")
    sources = [options.input_path(value) for value in artifacts or _usual()]
    path = options.output_path(destination, "report.html" if wanted == "html" else "figures")

    from speechscope.report.build import chapters
    from speechscope.report.request import Request
    from speechscope.report.write import write_figures, write_page
    from speechscope.store.staging import refuse_existing
    from speechscope.work.progress import bar

    refuse_existing(path, force=force, owned=lambda _: True)
    moved = {"corpus": corpus, "model": checkpoint, "decoder": checkpoint}
    request = Request(
        examples=examples,
        items=tuple(int(position) for position in positions) or None,
        device=device,
        moved={kind: place for kind, place in moved.items() if place is not None},
    )
    with bar("report", quiet=quiet) as progress:
        found = chapters(sources, request, options.split_list(figure), progress)
    if wanted == "html":
        size = write_page(found, path, examples, force=force)
        output.note(f"{size / 1e6:.1f} MB, {examples} examples a figure at most", quiet=quiet)
        facts = {"figures": sum(len(chapter.figures) for chapter in found), "bytes": size}
    else:
        names = write_figures(found, path, wanted, force=force)
        output.note(f"{len(names)} figures", quiet=quiet)
        facts = {"figures": len(names)}
    output.wrote(path, "report", as_json=as_json, facts=facts)
    left_out = [f"{chapter.title}: {line}" for chapter in found for line in chapter.left_out]
    if left_out and not skip_bad:
        raise ItemsSkipped(f"{len(left_out)} parts left out (--skip-bad accepts that)", left_out)


def _usual() -> list[str]:
    """Return the artifacts of the working directory that have their usual names.

    Raises
    ------
    UsageProblem
        There is none.
    """
    found = [name for name in USUAL if Path(name).exists()]
    if not found:
        raise UsageProblem(f"name an artifact; there is none here of {', '.join(USUAL)}")
    return found
