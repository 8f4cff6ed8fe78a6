"""The papers as data: every default of every command, with where it comes from.

A recipe is a table per command, in a file per paper; a flag overrides one value. "Chosen" marks
what a paper leaves open, with the reason.
"""

from collections.abc import Mapping
from typing import Any

from speechscope.errors import UsageProblem
from speechscope.recipes.chosen import SYNTH, augment_amounts
from speechscope.recipes.churchman2015 import CHURCHMAN_2015
from speechscope.recipes.krug2018 import KRUG_2018
from speechscope.recipes.muckenhirn2019 import MUCKENHIRN_2019
from speechscope.recipes.names import (
    ALGORITHMS,
    ALIGNMENTS,
    FEATURES,
    LAYOUTS,
    METHODS,
    NETWORKS,
    REDUCTIONS,
    RULES,
    SAMPLE_FRAMES,
    SPLITS_OF_CLASSES,
)
from speechscope.recipes.pellegrini2016 import PELLEGRINI_2016
from speechscope.recipes.riemens2015 import RIEMENS_2015
from speechscope.recipes.values import Recipe, Table

__all__ = [
    "ALGORITHMS",
    "ALIGNMENTS",
    "DEFAULT",
    "FEATURES",
    "FOR_SPEAKERS",
    "KRUG_2018",
    "LAYOUTS",
    "METHODS",
    "NETWORKS",
    "RECIPES",
    "REDUCTIONS",
    "RULES",
    "SAMPLE_FRAMES",
    "SPLITS_OF_CLASSES",
    "augment_amounts",
    "resolve",
    "shown",
    "table",
]

DEFAULT = "churchman2015"

RECIPES: Mapping[str, Recipe] = {
    "churchman2015": CHURCHMAN_2015,
    "riemens2015": RIEMENS_2015,
    "krug2018": KRUG_2018,
    "muckenhirn2019": MUCKENHIRN_2019,
    "pellegrini2016": PELLEGRINI_2016,
}

FOR_SPEAKERS = {"raw-phone": "raw-speaker"}
"""The network a recipe has in place of its own where speakers are the classes (Muckenhirn 2019,
table 1)."""


def table(recipe: str, section: str) -> Table:
    """Return the defaults of one command under one recipe.

    Raises
    ------
    UsageProblem
        There is no such recipe, or it has no settings for this command.
    """
    if section == "synth":
        return SYNTH
    if recipe not in RECIPES:
        raise UsageProblem(f"--recipe {recipe}: choose from {', '.join(RECIPES)}")
    if section not in RECIPES[recipe]:
        raise UsageProblem(f"--recipe {recipe} has no settings for {section}")
    return RECIPES[recipe][section]


def resolve(recipe: str, section: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return a command's settings: the recipe's, with the flags that were given (not None).

    Raises
    ------
    UsageProblem
        See `table`; or a flag is not one of the values allowed, or means nothing in the recipe.
    """
    defaults = table(recipe, section)
    settings = {name: default.value for name, default in defaults.items()}
    for name, value in flags.items():
        if value is None:
            continue
        option = "--" + name.replace("_", "-")
        if name not in defaults:
            raise UsageProblem(f"{option} has no meaning for {section} --recipe {recipe}")
        allowed = defaults[name].choices
        if allowed and value not in allowed:
            raise UsageProblem(f"{option} {value}: choose from {', '.join(allowed)}")
        settings[name] = value
    return settings


def shown(key: str, recipe: str = DEFAULT) -> str:
    """Return a recipe's value for ``section.name`` as help text shows it."""
    section, name = key.split(".")
    value = table(recipe, section)[name].value
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
