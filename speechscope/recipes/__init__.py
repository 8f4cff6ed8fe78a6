"""The papers as data: what each sets otherwise than ``churchman2015``, with where it comes from.

The fields of a stage's dataclass (`speechscope.stages`) hold ``churchman2015``, and what
no paper speaks of. A recipe is a table a stage, in a file a paper; a flag overrides one value.
"Chosen" marks what a paper leaves open, with the reason.
"""

from collections.abc import Mapping

from speechscope.recipes.krug2018 import KRUG_2018
from speechscope.recipes.muckenhirn2019 import MUCKENHIRN_2019
from speechscope.recipes.pellegrini2016 import PELLEGRINI_2016
from speechscope.recipes.riemens2015 import RIEMENS_2015
from speechscope.recipes.values import Recipe

DEFAULT = "churchman2015"

RECIPES: Mapping[str, Recipe] = {
    DEFAULT: {},
    "riemens2015": RIEMENS_2015,
    "krug2018": KRUG_2018,
    "muckenhirn2019": MUCKENHIRN_2019,
    "pellegrini2016": PELLEGRINI_2016,
}
