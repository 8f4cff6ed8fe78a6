"""A score and a chapter that another package brings are found by their kind."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from reports import Page

from speechscope import registry, stages
from speechscope.errors import UsageProblem
from speechscope.store.record import new_record
from speechscope.store.writer import create_artifact

MODULE = """
from speechscope.report.figures import Bars, Chapter

def rows(path, settings):
    yield {"artifact": path.name, "measure": "weight", "value": 3.0}

def chapter(path, settings):
    weights = Bars("weights", "Weights", "", ["a", "b"], {"kg": [3.0, 4.0]}, "kg")
    return Chapter(str(path), "widget", {"at most": str(settings.examples)}, [weights])
"""
ENTRIES = """
[speechscope.scores]
widget = widgets:rows
widget:again = widgets:rows
[speechscope.chapters]
widget = widgets:chapter
widget:again = widgets:chapter
"""


@pytest.fixture
def widget(workdir: Path) -> Path:
    """An artifact of a kind that speechscope does not know."""
    record = new_record("widget", config={}, seed=0, device="cpu")
    with create_artifact(Path("x.zarr"), "test", record, force=False) as writer:
        writer.put("a", np.zeros(3), ("b",))
    return workdir / "x.zarr"


@pytest.fixture
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "site"
    info = folder / "widgets-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "widgets.py").write_text(MODULE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: widgets\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(str(folder))
    registry._foreign.cache_clear()
    yield
    registry._foreign.cache_clear()
    for kind in (registry.SCORES, registry.CHAPTERS):
        kind._entries.pop("widget", None)
        kind._entries.pop("widget:again", None)


def test_its_score_is_printed_and_its_chapter_stands_in_the_page(
    widget: Path, other_package: None
) -> None:
    rows = list(csv.DictReader(stages.run("score", {"artifacts": [widget]}).shown("csv").split()))
    assert [(row["artifact"], row["measure"], row["value"]) for row in rows] == [
        ("x.zarr", "weight", "3.0")
    ] * 2
    stages.run("report", {"artifacts": [widget], "output": "page.html", "examples": 5})
    page = Page(Path("page.html").read_text("utf-8"))
    assert page.figures == ["weights", "weights"] and "at most5" in page.text.replace("\n", "")


@pytest.mark.parametrize("stage", ["score", "report"])
def test_without_it_the_kinds_that_are_known_are_named(widget: Path, stage: str) -> None:
    with pytest.raises(UsageProblem, match=f"is a widget; {stage} takes clusters, corpus, "):
        stages.run(stage, {"artifacts": [widget]})
