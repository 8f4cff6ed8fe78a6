"""The chapters of a report, one file a kind of artifact, and what they share.

A chapter is a function of a path and the settings of the report, registered by the kind::

    @CHAPTERS.register("navai")
    def chapter(path: Path, settings: "Report") -> Chapter: ...
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speechscope.corpus.seen import seen_by
from speechscope.corpus.store import Corpus
from speechscope.errors import ArtifactError, UsageProblem
from speechscope.registry import CHAPTERS
from speechscope.report.figures import Chapter, Figure, Held, Table, Way
from speechscope.scores.statistics import ABOVE, Row, kept, scored
from speechscope.scores.tables import LEGEND, part_of, side_by_side
from speechscope.store.lineage import record_at
from speechscope.store.record import Record

if TYPE_CHECKING:
    from speechscope.stages.report import Report

LEAST, MOST = 3, 9
"""Scores from which on they are drawn, and parts that are drawn at most (chosen)."""


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
    names = {Path(chapter.title).name for chapter in written}
    if len(names) == len(written):  # else their paths tell them apart
        written = [replace(chapter, title=Path(chapter.title).name) for chapter in written]
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


def scores_of(path: Path, settings: "Report") -> list[Row]:
    """Return the scores of an artifact, as ``speechscope score`` kept them or worked out."""
    scoring = settings.scoring()
    rows = kept(path, scoring)
    if rows is None and not settings.scores:
        raise UsageProblem(f"speechscope score {path} works them out")
    return scored(record_at(path)["kind"], path, scoring) if rows is None else rows


def score_figures(rows: Sequence[Row]) -> list[Figure]:
    """Return scores between chance and best, and as the tables that ``speechscope score`` prints.

    Tables are closed; those of several methods and layers have them side by side.
    """
    judged = [row for row in rows if "verdict" in row]
    found: list[Figure] = _held(judged)
    for number, part in enumerate(side_by_side(judged)):
        title = "Scores" if number == 0 else "Scores, continued"
        cells = [list(row.values()) for row in part]
        name = "scores-table" if number == 0 else f"scores-table-{number + 1}"
        found.append(Table(name, title, LEGEND, list(part[0]), cells, closed=True))
    if judged:
        kept = [
            column
            for column in judged[0]
            if column != "artifact" and any(row.get(column) is not None for row in judged)
        ]
        figures = [[row.get(column) for column in kept] for row in judged]
        found.append(Table("figures-table", "Scores in full", "", kept, figures, closed=True))
    return found


def _held(rows: Sequence[Row]) -> list[Figure]:
    """Return the scores that have both chance and ceiling, by measure and by what was scored."""
    ways: dict[str, dict[str, Way]] = {}
    for row in rows:
        numbers = [row.get(name) for name in ("chance", "ceiling", "value", "low", "high")]
        chance, ceiling, *found = [np.nan if n is None else float(n) for n in numbers]
        if not np.isfinite([chance, ceiling, found[0]]).all() or chance == ceiling:
            continue
        value, low, high = [(number - chance) / (ceiling - chance) for number in found]
        said = f"{numbers[2]:.3g} (chance {chance:.3g})"
        way = value, low, high, row.get("verdict") == ABOVE, said
        part, measure = part_of(row) or str(row.get("artifact", "")), str(row["measure"])
        if "classes" in row:
            measure = f"{measure} of {row['classes']} classes"
        ways.setdefault(part, {})[measure] = way
    measures = list(dict.fromkeys(name for of in ways.values() for name in of))
    if len(measures) * len(ways) < LEAST:
        return []
    if len(measures) == 1:  # many of one measure are beside each other in one panel
        ways = {measures[0]: {name: of[measures[0]] for name, of in ways.items()}}
        measures = list(ways[measures[0]])
    parts = dict(sorted(ways.items(), key=lambda way: -sum(w[3] for w in way[1].values()))[:MOST])
    shown = {name: ways[name] for name in ways if name in parts}
    note = (
        "How far each score is on the way from what chance gives to the best there can be, with "
        "its 95 % interval: green and filled is above chance, after correction for the number of "
        "scores (Holm 1979)."
    )
    if len(shown) < len(ways):
        note += f" The {MOST} of {len(ways)} with most above chance."
    columns = {name: [of.get(measure) for measure in measures] for name, of in shown.items()}
    return [Held("held", "What holds against chance", note, measures, columns)]
