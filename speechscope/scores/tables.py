"""Scores as text for people, with a sentence before them, as CSV or as JSON."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from shutil import get_terminal_size

from speechscope.scores.statistics import ABOVE, AT, FEW, Cell, Row

STATISTICS = ("items", "value", "low", "high", "chance", "ceiling", "null", "p", "verdict")
"""The columns that follow the names of what was scored."""
UNSEEN = {"null", "p"}
"""Columns that people find in the CSV."""
PARTS = ("method", "layer", "reduction", "algorithm", "alignment", "bins", "kept")
"""Columns that say what was scored, beside its measure."""
COLUMNS = ("artifact", "input", *PARTS, "measure", "against", *STATISTICS)
"""The columns that a CSV always has."""
UNJUDGED = "agreement"
"""Of methods, and with random weights: whether it is above chance is not better or worse."""
DETAIL = {"phone", "speaker"}
"""Columns of scores of parts, which a sentence leaves to the table."""
LEGEND = "In brackets what chance gives; * above chance, ? too few items to tell.\n"
MARKS = {ABOVE: "*", FEW: "?"}
ACROSS = 5
"""Methods and layers side by side."""
MEASURE, COLUMN = 36, 22
"""Letters that the name of a measure takes, and the figures of a method and layer."""
LISTED = 16
"""Measures a sentence names of one verdict (chosen: the table has them all)."""
NAMED = 4
"""Methods and layers a sentence names."""
SEXES = {"F": "women", "M": "men"}
"""Whose formants a measure is of, as corpora have it."""


def as_text(rows: Sequence[Row]) -> str:
    """Return rows of one kind as text: scores of several methods and layers side by side.

    On a terminal no more of them than its width has room for.
    """
    room = (get_terminal_size((0, 0)).columns - MEASURE) // COLUMN
    tables = side_by_side(rows, ACROSS if room < -1 else max(1, min(ACROSS, room)))
    if tables:
        return "\n".join(map(aligned, tables)) + LEGEND
    same = {
        name
        for name in ("artifact", "input", *PARTS)
        if len(rows) > 1 and len({row.get(name) for row in rows}) == 1
    }
    return aligned([{k: v for k, v in row.items() if k not in same | UNSEEN} for row in rows])


def side_by_side(rows: Sequence[Row], across: int = ACROSS) -> list[list[Row]]:
    """Return scores as tables of a row a measure and so many columns, each a method and layer.

    None where one thing, or one measure, was scored.
    """
    parts = list(dict.fromkeys(map(part_of, rows)))
    measures = list(dict.fromkeys(str(row.get("measure")) for row in rows))
    if min(len(parts), len(measures)) < 2 or not all(
        {"measure", "verdict"} <= set(r) for r in rows
    ):
        return []
    cells = {(part_of(row), str(row["measure"])): row for row in rows}
    return [
        [
            {"measure": name}
            | {part: _cell(cells.get((part, name))) for part in parts[start : start + across]}
            for name in measures
        ]
        for start in range(0, len(parts), across)
    ]


def part_of(row: Row) -> str:
    """Return what a score is of, as words."""
    names = [
        f"{value} bins"
        if name == "bins"
        else f"layer {value}"
        if name == "layer" and isinstance(value, int)
        else str(value)
        for name, value in row.items()
        if name in PARTS
    ]
    return ", ".join(names)


def _cell(row: Row | None) -> str | None:
    if row is None or row["value"] is None:
        return None
    chance = "" if row["chance"] is None else f" ({_shown(row['chance'])})"
    return f"{_shown(row['value'])}{MARKS.get(str(row['verdict']), '')}{chance}"


def sentences(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a sentence an artifact: what of it is better than chance, and what is not."""
    for name in dict.fromkeys(row["artifact"] for row in rows if "artifact" in row):
        judged = [
            row
            for row in rows
            if row.get("artifact") == name
            and row.get("verdict")
            and not DETAIL & set(row)
            and not str(row["measure"]).startswith(UNJUDGED)
        ]
        if not judged:
            yield f"{name}: nothing here is held against chance."
            continue
        parts = list(dict.fromkeys(map(part_of, judged)))
        if len(parts) == 1:
            yield f"{_subject(judged[0])}{_lists(judged)}."
            continue
        each = max(sum(part_of(row) == part for row in judged) for part in parts)
        if each == 1 and len(parts) > NAMED and len({row["verdict"] for row in judged}) == 1:
            yield f"{name}: {judged[0]['verdict']} in all of {len(parts)}: {'; '.join(parts)}."
            continue
        if each == 1:
            yield f"{name}: {_lists([{**row, 'measure': part_of(row)} for row in judged])}."
            continue
        above = [row for row in judged if row["verdict"] == ABOVE]
        counts = Counter(map(part_of, above))
        most = sorted(parts, key=lambda part: -counts[part])[:NAMED]
        found = "; ".join(f"{counts[part]} with {part}" for part in most)
        rest = "" if len(parts) <= NAMED else f"; with {len(parts) - NAMED} others no more"
        holds = Counter(_measure(row) for row in above)
        kept = [measure for measure in holds if holds[measure] == len(parts)]
        lost = [m for m in dict.fromkeys(map(_measure, judged)) if m not in holds]
        ends = {"In all": kept, "In none": lost} if above else {}
        said = "".join(f" {where}: {_named(names)}." for where, names in ends.items() if names)
        yield f"{name}: of {each} scores better than chance: {found}{rest}.{said}"


