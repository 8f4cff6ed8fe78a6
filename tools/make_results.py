"""Write the tables of docs/results.md from the figures in docs/results/*.csv.

    python tools/make_results.py

Every statement of the five papers that can be measured is a line of `statements.py`: what is there,
what is here on recorded and on synthetic speech, by chance, and whether it holds. A figure that no
CSV has is "not run here"; the command that would make it stands beside it.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- tables: made by tools/make_results.py -->", "<!-- end of the tables -->"
CORPORA = ("recorded", "synthetic")
HOLDS, FAILS, OPEN, AT = "holds", "does not", "cannot be told", "at chance"
ABSENT = "not run here"
APART = 0.05
"""Share by which two figures without intervals have to differ before one is called larger."""

Row = Mapping[str, str]


@dataclass(frozen=True)
class Figure:
    """A measured value; `low` and `high` are None where a single run has no interval.

    `null` says that chance was measured with it, by what knows nothing of the items; else it is
    what a statement names, as silence.
    """

    value: float
    low: float | None
    high: float | None
    chance: float | None
    ceiling: float | None = None
    null: bool = False

    def beyond(self, chance: float | None) -> bool:
        """Say whether the interval lies on the ceiling's side of chance, or chance is not known."""
        if chance is None:
            return True
        if self.ceiling is not None and self.ceiling < chance:
            return (self.value if self.high is None else self.high) < chance
        return (self.value if self.low is None else self.low) > chance


def figures(folder: Path = DOCS / "results") -> list[Row]:
    """Return the lines of all CSVs; those of `earlier.csv` come first, so that new ones count."""
    found: list[Row] = []
    for path in sorted(folder.glob("*.csv"), key=lambda path: (path.stem != "earlier", path.stem)):
        with path.open(newline="") as file:
            found += list(csv.DictReader(file))
    return found


def subject(text: str) -> dict[str, str]:
    """Return what a figure is of: ``layer=1; method=bp``."""
    return dict(part.split("=", 1) for part in text.split("; ") if "=" in part)


@dataclass(frozen=True)
class Of:
    """Names a figure: the artifact (an expression for its whole name), the measure, the subject.

    `over` divides it by another measure of the same artifact and subject. `chance` and `ceiling`
    are those of the measure, where the figure was kept without.
    """

    artifact: str
    measure: str
    subject: str = ""
    over: str = ""
    chance: float | None = None
    ceiling: float | None = None

    def find(self, rows: Sequence[Row], corpus: str) -> Figure | None:
        """Return the figure on a corpus, over all seeds; None where it was not measured."""
        mine = self._rows(rows, corpus, self.measure)
        if not mine:
            return None
        divided = self._rows(rows, corpus, self.over) if self.over else []
        if self.over and not divided:
            return None
        by = float(divided[-1]["value"]) if divided else 1.0
        values = {row["seed"]: float(row["value"]) / by for row in mine}
        kept = {
            name: [float(row[name]) / by for row in mine if row.get(name)]
            for name in ("chance", "ceiling")
        }
        mean = sum(values.values()) / len(values)
        last = mine[-1]
        low, high = (float(last[end]) / by if last[end] else None for end in ("low", "high"))
        if len(values) > 1:
            low, high = min(values.values()), max(values.values())
        chance, ceiling = ([*kept[name], getattr(self, name)][:1] for name in kept)
        return Figure(mean, low, high, chance[0], ceiling[0], bool(kept["chance"]))

    def _rows(self, rows: Sequence[Row], corpus: str, measure: str) -> list[Row]:
        wanted = subject(self.subject).items()
        found = [
            row
            for row in rows
            if row["corpus"] == corpus
            and row["measure"] == measure
            and row["value"]
            and re.fullmatch(self.artifact, row["artifact"])
            and wanted <= subject(row["subject"]).items()
        ]
        found = [row for row in found if not row["made"].startswith("before")] or found
        # Of the same run measured again the last counts; other artifacts of the same seed too.
        return list({row["seed"]: row for row in found}.values())


Judged = tuple[str, str, str, str]
"""What was measured, by chance, at best, and the verdict."""


