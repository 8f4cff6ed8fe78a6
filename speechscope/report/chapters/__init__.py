"""The chapters of a report, one file a kind of artifact, and what they share.

A chapter is a function of a path and the settings of the report, registered by the kind::

    @CHAPTERS.register("navai")
    def chapter(path: Path, settings: "Report") -> Chapter: ...
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from speechscope.corpus.seen import seen_by
from speechscope.corpus.store import Corpus
from speechscope.errors import ArtifactError, UsageProblem
from speechscope.registry import CHAPTERS
from speechscope.report.figures import Chapter, Table
from speechscope.scores.statistics import Row
from speechscope.scores.tables import LEGEND, sentences, side_by_side
from speechscope.store.lineage import record_at
from speechscope.store.record import Record

if TYPE_CHECKING:
    from speechscope.stages.report import Report


def chapters(
    paths: Sequence[Path], settings: "Report", progress: Callable[[int, int], None]
) -> list[Chapter]:
    """Return one chapter an artifact, with the figures that are asked for.

    Parameters
    ----------
    paths
        The artifacts.
    settings
        What to show of them.
    progress
        Called with the artifacts done and all.

    Raises
    ------
    ArtifactError
        One of them is missing, foreign or damaged.
    UsageProblem
        One is of a kind that has no report, or none has a figure that is asked for.
    """
    written: list[Chapter] = []
    for number, path in enumerate(paths):
        progress(number, len(paths))
        record = record_at(path)
        kind = record["kind"]
        writers = CHAPTERS.of(kind)
        if not writers:
            raise UsageProblem(f"{path} is a {kind}; report takes {', '.join(CHAPTERS.names())}")
        for chapter in (write(path, settings) for write in writers):
            written.append(replace(chapter, facts={**chapter.facts, **_origin(record)}))
    known = dict.fromkeys(figure.name for chapter in written for figure in chapter.figures)
    for name in settings.figure:
        if name not in known:
            raise UsageProblem(f"--figure {name}: choose from {', '.join(known)}")
    wanted = settings.figure or known
    return [
        replace(chapter, figures=[figure for figure in chapter.figures if figure.name in wanted])
        for chapter in written
    ]


def _origin(record: Record) -> dict[str, str]:
    software = record["software"].get("speechscope", "?")
    return {
        "made by": " ".join(record["argv"]),
        "made at": f"{record['created']}, speechscope {software}, seed {record['seed']}, "
        f"{record['device']}",
    }


def shown_items(settings: "Report", path: Path, count: int, most: int | None = None) -> list[int]:
    """Return which of `count` items to show: those asked for, else the first, up to `most`.

    Raises
    ------
    UsageProblem
        One that is asked for is not there.
    """
    if settings.positions is None:
        return list(range(min(count, settings.examples if most is None else most)))
    for item in settings.positions:
        if item >= count:
            raise UsageProblem(f"{path} has items 0 to {count - 1}, not {item}")
    return settings.positions


def corpus_of(
    settings: "Report", path: Path, record: Record, left_out: list[str], what: str
) -> Corpus | None:
    """Open the corpus an artifact was made from; without it, note that `what` is left out."""
    try:
        return seen_by(path, record, settings.moved())
    except ArtifactError as error:
        left_out.append(f"{what}: {error}")
        return None


def score_tables(rows: Sequence[Row]) -> list[Table]:
    """Return what ``speechscope score`` prints: a table for those of each kind, closed."""
    tables: list[Table] = []
    judged = [row for row in rows if "verdict" in row]
    for number, part in enumerate(side_by_side(judged)):
        title = "Scores" if number == 0 else "Scores, continued"
        cells = [list(row.values()) for row in part]
        name = "scores-table" if number == 0 else f"scores-table-{number + 1}"
        note = " ".join(sentences(judged)) if number == 0 else ""
        tables.append(Table(name, title, f"{note} {LEGEND}", list(part[0]), cells))
    if judged:
        kept = [
            column
            for column in judged[0]
            if column != "artifact" and any(row.get(column) is not None for row in judged)
        ]
        figures = [[row.get(column) for column in kept] for row in judged]
        note = "" if tables else " ".join(sentences(judged))
        tables.append(Table("figures-table", "Scores in full", note, kept, figures, closed=True))
    return tables
