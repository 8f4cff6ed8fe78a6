"""speechscope opens speech CNNs: trains, inverts, explains, clusters and scores them.

From Python: what `speechscope.api` holds, loaded when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from speechscope.api import (
        explain,
        invert,
        load_artifact,
        load_corpus,
        load_decoders,
        load_model,
        maximize,
        read_inputs,
        run,
    )

__version__ = "0.2.0"

__all__ = [
    "explain",
    "invert",
    "load_artifact",
    "load_corpus",
    "load_decoders",
    "load_model",
    "maximize",
    "read_inputs",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("speechscope.api"), name)
    raise AttributeError(f"module 'speechscope' has no attribute {name!r}")