class Claim(Protocol):
    """What a statement says of figures."""

    def judge(self, rows: Sequence[Row], corpus: str) -> Judged | None:
        """Return what was measured, and the verdict; None where nothing was."""


def shown(figure: Figure, scale: str) -> str:
    """Return a figure with its interval."""

    def number(value: float) -> str:
        if scale == "%":
            return f"{100 * value:.1f}"
        return f"{value:.3g}" if abs(value) >= 1 else f"{value:.3f}"

    text = number(figure.value)
    if figure.low is not None and figure.high is not None:
        text += f" ({number(figure.low)}–{number(figure.high)})"
    return text


def above(one: Figure, other: Figure) -> str:
    """Say whether one figure is larger than another, by their intervals or by `APART`.

    Where neither is better than what knows nothing of the items, their difference says nothing.
    """
    nulls = [figure.chance for figure in (one, other) if figure.null]
    if nulls and not any(
        figure.beyond(figure.chance if figure.null else nulls[0]) for figure in (one, other)
    ):
        return AT
    both = (one.low, one.high, other.low, other.high)
    if all(value is not None for value in both):
        if one.low > other.high:  # type: ignore[operator]
            return HOLDS
        return FAILS if one.high < other.low else OPEN  # type: ignore[operator]
    least = APART * max(abs(one.value), abs(other.value))
    if abs(one.value - other.value) <= least:
        return OPEN
    return HOLDS if one.value > other.value else FAILS


def together(verdicts: Sequence[str]) -> str:
    """Return the verdict of a statement that says several things."""
    for verdict in (FAILS, AT):
        if verdict in verdicts:
            return verdict
    return HOLDS if set(verdicts) == {HOLDS} else OPEN


@dataclass(frozen=True)
class Above:
    """The first figure is above all others."""

    of: tuple[Of, ...]
    scale: str = ""

    def judge(self, rows: Sequence[Row], corpus: str) -> Judged | None:
        """See `Claim`."""
        found = [one.find(rows, corpus) for one in self.of]
        kept = [figure for figure in found if figure is not None]
        if found[0] is None or len(kept) < 2:
            return None
        verdict = together([above(kept[0], other) for other in kept[1:]])
        others = ", ".join(shown(figure, self.scale) for figure in kept[1:])
        unit = " %" if self.scale == "%" else ""
        text = f"{shown(kept[0], self.scale)} against {others}{unit}"
        return text, *ends(kept, self.scale), verdict


@dataclass(frozen=True)
class Falls:
    """Each figure is below the one before; `strictly` false: the last is below the first."""

    of: tuple[Of, ...]
    scale: str = ""
    rises: bool = False
    strictly: bool = True

    def judge(self, rows: Sequence[Row], corpus: str) -> Judged | None:
        """See `Claim`."""
        kept = [figure for one in self.of if (figure := one.find(rows, corpus)) is not None]
        if len(kept) < 2:
            return None
        pairs = list(pairwise(kept)) if self.strictly else [(kept[0], kept[-1])]
        steps = [above(b, a) if self.rises else above(a, b) for a, b in pairs]
        unit = " %" if self.scale == "%" else ""
        text = ", ".join(shown(figure, self.scale) for figure in kept)
        return text + unit, *ends(kept, self.scale), together(steps)


@dataclass(frozen=True)
class Near:
    """All figures lie within so much of the first."""

    of: tuple[Of, ...]
    apart: float
    scale: str = ""

    def judge(self, rows: Sequence[Row], corpus: str) -> Judged | None:
        """See `Claim`."""
        kept = [figure for one in self.of if (figure := one.find(rows, corpus)) is not None]
        if len(kept) < 2:
            return None
        far = max(abs(figure.value - kept[0].value) for figure in kept)
        unit = " %" if self.scale == "%" else ""
        text = ", ".join(shown(figure, self.scale) for figure in kept)
        nothing = all(figure.null and not figure.beyond(figure.chance) for figure in kept)
        verdict = AT if nothing else HOLDS if far <= self.apart else FAILS
        return text + unit, *ends(kept, self.scale), verdict


