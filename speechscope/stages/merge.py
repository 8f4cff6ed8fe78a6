"""``speechscope merge``: from the shards of an artifact to the artifact."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from speechscope.errors import UsageProblem
from speechscope.settings import argument
from speechscope.stages.shared import Writing, Written
from speechscope.work.progress import Console


@dataclass(frozen=True, kw_only=True)
class Merge(Writing):
    """Put together what jobs with --shard wrote, as one job would have written it.

    What the shards hold is compared with its digests and copied; sums of navai are added up. All
    shards of the artifact have to be given, made with the same settings from the same parents. The
    shards stay where they are.

    Example: speechscope merge inversion-*-of-16.zarr -o inversion.zarr
    """

    usual: ClassVar[str] = "the name of the shards without -I-of-N"
    shards: tuple[Path, ...] = argument(
        (), "What --shard I/N wrote, in any order.", metavar="SHARD…"
    )


def run(settings: Merge, console: Console) -> Written:
    """Write the whole artifact."""
    from speechscope.store.shards import merge

    if not settings.shards:
        raise UsageProblem("merge needs SHARD…")
    first = settings.shards[0]
    path = settings.path(".") if settings.output else _without_number(first)
    kind, items = merge(settings.shards, path, force=settings.force)
    console.note(f"{items} items of {len(settings.shards)} shards")
    return Written(path, kind, {"items": items})


def _without_number(shard: Path) -> Path:
    """Return what ``inversion-3-of-16.zarr`` is a shard of: ``inversion.zarr`` beside it."""
    stem, _, number = shard.stem.rpartition("-of-")
    stem, _, first = stem.rpartition("-")
    if not (stem and number.isdecimal() and first.isdecimal()):
        raise UsageProblem(f"{shard}: name the output with -o")
    return shard.with_stem(stem)
