"""A setting is said once: types, bounds, choices, recipes, records, completions follow from it."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from speechscope import settings
from speechscope.errors import UsageProblem
from speechscope.recipes import RECIPES, values
from speechscope.settings import argument, common, make, of_record, option, record_of, setting
from speechscope.stages.shared import FromRecipe


@dataclass(frozen=True, kw_only=True)
class Bake(FromRecipe):
    """Bake."""

    flour: Path = argument(..., "What it is made of.", metavar="FLOUR")
    layer: tuple[str, ...] = setting(("1", "2"), "Layers.", "sec. 1")
    heat: float = setting(180.0, "Heat [°C].", "sec. 2", low=0, high=250, record="temperature")
    time: int = setting(30, "Time [min].", "sec. 2", low=1)
    form: str = setting("round", "Form.", "chosen", choices=lambda: ("round", "square"))
    rate: float | None = setting(None, "Rate.", "chosen: the oven's own")
    glaze: bool = option(False, "Glazed.")
    from_: Path | None = option(None, "Begin from this.")
    seed: int = common(0, "Seed.")


def bake(**given: Any) -> Bake:
    return make(Bake, "bake", {"flour": "rye", **given})


def test_values_become_what_the_field_holds() -> None:
    made = bake(layer="3, 4,3", heat=200, glaze=True, from_="x")
    assert made.layer == ("3", "4") and made.heat == 200.0 and type(made.heat) is float
    assert made.flour == Path("rye") and made.from_ == Path("x") and made.rate is None
    assert bake(layer=[1, "2,5"]).layer == ("1", "2", "5") and bake(layer=7).layer == ("7",)
    assert made.given == {"flour", "layer", "heat", "glaze", "from_"}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"heat": -1}, "--heat -1.0: at least 0"),
        ({"heat": 251}, "--heat 251.0: at most 250"),
        ({"heat": float("nan")}, "--heat nan: give a finite number"),
        ({"heat": "hot"}, "--heat 'hot': give a number"),
        ({"time": 2.5}, "--time 2.5: give a whole number"),
        ({"time": True}, "--time True: give a whole number"),
        ({"form": "oval"}, "--form oval: choose from round, square"),
        ({"glaze": 1}, "--glaze 1: give true or false"),
        ({"heats": 1}, "heats is not a setting of bake; it has flour, recipe, layer"),
        ({"recipe": 3, "heat": None}, "--heat None: give a number"),
    ],
)
def test_what_is_not_allowed_is_refused_by_its_flag(given: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        bake(**given)
    assert text in str(caught.value)


def test_what_is_needed_is_asked_for() -> None:
    with pytest.raises(UsageProblem, match="bake needs FLOUR"):
        make(Bake, "bake", {})


def test_a_recipe_overrides_and_what_is_given_overrides_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = {"bake": {"time": values.Value(60, "sec. 9")}}
    monkeypatch.setitem(RECIPES, "krug2018", table)
    given = {"flour": "rye"}
    assert make(Bake, "bake", given, "krug2018").time == 60
    assert make(Bake, "bake", given, "krug2018").recipe == "krug2018"
    assert make(Bake, "bake", {**given, "time": 5}, "krug2018").time == 5
    assert make(Bake, "bake", given).time == 30
    with pytest.raises(UsageProblem, match="--recipe nobody1999: choose from churchman2015"):
        make(Bake, "bake", given, "nobody1999")


def test_the_record_has_the_recipe_and_its_values() -> None:
    assert record_of(bake(heat=100)) == {
        "recipe": "churchman2015",
        "layer": "1,2",
        "temperature": 100.0,
        "time": 30,
        "form": "round",
        "rate": None,
    }


def test_a_record_gives_the_settings_back() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Loaf(Bake):
        flour: Path = argument(Path("rye"), "What it is made of.")

    record = record_of(bake(heat=100, layer="3,4", time=9, rate=0.5))
    again = of_record(Loaf, "bake", record)
    assert record_of(again) == record and again.layer == ("3", "4") and again.heat == 100
    del record["time"], record["rate"]  # of a release that had none
    older = of_record(Loaf, "bake", record)
    assert (older.time, older.rate, older.heat) == (30, None, 100)
    with pytest.raises(UsageProblem, match="--form oval: choose from round, square"):
        of_record(Loaf, "bake", {**record, "form": "oval"})


def test_settings_without_a_meaning_and_rivals_are_refused_where_given() -> None:
    bake(heat=9).refuse(["time", "form"], "bread")
    with pytest.raises(UsageProblem, match="--time has no meaning for bread"):
        bake(time=9).refuse(["time"], "bread")
    bake(time=9).exclusive("time", "heat")
    with pytest.raises(UsageProblem, match="--time and --heat exclude each other"):
        bake(time=9, heat=9).exclusive("time", "heat")


def test_names_on_the_command_line() -> None:
    known = {entry.name: entry for entry in settings.declared(Bake)}
    assert known["from_"].flags == ("--from",) and known["flour"].shown == "FLOUR"
    assert list(known)[:3] == ["flour", "recipe", "layer"] and list(known)[-1] == "seed"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("speechscope relevance --method gu", "guided"),
        ("speechscope relevance --method lrp,gu", "lrp,guided"),
        ("speechscope maximize --layer co", "conv1"),
        ("speechscope prepare --recipe peg", ""),
        ("speechscope prepare --recipe pel", "pellegrini2016"),
    ],
)
def test_completion_offers_names_in_lists_too(words: str, offered: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "speechscope"],
        env={
            **os.environ,
            "_SPEECHSCOPE_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (offered in done.stdout.split()) == bool(offered), done
