"""Settings of reconstruction for the tests: the default recipe's, with changes."""

from dataclasses import replace
from typing import Any

from speechscope import recipes
from speechscope.inversion.bold_driver import BoldDriverSettings
from speechscope.inversion.bp import BpSettings
from speechscope.inversion.build import inversion_settings
from speechscope.inversion.chain import InversionSettings


def settings(**changes: Any) -> InversionSettings:
    return inversion_settings(recipes.resolve(recipes.DEFAULT, "invert", changes), 0)


def bold(**changes: float) -> BoldDriverSettings:
    return replace(settings().bp.rule.driver, **changes)


def bp_settings(
    *, steps: int = 100, start: float = 1e-2, driver: BoldDriverSettings | None = None
) -> BpSettings:
    usual = settings().bp
    rule = usual.rule if driver is None else replace(usual.rule, driver=driver)
    return replace(usual, steps=steps, start=start, rule=rule)
