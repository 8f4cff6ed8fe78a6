"""Loops over arrays, compiled for the processor they run on.

PyTorch makes one pass over memory for every operation, and takes Python's lock to begin it. A chain
of small operations on the same numbers is one pass here, in which other threads go on.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Loop = TypeVar("Loop", bound=Callable[..., object])


def compiled(loop: Loop) -> Loop:
    """Return `loop`, to be compiled at its first call for the types of what it is given.

    What is compiled is kept beside the source or among the user's caches, where one of them may be
    written. Numba asks for the source file alone whether it is up to date: a loop may call those of
    its own file only.
    """

    def made(kept: bool) -> Any:
        return njit(cache=kept, nogil=True, error_model="numpy", fastmath={"contract"})(loop)

    try:
        dispatcher: Loop = made(True)
    except RuntimeError:  # no such place
        dispatcher = made(False)
    return dispatcher
