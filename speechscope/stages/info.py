"""``speechscope info``: what an artifact is."""

import json
from typing import Annotated

import typer

from speechscope.stages import options, output


def command(
    artifact: Annotated[str, typer.Argument(metavar="ARTIFACT", help="An artifact; - reads one.")],
    as_json: options.Json = False,
) -> None:
    """Show an artifact's kind, arrays, parents, settings, and the commands it comes from.

    Example: speechscope info corpus.zarr
    """
    from speechscope.store.inspection import describe

    facts = describe(options.input_path(artifact))
    if as_json:
        output.data(json.dumps(facts))
        return
    lines = []
    for key, value in facts.items():
        if isinstance(value, dict):
            lines += [f"{key}:"] + [f"  {name:<20} {entry}" for name, entry in value.items()]
        elif isinstance(value, list):
            lines += [f"{key}:"] + [f"  {entry}" for entry in value]
        else:
            lines.append(f"{key + ':':<16} {value}")
    output.data("\n".join(map(output.printable, lines)))
