"""``speechscope report``: pictures of an artifact."""

from typing import Annotated

import typer

from speechscope.commands import options, output
from speechscope.errors import UsageProblem

FORMATS = ("png", "pdf")
KINDS = ("grid", "intensity")


def command(
    artifact: Annotated[
        str, typer.Argument(metavar="[ARTIFACT]", help="An inversion; - reads one.")
    ] = "inversion.zarr",
    file_format: Annotated[
        str | None,
        typer.Option("--format", help="png or pdf; by default the suffix of -o."),
    ] = None,
    items: Annotated[
        list[str] | None,
        typer.Option("--items", help="Positions in the artifact, such as 0,5,7; the first ones."),
    ] = None,
    kind: Annotated[
        str, typer.Option("--kind", help="grid, or intensity: histograms of one item.")
    ] = "grid",
    destination: options.Output = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Draw the originals of an inversion beside their reconstructions, by method and layer.

    --kind intensity draws histograms of an item's values instead (Churchman 2015, fig. 10).

    Needs matplotlib: pip install 'speechscope[plot]'.

    Example: speechscope report inversion.zarr --items 3,11 -o inversion.png
    """
    source = options.input_path(artifact)
    path = options.output_path(destination, f"inversion.{file_format or 'png'}")
    wanted = file_format or path.suffix.removeprefix(".")
    if wanted not in FORMATS:
        raise UsageProblem(f"--format {wanted or path.name}: choose from {', '.join(FORMATS)}")
    if kind not in KINDS:
        raise UsageProblem(f"--kind {kind}: choose from {', '.join(KINDS)}")
    positions = options.split_list(items)
    if not all(position.isdecimal() for position in positions):
        raise UsageProblem(f"--items {','.join(positions)}: give positions such as 0,5,7")

    from speechscope.report.inversion import grid, intensities
    from speechscope.staging import staged

    with staged(path, force=force, directory=False) as partial:
        chosen = [int(position) for position in positions] or None
        if kind == "grid":
            drawn = grid(source, partial, file_format=wanted, items=chosen)
        else:
            (item,) = chosen[:1] if chosen else [0]
            intensities(source, partial, file_format=wanted, item=item)
            drawn = 1
    output.note(f"{drawn} items drawn", quiet=quiet)
    output.wrote(path, "picture", as_json=as_json, facts={"items": drawn})
