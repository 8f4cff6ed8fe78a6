"""The stages: one file a command, with its settings and ``run``.

`run` is what the command line and the Python API call. A stage's file holds one dataclass, named as
the stage (``DecodeTrain``), whose docstring is the help of the command, and a function
``run(settings, console)`` that opens what is read, computes, writes, and returns what is to be
shown.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

from speechscope import settings
from speechscope.errors import SpeechscopeError
from speechscope.recipes import DEFAULT
from speechscope.stages.shared import FromRecipe, Result
from speechscope.work.progress import SILENT, Console

STAGES = (
    "demo",
    "synth",
    "prepare",
    "train",
    "decode-train",
    "invert",
    "relevance",
    "maximize",
    "navai",
    "cluster",
    "listen",
    "merge",
    "score",
    "report",
    "export",
    "info",
    "check",
    "doctor",
    "help",
)
"""In the order of the pipeline."""
FULL, LOWER = "OutOfMemoryError", ("block", "batch")
"""What PyTorch, which need not be imported here, calls a device without memory, and the settings by
which less of it does."""


def stage(name: str) -> Any:
    """Return the module of a stage."""
    return import_module(f"speechscope.stages.{name.replace('-', '_')}")


def settings_class(name: str) -> Any:
    """Return the dataclass of a stage's settings."""
    return getattr(stage(name), name.replace("-", " ").title().replace(" ", ""))


def choose(name: str, given: Mapping[str, Any]) -> Any:
    """Return a stage's settings; the recipe, where none is given, is that of what it reads.

    Raises
    ------
    UsageProblem
        See `settings.make`.
    ArtifactError
        What it reads is not there, or damaged.
    """
    kind = settings_class(name)
    recipe = given.get("recipe")
    if recipe is None and issubclass(kind, FromRecipe):
        path = settings.make(kind, name, given).reads()
        if path is not None:
            from speechscope.store.lineage import record_at

            recipe = record_at(path)["config"].get("recipe")
    return settings.make(kind, name, given, recipe or DEFAULT)


def run(name: str, given: Mapping[str, Any], console: Console = SILENT) -> Result:
    """Run a stage.

    Parameters
    ----------
    name
        As on the command line.
    given
        Settings by name; the recipe has the others.
    console
        Where progress and notes go.
    """
    chosen = choose(name, given)
    try:
        return cast("Result", stage(name).run(chosen, console))
    except RuntimeError as error:
        if type(error).__name__ != FULL:
            raise
    console.note("the device's memory is used up: once more, with half as many items at a time")
    from speechscope.work.device import halved  # which imports PyTorch

    try:
        with halved():
            return cast("Result", stage(name).run(chosen, console))
    except RuntimeError as error:
        if type(error).__name__ != FULL:
            raise
        lower = next((f"lower --{option} or " for option in LOWER if hasattr(chosen, option)), "")
        raise SpeechscopeError(
            "the memory of the device does not hold half as many items either; "
            f"{lower}take --device cpu"
        ) from error
