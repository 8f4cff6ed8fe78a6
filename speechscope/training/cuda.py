"""What a CUDA device can be given to train faster: shorter products, and compiled passes.

``--precision mixed``: products in TF32, and the convolutions of the letter network in bfloat16;
weights, sums, statistics and losses stay in single precision (Micikevicius et al. 2018).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch

from speechscope.errors import UsageProblem

if TYPE_CHECKING:
    from speechscope.stages.train import Train

Function = TypeVar("Function", bound=Callable[..., Any])
BACKEND = "inductor"


def check(settings: "Train", device: torch.device) -> None:
    """Refuse what only CUDA has a use for.

    Raises
    ------
    UsageProblem
        It is asked for on another device: on the CPU, bfloat16 and the compiler gain nothing.
    """
    flags = {"--precision mixed": settings.precision == "mixed", "--compile": settings.compile}
    for flag, asked in flags.items():
        if asked and device.type != "cuda":
            raise UsageProblem(f"{flag} is for CUDA devices; train on {device} without it")


def compiled(function: Function, settings: "Train") -> Function:
    """Return the function, compiled if that is asked for; shapes may change."""
    if not settings.compile:
        return function
    made: Any = torch.compile(function, dynamic=True, backend=BACKEND)
    return cast(Function, made)


@contextmanager
def products(settings: "Train") -> Iterator[None]:
    """Allow the shorter products for a time."""
    if settings.precision == "float32":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def convolutions(settings: "Train", device: torch.device) -> torch.autocast:
    """Return a context in which convolutions take the shorter type."""
    return torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "mixed")
