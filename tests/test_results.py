"""docs/results.md is what its script makes of the figures kept, and how these are judged."""

import csv
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools"
sys.path.insert(0, str(TOOLS))
import keep_results  # noqa: E402
import make_results  # noqa: E402
import statements  # noqa: E402
from make_results import ABSENT, AT, FAILS, HOLDS, OPEN, Above, Falls, Near, Of, Untold, Within  # noqa: E402

ROWS = make_results.figures()


def row(
    value: float, low: float | str = "", high: float | str = "", **other: object
) -> dict[str, str]:
    given = {"corpus": "recorded", "artifact": "a", "seed": 0, "subject": "layer=1", "measure": "m"}
    found = {
        "value": value,
        "low": low,
        "high": high,
        "chance": "",
        "made": "2026-12-01",
        **given,
        **other,
    }
    return {name: str(value) for name, value in found.items()}


def test_the_page_is_what_the_script_makes() -> None:
    page = (make_results.DOCS / "results.md").read_text()
    assert page == make_results.document(page, ROWS), "run: python tools/make_results.py"
    assert page != make_results.document(page, ROWS[: len(ROWS) // 2])


def test_every_figure_says_where_it_is_from() -> None:
    for path in (make_results.DOCS / "results").glob("*.csv"):
        with path.open(newline="") as file:
            lines = csv.DictReader(file)
            assert tuple(lines.fieldnames or ()) == keep_results.COLUMNS, path.name
            for line in lines:
                said = ("corpus", "artifact", "measure", "command", "machine", "made")
                assert all(line[name] for name in said), (path.name, line)
                assert line["corpus"] in ("recorded", "synthetic", "French")
                float(line["value"] or "nan")


def test_the_papers_statements_are_there() -> None:
    for paper, least in zip(statements.PAPERS, (40, 40, 12, 12, 20), strict=True):
        found = statements.PAPERS[paper]
        assert len(found) >= least
        names = [(one.place, one.text) for one in found]
        assert len(set(names)) == len(names), paper
        for one in found:
            _, verdict = make_results.line(one, ROWS)
            if ABSENT in verdict or isinstance(one.claim, Untold):
                assert one.why, f"{paper}: {one.text}: say the command, or why it cannot be told"


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        (row(0.5, 0.4, 0.6), row(0.2, 0.1, 0.3), HOLDS),
        (row(0.5, 0.4, 0.6), row(0.45, 0.3, 0.55), OPEN),
        (row(0.2, 0.1, 0.3), row(0.5, 0.4, 0.6), FAILS),
        (row(1.0), row(0.97), OPEN),
        (row(1.0), row(0.9), HOLDS),
        (row(0.9), row(1.0), FAILS),
    ],
)
def test_one_figure_is_above_another(
    one: dict[str, str], other: dict[str, str], verdict: str
) -> None:
    rows = [one, {**other, "subject": "layer=2"}]
    first, second = Of("a", "m", "layer=1"), Of("a", "m", "layer=2")
    found = Above((first, second)).judge(rows, "recorded")
    assert found is not None and found[-1] == verdict
    falls = Falls((first, second)).judge(rows, "recorded")
    rises = Falls((second, first), rises=True).judge(rows, "recorded")
    assert falls is not None and rises is not None and falls[-1] == rises[-1] == verdict
    assert Above((first, second)).judge(rows, "synthetic") is None


def test_seeds_make_an_interval_and_figures_are_divided() -> None:
    rows = [row(2.0, seed=0), row(4.0, seed=1), row(8.0, measure="silence")]
    found = Of("a", "m", over="silence").find(rows, "recorded")
    assert found is not None
    assert (found.value, found.low, found.high) == (0.375, 0.25, 0.5)
    # A later run of the same seed takes the place of the earlier one.
    again = Of("a", "m").find([*rows, row(6.0, seed=0)], "recorded")
    assert again is not None and again.value == 5.0
    # What the page printed before does not count beside what was measured since.
    before = row(1.0, seed="0-4", made="before 2026-12-01")
    assert Of("a", "m").find([before], "recorded") is not None
    newer = Of("a", "m").find([before, row(6.0)], "recorded")
    assert newer is not None and (newer.value, newer.low) == (6.0, None)
    assert Of("a", "m", over="none").find(rows, "recorded") is None
    assert Of("a", "m", "layer=2").find(rows, "recorded") is None


