"""What is said of scores in sentences."""

import pytest

from speechscope.scores.statistics import ABOVE, AT, FEW, Row
from speechscope.scores.tables import as_text, sentences
from speechscope.stages.shared import Table


def test_a_sentence_of_layers_says_what_all_of_them_keep_and_what_none() -> None:
    kept = {"level": (ABOVE, ABOVE), "F1, F": (ABOVE, FEW), "F0, M": (FEW, AT)}
    rows: list[Row] = [
        {"artifact": "a", "method": "bp", "layer": layer, "measure": name, "verdict": verdict}
        for name, verdicts in kept.items()
        for layer, verdict in zip((1, 9), verdicts, strict=True)
    ]
    (said,) = sentences(rows)
    assert said == (
        "a: of 3 scores better than chance: 2 with bp, layer 1; 1 with bp, layer 9. "
        "In all: level. In none: F0 (men)."
    )
    (said,) = sentences([row for row in rows if row["measure"] == "F0, M"] * 2)
    assert said.endswith("0 with bp, layer 1; 0 with bp, layer 9.")


def test_a_table_of_no_artifact_has_no_sentence() -> None:
    rows: list[Row] = [{"looked at": "disk", "found": "renames", "verdict": "ok"}]
    text = Table(rows).shown("text")
    assert text == "looked at  found    verdict\ndisk       renames  ok\n"
    assert list(sentences(rows)) == []


@pytest.mark.parametrize(("columns", "tables"), [(80, 3), (120, 2), (None, 1)])
def test_scores_side_by_side_fit_the_terminal(
    monkeypatch: pytest.MonkeyPatch, columns: int | None, tables: int
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", str(columns))
    score: Row = {"value": -0.00143, "chance": -0.00296, "verdict": ABOVE}
    rows: list[Row] = [
        {"method": "decode+bp", "layer": layer, "measure": measure, **score}
        for layer in (1, 3, 6, 9, 12)
        for measure in ("log-mel distance within class [dB]", "F0")
    ]
    text = as_text(rows)
    assert text.count("measure") == tables
    assert columns is None or max(map(len, text.splitlines())) <= columns
