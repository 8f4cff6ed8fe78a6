"""``speechscope check``: whether an artifact is what it was when written."""

import json
from typing import Annotated

import typer

from speechscope.stages import options, output


def command(
    artifacts: Annotated[
        list[str], typer.Argument(metavar="ARTIFACT…", help="Artifacts; - reads one.")
    ],
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte.")] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Verify artifacts: complete, unchanged, and of a format this release reads.

    Without --deep the metadata, the number of chunks and their sizes are compared; a flipped bit
    inside a chunk is found by --deep, or when the chunk is read. A checkpoint is always read whole.
    The first artifact that fails ends the command with exit code 3.

    Example: speechscope check --deep corpus.zarr model.pt
    """
    from speechscope.store.inspection import verify

    for value in artifacts:
        path = options.input_path(value)
        kind = verify(path, deep=deep)
        if as_json:
            output.data(json.dumps({"path": str(path), "kind": kind, "deep": deep, "ok": True}))
        elif not quiet:
            output.data(f"{path}: {kind}, {'every byte read' if deep else 'complete'}")