def _subject(row: Row) -> str:
    """Return the beginning of a sentence on an artifact of which one thing was scored."""
    if {"method", "layer"} <= set(row):
        return f"{row['artifact']}: what {row['method']} rebuilds from layer {row['layer']} is "
    part = part_of(row)
    return f"{row['artifact']}{', ' if part else ''}{part}: "


def _lists(rows: Sequence[Row]) -> str:
    """Return the measures by verdict, with their figures where there are few."""
    few = len(rows) <= NAMED
    words = {
        ABOVE: "better than chance",
        AT: "no better than chance",
        FEW: "of too few items to tell",
    }
    parts = []
    for verdict, said in words.items():
        names = [
            f"{_measure(row)} {_shown(row['value'])} (chance {_shown(row['chance'])})"
            if few and row["value"] is not None
            else _measure(row)
            for row in rows
            if row["verdict"] == verdict
        ]
        if names:
            parts.append(f"{said} in {_named(names)}")
    return "; ".join(parts)


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} others" if len(names) > LISTED + 1 else ""
    return f"{', '.join(names[:LISTED] if more else names)}{more}"


def _measure(row: Row) -> str:
    """Return the name of a measure as it stands in a list, and over how many classes it is."""
    of = f" of {row['classes']} classes" if "classes" in row else ""
    name, _, whose = str(row["measure"]).partition(", ")
    return f"{name}{f' ({SEXES.get(whose, whose)})' if whose else ''}{of}"


def aligned(rows: Sequence[Row]) -> str:
    """Align columns under their names; numbers to the right, absent values as a dash."""
    names = list(rows[0]) if rows else []
    cells = [[_shown(row[name]) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in [names, *cells]) for i in range(len(names))]
    numeric = [all(not isinstance(row[name], str) for row in rows) for name in names]
    lines = []
    for line in [names, *cells]:
        padded = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines) + "\n"


def tidy(row: Row) -> Iterator[Row]:
    """Yield a row for each measured value of a row.

    Of rows with several values, each is its own ``measure``; of those with a measure and several
    values, such as the likeness of a layer to others, ``against`` says what each is held against.
    """
    if "value" in row or not any(isinstance(cell, float) for cell in row.values()):
        yield row
        return
    values = {k: cell for k, cell in row.items() if isinstance(cell, float) or cell is None}
    names = {k: cell for k, cell in row.items() if k not in values or k in PARTS}
    column = "against" if "measure" in row else "measure"
    for name, cell in values.items():
        if name not in names:
            yield {**names, column: name, "value": cell}


def as_csv(rows: Sequence[Row]) -> str:
    """Write one table of comma-separated values, a measured value a row; numbers in full.

    The columns `COLUMNS` are always there, in their order; others follow.
    """
    every = [one for row in rows for one in tidy(row)]
    others = dict.fromkeys(name for row in every for name in row if name not in COLUMNS)
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, *others], lineterminator="\n")
    writer.writeheader()
    writer.writerows(every)
    return text.getvalue()


def as_json(rows: Sequence[Row]) -> str:
    """Write a JSON list of objects, one a row."""
    return json.dumps([dict(row) for row in rows]) + "\n"


def _shown(value: Cell) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
