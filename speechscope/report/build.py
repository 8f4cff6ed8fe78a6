"""From artifacts to chapters: which module writes of which kind."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from speechscope.errors import UsageProblem
from speechscope.report.figures import Chapter, Figure
from speechscope.report.request import Request
from speechscope.store.lineage import record_at
from speechscope.store.record import Record

KINDS = (
    "corpus",
    "model",
    "decoder",
    "inversion",
    "relevance",
    "maximum",
    "navai",
    "clusters",
)
"""Each has a module of its name here, whose `chapter` takes a path and a `Request`."""


def chapters(
    paths: Sequence[Path],
    request: Request,
    figures: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> list[Chapter]:
    """Return one chapter an artifact.

    Parameters
    ----------
    paths
        The artifacts.
    request
        What to show of them.
    figures
        Names of the figures wanted; none: all.
    progress
        Called with the artifacts done and all.

    Raises
    ------
    ArtifactError
        One of them is missing, foreign or damaged.
    UsageProblem
        One is of a kind that has no report, or none has a figure that is asked for.
    """
    found = []
    for number, path in enumerate(paths):
        if progress is not None:
            progress(number, len(paths))
        record = record_at(path)
        kind = record["kind"]
        if kind not in KINDS:
            raise UsageProblem(f"{path} is a {kind}; report takes {', '.join(KINDS)}")
        module = importlib.import_module(f"speechscope.report.{kind}")
        chapter: Chapter = module.chapter(path, request)
        found.append(replace(chapter, facts={**chapter.facts, **_origin(record)}))
    known = list(dict.fromkeys(figure.name for chapter in found for figure in chapter.figures))
    for name in figures:
        if name not in known:
            raise UsageProblem(f"--figure {name}: choose from {', '.join(known)}")
    return [replace(chapter, figures=_wanted(chapter.figures, figures)) for chapter in found]


def _wanted(figures: Sequence[Figure], names: Sequence[str]) -> list[Figure]:
    return [figure for figure in figures if not names or figure.name in names]


def _origin(record: Record) -> dict[str, str]:
    software = record["software"].get("speechscope", "?")
    return {
        "made by": " ".join(record["argv"]),
        "made at": f"{record['created']}, speechscope {software}, seed {record['seed']}, "
        f"{record['device']}",
    }
