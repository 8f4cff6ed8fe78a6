"""Where a plain function has an accelerator for the CPU, and when it is used.

Every method is written in plain PyTorch first: that form is read, tested, and run on CUDA. A form
that is faster on the CPU stands in `speechscope.fast`, which lists the plain functions it replaces.
Without that package, or with ``SPEECHSCOPE_PLAIN=1``, the plain forms run.
"""

import functools
import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import ParamSpec, TypeVar, cast

from speechscope.errors import SpeechscopeError

P = ParamSpec("P")
R = TypeVar("R")

PLAIN = "SPEECHSCOPE_PLAIN"


class Unsupported(SpeechscopeError):
    """What an accelerator was given (a network, a device, a type of numbers) has no fast form."""


def fastest(plain: Callable[P, R]) -> Callable[P, R]:
    """Return the accelerator of a function, which falls back on it; without one, the function.

    An accelerator takes the arguments of the plain function and returns what it does, up to the
    tolerance of the test that holds the two against each other. It raises `Unsupported` before it
    has changed anything where it has no form for its arguments; the plain function then runs.
    """
    if os.environ.get(PLAIN, "") not in ("", "0") or find_spec("speechscope.fast") is None:
        return plain
    name = f"{plain.__module__}:{plain.__qualname__}"
    target = import_module("speechscope.fast").REPLACES.get(name)
    if target is None:
        return plain
    module, _, function = target.partition(":")
    fast = cast("Callable[P, R]", getattr(import_module(module), function))

    @functools.wraps(plain)
    def run(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            return fast(*arguments, **options)
        except Unsupported:
            return plain(*arguments, **options)

    return run
