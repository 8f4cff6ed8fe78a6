"""What a recipe is made of: values with their sources, in a table a stage."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Value:
    """The value of a setting, and its source: paper and section, or "chosen: why"."""

    value: Any
    source: str


Recipe = Mapping[str, Mapping[str, Value]]
"""By stage and setting."""
