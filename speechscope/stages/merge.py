"""``speechscope merge``: from the shards of an artifact to the artifact."""

from pathlib import Path
from typing import Annotated

import typer

from speechscope.errors import UsageProblem
from speechscope.stages import options, output


def command(
    shards: Annotated[
        list[Path], typer.Argument(metavar="SHARD…", help="What --shard I/N wrote, in any order.")
    ],
    destination: options.Output = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Put together what jobs with --shard wrote, as one job would have written it.

    What the shards hold is compared with its digests and copied; sums of navai are added up. All
    shards of the artifact have to be given, made with the same settings from the same parents. The
    shards stay where they are.

    Example: speechscope merge inversion-*-of-16.zarr -o inversion.zarr
    """
    from speechscope.corpus import parts
    from speechscope.navai import merging
    from speechscope.store import shards as chunked
    from speechscope.store.lineage import record_at

    path = destination if destination is not None else _without_number(shards[0])
    # A corpus has chunks that go across its shards, and averages are sums of theirs.
    special = {"corpus": parts.merge, merging.KIND: merging.merge}
    merge = special.get(record_at(shards[0])["kind"], chunked.merge)
    kind, items = merge(shards, path, force=force)
    output.note(f"{items} items of {len(shards)} shards", quiet=quiet)
    output.wrote(path, kind, as_json=as_json, facts={"items": items})


def _without_number(shard: Path) -> Path:
    """Return what ``inversion-3-of-16.zarr`` is a shard of: ``inversion.zarr`` beside it."""
    stem, _, number = shard.stem.rpartition("-of-")
    stem, _, first = stem.rpartition("-")
    if not (stem and number.isdecimal() and first.isdecimal()):
        raise UsageProblem(f"{shard}: name the output with -o")
    return shard.with_stem(stem)