@dataclass(frozen=True)
class Within:
    """The figure lies between two values; a least value is no more than chance where that is so.

    With `beyond_chance` it is to be more than chance alone.
    """

    of: Of
    least: float = float("-inf")
    most: float = float("inf")
    scale: str = ""
    beyond_chance: bool = False

    def judge(self, rows: Sequence[Row], corpus: str) -> Judged | None:
        """See `Claim`."""
        found = self.of.find(rows, corpus)
        if found is None:
            return None
        inside = self.least <= found.value <= self.most
        asked = found.null and (self.beyond_chance or self.least > float("-inf"))
        by_chance = asked and not found.beyond(found.chance)
        verdict = FAILS if not inside else AT if by_chance else HOLDS
        unit = " %" if self.scale == "%" else ""
        return shown(found, self.scale) + unit, *ends([found], self.scale), verdict


@dataclass(frozen=True)
class Untold:
    """A statement that no figure here decides."""

    def judge(self, rows: Sequence[Row], corpus: str) -> Judged | None:
        """See `Claim`."""
        return None


def ends(found: Sequence[Figure], scale: str) -> tuple[str, str]:
    """Return what chance gives, and what there is at best, by the first figure that has them."""
    given = (
        next((value for one in found if (value := getattr(one, name)) is not None), None)
        for name in ("chance", "ceiling")
    )
    low, high = ("" if v is None else shown(Figure(v, None, None, None), scale) for v in given)
    return low, high


@dataclass(frozen=True)
class Statement:
    """A statement of a paper.

    Parameters
    ----------
    place
        Table, figure or section.
    text
        What it says.
    theirs
        The paper's figures.
    claim
        How it is judged here.
    why
        A line: why it fails or what to make of it; the command, where nothing was run.
    """

    place: str
    text: str
    theirs: str
    claim: Claim
    why: str = ""


def line(statement: Statement, rows: Sequence[Row]) -> tuple[list[str], str]:
    """Return the cells of a statement's line, and its verdict."""
    judged = {corpus: statement.claim.judge(rows, corpus) for corpus in CORPORA}
    shown_ = [found[0] if (found := judged[corpus]) else "–" for corpus in CORPORA]
    sides = [
        " / ".join(dict.fromkeys(found[n] for found in judged.values() if found and found[n]))
        for n in (1, 2)
    ]
    verdicts = {corpus: found[-1] for corpus, found in judged.items() if found}
    if not verdicts:
        verdict = OPEN + " here" if isinstance(statement.claim, Untold) else ABSENT
    elif len(set(verdicts.values())) == 1:
        verdict = next(iter(verdicts.values()))
    else:
        verdict = "; ".join(f"{corpus}: {value}" for corpus, value in verdicts.items())
    return [statement.place, statement.text, statement.theirs, *shown_, *sides, verdict,
            statement.why], verdict  # fmt: skip


def tables(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of all tables."""
    from statements import PAPERS

    counted: dict[str, int] = {}
    body: list[str] = []
    controls = 0
    for paper, statements in PAPERS.items():
        body += ["", f"### {paper}", ""]
        names = "where", "what it says", "there", *CORPORA, "chance", "at best", "here", "why"
        body += ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
        for statement in statements:
            cells, verdict = line(statement, rows)
            kind = verdict if ":" not in verdict else "differs by corpus"
            if statement.theirs in ("not asked", "–"):
                controls += 1
            else:
                counted[kind] = counted.get(kind, 0) + 1
            body.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    total, often = sum(counted.values()), sorted(counted.items(), key=lambda pair: -pair[1])
    counts = ", ".join(f"{name}: {count}" for name, count in often)
    yield f"{total} statements of the five papers ({counts}), and {controls} controls of ours."
    yield from body


def document(text: str, rows: Sequence[Row]) -> str:
    """Return docs/results.md with its tables made anew."""
    start, stop = text.index(BEGIN), text.index(END)
    return text[:start] + BEGIN + "\n\n" + "\n".join(tables(rows)) + "\n\n" + text[stop:]


def main() -> None:
    """Write docs/results.md."""
    page = DOCS / "results.md"
    page.write_text(document(page.read_text(), figures()))


if __name__ == "__main__":
    import make_results  # as `statements` imports it: its classes are to be the same

    make_results.main()