def test_bounds_and_chance() -> None:
    of = Of("a", "m")
    beyond = Within(of, least=0.3, beyond_chance=True)
    for rows, verdict in (
        ([row(0.5, 0.4, 0.6, chance=0.3)], HOLDS),
        ([row(0.5, 0.4, 0.6, chance=0.45)], AT),
        ([row(0.2, 0.1, 0.3, chance=0.05)], FAILS),
    ):
        found = beyond.judge(rows, "recorded")
        assert found is not None and found[-1] == verdict
    near = Near((of, Of("b", "m")), 0.05).judge([row(0.5), row(0.54, artifact="b")], "recorded")
    assert near is not None and near[-1] == HOLDS
    far = Near((of, Of("b", "m")), 0.05).judge([row(0.5), row(0.56, artifact="b")], "recorded")
    assert far is not None and far[-1] == FAILS


def test_what_is_at_chance_is_no_larger_than_what_is() -> None:
    low = [row(0.13, 0.12, 0.14, chance=0.16), row(0.09, 0.08, 0.10, subject="layer=2")]
    pair = Of("a", "m", "layer=1"), Of("a", "m", "layer=2")
    for claim in (Above(pair), Falls(pair)):
        found = claim.judge(low, "recorded")
        assert found is not None and found[1:] == ("0.160", "", AT)
    high = [row(0.30, 0.29, 0.31, chance=0.16), low[1]]
    found = Above(pair).judge(high, "recorded")
    assert found is not None and found[-1] == HOLDS
    # Of errors less is better; what nobody measured with the figure decides nothing.
    errors = [row(0.9, 0.88, 0.92, chance=0.97, ceiling=0.0), row(0.95, subject="layer=2")]
    found = Above(pair[::-1]).judge(errors, "recorded")
    assert found is not None and found[1:3] == ("0.970", "0.000") and found[-1] == HOLDS
    silence = [Of("a", "m", f"layer={n}", chance=1.0, ceiling=0.0) for n in (1, 2)]
    found = Above(tuple(silence)).judge([row(9.0), row(2.0, subject="layer=2")], "recorded")
    assert found is not None and found[1:] == ("1", "0.000", HOLDS)


def test_a_decoders_row_is_several_figures_and_others_one() -> None:
    decoder = {"artifact": "d.pt", "layer": 3, "relu": True, "test": 2.0, "silence": 4.0}
    found = list(keep_results.figures(decoder))
    assert [(one["measure"], one["value"]) for one in found] == [("test", 2.0), ("silence", 4.0)]
    assert found[0]["subject"] == "layer=3; relu=True"
    share = {"artifact": "r.zarr", "method": "guided", "measure": "F1", "value": 0.7, "chance": 0.6,
             "items": 20, "white noise": 0.2}  # fmt: skip
    found = list(keep_results.figures(share))
    assert [one["measure"] for one in found] == ["F1", "F1, white noise"]
    assert found[0]["n"] == 20 and found[1]["value"] == 0.2


def test_what_is_kept_again_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "results/x.csv"
    line: dict[str, object] = {"corpus": "recorded", "artifact": "a", "seed": 0, "measure": "m"}
    keep_results.write(path, [{**line, "value": 1.0}, {**line, "value": 2.0, "measure": "n"}])
    keep_results.write(path, [{**line, "seed": 1, "value": 3.0}])
    keep_results.write(path, [{**line, "value": 4.0}])
    with path.open(newline="") as file:
        kept = [(row["seed"], row["measure"], row["value"]) for row in csv.DictReader(file)]
    assert kept == [("1", "m", "3.0"), ("0", "m", "4.0")]
