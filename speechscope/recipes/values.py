"""What a recipe is made of: values with their sources, in a table a command."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Value:
    """One default.

    Parameters
    ----------
    value
        The default.
    source
        Paper and section, or "chosen: why".
    choices
        The values allowed, where they are names.
    """

    value: Any
    source: str
    choices: tuple[str, ...] = ()


Table = Mapping[str, Value]

Recipe = Mapping[str, Table]
